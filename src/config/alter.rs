//! Changes to what is set on a resource, checked as Kafka's controller checks them.
//!
//! [`apply`] is IncrementalAlterConfigs, [`replace`] is AlterConfigs. Both return all that is set
//! afterwards, so that the caller can compare and write the difference.

use super::error::ConfigError;
use super::key::{Key, Kind, Scope, Value, split_list};
use super::layers::{Layers, Overrides};
use super::server::is_listener_key;
use super::{table, topic};

/// Settings that one resource may have. Brokers take names that nobody knows, so there is an end.
pub const OVERRIDES_MAX: usize = 1000;

/// Longest name or value that is kept: every version of the protocol must be able to describe it.
pub const TEXT_BYTES_MAX: usize = i16::MAX as usize;

const IN_SYNC_MINIMUM: &str = "min.insync.replicas";

/// Kind of resource that is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A topic.
    Topic,
    /// One broker.
    Node,
    /// All brokers.
    Cluster,
    /// A group.
    Group,
    /// A client-metrics subscription.
    ClientMetrics,
}

/// What is done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Sets it.
    Set,
    /// Takes away what is set.
    Delete,
    /// Adds elements to a list.
    Append,
    /// Takes elements out of a list.
    Subtract,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub name: String,
    /// What is done.
    pub op: Op,
    /// With which value; ignored by [`Op::Delete`].
    pub value: Option<String>,
}

impl Level {
    fn key(self, name: &str) -> Option<&'static Key> {
        let keys = match self {
            Self::Topic => table::TOPIC,
            Self::Group => table::GROUP_RESOURCE,
            Self::ClientMetrics => table::CLIENT_METRICS,
            Self::Node | Self::Cluster => return table::broker_key(name),
        };
        keys.iter().find(|k| k.name == name)
    }

    fn is_broker(self) -> bool {
        matches!(self, Self::Node | Self::Cluster)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Node | Self::Cluster => "broker",
            Self::Group => "group",
            Self::ClientMetrics => "client metrics",
        }
    }
}

/// What is set after these changes.
///
/// # Errors
/// The first that is wrong; then nothing changes.
pub fn apply(
    level: Level,
    current: &Overrides,
    changes: &[Change],
    layers: &Layers<'_>,
) -> Result<Overrides, ConfigError> {
    check_names_differ(changes.iter().map(|c| c.name.as_str()))?;
    let mut set = current.clone();
    for change in changes {
        let value = change.value.as_ref().map(|v| v.trim());
        if change.op == Op::Delete {
            set.remove(&change.name);
            continue;
        }
        let value = value.ok_or_else(|| ConfigError::NullValue(change.name.clone()))?;
        let value = match change.op {
            Op::Set | Op::Delete => value.to_owned(),
            Op::Append | Op::Subtract => edit_list(level, &set, change, value)?,
        };
        set.insert(change.name.clone(), value);
    }
    let touched = changes.iter().filter(|c| c.op != Op::Delete).map(|c| c.name.as_str());
    check_scope(level, touched)?;
    check(level, current, &set, layers)?;
    Ok(set)
}

/// What is set when these settings take the place of all that is set.
///
/// # Errors
/// The first that is wrong; then nothing changes.
pub fn replace(
    level: Level,
    current: &Overrides,
    settings: &[(String, Option<String>)],
    layers: &Layers<'_>,
) -> Result<Overrides, ConfigError> {
    check_names_differ(settings.iter().map(|(name, _)| name.as_str()))?;
    let read = |(name, value): &(String, Option<String>)| match value {
        Some(value) => Ok((name.clone(), value.trim().to_owned())),
        None => Err(ConfigError::NullValue(name.clone())),
    };
    let set = settings.iter().map(read).collect::<Result<Overrides, _>>()?;
    check_scope(level, set.keys().map(String::as_str))?;
    check(level, current, &set, layers)?;
    Ok(set)
}

/// Checks all that is set on a new topic.
///
/// # Errors
/// The first that is wrong.
pub fn check_topic(set: &Overrides, layers: &Layers<'_>) -> Result<(), ConfigError> {
    check(Level::Topic, &Overrides::new(), set, layers)
}

fn check_names_differ<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    if names.windows(2).any(|w| w[0] == w[1]) {
        return Err(ConfigError::DuplicateKeys);
    }
    Ok(())
}

