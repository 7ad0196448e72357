//! What the client knows of the cluster: brokers, topics, leaders; and when to ask again.
//!
//! Every machine asks the cluster who leads a partition, and tells it when a broker's answer says
//! that it was wrong (`mark_stale`). One Metadata request at a time is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Moment, NodeId, TopicId};
use crate::client::call::{Outgoing, To, Typed};
use crate::client::connection::Answer;
use crate::client::error::ClientError;
use crate::msg;
use crate::wire::ErrorCode;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use crate::wire::messages::{MetadataRequest, MetadataResponse};

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// One partition, by the name of its topic: how clients and their users call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionName {
    /// The topic.
    pub topic: Arc<str>,
    /// Partition index.
    pub partition: i32,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Its rack.
    pub rack: Option<String>,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Partition index.
    pub partition: i32,
    /// The broker that leads it, when there is one.
    pub leader: Option<NodeId>,
    /// Epoch of that leader, or -1.
    pub leader_epoch: i32,
    /// Brokers with a replica, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Replicas that are in sync.
    pub in_sync: Vec<NodeId>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Why the topic cannot be used, or no error.
    pub error: ErrorCode,
    /// Topic id, zero from brokers that do not say.
    pub id: TopicId,
    /// One of Kafka's own topics, such as `__consumer_offsets`.
    pub is_internal: bool,
    /// By partition index.
    pub partitions: Vec<Partition>,
}

/// Which topics to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Interest {
    All,
    Named(BTreeSet<Arc<str>>),
}

/// The view of the cluster.
#[derive(Debug)]
pub struct Cluster {
    brokers: BTreeMap<NodeId, Broker>,
    controller: Option<NodeId>,
    topics: BTreeMap<Arc<str>, Topic>,
    interest: Interest,
    allow_auto_creation: bool,
    age_max: Duration,
    backoff: Duration,
    /// Metadata is asked for at this moment.
    due_at: Moment,
    /// Not before this one, so that a partition without a leader is not a storm.
    allowed_at: Moment,
    asked: Option<u64>,
    next_id: u64,
    version: u64,
}

/// Metadata below this version always makes topics, where the broker is set so.
const NO_AUTO_CREATION: i16 = 4;
/// Time that a Metadata request may take.
const METADATA_TIMEOUT_MS: u64 = 30_000;

impl Cluster {
    /// Knows nothing and asks at once. Metadata is asked anew after `age_max`, or when stale, with
    /// at least `backoff` between two requests.
    pub fn new(allow_auto_creation: bool, age_max: Duration, backoff: Duration) -> Self {
        Self {
            brokers: BTreeMap::new(),
            controller: None,
            topics: BTreeMap::new(),
            interest: Interest::Named(BTreeSet::new()),
            allow_auto_creation,
            age_max,
            backoff,
            due_at: Moment::default(),
            allowed_at: Moment::default(),
            asked: None,
            next_id: 0,
            version: 0,
        }
    }

    /// Asks for `topic` too from now on.
    pub fn want(&mut self, topic: &str) {
        if let Interest::Named(names) = &mut self.interest
            && !names.contains(topic)
        {
            names.insert(topic.into());
            self.mark_stale();
        }
    }

    /// Asks for all topics from now on.
    pub fn want_all(&mut self) {
        self.interest = Interest::All;
        self.mark_stale();
    }

    /// Asks again soon: a broker said that what is known here is no longer so.
    pub fn mark_stale(&mut self) {
        self.due_at = Moment::default();
    }

    /// When [`Self::poll`] has something to send.
    pub fn deadline(&self) -> Moment {
        if self.asked.is_some() { Moment::NEVER } else { self.due_at.max(self.allowed_at) }
    }

    /// Asks for metadata when it is time.
    pub fn poll(&mut self, now: Moment, out: &mut Vec<Outgoing>) {
        if now < self.deadline() {
            return;
        }
        let names: Option<Vec<&str>> = match &self.interest {
            Interest::All => None,
            Interest::Named(names) => Some(names.iter().map(|n| &**n).collect()),
        };
        let call = Self::request(names.as_deref(), self.allow_auto_creation);
        self.next_id += 1;
        self.asked = Some(self.next_id);
        self.due_at = now + self.age_max;
        self.allowed_at = now + self.backoff;
        out.push(Outgoing {
            to: To::Any,
            id: self.next_id,
            timeout_ms: METADATA_TIMEOUT_MS,
            call: call.boxed(),
        });
    }

