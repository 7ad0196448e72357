//! Scripts: one line an event, and a trace of what comes out.
//!
//! ```text
//! join G M [new] [static=I] [v=V] [protos=a,b] [topics=t | says=BYTES] [session=S] [rebalance=S] [type=T]
//! sync G M [gen=N] [type=T] [proto=P] [give=M:ASSIGNMENT,...]   heartbeat G M [gen=N] [static=I]
//! leave G M|static=I ...     commit G M|- [gen=N] [v=V] [meta=LENGTH] [keep=S] T/P=OFFSET ...
//! fetch G      uncommit G T/P ...      delete G ...      describe G      list [STATE] [type=T]
//! drop-topic T     at S     hold | release | fail FAILURE     members-max N
//! restart | load | load-failed | unload     tally
//! ```
//!
//! `M` is a label: the member id it was last given is kept, and shown by its label. Appends succeed
//! at once but for `hold`, after which they wait for `release` or `fail`. Seconds count from 0.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use expect_test::Expect;

use crate::base::{Moment, TopicId, WallMs};
use crate::config::{GroupLimits, ServerConfig};
use crate::coordinator::records::{self, Key, Record};
use crate::coordinator::*;

/// Wall clock at the start of a script, ms.
const WALL_MS: i64 = 1_000_000;

#[track_caller]
pub(super) fn check(script: &str, expect: &Expect) {
    check_with(limits(), script, expect);
}

#[track_caller]
pub(super) fn check_with(limits: GroupLimits, script: &str, expect: &Expect) {
    let mut world = World::new(GroupLimits { offsets_topic_partitions: 1, ..limits });
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(world.trace, "{line}").unwrap();
        world.run(&Line::parse(line));
    }
    expect.assert_eq(&world.trace);
}

/// Kafka's own limits.
pub(super) fn limits() -> GroupLimits {
    ServerConfig::load("", &[]).unwrap().group
}

pub(super) fn at_ms(ms: u64) -> At {
    At { now: Moment(ms * 1_000_000), wall: WallMs(WALL_MS + ms as i64) }
}

/// `verb plain ... name=value ...`
struct Line<'a> {
    verb: &'a str,
    plain: Vec<&'a str>,
    named: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap();
        let (plain, named): (Vec<_>, Vec<_>) = words.partition(|word| !word.contains('='));
        let named = named.into_iter().map(|word| word.split_once('=').unwrap()).collect();
        Self { verb, plain, named }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.named.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    fn num(&self, name: &str) -> Option<i64> {
        self.get(name).map(|text| text.parse().unwrap())
    }
}

struct World {
    groups: Groups<String>,
    limits: GroupLimits,
    now_ms: u64,
    trace: String,
    /// Label -> member id, last known generation.
    members: BTreeMap<String, (String, i32)>,
    hold: bool,
    held: Vec<(Ticket, Vec<Record>)>,
    log: Vec<Record>,
}

impl World {
    fn new(limits: GroupLimits) -> Self {
        let mut groups = Groups::new(limits.clone(), 1);
        groups.load(0, &mut Vec::new());
        groups.loaded(0, at_ms(0), &mut Vec::new());
        let (members, held, log) = (BTreeMap::new(), Vec::new(), Vec::new());
        let trace = String::new();
        Self { groups, limits, now_ms: 0, trace, members, hold: false, held, log }
    }

