//! What a server was started with: the file and the command line, checked once, and typed.
//!
//! Invariants:
//! - C1. Every key that has a typed field has a value of its type, set or default.
//! - C2. Every key in [`ServerConfig::set`] is known and its value is taken by the key.

use std::path::PathBuf;

use super::error::ConfigError;
use super::layers::{Layers, Overrides};
use super::listener::Listener;
use super::{nearest, properties, table};
use crate::base::NodeId;

/// The configuration of a server. What may change while it runs is not here but in
/// [`NodeLimits`](super::NodeLimits) and [`TopicConfig`](super::TopicConfig).
#[derive(Debug, Clone, Default)]
pub struct ServerConfig {
    set: Overrides,
    /// Where metrics and health are served; `None` is nowhere.
    pub admin_listener: Option<(String, u16)>,
    /// Id of the first node.
    pub node_id: NodeId,
    /// Nodes when the data directory is made; unset, the cores that the process may use.
    pub node_count: Option<u16>,
    /// Rack of all nodes.
    pub rack: Option<String>,
    /// Data directories, at least one.
    pub log_dirs: Vec<PathBuf>,
    /// Listeners of the first node, at least one.
    pub listeners: Vec<Listener>,
    /// What clients are told, when it is not the same.
    pub advertised_listeners: Vec<Listener>,
    /// Size of the journal of a node.
    pub journal_bytes: u64,
    /// Batches that a node keeps in memory.
    pub cache_bytes: u64,
    /// Bytes of old segments that a node reads back in a second; 0 for none.
    pub scrub_bytes_per_second: u64,
    /// Memory of a node for requests, answers, cache and fetch sessions.
    pub memory_bytes: u64,
    /// Bytes of requests that a node holds; `None` is no bound of their own.
    pub queued_request_bytes_max: Option<usize>,
    /// Whether Metadata creates topics.
    pub auto_create_topics: bool,
    /// Whether topics may be deleted.
    pub delete_topics: bool,
    /// Partitions of a topic created without a count.
    pub num_partitions: i32,
    /// Replicas of a topic created without a count.
    pub default_replication_factor: i16,
    /// Most bytes of one fetch response.
    pub fetch_bytes_max: i32,
    /// Fetch sessions of a node.
    pub fetch_sessions_max: usize,
    /// Partitions of one DescribeTopicPartitions response.
    pub described_partitions_max: usize,
    /// Largest request frame.
    pub request_bytes_max: usize,
    /// Idle connections are closed after this; never when not positive.
    pub connections_idle_ms: i64,
    /// Connections that wait to be accepted.
    pub listen_backlog: i32,
    /// `SO_RCVBUF`; `None` leaves it to the system.
    pub socket_receive_buffer_bytes: Option<usize>,
    /// `SO_SNDBUF`; `None` leaves it to the system.
    pub socket_send_buffer_bytes: Option<usize>,
    /// Period of the search for segments to delete.
    pub log_retention_check_interval_ms: i64,
    /// Classic groups and committed offsets.
    pub group: GroupLimits,
}

/// What `node.memory.bytes` must leave beside the cache: reads of old records, and requests.
const MEMORY_BESIDE_CACHE: u64 = 48 << 20;

/// What the group coordinator goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Shortest session timeout.
    pub session_timeout_min_ms: i32,
    /// Longest session timeout.
    pub session_timeout_max_ms: i32,
    /// How long the first rebalance waits for more members.
    pub initial_rebalance_delay_ms: i32,
    /// Members of one group.
    pub size_max: usize,
    /// Metadata of the members of all groups of a node, in bytes: a quarter of its memory.
    pub metadata_bytes_max: usize,
    /// Longest text beside a committed offset, in characters.
    pub offset_metadata_chars_max: usize,
    /// How long offsets outlive their group.
    pub offsets_retention_ms: i64,
    /// Period of the search for expired offsets.
    pub offsets_retention_check_interval_ms: i64,
    /// How long a change waits to be safe in the log before it is answered as failed.
    pub offsets_commit_timeout_ms: i64,
    /// Partitions of `__consumer_offsets` when it is created.
    pub offsets_topic_partitions: i32,
    /// Segment size of `__consumer_offsets` when it is created.
    pub offsets_topic_segment_bytes: i32,
}

