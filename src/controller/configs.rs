//! Settings of topics, brokers, groups and subscriptions change.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::check_topic_name;
use super::{Controller, ControllerError};
use crate::base::NodeId;
use crate::config::{Change, ConfigError, Level, Overrides, alter};
use crate::image::{Record, Resource};

/// A change of one resource.
#[derive(Debug, Clone)]
pub struct Alteration {
    /// The resource. A broker without a name is all brokers.
    pub resource: Resource,
    /// What is changed.
    pub kind: AlterationKind,
}

/// How settings change.
#[derive(Debug, Clone)]
pub enum AlterationKind {
    /// Key by key.
    Changes(Vec<Change>),
    /// These take the place of all that is set.
    Replace(Vec<(String, Option<String>)>),
}

impl Controller<'_> {
    /// Changes settings, each resource by itself; a result for each, in order. With `validate_only`
    /// the results are the same and nothing happens.
    pub fn alter_configs(
        &self,
        alterations: &[Alteration],
        validate_only: bool,
    ) -> (Vec<Record>, Vec<Result<(), ControllerError>>) {
        let mut count: BTreeMap<&Resource, usize> = BTreeMap::new();
        for alteration in alterations {
            *count.entry(&alteration.resource).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut results = Vec::new();
        for alteration in alterations {
            let result = if count[&alteration.resource] > 1 {
                Err(ControllerError::request("Each resource must appear at most once."))
            } else {
                self.alter(alteration).map(|changed| records.extend(changed))
            };
            results.push(result);
        }
        if validate_only {
            return (Vec::new(), results);
        }
        (records, results)
    }

    fn alter(&self, alteration: &Alteration) -> Result<Vec<Record>, ControllerError> {
        let resource = &alteration.resource;
        let level = resource.level;
        let empty = Arc::default();
        let current = self.image.config(resource).unwrap_or(&empty);
        self.check_resource(resource)?;
        let set = match &alteration.kind {
            AlterationKind::Changes(changes) => {
                alter::apply(level, current, changes, &self.layers())
            }
            AlterationKind::Replace(settings) => {
                alter::replace(level, current, settings, &self.layers())
            }
        };
        let set = set.map_err(|e| blame(level, e))?;
        Ok(difference(resource, current, &set))
    }

    fn check_resource(&self, resource: &Resource) -> Result<(), ControllerError> {
        let name = &*resource.name;
        match resource.level {
            Level::Topic if name.is_empty() => {
                Err(ControllerError::request("Default topic resources are not allowed."))
            }
            Level::Topic => {
                check_topic_name(name)?;
                self.image.topic(name).map(|_| ()).ok_or(ControllerError::UnknownTopic)
            }
            Level::Node => {
                let id = name.parse().map(NodeId).map_err(|_| {
                    ControllerError::InvalidRequest(format!(
                        "Node id must be an integer, but it is: {name}"
                    ))
                })?;
                self.image.node(id).map(|_| ()).ok_or_else(|| {
                    ControllerError::InvalidRequest(format!("Broker {id} is not registered"))
                })
            }
            Level::Group if name.is_empty() => {
                Err(ControllerError::request("Default group resources are not allowed."))
            }
            Level::ClientMetrics if name.is_empty() => {
                Err(ControllerError::request("Subscription name can't be empty"))
            }
            Level::Cluster | Level::Group | Level::ClientMetrics => Ok(()),
        }
    }
}

/// Whether the setting is at fault or the request, as Kafka sees it: for brokers nearly always the
/// request.
fn blame(level: Level, error: ConfigError) -> ControllerError {
    let broker = matches!(level, Level::Node | Level::Cluster);
    let request = match &error {
        ConfigError::DuplicateKeys
        | ConfigError::NullValue(_)
        | ConfigError::TooMany { .. }
        | ConfigError::TooLong { .. }
        | ConfigError::NotDynamic(_)
        | ConfigError::NodeOnly(_)
        | ConfigError::ListenerOnly(_) => true,
        ConfigError::UnknownAt { .. } => level == Level::ClientMetrics,
        ConfigError::Invalid { name, .. } => {
            broker || (level == Level::ClientMetrics && name == "interval.ms")
        }
        _ => false,
    };
    if request {
        ControllerError::InvalidRequest(error.to_string())
    } else {
        ControllerError::InvalidConfig(error)
    }
}

