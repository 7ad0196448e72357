//! Flags of `klamm configs`, what they mean together, and the text forms of configs.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs as _;

use clap::{ArgAction, Parser};

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::properties::Properties;
use crate::tools::session::BrokerArgs;

#[derive(Debug, Clone, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    /// Show configs
    #[arg(long, help_heading = "Actions")]
    describe: bool,
    /// Change configs
    #[arg(long, help_heading = "Actions")]
    alter: bool,
    /// What the configs belong to: topics, brokers, broker-loggers, groups, client-metrics, users,
    /// clients, ips
    #[arg(long, value_name = "TYPE")]
    entity_type: Vec<String>,
    /// Which of them: topic, broker id, group, name
    #[arg(long, value_name = "NAME")]
    entity_name: Vec<String>,
    /// The defaults of all of them
    #[arg(long, action = ArgAction::Count)]
    entity_default: u8,
    /// A topic: short for --entity-type topics --entity-name TOPIC
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// A broker, by its id
    #[arg(long = "broker", value_name = "ID")]
    broker_id: Option<String>,
    /// The defaults of all brokers
    #[arg(long)]
    broker_defaults: bool,
    /// The loggers of a broker, by its id
    #[arg(long, value_name = "ID")]
    broker_logger: Option<String>,
    /// A group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// A client metrics resource
    #[arg(long, value_name = "NAME")]
    client_metrics: Option<String>,
    /// The quotas of a user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The quotas of all other users
    #[arg(long)]
    user_defaults: bool,
    /// The quotas of a client, by its client.id
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// The quotas of all other clients
    #[arg(long)]
    client_defaults: bool,
    /// The quotas of an address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// The quotas of all other addresses
    #[arg(long)]
    ip_defaults: bool,
    /// Describe: every config, not only those that were set
    #[arg(long)]
    pub(super) all: bool,
    /// Alter: set configs; brackets hold a value with commas: k1=v1,k2=[v1,v2]
    #[arg(long, value_name = "LIST")]
    add_config: Option<String>,
    /// Alter: set the configs of a property file
    #[arg(long, value_name = "FILE")]
    add_config_file: Option<String>,
    /// Alter: take configs back to their default: k1,k2
    #[arg(long, value_name = "LIST")]
    delete_config: Vec<String>,
}

/// What configs belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// Kafka's name of the type, a plural.
    pub(super) name: &'static str,
    /// Its number in requests.
    pub(super) resource_type: i8,
    /// The source of a value that was set on one of them; a logger's are all shown.
    pub(super) set_source: Option<i8>,
}

const fn kind(name: &'static str, resource_type: i8, set_source: Option<i8>) -> Kind {
    Kind { name, resource_type, set_source }
}

pub(super) const TOPICS: Kind = kind("topics", 2, Some(1));
pub(super) const BROKERS: Kind = kind("brokers", 4, Some(2));
pub(super) const BROKER_LOGGERS: Kind = kind("broker-loggers", 8, None);
pub(super) const CLIENT_METRICS: Kind = kind("client-metrics", 16, Some(7));
pub(super) const GROUPS: Kind = kind("groups", 32, Some(8));
/// What has quotas: there are requests of their own for these.
pub(super) const USERS: Kind = kind("users", 0, None);
pub(super) const CLIENTS: Kind = kind("clients", 0, None);
pub(super) const IPS: Kind = kind("ips", 0, None);
const KINDS: [Kind; 8] =
    [TOPICS, BROKERS, BROKER_LOGGERS, CLIENT_METRICS, GROUPS, USERS, CLIENTS, IPS];

impl Kind {
    /// Whether quotas belong to it, not configs.
    pub(super) fn has_quotas(self) -> bool {
        [USERS, CLIENTS, IPS].contains(&self)
    }

    /// One of them, in words.
    pub(super) fn singular(self) -> &'static str {
        self.name.trim_end_matches('s')
    }

    /// The source of the values to show, when not all are shown.
    pub(super) fn source_of(self, name: &str) -> Option<i8> {
        let is_defaults = self == BROKERS && name.is_empty();
        if is_defaults { Some(DYNAMIC_DEFAULT_BROKER) } else { self.set_source }
    }
}