    fn run(&mut self, line: &Line<'_>) {
        let (plain, when) = (&line.plain, at_ms(self.now_ms));
        let mut out = Vec::new();
        match line.verb {
            "join" => self.join(line, &mut out),
            "sync" => self.sync(line, &mut out),
            "heartbeat" => {
                let (member, generation) = self.member(line);
                let sender = sender(line, &member, generation);
                let answer = self.groups.heartbeat(&sender, when);
                self.say(&told(&answer));
            }
            "leave" => {
                let known = |m: &&str| self.members.get(*m).map_or((*m).into(), |m| m.0.clone());
                let ids: Vec<String> = plain[1..].iter().map(known).collect();
                let dynamic = ids.iter().map(|member| Leaver { member, instance: None });
                let named = line.named.iter();
                let named = named.map(|(_, i)| Leaver { member: "", instance: Some(i) });
                let leavers: Vec<_> = dynamic.chain(named).collect();
                self.groups.leave(plain[0], &leavers, "leave".into(), when, &mut out);
            }
            "commit" => self.commit(line, &mut out),
            "fetch" => self.fetch(plain[0]),
            "uncommit" => {
                let what: Vec<_> = plain[1..].iter().map(|w| place(w)).collect();
                self.groups.delete_offsets(plain[0], &what, "uncommit".into(), when, &mut out);
            }
            "delete" => self.groups.delete_groups(plain, "delete".into(), when, &mut out),
            "drop-topic" => {
                let id = TopicId([7; 16]);
                self.groups.on_topic_deleted(plain[0], id, when, &mut out);
            }
            "describe" => self.describe(plain[0]),
            "list" => {
                let types: Vec<_> = line.get("type").into_iter().collect();
                for g in list(&self.groups, plain, &types).unwrap() {
                    self.say(&format!("{} {:?} {}", g.group, g.protocol_type, g.state));
                }
            }
            "at" => return self.advance((plain[0].parse::<f64>().unwrap() * 1000.0) as u64),
            "hold" => self.hold = true,
            "members-max" => self.limits.size_max = plain[0].parse().unwrap(),
            "release" => return self.settle(Ok(())),
            "fail" => {
                return self.settle(Err(match plain[0] {
                    "TooLarge" => AppendFailure::TooLarge,
                    "NotLeader" => AppendFailure::NotLeader,
                    _ => AppendFailure::NotEnoughReplicas,
                }));
            }
            "restart" => self.restart(&mut out),
            "load" => self.groups.load(0, &mut out),
            "load-failed" => self.groups.load_failed(0),
            "tally" => self.say(&format!("{:?}", self.groups.tally())),
            "unload" => self.groups.unload(0, &mut out),
            verb => panic!("unknown event: {verb}"),
        }
        self.show(out);
    }

    fn member(&self, line: &Line<'_>) -> (String, i32) {
        let label = line.plain[1];
        let unknown = if label == "-" { String::new() } else { label.to_owned() };
        let (id, known) = self.members.get(label).cloned().unwrap_or((unknown, -1));
        (id, line.num("gen").map_or(known, |n| n as i32))
    }

    fn join(&mut self, line: &Line<'_>, out: &mut Vec<Effect<String>>) {
        let label = line.plain[1];
        let is_new = line.plain.get(2) == Some(&"new");
        let known = self.members.get(label).filter(|_| !is_new);
        let member = known.map(|m| m.0.clone()).unwrap_or_default();
        let version = line.num("v").unwrap_or(9);
        let metadata = match line.num("says") {
            Some(bytes) => Bytes::from(vec![0; bytes as usize]),
            None => subscription(line.get("topics").unwrap_or("t")),
        };
        let names = line.get("protos").unwrap_or("range");
        let names = names.split(',').filter(|name| !name.is_empty());
        let seconds = |name, default| line.num(name).unwrap_or(default) as i32 * 1000;
        let join = Join {
            group: line.plain[0],
            member: &member,
            instance: line.get("static"),
            client_id: "app",
            client_host: "/127.0.0.1",
            session_timeout_ms: seconds("session", 10),
            rebalance_timeout_ms: seconds("rebalance", 60),
            protocol_type: line.get("type").unwrap_or("consumer"),
            protocols: names.map(|name| (name, &metadata[..])).collect(),
            member_id_required: version >= 4,
            can_skip_assignment: version >= 9,
        };
        self.groups.join(&join, label.into(), at_ms(self.now_ms), out);
    }

    fn sync(&mut self, line: &Line<'_>, out: &mut Vec<Effect<String>>) {
        let (member, generation) = self.member(line);
        let give = line.get("give").unwrap_or_default();
        let give = give.split(',').filter_map(|pair| pair.split_once(':'));
        let id = |m: &str| self.members.get(m).map_or(m.into(), |m| m.0.clone());
        let give: Vec<(String, &str)> = give.map(|(m, what)| (id(m), what)).collect();
        let sync = Sync {
            from: sender(line, &member, generation),
            protocol_type: line.get("type"),
            protocol: line.get("proto"),
            assignments: give.iter().map(|(m, what)| (&**m, what.as_bytes())).collect(),
        };
        self.groups.sync(&sync, line.plain[1].into(), at_ms(self.now_ms), out);
    }

