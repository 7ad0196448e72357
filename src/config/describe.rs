//! What DescribeConfigs says about a resource: each key with its value, where that comes from, and
//! all that would count if it were taken away.

use super::key::{Key, Kind};
use super::layers::{Layers, Overrides, Source};
use super::{table, topic};

/// One key of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub name: String,
    /// The value that counts; `None` when there is none or it must not be shown.
    pub value: Option<String>,
    /// Whether it cannot be changed while the server runs.
    pub read_only: bool,
    /// Where the value comes from.
    pub source: Source,
    /// Whether the value must not be shown.
    pub sensitive: bool,
    /// Everything that is set for the key, the one that counts first.
    pub synonyms: Vec<Synonym>,
    /// Type; `None` for a key that is not in the table.
    pub kind: Option<Kind>,
    /// What the key is for.
    pub doc: Option<&'static str>,
}

/// One setting that an [`Entry`] may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The key it is set under.
    pub name: String,
    /// Its value; `None` when it must not be shown.
    pub value: Option<String>,
    /// Its layer.
    pub source: Source,
}

/// Describes a topic.
pub fn topic(own: &Overrides, layers: &Layers<'_>) -> Vec<Entry> {
    with_defaults(table::TOPIC, own, Source::Topic, layers)
}

/// Describes a group.
pub fn group(own: &Overrides, layers: &Layers<'_>) -> Vec<Entry> {
    let mut entries = with_defaults(table::GROUP_RESOURCE, own, Source::Group, layers);
    let none = Overrides::new();
    for (entry, key) in entries.iter_mut().filter_map(|e| {
        let key = table::GROUP_RESOURCE.iter().find(|k| k.name == e.name)?;
        key.broker.is_none().then_some((e, key))
    }) {
        // Kafka names the key's own default where no setting of the broker stands behind it.
        let value = topic::value(key, &none, layers).map(|v| v.to_string());
        entry.synonyms.extend(value.map(|v| synonym(key, key.name, &v, Source::Default)));
    }
    entries
}

/// Describes a client-metrics subscription.
pub fn client_metrics(own: &Overrides, layers: &Layers<'_>) -> Vec<Entry> {
    with_defaults(table::CLIENT_METRICS, own, Source::ClientMetrics, layers)
}

/// Describes what is set for all brokers.
pub fn cluster(own: &Overrides) -> Vec<Entry> {
    let entry = |(name, value): (&String, &String)| {
        let key = table::broker_key(name);
        let synonym = |k: &Key| vec![synonym(k, name, value, Source::Cluster)];
        match key {
            Some(k) => entry(k, canonical(k, value), Source::Cluster, synonym(k)),
            None => unknown(name, Source::Cluster),
        }
    };
    own.iter().map(entry).collect()
}

/// Describes a broker.
pub fn node(layers: &Layers<'_>) -> Vec<Entry> {
    let is_set = |name: &str| layers.texts(name).any(|(_, source)| source != Source::Default);
    let shown = |k: &&Key| k.effect != super::Effect::Hidden || is_set(k.name);
    let known = table::broker_keys().filter(shown).map(|k| {
        let (value, source) = match layers.texts(k.name).next() {
            Some((text, source)) => (canonical(k, text), source),
            None => (None, Source::Default),
        };
        entry(k, value, source, broker_synonyms(k, layers))
    });
    let sets = [
        (layers.node, Source::Node),
        (layers.cluster, Source::Cluster),
        (Some(layers.server.set()), Source::Static),
    ];
    let names = sets.into_iter().flat_map(|(set, source)| {
        set.into_iter().flat_map(Overrides::keys).map(move |name| (name, source))
    });
    let mut strangers: Vec<Entry> = Vec::new();
    for (name, source) in names.filter(|(name, _)| table::broker_key(name).is_none()) {
        if strangers.iter().all(|e| e.name != *name) {
            strangers.push(unknown(name, source));
        }
    }
    known.chain(strangers).collect()
}