/// Set for all brokers.
const DYNAMIC_DEFAULT_BROKER: i8 = 3;

/// What is meant: one of a kind by its name, or all.
type Entity = (Kind, Option<String>);

/// What to do with which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) kind: Kind,
    /// One of that kind, or all; defaults have the empty name.
    pub(super) name: Option<String>,
    /// Quotas may belong to a user and a client together.
    pub(super) with: Option<Entity>,
    /// Keys to set (`Some`) and to delete; nothing when the task is to describe.
    pub(super) change: Option<BTreeMap<String, Option<String>>>,
}

impl Task {
    /// The entity, or both.
    pub(super) fn entities(&self) -> impl Iterator<Item = (Kind, Option<&str>)> {
        let with = self.with.iter().map(|(kind, name)| (*kind, name.as_deref()));
        std::iter::once((self.kind, self.name.as_deref())).chain(with)
    }
}

/// A mistake that Kafka's tool tells without its help.
fn refuse<T>(text: impl Into<String>) -> Outcome<T> {
    Err(ToolError::Failed(text.into()))
}

impl Options {
    /// What the flags mean together.
    pub(super) fn task(&self) -> Outcome<Task> {
        if self.describe == self.alter {
            let text = "Command must include exactly one action: --describe, --alter";
            return Err(ToolError::Usage(text.to_owned()));
        }
        let ((kind, name), with) = self.entities()?;
        if self.broker.bootstrap_server.is_none() {
            return refuse(
                "Either --bootstrap-server or --bootstrap-controller must be specified.",
            );
        }
        let is_broker = kind == BROKERS || kind == BROKER_LOGGERS;
        if let Some(id) = name.as_deref().filter(|id| is_broker && !id.is_empty())
            && id.parse::<i32>().is_err()
        {
            let what = kind.name;
            return refuse(format!(
                "The entity name for {what} must be a valid integer broker id, but it is: {id}"
            ));
        }
        if let Some(ip) = name.as_deref().filter(|ip| kind == IPS && !ip.is_empty())
            && (ip, 0).to_socket_addrs().is_err()
        {
            return refuse(format!(
                "The entity name for ips must be a valid IP or resolvable host, but it is: {ip}"
            ));
        }
        let added = [
            ("add-config", self.add_config.is_some()),
            ("delete-config", !self.delete_config.is_empty()),
            ("add-config-file", self.add_config_file.is_some()),
        ];
        if self.describe {
            cli::exclude(("describe", true), &added)?;
            return Ok(Task { kind, name, with, change: None });
        }
        let has_defaults = kind == BROKERS || kind.has_quotas();
        match name.as_deref() {
            None if has_defaults => {
                return refuse(
                    "An entity-name or default entity must be specified with --alter of users, \
                     clients, brokers or ips",
                );
            }
            Some("") if has_defaults => {}
            None | Some("") => {
                let what = kind.name;
                return refuse(format!("An entity name must be specified with --alter of {what}"));
            }
            Some(_) => {}
        }
        if !added.iter().any(|(_, is_there)| *is_there) {
            return refuse(
                "At least one of --add-config, --add-config-file, or --delete-config must be \
                 specified with --alter",
            );
        }
        if self.add_config.is_some() && self.add_config_file.is_some() {
            return refuse("Only one of --add-config or --add-config-file must be specified");
        }
        Ok(Task { kind, name, with, change: Some(self.change()?) })
    }

