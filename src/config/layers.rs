//! Where a value comes from: per-broker dynamic, cluster-wide dynamic, the server's file, default.
//!
//! The dynamic layers come from the metadata image, the others from the start of the server. A
//! dynamic value that its key does not take (written by another version) counts as not set.

use std::collections::BTreeMap;

use super::key::{Key, Value};
use super::server::ServerConfig;
use super::table;

/// What is set on one resource, by key.
pub type Overrides = BTreeMap<String, String>;

/// Which layer a value comes from. The number is the one DescribeConfigs carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set on this broker while it ran.
    Node = 2,
    /// Set for all brokers while they ran.
    Cluster = 3,
    /// Set in the server's file or on its command line.
    Static = 4,
    /// Nothing is set.
    Default = 5,
    /// Set on the client-metrics subscription.
    ClientMetrics = 7,
    /// Set on the group.
    Group = 8,
}

/// The layers that one broker sees.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Set on this broker.
    pub node: Option<&'a Overrides>,
    /// Set for all brokers.
    pub cluster: Option<&'a Overrides>,
    /// What the server was started with.
    pub server: &'a ServerConfig,
}

impl<'a> Layers<'a> {
    /// What the server was started with, and nothing above it.
    pub fn of_server(server: &'a ServerConfig) -> Self {
        Self { node: None, cluster: None, server }
    }

    /// The texts that are there for a broker key, the one that counts first.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = (&'a str, Source)> {
        let key = table::broker_key(name);
        let dynamic = |layer: Option<&'a Overrides>| {
            let text = layer?.get(name)?;
            key.is_none_or(|k| k.parse(text).is_ok()).then_some(text.as_str())
        };
        [
            (dynamic(self.node), Source::Node),
            (dynamic(self.cluster), Source::Cluster),
            (self.server.set().get(name).map(String::as_str), Source::Static),
            (key.and_then(|k| k.default), Source::Default),
        ]
        .into_iter()
        .filter_map(|(text, source)| Some((text?, source)))
    }

    /// The value of a broker key; `None` when nothing is set and it has no default.
    pub fn value(&self, key: &Key) -> Option<Value> {
        self.texts(key.name).find_map(|(text, _)| key.parse(text).ok())
    }

    /// The value of a broker key, or else of those that stand in for it.
    pub fn value_or_stand_in(&self, key: &Key) -> Option<Value> {
        let stand_in = |&(name, factor): &(&str, i64)| match self.value(table::broker_key(name)?)? {
            Value::Int(v) => Some(Value::Int(v.saturating_mul(factor))),
            other => Some(other),
        };
        self.value(key).or_else(|| table::stand_ins(key.name).iter().find_map(stand_in))
    }

    /// A whole number that always has a value.
    ///
    /// # Panics
    /// When the table has no such number (invariant C1, kept by a test).
    pub fn int(&self, name: &str) -> i64 {
        match table::broker_key(name).and_then(|k| self.value_or_stand_in(k)) {
            Some(Value::Int(v)) => v,
            other => panic!("C1: {name} has no whole number in the table: {other:?}"),
        }
    }

    /// A truth value that always has one.
    pub fn bool(&self, name: &str) -> bool {
        table::broker_key(name).and_then(|k| self.value(k)) == Some(Value::Bool(true))
    }

    /// A text; `None` when nothing is set.
    pub fn text(&self, name: &str) -> Option<String> {
        table::broker_key(name).and_then(|k| self.value(k)).map(|v| v.to_string())
    }
}

/// What may change while a node runs and is not a matter of topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLimits {
    /// Open connections.
    pub connections_max: u32,
    /// Open connections of one address.
    pub connections_per_ip_max: u32,
    /// Other limits for single addresses or host names.
    pub connections_per_ip_overrides: Vec<(String, u32)>,
    /// New connections a second.
    pub connection_creation_rate: u32,
    /// How long a producer without traffic is remembered.
    pub producer_id_expiration_ms: i64,
}

impl NodeLimits {
    /// Open connections that one address may have.
    pub fn connections_from(&self, address: &str) -> u32 {
        let own = self.connections_per_ip_overrides.iter().find(|(a, _)| a == address);
        own.map_or(self.connections_per_ip_max, |(_, limit)| *limit)
    }

    /// Works them out.
    pub fn of(layers: &Layers<'_>) -> Self {
        let overrides = layers.text("max.connections.per.ip.overrides").unwrap_or_default();
        let pair = |p: &str| {
            let (address, limit) = p.trim().rsplit_once(':')?;
            Some((address.to_owned(), limit.parse().ok()?))
        };
        let unsigned = |name| u32::try_from(layers.int(name)).unwrap_or(0);
        Self {
            connections_max: unsigned("max.connections"),
            connections_per_ip_max: unsigned("max.connections.per.ip"),
            connections_per_ip_overrides: overrides.split(',').filter_map(pair).collect(),
            connection_creation_rate: unsigned("max.connection.creation.rate"),
            producer_id_expiration_ms: layers.int("producer.id.expiration.ms"),
        }
    }
}