/// The records that turn `before` into `after`.
fn difference(resource: &Resource, before: &Overrides, after: &Overrides) -> Vec<Record> {
    let record = |name: &String, value: Option<&String>| Record::Config {
        resource: resource.clone(),
        name: name.clone(),
        value: value.cloned(),
    };
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|n| record(n, None));
    let set = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    gone.chain(set.map(|(name, value)| record(name, Some(value)))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Cluster;
    use super::*;
    use crate::config::Op;
    use crate::controller::NewTopic;
    use expect_test::expect;
    use std::fmt::Write as _;

    fn set(level: Level, name: &str, key: &str, value: &str) -> Alteration {
        let change = Change { name: key.into(), op: Op::Set, value: Some(value.into()) };
        let resource = Resource { level, name: name.into() };
        Alteration { resource, kind: AlterationKind::Changes(vec![change]) }
    }

    fn with_topic() -> Cluster {
        let mut cluster = Cluster::new(2, "");
        let topic = NewTopic {
            name: "t".into(),
            partitions: 1,
            replication_factor: 1,
            ..NewTopic::default()
        };
        cluster.decide(|c| c.create_topics(vec![topic], false));
        cluster
    }

    #[test]
    fn each_resource_is_found_and_its_faults_are_blamed_on_the_setting_or_the_request() {
        let mut cluster = with_topic();
        let mut text = String::new();
        for (level, name, key, value) in [
            (Level::Topic, "t", "retention.ms", "5"),
            (Level::Topic, "t", "retention.ms", "x"),
            (Level::Topic, "t", "no.such", "x"),
            (Level::Topic, "", "retention.ms", "5"),
            (Level::Topic, "a b", "retention.ms", "5"),
            (Level::Topic, "nope", "retention.ms", "5"),
            (Level::Node, "1", "log.retention.ms", "5"),
            (Level::Node, "99", "log.retention.ms", "5"),
            (Level::Node, "abc", "log.retention.ms", "5"),
            (Level::Node, "1", "min.insync.replicas", "1"),
            (Level::Cluster, "", "num.partitions", "5"),
            (Level::Cluster, "", "log.segment.bytes", "5"),
            (Level::Group, "g", "consumer.session.timeout.ms", "50000"),
            (Level::Group, "g", "consumer.session.timeout.ms", "1"),
            (Level::Group, "", "consumer.session.timeout.ms", "1"),
            (Level::ClientMetrics, "m", "interval.ms", "5"),
            (Level::ClientMetrics, "m", "match", "foo=x"),
            (Level::ClientMetrics, "m", "foo", "x"),
            (Level::ClientMetrics, "", "metrics", "x"),
        ] {
            let alteration = [set(level, name, key, value)];
            let (_, results) = cluster.decide(|c| c.alter_configs(&alteration, false));
            let result = match &results[0] {
                Ok(()) => "ok".to_owned(),
                Err(ControllerError::InvalidConfig(e)) => format!("setting: {e}"),
                Err(ControllerError::InvalidRequest(e)) => format!("request: {e}"),
                Err(e) => e.to_string(),
            };
            writeln!(text, "{level:?} {name:?} {key}={value} -> {result}").unwrap();
        }
        expect![[r#"
            Topic "t" retention.ms=5 -> ok
            Topic "t" retention.ms=x -> setting: Invalid value x for configuration retention.ms: Not a number of type LONG
            Topic "t" no.such=x -> setting: Unknown topic config name: no.such
            Topic "" retention.ms=5 -> request: Default topic resources are not allowed.
            Topic "a b" retention.ms=5 -> Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'
            Topic "nope" retention.ms=5 -> This server does not host this topic-partition.
            Node "1" log.retention.ms=5 -> ok
            Node "99" log.retention.ms=5 -> request: Broker 99 is not registered
            Node "abc" log.retention.ms=5 -> request: Node id must be an integer, but it is: abc
            Node "1" min.insync.replicas=1 -> setting: Broker-level min.insync.replicas cannot be altered while ELR is enabled.
            Cluster "" num.partitions=5 -> request: Cannot update these configs dynamically: [num.partitions]
            Cluster "" log.segment.bytes=5 -> request: Invalid value 5 for configuration log.segment.bytes: Value must be at least 1048576
            Group "g" consumer.session.timeout.ms=50000 -> ok
            Group "g" consumer.session.timeout.ms=1 -> setting: consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms
            Group "" consumer.session.timeout.ms=1 -> request: Default group resources are not allowed.
            ClientMetrics "m" interval.ms=5 -> request: Invalid value 5 for configuration interval.ms: Value must be at least 100
            ClientMetrics "m" match=foo=x -> setting: Invalid value foo=x for configuration match: Illegal client matching pattern
            ClientMetrics "m" foo=x -> request: Unknown client metrics config name: foo
            ClientMetrics "" metrics=x -> request: Subscription name can't be empty
        "#]].assert_eq(&text);
    }

    #[test]
    fn only_what_differs_is_written() {
        let mut cluster = with_topic();
        let resource = Resource::topic("t");
        let replace = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|&(k, v)| (k.into(), Some(v.into()))).collect();
            [Alteration { resource: resource.clone(), kind: AlterationKind::Replace(pairs) }]
        };
        let first = replace(&[("retention.ms", "5"), ("segment.ms", "6")]);
        assert_eq!(cluster.decide(|c| c.alter_configs(&first, true)).0, []);
        assert_eq!(cluster.decide(|c| c.alter_configs(&first, false)).0.len(), 2);
        assert_eq!(cluster.decide(|c| c.alter_configs(&first, false)).0, []);
        let (records, _) =
            cluster.decide(|c| c.alter_configs(&replace(&[("segment.ms", "7")]), false));
        let config = |name: &str, value: Option<&str>| Record::Config {
            resource: resource.clone(),
            name: name.into(),
            value: value.map(Into::into),
        };
        assert_eq!(records, [config("retention.ms", None), config("segment.ms", Some("7"))]);
    }

    #[test]
    fn a_resource_that_comes_twice_is_refused_both_times() {
        let twice = [
            set(Level::Topic, "t", "retention.ms", "1"),
            set(Level::Topic, "t", "segment.ms", "1"),
        ];
        let (records, results) = with_topic().decide(|c| c.alter_configs(&twice, false));
        assert_eq!(records, []);
        assert!(results.len() == 2 && results.iter().all(Result::is_err));
    }
}