    /// The kind and, where one is meant, the name; for quotas of a user's client, both.
    fn entities(&self) -> Outcome<(Entity, Option<Entity>)> {
        let short = [
            (TOPICS, self.topic.clone()),
            (BROKERS, self.broker_id.clone()),
            (BROKERS, self.broker_defaults.then(String::new)),
            (BROKER_LOGGERS, self.broker_logger.clone()),
            (GROUPS, self.group.clone()),
            (CLIENT_METRICS, self.client_metrics.clone()),
            (USERS, self.user.clone()),
            (USERS, self.user_defaults.then(String::new)),
            (CLIENTS, self.client.clone()),
            (CLIENTS, self.client_defaults.then(String::new)),
            (IPS, self.ip.clone()),
            (IPS, self.ip_defaults.then(String::new)),
        ];
        let short: Vec<_> = short.into_iter().filter_map(|(k, n)| Some((k, n?))).collect();
        let mut names = self.entity_name.iter().cloned();
        let mut defaults = (0..self.entity_default).map(|_| String::new());
        let mut next_name = || names.next().or_else(|| defaults.next());
        let mut entities = Vec::<Entity>::new();
        let typed = self.entity_type.iter().map(|kind| (kind.as_str(), None));
        for (kind, name) in typed.chain(short.into_iter().map(|(k, name)| (k.name, Some(name)))) {
            if entities.iter().any(|(known, _)| known.name == kind) {
                return refuse(format!("Duplicate entity type(s) specified: {kind}"));
            }
            let Some(known) = KINDS.into_iter().find(|k| k.name == kind) else {
                return refuse(format!(
                    "Invalid entity type {kind}, the entity type must be one of topics, clients, \
                     users, brokers, ips, client-metrics, groups, broker-loggers with a \
                     --bootstrap-server or --bootstrap-controller argument"
                ));
            };
            entities.push((known, name.or_else(&mut next_name)));
        }
        let mut entities = entities.into_iter();
        let together = |kind| kind == USERS || kind == CLIENTS;
        match (entities.next(), entities.next(), entities.next()) {
            (None, ..) => refuse("At least one entity type must be specified"),
            (Some(entity), None, _) => Ok((entity, None)),
            (Some(a), Some(b), None) if together(a.0) && together(b.0) => Ok((a, Some(b))),
            _ => refuse("Only 'users' and 'clients' entity types may be specified together"),
        }
    }

    /// Keys to set and to delete.
    fn change(&self) -> Outcome<BTreeMap<String, Option<String>>> {
        let mut change = BTreeMap::new();
        let deleted = self.delete_config.iter().flat_map(|list| list.split(','));
        change.extend(deleted.map(|key| (key.trim().to_owned(), None)));
        let added = match (&self.add_config, &self.add_config_file) {
            (Some(list), _) => parse_added(list)?,
            (None, Some(file)) => Properties::read(Some(file), &[])
                .map_err(|_| ToolError::Failed(format!("{file}: no such file")))?
                .into_pairs(),
            (None, None) => Vec::new(),
        };
        change.extend(added.into_iter().map(|(key, value)| (key, Some(value))));
        let is_bad = |c: char| !(c.is_ascii_alphanumeric() || ".-_".contains(c));
        match change.keys().find(|key| key.contains(is_bad)) {
            Some(key) => refuse(format!("Invalid character found for config key: {key}")),
            None => Ok(change),
        }
    }
}