    /// Asks for these topics, or for all: the request of [`Self::poll`].
    pub fn request(names: Option<&[&str]>, allow_auto_creation: bool) -> Typed<MetadataRequest> {
        let topic = |&name: &&str| msg!(MetadataRequestTopic { name: Some(name.into()) });
        let topics = names.map(|names| names.iter().map(topic).collect());
        let request = |topics, allow_auto_topic_creation| {
            msg!(MetadataRequest { topics, allow_auto_topic_creation })
        };
        let older = request(topics.clone(), true);
        Typed::new(request(topics, allow_auto_creation)).before(NO_AUTO_CREATION, older)
    }

    /// The answer to the request of [`Self::poll`], or why there is none.
    ///
    /// # Errors
    /// Passes the failure on; it is asked again after the backoff.
    pub fn on_answer(
        &mut self,
        id: u64,
        answer: Result<Answer, ClientError>,
        now: Moment,
    ) -> Result<(), ClientError> {
        if self.asked != Some(id) {
            return Ok(());
        }
        self.asked = None;
        self.allowed_at = now + self.backoff;
        let read = answer.and_then(|a| a.decode::<MetadataRequest>());
        let read = read.and_then(|m| {
            ClientError::check("Metadata", m.error_code, None)?;
            Ok(m)
        });
        match read {
            Ok(metadata) => {
                self.apply(&metadata);
                Ok(())
            }
            Err(e) => {
                self.mark_stale();
                Err(e)
            }
        }
    }

    /// Takes over what an answer says. Topics that it does not name are forgotten.
    pub fn apply(&mut self, metadata: &MetadataResponse) {
        self.version += 1;
        self.brokers = metadata.brokers.iter().map(broker).collect();
        self.controller = node(metadata.controller_id);
        self.topics.clear();
        for topic in &metadata.topics {
            let Some(name) = &topic.name else { continue };
            let read = read_topic(topic);
            // A leaderless partition or a topic in the making is a state that passes.
            if read.error.is_retriable() || read.partitions.iter().any(|p| p.leader.is_none()) {
                self.mark_stale();
            }
            self.topics.insert(name.as_str().into(), read);
        }
    }

    /// Grows with each answer that was taken over: whoever follows leaders looks at them anew.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All brokers.
    pub fn brokers(&self) -> &BTreeMap<NodeId, Broker> {
        &self.brokers
    }

    /// The broker that the cluster names as controller; any broker takes a controller's requests.
    pub fn controller(&self) -> To {
        self.controller.filter(|c| self.brokers.contains_key(c)).map_or(To::Any, To::Node)
    }

    /// All topics that were asked for and exist, and those that could not be described.
    pub fn topics(&self) -> &BTreeMap<Arc<str>, Topic> {
        &self.topics
    }

    /// One topic that exists.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name).filter(|t| t.error == ErrorCode::NONE)
    }

    /// One partition of a topic that exists.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        let partitions = &self.topic(topic)?.partitions;
        let at = partitions.binary_search_by_key(&partition, |p| p.partition).ok()?;
        Some(&partitions[at])
    }

    /// Who leads a partition.
    pub fn leader(&self, name: &PartitionName) -> Option<NodeId> {
        let leader = self.partition(&name.topic, name.partition)?.leader?;
        self.brokers.contains_key(&leader).then_some(leader)
    }
}

fn node(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

fn broker(b: &MetadataResponseBroker) -> (NodeId, Broker) {
    let port = u16::try_from(b.port).unwrap_or(0);
    let endpoint = Endpoint { host: b.host.as_str().to_owned(), port };
    let rack = b.rack.as_ref().map(|r| r.as_str().to_owned());
    (NodeId(b.node_id), Broker { endpoint, rack })
}

fn read_topic(topic: &MetadataResponseTopic) -> Topic {
    let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect();
    let mut partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|p| Partition {
            partition: p.partition_index,
            leader: node(p.leader_id),
            leader_epoch: p.leader_epoch,
            replicas: nodes(&p.replica_nodes),
            in_sync: nodes(&p.isr_nodes),
        })
        .collect();
    partitions.sort_unstable_by_key(|p| p.partition);
    Topic {
        error: ErrorCode(topic.error_code),
        id: topic.topic_id.into(),
        is_internal: topic.is_internal,
        partitions,
    }
}