impl ServerConfig {
    /// Reads a properties file and then single settings, the later ones counting.
    ///
    /// # Errors
    /// The first thing that is wrong, with what is expected.
    pub fn load(file: &str, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut set = Overrides::new();
        for (name, value) in properties::parse(file)?.iter().chain(overrides) {
            let (name, value) = (name.trim(), value.trim());
            check_known(name)?;
            if let Some(key) = table::broker_key(name) {
                key.parse(value)?;
            }
            set.insert(name.to_owned(), value.to_owned());
        }
        Self { set, ..Self::default() }.typed()
    }

    /// All that was set, by key.
    pub fn set(&self) -> &Overrides {
        &self.set
    }

    /// The same configuration as the node `index` places after the first describes it.
    pub fn for_node(&self, index: u16) -> Self {
        let mut node = self.clone();
        node.node_id = NodeId(self.node_id.0 + i32::from(index));
        node.listeners = self.listeners.iter().filter_map(|l| l.for_node(index)).collect();
        let advertised = self.advertised_listeners.iter();
        node.advertised_listeners = advertised.filter_map(|l| l.for_node(index)).collect();
        let id = node.node_id.to_string();
        node.set.insert("node.id".into(), id.clone());
        node.set.insert("broker.id".into(), id);
        if self.set.contains_key("listeners") || index > 0 {
            node.set.insert("listeners".into(), join(&node.listeners));
        }
        if !node.advertised_listeners.is_empty() {
            node.set.insert("advertised.listeners".into(), join(&node.advertised_listeners));
        }
        node
    }

    /// What clients of this node are told to connect to; `hostname` takes the place of an
    /// address that means the whole machine.
    pub fn advertised(&self, hostname: &str) -> Vec<Listener> {
        if !self.advertised_listeners.is_empty() {
            return self.advertised_listeners.clone();
        }
        let named = |l: &Listener| {
            let host = if l.is_wildcard() { hostname.to_owned() } else { l.host.clone() };
            Listener { host, ..l.clone() }
        };
        self.listeners.iter().map(named).collect()
    }

    /// Checks that `count` nodes find ids and ports.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] with the id or port that is missing or taken twice.
    pub fn check_nodes(&self, count: u16) -> Result<(), ConfigError> {
        if self.node_id.0.checked_add(i32::from(count)).is_none() {
            let why = format!("{count} nodes do not find ids from {} on", self.node_id);
            return Err(ConfigError::Conflict { first: "node.id", second: "node.count", why });
        }
        let conflict =
            |why| Err(ConfigError::Conflict { first: "listeners", second: "node.count", why });
        let mut taken = Vec::new();
        for listener in &self.listeners {
            for index in 0..count {
                let Some(Listener { port, .. }) = listener.for_node(index) else {
                    return conflict(format!(
                        "{count} nodes need ports {} to {}, and 65535 is the last",
                        listener.port,
                        u32::from(listener.port) + u32::from(count) - 1,
                    ));
                };
                if port != 0 && taken.contains(&port) {
                    return conflict(format!("two of {count} nodes would listen on port {port}"));
                }
                taken.push(port);
            }
        }
        Ok(())
    }