/// Reads `k1=v1,k2=[v1,v2]`: a separator inside of brackets is none, and the brackets go away.
fn parse_added(list: &str) -> Outcome<Vec<(String, String)>> {
    let mut parts = split_outside_brackets(list, ',');
    while parts.len() > 1 && parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    let pair = |part: &str| match split_outside_brackets(part, '=')[..] {
        [key, value] => {
            let value = value.replace(['[', ']'], "");
            Some((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => None,
    };
    let pairs: Option<Vec<_>> = parts.into_iter().map(pair).collect();
    pairs.ok_or_else(|| {
        let text = "requirement failed: Invalid entity config: all configs to be added must be in \
                    the format \"key=val\" or  \"key=[val1,val2]\" to group values which contain \
                    commas.";
        ToolError::Failed(text.to_owned())
    })
}

/// Splits where the next bracket, if there is one, opens.
fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(separator) {
        let rest = &text[at + separator.len_utf8()..];
        if rest.chars().find(|c| "[]".contains(*c)) != Some(']') {
            parts.push(&text[from..at]);
            from = at + separator.len_utf8();
        }
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The task of a command line, or what is wrong with it.
    fn task(args: &str) -> Result<Task, String> {
        let args = args.split_whitespace().chain(["--bootstrap-server", "x:1"]);
        let options = cli::read::<Options>("configs", "", args).map_err(|e| e.to_string())?;
        options.task().map_err(|e| match e {
            ToolError::Usage(text) | ToolError::Failed(text) => text,
            ToolError::Client(e) => e.to_string(),
        })
    }

    #[test]
    fn flags_name_one_entity_or_all_of_a_kind() {
        let entity =
            |args: &str| task(&format!("--describe {args}")).map(|t| (t.kind.name, t.name));
        let named = |kind, name: &str| Ok((kind, Some(name.to_owned())));
        assert_eq!(entity("--topic t"), named("topics", "t"));
        assert_eq!(entity("--entity-type topics --entity-name t"), named("topics", "t"));
        assert_eq!(entity("--entity-type topics"), Ok(("topics", None)));
        assert_eq!(entity("--broker 1"), named("brokers", "1"));
        assert_eq!(entity("--entity-type brokers --entity-default"), named("brokers", ""));
        assert_eq!(entity("--broker-defaults"), named("brokers", ""));
        assert_eq!(entity("--broker-logger 1"), named("broker-loggers", "1"));
        assert_eq!(entity("--group g"), named("groups", "g"));
        assert_eq!(entity("--client-metrics m"), named("client-metrics", "m"));
        assert_eq!(entity("--entity-type users"), Ok(("users", None)));
        assert_eq!(entity("--ip 10.0.0.1"), named("ips", "10.0.0.1"));
        assert_eq!(entity("--client-defaults"), named("clients", ""));
        let both = |args: &str| {
            let task = task(&format!("--describe {args}")).unwrap();
            let names = task.entities().map(|(k, name)| format!("{} {name:?}", k.name));
            names.collect::<Vec<_>>().join(", ")
        };
        let wants = r#"users Some("u"), clients Some("")"#;
        assert_eq!(both("--user u --client-defaults"), wants);
        let typed = "--entity-type users --entity-name u --entity-type clients --entity-default";
        assert_eq!(both(typed), wants);
    }

    #[test]
    fn what_does_not_go_together_is_refused_in_kafkas_words() {
        for (args, wants) in [
            ("--topic t", "Command must include exactly one action: --describe, --alter"),
            ("--describe", "At least one entity type must be specified"),
            (
                "--describe --topic t --entity-type topics",
                "Duplicate entity type(s) specified: topics",
            ),
            (
                "--describe --topic t --broker 1",
                "Only 'users' and 'clients' entity types may be specified together",
            ),
            (
                "--describe --broker abc",
                "The entity name for brokers must be a valid integer broker id, but it is: abc",
            ),
            (
                "--describe --topic t --add-config a=b",
                "Option \"[describe]\" can't be used with option \"[add-config]\"",
            ),
            (
                "--alter --entity-type topics --add-config a=b",
                "An entity name must be specified with --alter of topics",
            ),
            (
                "--alter --entity-type ips --add-config a=b",
                "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
            ),
            (
                "--alter --topic t",
                "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
            ),
            ("--alter --topic t --add-config a+b=1", "Invalid character found for config key: a+b"),
        ] {
            assert_eq!(task(args), Err(wants.to_owned()), "{args}");
        }
        assert!(
            task("--describe --entity-type bogus")
                .unwrap_err()
                .starts_with("Invalid entity type bogus")
        );
        assert!(
            task("--alter --topic t --add-config a").unwrap_err().starts_with("requirement failed")
        );
        assert!(
            task("--alter --topic t --add-config a=b=c")
                .unwrap_err()
                .starts_with("requirement failed")
        );
    }

    #[test]
    fn configs_are_lists_whose_brackets_hold_commas_and_equals_signs() {
        let change = |args: &str| {
            let task = task(&format!("--alter --topic t {args}")).unwrap();
            let pairs = task.change.unwrap().into_iter();
            pairs.map(|(k, v)| format!("{k}:{}", v.unwrap_or("-".into()))).collect::<Vec<_>>()
        };
        assert_eq!(change("--add-config k=[a,b],l=1,m=,n=[x=y]"), ["k:a,b", "l:1", "m:", "n:x=y"]);
        assert_eq!(
            change("--add-config k=1, --delete-config l,m --delete-config n"),
            ["k:1", "l:-", "m:-", "n:-"]
        );
    }
}