    fn commit<'a>(&mut self, line: &Line<'a>, out: &mut Vec<Effect<String>>) {
        let (member, generation) = self.member(line);
        let metadata = "m".repeat(line.num("meta").unwrap_or(0) as usize);
        let offset = |(name, offset): &(&'a str, &str)| {
            let (topic, partition) = place(name);
            let (topic_id, offset) = (TopicId([7; 16]), offset.parse().unwrap());
            let (leader_epoch, metadata) = (-1, &*metadata);
            CommitOffset { topic, topic_id, partition, offset, leader_epoch, metadata }
        };
        let named = line.named.iter().filter(|(name, _)| name.contains('/'));
        let commit = Commit {
            from: sender(line, &member, generation),
            retention_ms: line.num("keep").map(|s| s * 1000),
            reports_unknown_group: line.num("v").unwrap_or(10) >= 9,
            offsets: named.map(offset).collect(),
        };
        self.groups.commit_offsets(&commit, "commit".into(), at_ms(self.now_ms), out);
    }

    fn fetch(&mut self, group: &str) {
        let mut text = String::new();
        match self.groups.fetch_offsets(group, None) {
            Ok(topics) => {
                for (topic, offsets) in topics {
                    for (partition, offset) in offsets {
                        write!(text, "{topic}/{partition}={} ", offset.unwrap().offset).unwrap();
                    }
                }
            }
            Err(e) => write!(text, "{e:?}").unwrap(),
        }
        self.say(if text.is_empty() { "none" } else { text.trim() });
    }

    fn describe(&mut self, group: &str) {
        let text = match self.groups.describe(group) {
            Ok(d) => {
                let mut text = format!("{} {:?} {:?}", d.state, d.protocol_type, d.protocol);
                for m in d.members {
                    let known = if m.metadata.is_empty() { "" } else { "+metadata" };
                    write!(text, " [{} {:?}{known}]", m.member, m.assignment).unwrap();
                }
                text
            }
            Err(e) => format!("{e:?}"),
        };
        self.say(&text);
    }

    fn advance(&mut self, until_ms: u64) {
        loop {
            let next_ms = self.groups.next_deadline().0.div_ceil(1_000_000);
            if next_ms > until_ms {
                break;
            }
            self.now_ms = self.now_ms.max(next_ms);
            let mut out = Vec::new();
            self.groups.on_time(at_ms(self.now_ms), &mut out);
            if !out.is_empty() {
                let seconds = self.now_ms as f64 / 1000.0;
                writeln!(self.trace, "  at {seconds}:").unwrap();
            }
            self.show(out);
        }
        self.now_ms = until_ms;
    }

    fn settle(&mut self, result: Result<(), AppendFailure>) {
        self.hold = false;
        for (ticket, records) in std::mem::take(&mut self.held) {
            self.report(ticket, records, result);
        }
    }

    fn report(&mut self, ticket: Ticket, records: Vec<Record>, result: Result<(), AppendFailure>) {
        if result.is_ok() {
            self.log.extend(records);
        }
        let mut out = Vec::new();
        self.groups.on_append(ticket, result, at_ms(self.now_ms), &mut out);
        self.show(out);
    }

    fn restart(&mut self, out: &mut Vec<Effect<String>>) {
        self.groups = Groups::new(self.limits.clone(), 2);
        self.groups.load(0, out);
        for record in &self.log {
            self.groups.replay(0, &record.key, record.value.as_deref()).unwrap();
        }
        self.groups.loaded(0, at_ms(self.now_ms), out);
    }

    fn show(&mut self, out: Vec<Effect<String>>) {
        for effect in &out {
            if let Effect::Reply { to, answer: Answer::Join(id, joined) } = effect
                && !id.is_empty()
            {
                let generation = joined.as_ref().map_or(-1, |j| j.generation);
                self.members.insert(to.clone(), (id.to_string(), generation));
            }
        }
        for effect in out {
            match effect {
                Effect::Reply { to, answer } => self.answered(&to, answer),
                Effect::Append { records, ticket, .. } => {
                    for record in &records {
                        self.say(&format!("log: {}", describe_record(record)));
                    }
                    if self.hold {
                        self.held.push((ticket, records));
                    } else {
                        self.report(ticket, records, Ok(()));
                    }
                }
            }
        }
    }

    fn answered(&mut self, to: &str, answer: Answer) {
        let text = match answer {
            Answer::Join(_, Ok(j)) => {
                let mut text = format!("joined gen {} leader {}", j.generation, j.leader);
                write!(text, " {}", j.protocol.unwrap_or_default()).unwrap();
                if j.skip_assignment {
                    text += " skip";
                }
                for m in j.members {
                    write!(text, " [{}]", m.member).unwrap();
                }
                text
            }
            Answer::Join(_, Err(e)) => format!("join {e:?}"),
            Answer::Sync(Ok(s)) => format!("synced {:?}", s.assignment),
            Answer::Sync(Err(e)) => format!("sync {e:?}"),
            Answer::Each(Ok(outcomes)) => outcomes.iter().map(told).collect::<Vec<_>>().join(" "),
            Answer::Each(Err(e)) => format!("{e:?}"),
        };
        self.say(&format!("{to}: {text}"));
    }

    /// Writes a line of the trace, with labels in place of member ids.
    fn say(&mut self, text: &str) {
        let mut text = text.to_owned();
        for (label, (id, _)) in &self.members {
            if id.len() > 36 {
                text = text.replace(id, label);
            }
        }
        writeln!(self.trace, "  {text}").unwrap();
    }
}