    fn typed(mut self) -> Result<Self, ConfigError> {
        self.node_id = self.read_node_id()?;
        self.listeners = self.read_listeners("listeners")?;
        self.advertised_listeners = self.read_listeners("advertised.listeners")?;
        if let Some(bad) = self.advertised_listeners.iter().find(|l| l.is_wildcard()) {
            return Err(ConfigError::Invalid {
                name: "advertised.listeners".into(),
                value: bad.to_string(),
                why: "clients need an address that they can connect to".into(),
            });
        }
        self.admin_listener = self.read_admin_listener()?;
        let this = self.clone();
        let layers = Layers::of_server(&this);
        let int32 = |name| layers.int(name) as i32;
        let size = |name| layers.int(name).max(0) as usize;
        let positive = |name| usize::try_from(layers.int(name)).ok();
        self.node_count = layers.text("node.count").and_then(|v| v.parse().ok());
        self.rack = layers.text("broker.rack");
        let dirs = layers.text("log.dirs").or_else(|| layers.text("log.dir")).unwrap_or_default();
        self.log_dirs = dirs.split(',').map(PathBuf::from).collect();
        self.journal_bytes = size("journal.bytes") as u64;
        self.cache_bytes = size("cache.bytes") as u64;
        self.scrub_bytes_per_second = size("scrub.bytes.per.second") as u64;
        self.queued_request_bytes_max = positive("queued.max.request.bytes").filter(|&b| b > 0);
        self.auto_create_topics = layers.bool("auto.create.topics.enable");
        self.delete_topics = layers.bool("delete.topic.enable");
        self.num_partitions = int32("num.partitions");
        self.default_replication_factor = layers.int("default.replication.factor") as i16;
        self.fetch_bytes_max = int32("fetch.max.bytes");
        self.fetch_sessions_max = size("max.incremental.fetch.session.cache.slots");
        self.described_partitions_max = size("max.request.partition.size.limit");
        self.request_bytes_max = size("socket.request.max.bytes");
        self.connections_idle_ms = layers.int("connections.max.idle.ms");
        self.listen_backlog = int32("socket.listen.backlog.size");
        self.socket_receive_buffer_bytes = positive("socket.receive.buffer.bytes");
        self.socket_send_buffer_bytes = positive("socket.send.buffer.bytes");
        self.log_retention_check_interval_ms = layers.int("log.retention.check.interval.ms");
        let memory = layers.text("node.memory.bytes").and_then(|v| v.parse().ok());
        let largest_requests = (2 * self.request_bytes_max as u64).max(MEMORY_BESIDE_CACHE);
        self.memory_bytes = memory.unwrap_or(self.cache_bytes + largest_requests);
        self.group = GroupLimits::of(&layers, self.memory_bytes as usize);
        self.check_relations()?;
        Ok(self)
    }

    fn check_relations(&self) -> Result<(), ConfigError> {
        let group = &self.group;
        if group.session_timeout_min_ms > group.session_timeout_max_ms {
            return Err(ConfigError::Conflict {
                first: "group.min.session.timeout.ms",
                second: "group.max.session.timeout.ms",
                why: format!(
                    "{} must not be above {}",
                    group.session_timeout_min_ms, group.session_timeout_max_ms
                ),
            });
        }
        if self.memory_bytes < self.cache_bytes + MEMORY_BESIDE_CACHE {
            return Err(ConfigError::Conflict {
                first: "node.memory.bytes",
                second: "cache.bytes",
                why: format!(
                    "{} must be {MEMORY_BESIDE_CACHE} or more above {}",
                    self.memory_bytes, self.cache_bytes
                ),
            });
        }
        if let Some(queued) = self.queued_request_bytes_max.filter(|&q| q < self.request_bytes_max)
        {
            return Err(ConfigError::Conflict {
                first: "queued.max.request.bytes",
                second: "socket.request.max.bytes",
                why: format!("{queued} must not be below {}", self.request_bytes_max),
            });
        }
        self.check_nodes(self.node_count.unwrap_or(1))
    }

    fn read_node_id(&self) -> Result<NodeId, ConfigError> {
        let id = |name: &str| self.set.get(name).and_then(|v| v.parse().ok()).filter(|&id| id >= 0);
        match (id("node.id"), id("broker.id")) {
            (Some(node), Some(broker)) if node != broker => Err(ConfigError::Conflict {
                first: "node.id",
                second: "broker.id",
                why: format!("{node} and {broker} must be the same; leave broker.id out"),
            }),
            (node, broker) => Ok(NodeId(node.or(broker).unwrap_or(0))),
        }
    }

    fn read_admin_listener(&self) -> Result<Option<(String, u16)>, ConfigError> {
        let Some(text) = self.set.get("admin.listener").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Some((host.to_owned(), port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
        });
        let invalid = || ConfigError::Invalid {
            name: "admin.listener".into(),
            value: text.clone(),
            why: "it is host:port, as in 127.0.0.1:9644".into(),
        };
        parsed.map(Some).ok_or_else(invalid)
    }