/// The list with elements added (those that are missing) or taken out. A list that is not set
/// starts from the default of its key.
fn edit_list(
    level: Level,
    set: &Overrides,
    change: &Change,
    elements: &str,
) -> Result<String, ConfigError> {
    let key = level.key(&change.name).filter(|k| k.kind == Kind::List);
    let key = key.ok_or_else(|| ConfigError::NotAList(change.name.clone()))?;
    let start = set.get(key.name).map(String::as_str).or(key.default).unwrap_or_default();
    let mut list = split_list(start);
    for element in split_list(elements) {
        match change.op {
            Op::Subtract => list.retain(|e| *e != element),
            _ if !list.contains(&element) => list.push(element),
            _ => {}
        }
    }
    Ok(list.join(","))
}

/// Whether these broker keys may be changed at this level.
fn check_scope<'a>(level: Level, names: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    if !level.is_broker() {
        return Ok(());
    }
    let (mut fixed, mut node_only, mut listener_only) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match table::broker_key(name).map(|k| k.scope) {
            Some(Scope::ReadOnly) => fixed.push(name),
            Some(Scope::Listener) => listener_only.push(name),
            Some(Scope::Node) if level == Level::Cluster => node_only.push(name),
            None if level == Level::Cluster && is_listener_key(name) => node_only.push(name),
            _ => {}
        }
    }
    if !fixed.is_empty() {
        return Err(ConfigError::NotDynamic(fixed.join(", ")));
    }
    if !listener_only.is_empty() {
        return Err(ConfigError::ListenerOnly(listener_only.join(", ")));
    }
    if !node_only.is_empty() {
        return Err(ConfigError::NodeOnly(node_only.join(", ")));
    }
    Ok(())
}

fn check(
    level: Level,
    before: &Overrides,
    set: &Overrides,
    layers: &Layers<'_>,
) -> Result<(), ConfigError> {
    if set.len() > OVERRIDES_MAX {
        return Err(ConfigError::TooMany { actual: set.len(), limit: OVERRIDES_MAX });
    }
    for (name, value) in set {
        let actual = name.len().max(value.len());
        if actual > TEXT_BYTES_MAX {
            return Err(ConfigError::TooLong { actual, limit: TEXT_BYTES_MAX });
        }
        match level.key(name) {
            Some(key) => {
                key.parse(value)?;
            }
            None if level.is_broker() => {}
            None => {
                return Err(ConfigError::UnknownAt { level: level.name(), name: name.clone() });
            }
        }
    }
    match level {
        Level::Topic => check_topic_relations(set, layers),
        Level::Group => set.iter().try_for_each(|(name, _)| check_group(name, set, layers)),
        Level::Cluster => {
            let lost = before.contains_key(IN_SYNC_MINIMUM) && !set.contains_key(IN_SYNC_MINIMUM);
            if lost { Err(ConfigError::InSyncMinimumNeeded) } else { Ok(()) }
        }
        Level::Node if set.contains_key(IN_SYNC_MINIMUM) => Err(ConfigError::InSyncMinimumAtNode),
        Level::Node | Level::ClientMetrics => Ok(()),
    }
}

fn check_topic_relations(set: &Overrides, layers: &Layers<'_>) -> Result<(), ConfigError> {
    let read = |name| table::topic_key(name).and_then(|k| topic::value(k, set, layers));
    if read("remote.storage.enable") == Some(Value::Bool(true)) {
        return Err(ConfigError::Invalid {
            name: "remote.storage.enable".into(),
            value: "true".into(),
            why: "tiered storage does not exist yet".into(),
        });
    }
    let lags = (read("min.compaction.lag.ms"), read("max.compaction.lag.ms"));
    if let (Some(Value::Int(min)), Some(Value::Int(max))) = lags
        && min > max
    {
        return Err(ConfigError::Conflict {
            first: "min.compaction.lag.ms",
            second: "max.compaction.lag.ms",
            why: format!("{min} must not be above {max}"),
        });
    }
    Ok(())
}