fn sender<'a>(line: &Line<'a>, member: &'a str, generation: i32) -> Sender<'a> {
    Sender { group: line.plain[0], member, instance: line.get("static"), generation }
}

fn told(result: &Result<(), GroupError>) -> String {
    result.map_or_else(|e| format!("{e:?}"), |()| "ok".into())
}

fn place(text: &str) -> (&str, i32) {
    let (topic, partition) = text.split_once('/').unwrap();
    (topic, partition.parse().unwrap())
}

/// A consumer's subscription to one topic.
pub(super) fn subscription(topic: &str) -> Bytes {
    let mut out = vec![0, 1, 0, 0, 0, 1];
    out.extend_from_slice(&(topic.len() as i16).to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(&[0xff; 4]);
    out.into()
}

pub(super) fn describe_record(record: &Record) -> String {
    let key = Key::parse(&record.key).unwrap();
    match (key, record.value.as_deref()) {
        (Key::Offset { group, topic, partition }, Some(value)) => {
            let offset = records::read_offset(value).unwrap();
            format!("offset {group} {topic}/{partition}={}", offset.offset)
        }
        (Key::Offset { group, topic, partition }, None) => {
            format!("no offset {group} {topic}/{partition}")
        }
        (Key::Group(group), Some(value)) => {
            let value = records::read_group(value).unwrap();
            let mut text = format!("group {group} gen {}", value.generation);
            for member in value.members {
                write!(text, " [{} {:?}]", member.id, member.assignment).unwrap();
            }
            text
        }
        (Key::Group(group), None) => format!("no group {group}"),
        (Key::Other, _) => "other".into(),
    }
}

/// Reads a group of one member in generation 1, whose session is 10 s, from the log.
pub(super) fn replay_member<R>(groups: &mut Groups<R>, group: &str, member: &str) {
    let mut value = vec![0, 3, 0, 1];
    value.extend_from_slice(b"c\0\0\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\x01");
    value.extend_from_slice(&(member.len() as u16).to_be_bytes());
    value.extend_from_slice(member.as_bytes());
    value.extend_from_slice(b"\xff\xff\0\0\0\0\0\0\x27\x10\0\0\x27\x10\0\0\0\0\0\0\0\0");
    groups.replay(0, &Key::Group(group).bytes(), Some(&value)).unwrap();
}

/// All groups that pass, by name; looked at two by two.
pub(super) fn list<R>(
    groups: &Groups<R>,
    states: &[&str],
    types: &[&str],
) -> Result<Vec<Listed>, GroupError> {
    let mut listing = Listing::new(states, types);
    while !groups.list(&mut listing, 2)? {}
    listing.found.sort_unstable_by(|a, b| a.group.cmp(&b.group));
    Ok(listing.found)
}