/// Keys of a resource whose defaults are broker keys.
fn with_defaults(
    keys: &'static [Key],
    own: &Overrides,
    level: Source,
    layers: &Layers<'_>,
) -> Vec<Entry> {
    let shown = |k: &&Key| k.effect != super::Effect::Hidden || own.contains_key(k.name);
    let describe = |k: &'static Key| {
        let broker = k.broker.and_then(table::broker_key);
        let mut synonyms: Vec<Synonym> =
            own.get(k.name).map(|v| synonym(k, k.name, v, level)).into_iter().collect();
        synonyms.extend(broker.into_iter().flat_map(|b| broker_synonyms(b, layers)));
        let source = synonyms.first().map_or(Source::Default, |s| s.source);
        let value = topic::value(k, own, layers).map(|v| v.to_string());
        entry(k, value, source, synonyms)
    };
    keys.iter().filter(shown).map(describe).collect()
}

/// All that is set for a broker key and for those that stand in for it. Like Kafka, nothing when
/// the key itself has no value, even where a stand-in counts.
fn broker_synonyms(key: &'static Key, layers: &Layers<'_>) -> Vec<Synonym> {
    if layers.texts(key.name).next().is_none() {
        return Vec::new();
    }
    let stand_ins = table::stand_ins(key.name).iter().map(|&(name, _)| name);
    let names: Vec<&str> = std::iter::once(key.name).chain(stand_ins).collect();
    let set: Vec<(&str, &str, Source)> =
        names.iter().flat_map(|&n| layers.texts(n).map(move |(t, s)| (n, t, s))).collect();
    let order = [Source::Node, Source::Cluster, Source::Static, Source::Default];
    let of = |source| set.iter().filter(move |s| s.2 == source);
    order.into_iter().flat_map(of).map(|&(name, text, s)| synonym(key, name, text, s)).collect()
}

fn synonym(key: &Key, name: &str, value: &str, source: Source) -> Synonym {
    let value = (!key.is_sensitive()).then(|| value.to_owned());
    Synonym { name: name.to_owned(), value, source }
}

fn canonical(key: &Key, text: &str) -> Option<String> {
    key.parse(text).ok().map(|v| v.to_string())
}

fn entry(key: &Key, value: Option<String>, source: Source, synonyms: Vec<Synonym>) -> Entry {
    Entry {
        name: key.name.to_owned(),
        value: value.filter(|_| !key.is_sensitive()),
        read_only: key.scope == super::Scope::ReadOnly,
        source,
        sensitive: key.is_sensitive(),
        synonyms,
        kind: Some(key.kind),
        doc: Some(key.doc),
    }
}