/// Whether a setting of a group keeps to the limits of the brokers: `consumer.session.timeout.ms`
/// to `group.consumer.min.session.timeout.ms` and its `max`.
fn check_group(name: &str, set: &Overrides, layers: &Layers<'_>) -> Result<(), ConfigError> {
    let own = table::GROUP_RESOURCE.iter().find(|k| k.name == name);
    let value = own.and_then(|k| topic::value(k, set, layers));
    let (Some(Value::Int(value)), Some((protocol, rest))) = (value, name.split_once('.')) else {
        return Ok(());
    };
    let rest = rest.strip_prefix("num.").unwrap_or(rest);
    for (word, relation) in [("min", "greater"), ("max", "less")] {
        let limit = format!("group.{protocol}.{word}.{rest}");
        let Some(Value::Int(bound)) = table::broker_key(&limit).and_then(|k| layers.value(k))
        else {
            continue;
        };
        if (word == "min" && value < bound) || (word == "max" && value > bound) {
            return Err(ConfigError::GroupLimit { name: name.to_owned(), relation, limit });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerConfig;
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;

    /// Runs a script, one request a line, and compares what is set after each.
    ///
    /// A change is `key=value`, `key+=value`, `key-=value` or `key!`; `replace` starts AlterConfigs.
    #[track_caller]
    fn check(level: Level, script: &str, expect: &Expect) {
        let server = ServerConfig::load("", &[]).unwrap();
        let layers = Layers::of_server(&server);
        let (mut set, mut trace) = (Overrides::new(), String::new());
        if level == Level::Cluster {
            set.insert("min.insync.replicas".into(), "1".into());
        }
        for line in script.lines().map(str::trim) {
            let result = match line.strip_prefix("replace ") {
                None => {
                    let changes: Vec<Change> = line.split(' ').map(change).collect();
                    apply(level, &set, &changes, &layers)
                }
                Some(rest) => {
                    let all: Vec<_> =
                        rest.split(' ').map(change).map(|c| (c.name, c.value)).collect();
                    replace(level, &set, &all, &layers)
                }
            };
            match result {
                Ok(new) => {
                    set = new;
                    let pairs: Vec<_> = set.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    writeln!(trace, "{line} -> [{}]", pairs.join(" ")).unwrap();
                }
                Err(e) => writeln!(trace, "{line} -> refused: {e}").unwrap(),
            }
        }
        expect.assert_eq(&trace);
    }

    fn change(text: &str) -> Change {
        let forms = [("+=", Op::Append), ("-=", Op::Subtract), ("=", Op::Set)];
        let Some((sign, op)) = forms.into_iter().find(|(s, _)| text.contains(s)) else {
            let op = if text.ends_with('!') { Op::Delete } else { Op::Set };
            return Change { name: text.trim_end_matches('!').to_owned(), op, value: None };
        };
        let (name, value) = text.split_once(sign).unwrap();
        Change { name: name.to_owned(), op, value: Some(value.to_owned()) }
    }

    #[test]
    fn a_topic_is_changed_key_by_key_or_as_a_whole() {
        check(
            Level::Topic,
            "retention.ms=1000
             retention.ms=2000 segment.ms=77
             retention.ms=x
             no.such=1
             no.such!
             cleanup.policy+=compact
             cleanup.policy+=compact
             cleanup.policy-=delete
             retention.ms+=5
             retention.ms!
             retention.ms!
             retention.ms=1 retention.ms=2
             retention.ms
             segment.bytes=3
             leader.replication.throttled.replicas+=0:1,1:2
             leader.replication.throttled.replicas-=0:1,7:7
             leader.replication.throttled.replicas=a:b
             min.compaction.lag.ms=100 max.compaction.lag.ms=50
             remote.storage.enable=true
             replace segment.ms=9
             replace segment.ms",
            &expect![[r"
                retention.ms=1000 -> [retention.ms=1000]
                retention.ms=2000 segment.ms=77 -> [retention.ms=2000 segment.ms=77]
                retention.ms=x -> refused: Invalid value x for configuration retention.ms: Not a number of type LONG
                no.such=1 -> refused: Unknown topic config name: no.such
                no.such! -> [retention.ms=2000 segment.ms=77]
                cleanup.policy+=compact -> [cleanup.policy=delete,compact retention.ms=2000 segment.ms=77]
                cleanup.policy+=compact -> [cleanup.policy=delete,compact retention.ms=2000 segment.ms=77]
                cleanup.policy-=delete -> [cleanup.policy=compact retention.ms=2000 segment.ms=77]
                retention.ms+=5 -> refused: Config value append and subtract are not allowed for config key: retention.ms
                retention.ms! -> [cleanup.policy=compact segment.ms=77]
                retention.ms! -> [cleanup.policy=compact segment.ms=77]
                retention.ms=1 retention.ms=2 -> refused: Error due to duplicate config keys
                retention.ms -> refused: Null value not supported for : retention.ms
                segment.bytes=3 -> refused: Invalid value 3 for configuration segment.bytes: Value must be at least 1048576
                leader.replication.throttled.replicas+=0:1,1:2 -> [cleanup.policy=compact leader.replication.throttled.replicas=0:1,1:2 segment.ms=77]
                leader.replication.throttled.replicas-=0:1,7:7 -> [cleanup.policy=compact leader.replication.throttled.replicas=1:2 segment.ms=77]
                leader.replication.throttled.replicas=a:b -> refused: Invalid value a:b for configuration leader.replication.throttled.replicas: must be '*' or [partition]:[broker],[partition]:[broker],...
                min.compaction.lag.ms=100 max.compaction.lag.ms=50 -> refused: min.compaction.lag.ms and max.compaction.lag.ms contradict each other: 100 must not be above 50
                remote.storage.enable=true -> refused: Invalid value true for configuration remote.storage.enable: tiered storage does not exist yet
                replace segment.ms=9 -> [segment.ms=9]
                replace segment.ms -> refused: Null value not supported for : segment.ms
            "]],
        );
    }

    #[test]
    fn brokers_take_unknown_names_and_refuse_what_is_fixed() {
        check(
            Level::Cluster,
            "no.such=1
             num.partitions=7
             num.partitions!
             log.segment.bytes=3
             ssl.keystore.location=/x
             sasl.login.refresh.window.factor=0.7
             principal.builder.class=x
             min.insync.replicas!
             replace log.retention.ms=5",
            &expect![[r"
                no.such=1 -> [min.insync.replicas=1 no.such=1]
                num.partitions=7 -> refused: Cannot update these configs dynamically: [num.partitions]
                num.partitions! -> [min.insync.replicas=1 no.such=1]
                log.segment.bytes=3 -> refused: Invalid value 3 for configuration log.segment.bytes: Value must be at least 1048576
                ssl.keystore.location=/x -> refused: These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]
                sasl.login.refresh.window.factor=0.7 -> refused: Cannot update these configs at default cluster level, broker id must be specified: [sasl.login.refresh.window.factor]
                principal.builder.class=x -> refused: Cannot update these configs at default cluster level, broker id must be specified: [principal.builder.class]
                min.insync.replicas! -> refused: Cluster-level min.insync.replicas cannot be removed while ELR is enabled.
                replace log.retention.ms=5 -> refused: Cluster-level min.insync.replicas cannot be removed while ELR is enabled.
            "]],
        );
        check(
            Level::Node,
            "min.insync.replicas=1
             ssl.truststore.type=x
             sasl.login.refresh.window.factor=0.7
             sasl.login.refresh.window.factor!
             listener.name.x.ssl.keystore.location=/x",
            &expect![[r"
                min.insync.replicas=1 -> refused: Broker-level min.insync.replicas cannot be altered while ELR is enabled.
                ssl.truststore.type=x -> refused: These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.truststore.type]
                sasl.login.refresh.window.factor=0.7 -> [sasl.login.refresh.window.factor=0.7]
                sasl.login.refresh.window.factor! -> []
                listener.name.x.ssl.keystore.location=/x -> [listener.name.x.ssl.keystore.location=/x]
            "]],
        );
    }

    #[test]
    fn what_one_resource_holds_is_bounded() {
        let server = ServerConfig::load("", &[]).unwrap();
        let layers = Layers::of_server(&server);
        let set = |name: String, value: String| (name, Some(value));
        let long = [set("no.such".into(), "x".repeat(TEXT_BYTES_MAX + 1))];
        let refused = replace(Level::Node, &Overrides::new(), &long, &layers);
        assert!(matches!(refused, Err(ConfigError::TooLong { .. })));
        let many: Vec<_> = (0..=OVERRIDES_MAX).map(|i| set(format!("x{i}"), "1".into())).collect();
        let refused = replace(Level::Node, &Overrides::new(), &many, &layers);
        assert!(matches!(refused, Err(ConfigError::TooMany { .. })));
    }

    #[test]
    fn groups_keep_to_the_limits_of_the_brokers() {
        check(
            Level::Group,
            "consumer.session.timeout.ms=50000
             consumer.session.timeout.ms=1
             consumer.heartbeat.interval.ms=50000
             streams.num.standby.replicas=3
             share.auto.offset.reset=by_duration:P1DT2H
             share.auto.offset.reset=by_duration:P
             nope=1",
            &expect![[r"
                consumer.session.timeout.ms=50000 -> [consumer.session.timeout.ms=50000]
                consumer.session.timeout.ms=1 -> refused: consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms
                consumer.heartbeat.interval.ms=50000 -> refused: consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms
                streams.num.standby.replicas=3 -> refused: streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas
                share.auto.offset.reset=by_duration:P1DT2H -> [consumer.session.timeout.ms=50000 share.auto.offset.reset=by_duration:P1DT2H]
                share.auto.offset.reset=by_duration:P -> refused: Invalid value by_duration:P for configuration share.auto.offset.reset: String must be one of: latest, earliest, by_duration:<ISO 8601 duration>
                nope=1 -> refused: Unknown group config name: nope
            "]],
        );
        check(
            Level::ClientMetrics,
            "interval.ms=5
             match=foo=x
             match=client_id=a.*",
            &expect![[r"
                interval.ms=5 -> refused: Invalid value 5 for configuration interval.ms: Value must be at least 100
                match=foo=x -> refused: Invalid value foo=x for configuration match: Illegal client matching pattern
                match=client_id=a.* -> [match=client_id=a.*]
            "]],
        );
    }
}