    /// The listeners of a key that clients use: those of a KRaft controller are left out.
    fn read_listeners(&self, name: &str) -> Result<Vec<Listener>, ConfigError> {
        let layers = Layers::of_server(self);
        let list = |name| super::key::split_list(&layers.text(name).unwrap_or_default());
        let controllers = list("controller.listener.names");
        let protocols = list("listener.security.protocol.map");
        let mut read = Vec::new();
        for text in list(name) {
            let invalid = |why: String| ConfigError::Invalid {
                name: name.to_owned(),
                value: text.clone(),
                why,
            };
            let listener = Listener::parse(&text)
                .ok_or_else(|| invalid("a listener is NAME://host:port".into()))?;
            if controllers.iter().any(|c| c.eq_ignore_ascii_case(&listener.name)) {
                continue;
            }
            let mapped = protocols.iter().filter_map(|p| p.split_once(':'));
            match mapped.clone().find(|(n, _)| n.eq_ignore_ascii_case(&listener.name)) {
                Some((_, "PLAINTEXT")) => read.push(listener),
                Some((_, other)) => {
                    return Err(invalid(format!("{other} does not work yet; use PLAINTEXT")));
                }
                None => {
                    return Err(invalid(
                        "its name is not in listener.security.protocol.map".into(),
                    ));
                }
            }
        }
        if read.is_empty() && name == "listeners" {
            return Err(ConfigError::Invalid {
                name: name.to_owned(),
                value: layers.text(name).unwrap_or_default(),
                why: "at least one listener must be for clients".into(),
            });
        }
        Ok(read)
    }
}

impl GroupLimits {
    fn of(layers: &Layers<'_>, memory_bytes: usize) -> Self {
        let int32 = |name| layers.int(name) as i32;
        let size = |name| layers.int(name).max(0) as usize;
        Self {
            session_timeout_min_ms: int32("group.min.session.timeout.ms"),
            session_timeout_max_ms: int32("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms: int32("group.initial.rebalance.delay.ms").max(0),
            size_max: size("group.max.size"),
            metadata_bytes_max: memory_bytes / 4,
            offset_metadata_chars_max: size("offset.metadata.max.bytes"),
            offsets_retention_ms: layers.int("offsets.retention.minutes").saturating_mul(60_000),
            offsets_retention_check_interval_ms: layers.int("offsets.retention.check.interval.ms"),
            offsets_commit_timeout_ms: layers.int("offsets.commit.timeout.ms"),
            offsets_topic_partitions: int32("offsets.topic.num.partitions"),
            offsets_topic_segment_bytes: int32("offsets.topic.segment.bytes"),
        }
    }
}

/// Known are the keys of the table, those with the prefix of a listener, and those that belong to
/// the tiering plug-ins.
fn check_known(name: &str) -> Result<(), ConfigError> {
    let of_plugin = name.starts_with("rsm.config.") || name.starts_with("rlmm.config.");
    let known = table::broker_key(name).is_some() || of_plugin || is_listener_key(name);
    if known {
        return Ok(());
    }
    let nearest = nearest::nearest(name, table::broker_keys().map(|k| k.name));
    Err(ConfigError::UnknownKey { name: name.to_owned(), nearest })
}

/// Whether it is `listener.name.<listener>.` and then, maybe after a mechanism, a known key.
pub(super) fn is_listener_key(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("listener.name.") else { return false };
    table::broker_keys().any(|k| rest.strip_suffix(k.name).is_some_and(|r| r.ends_with('.')))
}

fn join(listeners: &[Listener]) -> String {
    listeners.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str) -> Result<ServerConfig, ConfigError> {
        ServerConfig::load(file, &[])
    }

    #[track_caller]
    fn refused(file: &str, expect: &str) {
        assert_eq!(load(file).unwrap_err().to_string(), expect);
    }