impl Endpoint {
    /// Reads `HOST:PORT`; an IPv6 host is in brackets.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::Address(text.to_owned());
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(bad)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| bad())?;
        if bare.is_empty() || (bare.contains(':') && bare.len() == host.len()) {
            return Err(bad());
        }
        Ok(Self { host: bare.to_owned(), port })
    }

    /// Reads a list with commas between, as `bootstrap.servers` has it.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ClientError> {
        let filled = text.split(',').map(str::trim).filter(|t| !t.is_empty());
        let list = filled.map(Self::parse).collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() { Err(ClientError::Address(text.to_owned())) } else { Ok(list) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl PartitionName {
    /// Names a partition.
    pub fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing;

    fn at(ms: i64) -> Moment {
        Moment::default().plus_ms(ms)
    }

    fn cluster() -> Cluster {
        let mut cluster = Cluster::new(false, Duration::from_mins(5), Duration::from_millis(100));
        cluster.want("t");
        cluster
    }

    /// Polls and returns the number of the request, if one was made.
    fn asks(cluster: &mut Cluster, ms: i64) -> Option<u64> {
        let mut out = Vec::new();
        cluster.poll(at(ms), &mut out);
        out.pop().map(|o| o.id)
    }

    fn answer(cluster: &mut Cluster, id: u64, topics: &[(&str, i32)], ms: i64) {
        let metadata = testing::answer::<MetadataRequest>(&testing::one_broker(topics), 9);
        cluster.on_answer(id, Ok(metadata), at(ms)).unwrap();
    }

    #[test]
    fn metadata_is_asked_once_then_when_old_and_at_once_when_stale() {
        let mut cluster = cluster();
        let first = asks(&mut cluster, 0).unwrap();
        assert_eq!(asks(&mut cluster, 1), None, "one request at a time");
        answer(&mut cluster, first, &[("t", 2)], 5);
        assert_eq!(cluster.leader(&PartitionName::new("t", 1)), Some(NodeId(1)));
        assert_eq!(cluster.leader(&PartitionName::new("t", 2)), None);
        assert_eq!(asks(&mut cluster, 299_999), None);
        let second = asks(&mut cluster, 300_000).unwrap();
        answer(&mut cluster, second, &[("t", 2)], 300_000);
        cluster.mark_stale();
        assert_eq!(asks(&mut cluster, 300_099), None, "not before the backoff");
        assert!(asks(&mut cluster, 300_100).is_some());
    }

    #[test]
    fn a_broker_that_cannot_be_told_to_make_no_topic_is_asked_all_the_same() {
        for (version, is_allowed) in [(2, true), (4, false), (13, false)] {
            let mut out = Vec::new();
            cluster().poll(at(0), &mut out);
            let request: MetadataRequest = testing::request_up_to(&out[0], version);
            assert_eq!(request.allow_auto_topic_creation, is_allowed, "version {version}");
            assert_eq!(request.topics.unwrap().len(), 1);
        }
    }

    #[test]
    fn a_failure_is_told_and_asked_again() {
        let mut cluster = cluster();
        let first = asks(&mut cluster, 0).unwrap();
        let closed = ClientError::Closed { address: "h:9".to_owned(), waiting: 1 };
        assert!(cluster.on_answer(first, Err(closed), at(10)).is_err());
        assert_eq!(cluster.deadline(), at(110));
        assert!(asks(&mut cluster, 110).is_some());
    }

    #[test]
    fn a_topic_in_the_making_is_asked_for_again_and_is_not_there() {
        let mut cluster = cluster();
        let mut metadata = testing::one_broker(&[("t", 1)]);
        metadata.topics[0].error_code = ErrorCode::LEADER_NOT_AVAILABLE.0;
        cluster.apply(&metadata);
        assert!(cluster.topic("t").is_none());
        assert_eq!(cluster.topics()["t"].error, ErrorCode::LEADER_NOT_AVAILABLE);
        assert!(asks(&mut cluster, 0).is_some());
    }

    #[test]
    fn addresses_read_as_host_and_port() {
        let text = |t: &str| Endpoint::parse(t).map(|e| e.to_string()).ok();
        assert_eq!(text("localhost:9092").as_deref(), Some("localhost:9092"));
        assert_eq!(text(" [::1]:9092").as_deref(), Some("[::1]:9092"));
        for bad in ["localhost", ":9092", "h:", "h:x", "h:70000", "::1:9092", ""] {
            assert_eq!(text(bad), None, "{bad}");
        }
        assert_eq!(Endpoint::parse_list("a:1, b:2,").map(|l| l.len()).ok(), Some(2));
        assert!(Endpoint::parse_list(",").is_err());
    }
}
