//! The records of the metadata log, and their flatbuffers (`records.fbs`).
//!
//! Each record is the value of one Kafka record of `__cluster_metadata-0`, without a key. Bytes
//! that come from disk are verified before anything is read from them.

use std::sync::Arc;

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use super::error::ImageError;
use super::records_generated::schema;
use crate::base::{LeaderEpoch, NodeId, TopicId};
use crate::config::Level;

/// One change of the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The cluster's name for itself.
    Cluster {
        /// 22 characters, as Kafka makes them.
        id: Arc<str>,
    },
    /// A node that is new or has moved.
    Node(Node),
    /// A topic that exists from here on.
    Topic {
        /// Its id.
        id: TopicId,
        /// Its name.
        name: Arc<str>,
    },
    /// The state of a partition, new or changed.
    Partition {
        /// Its topic.
        topic: TopicId,
        /// Its index.
        index: i32,
        /// Its state.
        state: Partition,
    },
    /// A topic that is gone.
    RemoveTopic {
        /// Its id.
        id: TopicId,
    },
    /// One setting.
    Config {
        /// What it is set on.
        resource: Resource,
        /// The key.
        name: String,
        /// The value; `None` takes it away.
        value: Option<String>,
    },
    /// The first producer id that has not been given out.
    ProducerIds {
        /// That id.
        next: i64,
    },
}

/// A node and where clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Broker id.
    pub id: NodeId,
    /// Host name or address.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Rack.
    pub rack: Option<Arc<str>>,
}

/// Who has a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Leader; -1 while there is none.
    pub leader: NodeId,
    /// Grows with every election.
    pub leader_epoch: LeaderEpoch,
    /// Nodes that have a copy, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those that have all of it.
    pub isr: Vec<NodeId>,
    /// Grows with every change.
    pub partition_epoch: i32,
}

/// What settings are set on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Kind.
    pub level: Level,
    /// Topic name, node id, group id or subscription; empty for all brokers.
    pub name: Arc<str>,
}

impl Resource {
    /// A topic.
    pub fn topic(name: &str) -> Self {
        Self { level: Level::Topic, name: name.into() }
    }

    /// One broker.
    pub fn node(id: NodeId) -> Self {
        Self { level: Level::Node, name: id.to_string().into() }
    }

    /// All brokers.
    pub fn cluster() -> Self {
        Self { level: Level::Cluster, name: "".into() }
    }
}

/// The value of each record, in order.
pub fn encode(records: &[Record]) -> Vec<Vec<u8>> {
    let mut builder = FlatBufferBuilder::new();
    let mut encode_one = |record| {
        builder.reset();
        let (body_type, body) = body(&mut builder, record);
        let args = schema::RecordArgs { body_type, body: Some(body) };
        let root = schema::Record::create(&mut builder, &args);
        builder.finish(root, None);
        builder.finished_data().to_vec()
    };
    records.iter().map(&mut encode_one).collect()
}

type Body = (schema::Body, WIPOffset<UnionWIPOffset>);

fn body(b: &mut FlatBufferBuilder<'_>, record: &Record) -> Body {
    match record {
        Record::Cluster { id } => {
            let id = Some(b.create_string(id));
            let table = schema::Cluster::create(b, &schema::ClusterArgs { id });
            (schema::Body::Cluster, table.as_union_value())
        }
        Record::Node(node) => {
            let host = Some(b.create_string(&node.host));
            let rack = node.rack.as_deref().map(|r| b.create_string(r));
            let args = schema::NodeArgs { id: node.id.0, host, port: node.port, rack };
            (schema::Body::Node, schema::Node::create(b, &args).as_union_value())
        }
        Record::Topic { id, name } => {
            let name = Some(b.create_string(name));
            let args = schema::TopicArgs { id: Some(&id_out(*id)), name };
            (schema::Body::Topic, schema::Topic::create(b, &args).as_union_value())
        }
        Record::Partition { topic, index, state } => partition(b, *topic, *index, state),
        Record::RemoveTopic { id } => {
            let args = schema::RemoveTopicArgs { id: Some(&id_out(*id)) };
            (schema::Body::RemoveTopic, schema::RemoveTopic::create(b, &args).as_union_value())
        }
        Record::Config { resource, name, value } => {
            let args = schema::ConfigArgs {
                level: level_out(resource.level),
                resource: Some(b.create_string(&resource.name)),
                name: Some(b.create_string(name)),
                value: value.as_deref().map(|v| b.create_string(v)),
            };
            (schema::Body::Config, schema::Config::create(b, &args).as_union_value())
        }
        Record::ProducerIds { next } => {
            let args = schema::ProducerIdsArgs { next: *next };
            (schema::Body::ProducerIds, schema::ProducerIds::create(b, &args).as_union_value())
        }
    }
}

fn partition(b: &mut FlatBufferBuilder<'_>, topic: TopicId, index: i32, state: &Partition) -> Body {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|n| n.0).collect::<Vec<_>>();
    let replicas = Some(b.create_vector(&ids(&state.replicas)));
    let isr = Some(b.create_vector(&ids(&state.isr)));
    let args = schema::PartitionArgs {
        topic: Some(&id_out(topic)),
        index,
        leader: state.leader.0,
        leader_epoch: state.leader_epoch.0,
        replicas,
        isr,
        partition_epoch: state.partition_epoch,
    };
    (schema::Body::Partition, schema::Partition::create(b, &args).as_union_value())
}