/// A key that the table does not have may hold a secret.
fn unknown(name: &str, source: Source) -> Entry {
    let synonyms = vec![Synonym { name: name.to_owned(), value: None, source }];
    Entry {
        name: name.to_owned(),
        value: None,
        read_only: true,
        source,
        sensitive: true,
        synonyms,
        kind: None,
        doc: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerConfig;
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// Prints the entries of these names: value, source, synonyms.
    #[track_caller]
    fn check(entries: &[Entry], names: &[&str], expect: &Expect) {
        let mut text = String::new();
        for e in names.iter().filter_map(|n| entries.iter().find(|e| e.name == *n)) {
            let value = e.value.as_deref().unwrap_or("null");
            let rights = if e.read_only { " read-only" } else { "" };
            write!(text, "{}={value} {:?}{rights}", e.name, e.source).unwrap();
            for s in &e.synonyms {
                let value = s.value.as_deref().unwrap_or("null");
                write!(text, ", {}={value} {:?}", s.name, s.source).unwrap();
            }
            text.push('\n');
        }
        expect.assert_eq(&text);
    }

    #[test]
    fn a_topic_shows_every_layer_its_value_could_come_from() {
        let server = ServerConfig::load("log.roll.hours=100\ncompression.type=gzip", &[]).unwrap();
        let cluster = overrides(&[("log.retention.ms", "600"), ("min.insync.replicas", "1")]);
        let layers = Layers { node: None, cluster: Some(&cluster), server: &server };
        let own = overrides(&[("segment.ms", "5000"), ("preallocate", "TRUE")]);
        check(
            &topic(&own, &layers),
            &[
                "segment.ms",
                "retention.ms",
                "flush.ms",
                "compression.type",
                "min.insync.replicas",
                "preallocate",
                "remote.copy.lag.ms",
            ],
            &expect![[r"
                segment.ms=5000 Topic, segment.ms=5000 Topic
                retention.ms=600 Cluster, log.retention.ms=600 Cluster, log.retention.hours=168 Default
                flush.ms=9223372036854775807 Default
                compression.type=gzip Static, compression.type=gzip Static, compression.type=producer Default
                min.insync.replicas=1 Cluster, min.insync.replicas=1 Cluster, min.insync.replicas=1 Default
                preallocate=true Topic, preallocate=TRUE Topic, log.preallocate=false Default
            "]],
        );
        assert_eq!(topic(&Overrides::new(), &layers).len(), 33);
    }

    #[test]
    fn a_broker_shows_its_rights_and_hides_its_secrets() {
        let file = "ssl.key.password=hunter2\nlistener.name.x.ssl.key.password=hunter2";
        let server = ServerConfig::load(file, &[]).unwrap();
        let node_set = overrides(&[("leader.replication.throttled.rate", "9"), ("no.such", "1")]);
        let layers = Layers { node: Some(&node_set), cluster: None, server: &server };
        let entries = node(&layers);
        check(
            &entries,
            &[
                "num.partitions",
                "num.io.threads",
                "log.retention.ms",
                "ssl.key.password",
                "leader.replication.throttled.rate",
                "follower.replication.throttled.rate",
                "no.such",
                "listener.name.x.ssl.key.password",
            ],
            &expect![[r"
                num.partitions=1 Default read-only, num.partitions=1 Default
                num.io.threads=8 Default, num.io.threads=8 Default
                log.retention.ms=null Default
                ssl.key.password=null Static, ssl.key.password=null Static
                leader.replication.throttled.rate=9 Node, leader.replication.throttled.rate=9 Node, leader.replication.throttled.rate=9223372036854775807 Default
                no.such=null Node read-only, no.such=null Node
                listener.name.x.ssl.key.password=null Static read-only, listener.name.x.ssl.key.password=null Static
            "]],
        );
        assert!(!format!("{entries:?}").contains("hunter2"));
    }

    #[test]
    fn groups_and_subscriptions_fall_back_to_their_defaults() {
        let server = ServerConfig::load("", &[]).unwrap();
        let layers = Layers::of_server(&server);
        let own = overrides(&[("consumer.session.timeout.ms", "50000")]);
        check(
            &group(&own, &layers),
            &["consumer.session.timeout.ms", "share.isolation.level"],
            &expect![[r"
                consumer.session.timeout.ms=50000 Group, consumer.session.timeout.ms=50000 Group, group.consumer.session.timeout.ms=45000 Default
                share.isolation.level=read_uncommitted Default, share.isolation.level=read_uncommitted Default
            "]],
        );
        check(
            &client_metrics(&overrides(&[("metrics", "a, b")]), &layers),
            &["interval.ms", "metrics"],
            &expect![[r"
                interval.ms=300000 Default
                metrics=a,b ClientMetrics, metrics=a, b ClientMetrics
            "]],
        );
        check(
            &cluster(&overrides(&[("log.retention.ms", "7")])),
            &["log.retention.ms"],
            &expect![[r"
                log.retention.ms=7 Cluster, log.retention.ms=7 Cluster
            "]],
        );
    }
}
