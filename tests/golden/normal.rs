//! What differs from run to run, and is replaced: ids go by the order in which they are first seen.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Ids of one scenario.
#[derive(Default)]
pub struct Names {
    /// By kind, what was seen.
    seen: BTreeMap<&'static str, Vec<String>>,
}

/// Fields whose numbers and texts are ids, and the letter that they go by.
const IDS: [(&str, &str); 4] = [
    ("M", r#"(?P<field>member_id|leader): StrBytes\(b"(?P<id>[^"]+)"\)"#),
    ("P", r"(?P<field>producer_id): (?P<id>[0-9]+)"),
    ("T", r"(?P<field>topic_id): (?P<id>Uuid\([^)]*[1-9a-f][^)]*\))"),
    ("C", r#"(?P<field>cluster_id): Some\(StrBytes\(b"(?P<id>[^"]+)"\)\)"#),
];

/// Parts that say nothing, say something else each time, or are said better elsewhere: the configs
/// of a topic are in `defaults.txt`.
const PARTS: [(&str, &str); 10] = [
    (r", unknown_tagged_fields: TaggedFields \{[^}]*\}", ""),
    (r", configs: Some\(\[[^\]]*\]\)", ""),
    (r"Uuid\(\[0(, 0){15}\]\)", "none"),
    (r"throttle_time_ms: [0-9]+, ", ""),
    (r"port: [0-9]+", "port: PORT"),
    (r"127\.0\.0\.1:[0-9]+", "127.0.0.1:PORT"),
    (r"( log\.dirs)=[^ \n]*", "$1=DIR"),
    (r"(log_append_time_ms): [0-9]{12,}", "$1: TIME"),
    (r"(timestamp[a-z_]*): [0-9]{12,}", "$1: TIME"),
    (r#"StrBytes\(b("(?:[^"\\]|\\.)*")\)"#, "$1"),
];

static IDS_COMPILED: LazyLock<Vec<(&str, Regex)>> =
    LazyLock::new(|| IDS.iter().map(|&(kind, text)| (kind, Regex::new(text).unwrap())).collect());
static PARTS_COMPILED: LazyLock<Vec<(Regex, &str)>> =
    LazyLock::new(|| PARTS.iter().map(|&(text, with)| (Regex::new(text).unwrap(), with)).collect());

/// Kafka has no order among the members that a leader is told of; here they go by their names.
fn in_order(text: &str) -> String {
    const MEMBER: &str = "JoinGroupResponseMember {";
    let Some((head, members)) = text.split_once(MEMBER) else { return text.to_owned() };
    let Some((members, tail)) = members.rsplit_once("] }") else { return text.to_owned() };
    let mut members: Vec<_> = members.split(MEMBER).map(|m| m.trim_end_matches(", ")).collect();
    members.sort_unstable();
    let members = members.join(&format!(", {MEMBER}"));
    format!("{head}{MEMBER}{members}] }}{tail}")
}

impl Names {
    /// An answer without what differs from run to run.
    pub fn normal(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (kind, regex) in &*IDS_COMPILED {
            let seen = self.seen.entry(kind).or_default();
            let name = |found: &Captures<'_>| {
                let id = &found["id"];
                let at = seen.iter().position(|s| s == id).unwrap_or_else(|| {
                    seen.push(id.to_owned());
                    seen.len() - 1
                });
                format!("{}: {kind}{}", &found["field"], at + 1)
            };
            text = regex.replace_all(&text, name).into_owned();
        }
        for (regex, with) in &*PARTS_COMPILED {
            text = regex.replace_all(&text, *with).into_owned();
        }
        in_order(&text)
    }

    /// A request with the ids that its names stand for.
    pub fn known(&self, request: &str) -> String {
        static NAME: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"(?-u:\b)([MP])([0-9]+)(?-u:\b)").unwrap());
        let id = |found: &Captures<'_>| {
            let at: usize = found[2].parse().unwrap();
            let seen = self.seen.get(&found[1]).and_then(|seen| seen.get(at - 1));
            seen.map_or(&found[0], String::as_str).to_owned()
        };
        NAME.replace_all(request, id).into_owned()
    }
}