/// Reads one value of the metadata log.
///
/// # Errors
/// [`ImageError::Malformed`], [`ImageError::UnknownKind`].
pub fn decode(bytes: &[u8]) -> Result<Record, ImageError> {
    let malformed = |what: String| ImageError::Malformed { len_bytes: bytes.len(), what };
    let root = schema::root_as_record(bytes).map_err(|e| malformed(e.to_string()))?;
    let kind = root.body_type();
    read(&root).ok_or_else(|| match kind {
        schema::Body::NONE => malformed("it has no body".to_owned()),
        schema::Body::Config => malformed("its level is not known".to_owned()),
        other => ImageError::UnknownKind { kind: other.0 },
    })
}

fn read(root: &schema::Record<'_>) -> Option<Record> {
    let nodes = |ids: flatbuffers::Vector<'_, i32>| ids.iter().map(NodeId).collect();
    Some(if let Some(r) = root.body_as_cluster() {
        Record::Cluster { id: r.id().into() }
    } else if let Some(r) = root.body_as_node() {
        let rack = r.rack().map(Into::into);
        Record::Node(Node { id: NodeId(r.id()), host: r.host().into(), port: r.port(), rack })
    } else if let Some(r) = root.body_as_topic() {
        Record::Topic { id: id_in(r.id()), name: r.name().into() }
    } else if let Some(r) = root.body_as_partition() {
        let state = Partition {
            leader: NodeId(r.leader()),
            leader_epoch: LeaderEpoch(r.leader_epoch()),
            replicas: nodes(r.replicas()),
            isr: nodes(r.isr()),
            partition_epoch: r.partition_epoch(),
        };
        Record::Partition { topic: id_in(r.topic()), index: r.index(), state }
    } else if let Some(r) = root.body_as_remove_topic() {
        Record::RemoveTopic { id: id_in(r.id()) }
    } else if let Some(r) = root.body_as_config() {
        let resource = Resource { level: level_in(r.level())?, name: r.resource().into() };
        Record::Config { resource, name: r.name().into(), value: r.value().map(Into::into) }
    } else {
        Record::ProducerIds { next: root.body_as_producer_ids()?.next() }
    })
}

fn id_out(id: TopicId) -> schema::Id {
    let number = u128::from_be_bytes(id.0);
    schema::Id::new((number >> 64) as u64, number as u64)
}

fn id_in(id: &schema::Id) -> TopicId {
    TopicId((u128::from(id.high()) << 64 | u128::from(id.low())).to_be_bytes())
}

/// Kafka's numbers for resources, but for all brokers, which is a broker without a name there.
fn level_out(level: Level) -> u8 {
    match level {
        Level::Cluster => 0,
        Level::Topic => 2,
        Level::Node => 4,
        Level::ClientMetrics => 16,
        Level::Group => 32,
    }
}

fn level_in(number: u8) -> Option<Level> {
    let levels = [Level::Cluster, Level::Topic, Level::Node, Level::ClientMetrics, Level::Group];
    levels.into_iter().find(|&l| level_out(l) == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fuzzing::fuzz;
    use crate::image::Image;

    fn samples() -> Vec<Record> {
        let id = TopicId(*b"0123456789abcdef");
        let node = Node { id: NodeId(3), host: "h".into(), port: 65535, rack: Some("r".into()) };
        let state = Partition {
            leader: NodeId(-1),
            leader_epoch: LeaderEpoch(7),
            replicas: vec![NodeId(1), NodeId(2)],
            isr: vec![NodeId(2)],
            partition_epoch: 9,
        };
        let config = |level, value: Option<&str>| Record::Config {
            resource: Resource { level, name: "x".into() },
            name: "k".into(),
            value: value.map(Into::into),
        };
        vec![
            Record::Cluster { id: "cluster".into() },
            Record::Node(Node { rack: None, ..node.clone() }),
            Record::Node(node),
            Record::Topic { id, name: "t".into() },
            Record::Partition { topic: id, index: 4, state },
            Record::RemoveTopic { id },
            config(Level::Topic, Some("")),
            config(Level::Node, None),
            config(Level::Cluster, Some("v")),
            config(Level::Group, Some("v")),
            config(Level::ClientMetrics, Some("v")),
            Record::ProducerIds { next: 1 << 40 },
        ]
    }

    #[test]
    fn every_record_reads_back_from_its_bytes() {
        let records = samples();
        let decoded: Vec<_> = encode(&records).iter().map(|v| decode(v).unwrap()).collect();
        assert_eq!(decoded, records);
    }

    #[test]
    fn damaged_bytes_are_an_error_or_a_record_and_never_a_panic() {
        for (value, record) in encode(&samples()).into_iter().zip(samples()) {
            for cut in 0..value.len() {
                // What is cut off may be padding alone.
                assert!(decode(&value[..cut]).map_or(true, |r| r == record), "{cut}");
            }
            for at in 0..value.len() {
                for bit in 0..8 {
                    let mut damaged = value.clone();
                    damaged[at] ^= 1 << bit;
                    let _ = decode(&damaged);
                }
            }
        }
    }

    #[test]
    fn fuzzed_bytes_are_a_record_that_reads_back_or_refused() {
        let valid: Vec<_> = encode(&samples()).into_iter().map(|value| ((), value)).collect();
        fuzz(&valid, |(), bytes| {
            let Ok(record) = decode(bytes) else { return };
            let again = encode(std::slice::from_ref(&record));
            assert_eq!(decode(&again[0]).as_ref(), Ok(&record));
            let _ = Image::default().apply([&record]);
        });
    }

    /// FNV-1a; the first line of the generated file names the schema that it was made from.
    #[test]
    fn the_generated_code_is_of_this_schema() {
        let schema = include_bytes!("records.fbs");
        let step = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
        let hash = schema.iter().fold(0xcbf2_9ce4_8422_2325, step);
        let first = include_str!("records_generated.rs").lines().next().unwrap_or_default();
        let expect = format!("// Written by flatc from records.fbs with checksum {hash:016x}.");
        assert_eq!(first, expect, "run flatc as the head of records.fbs says");
    }
}
