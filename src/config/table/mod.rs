//! The one table: every key of Kafka 4.3 (and those that 4.4 adds), and Klamm's own.
//!
//! One line a key: name, type, default, range, scope, effect, doc, and for topic and group keys
//! the broker key that is their default. Parser, validation, DescribeConfigs and help come out of
//! it, so a key is added here and nowhere else. Defaults that differ from Kafka's on purpose:
//! `listeners` (loopback), `log.dir`, `node.id` (0) and `flush.messages` with its broker key (1).

use super::key::{Effect, Key, Kind, Range, Scope};

macro_rules! keys {
    ($(#[$m:meta])* $table:ident: $(
        $name:literal $kind:ident $default:tt $range:expr, $scope:ident $effect:ident $doc:literal
        $(= $broker:literal)?;
    )*) => {
        $(#[$m])*
        pub const $table: &[super::Key] = &[$(super::Key {
            name: $name,
            kind: super::Kind::$kind,
            default: keys!(@default $default),
            range: $range,
            scope: super::Scope::$scope,
            effect: super::Effect::$effect,
            doc: $doc,
            broker: keys!(@broker $($broker)?),
        },)*];
    };
    (@default null) => { None };
    (@default $text:literal) => { Some($text) };
    (@broker) => { None };
    (@broker $name:literal) => { Some($name) };
}

/// Short names for the range column.
mod prelude {
    pub(super) use super::Range::*;

    pub(super) const fn min(min: i64) -> super::Range {
        Int(min, i64::MAX)
    }

    pub(super) const fn between(min: i64, max: i64) -> super::Range {
        Int(min, max)
    }

    pub(super) const CLEANUP: &[&str] = &["compact", "delete"];
    pub(super) const CLIENT_AUTH: &[&str] = &["required", "requested", "none"];
    pub(super) const COMPRESSION: &[&str] =
        &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
    pub(super) const GROUP_PROTOCOLS: &[&str] = &["classic", "consumer", "share", "streams"];
    pub(super) const ISOLATION: &[&str] = &["read_committed", "read_uncommitted"];
    pub(super) const MIGRATION: &[&str] = &["disabled", "downgrade", "upgrade", "bidirectional"];
    pub(super) const ROLES: &[&str] = &["broker", "controller"];
    pub(super) const SECURITY: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
    pub(super) const SIGNING: &[&str] = &["ES256", "RS256"];
    pub(super) const TIMESTAMP: &[&str] = &["CreateTime", "LogAppendTime"];
}

pub mod group;
pub mod log;
pub mod network;
pub mod quorum;
pub mod remote;
pub mod replication;
pub mod resource;
pub mod security;
pub mod server;
pub mod share;
pub mod topic;
pub mod transaction;

pub use resource::{CLIENT_METRICS, GROUP_RESOURCE};
pub use topic::TOPIC;

/// The broker keys, by area.
pub const BROKER: [&[Key]; 10] = [
    server::SERVER,
    network::NETWORK,
    log::LOG,
    group::GROUP,
    share::SHARE,
    transaction::TRANSACTION,
    replication::REPLICATION,
    quorum::QUORUM,
    security::SECURITY,
    remote::REMOTE,
];

/// All broker keys.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    BROKER.into_iter().flatten()
}

/// The broker key of this name.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    broker_keys().find(|k| k.name == name)
}

/// The topic key of this name.
pub fn topic_key(name: &str) -> Option<&'static Key> {
    TOPIC.iter().find(|k| k.name == name)
}

/// Broker keys that stand in for others that are not set, with the factor that turns their value
/// into that of the first: `log.retention.hours` for `log.retention.ms`.
pub fn stand_ins(name: &str) -> &'static [(&'static str, i64)] {
    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    match name {
        "log.retention.ms" => {
            &[("log.retention.minutes", MINUTE_MS), ("log.retention.hours", HOUR_MS)]
        }
        "log.roll.ms" => &[("log.roll.hours", HOUR_MS)],
        "log.roll.jitter.ms" => &[("log.roll.jitter.hours", HOUR_MS)],
        "log.flush.interval.ms" => &[("log.flush.scheduler.interval.ms", 1)],
        _ => &[],
    }
}