    #[test]
    fn memory_follows_the_cache_and_the_largest_request_and_must_hold_them() {
        let load = |text: &str| ServerConfig::load(text, &[]).map(|c| c.memory_bytes >> 20);
        assert_eq!(load(""), Ok(64 + 200));
        assert_eq!(load("cache.bytes=1048576\nsocket.request.max.bytes=1000"), Ok(1 + 48));
        assert_eq!(load("node.memory.bytes=134217728"), Ok(128));
        assert!(load("node.memory.bytes=67108864").is_err());
        assert!(load("queued.max.request.bytes=1000").is_err());
    }

    #[test]
    fn there_must_be_an_id_for_each_node() {
        assert!(load("node.id=2147483645\nnode.count=2").is_ok());
        assert!(load("node.id=2147483646\nnode.count=2").is_err());
    }

    #[test]
    fn an_empty_file_is_a_whole_configuration() {
        let config = load("").unwrap();
        assert_eq!((config.node_id, config.node_count), (NodeId(0), None));
        assert_eq!(config.log_dirs, [PathBuf::from("klamm-data")]);
        assert_eq!(join(&config.listeners), "PLAINTEXT://127.0.0.1:9092");
        assert_eq!(config.group.session_timeout_max_ms, 1_800_000);
        assert_eq!(config.group.offsets_retention_ms, 7 * 24 * 3_600_000);
        assert_eq!(config.socket_send_buffer_bytes, Some(102_400));
        assert!(config.auto_create_topics && config.rack.is_none());
    }

    #[test]
    fn the_command_line_counts_before_the_file() {
        let over = [("num.partitions".to_owned(), "7".to_owned())];
        let config = ServerConfig::load("num.partitions=3\nbroker.id=4", &over).unwrap();
        assert_eq!((config.num_partitions, config.node_id), (7, NodeId(4)));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        refused(
            "log.retention.hour=1",
            "unknown configuration key log.retention.hour; the nearest known key is log.retention.hours",
        );
        refused(
            "num.partitions=x",
            "Invalid value x for configuration num.partitions: Not a number of type INT",
        );
        refused(
            "num.partitions=0",
            "Invalid value 0 for configuration num.partitions: Value must be at least 1",
        );
        refused(
            "compression.type=bz2",
            "Invalid value bz2 for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        );
        refused(
            "node.id=1\nbroker.id=2",
            "node.id and broker.id contradict each other: 1 and 2 must be the same; leave broker.id out",
        );
        refused(
            "group.min.session.timeout.ms=2000000",
            "group.min.session.timeout.ms and group.max.session.timeout.ms contradict each other: 2000000 must not be above 1800000",
        );
        refused(
            "listeners=SSL://:9093",
            "Invalid value SSL://:9093 for configuration listeners: SSL does not work yet; use PLAINTEXT",
        );
        refused(
            "listeners=PLAINTEXT://:65535\nnode.count=2",
            "listeners and node.count contradict each other: 2 nodes need ports 65535 to 65536, and 65535 is the last",
        );
        refused(
            "advertised.listeners=PLAINTEXT://0.0.0.0:1",
            "Invalid value PLAINTEXT://0.0.0.0:1 for configuration advertised.listeners: clients need an address that they can connect to",
        );
    }

    #[test]
    fn kafkas_own_kraft_file_is_accepted() {
        let config = load(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:9093
             listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER
             inter.broker.listener.name=PLAINTEXT\nadvertised.listeners=PLAINTEXT://localhost:9092
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
             num.network.threads=3\nlog.dirs=/tmp/a,/tmp/b\noffsets.topic.replication.factor=1",
        )
        .unwrap();
        assert_eq!(join(&config.listeners), "PLAINTEXT://:9092");
        assert_eq!(config.log_dirs.len(), 2);
    }

    #[test]
    fn each_node_describes_its_own_id_and_ports() {
        let config = load("node.id=5\nlisteners=PLAINTEXT://0.0.0.0:9092").unwrap();
        let third = config.for_node(2);
        assert_eq!(third.node_id, NodeId(7));
        assert_eq!(third.set()["listeners"], "PLAINTEXT://0.0.0.0:9094");
        assert_eq!(join(&third.advertised("box")), "PLAINTEXT://box:9094");
    }
}
