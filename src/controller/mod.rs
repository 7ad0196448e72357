//! The controller: it decides what may change in the metadata, and how.
//!
//! Flow: `api` -> [`Controller`] -> (records, a result for each item). The caller appends the
//! records to the metadata log and answers when they are durable and every shard has the image that
//! they make. The controller itself goes on at once: it checks the next request against the image
//! that all records decided so far will make. If they cannot be written, the server stops.
//!
//! Invariants:
//! - K1. Records that the controller decides fit its own image.
//! - K2. A refused item has no records; the other items of its request are not affected.
//! - K3. A topic id and a producer id are given out once.
//!
//! Pure: no clock, no I/O; randomness is a seed. Kafka's error codes are the business of `api`.

mod configs;
mod error;
mod names;
mod partitions;
mod placement;
mod topics;

use std::ops::Range;
use std::sync::Arc;

use crate::base::{NodeId, TopicId};
use crate::config::{Layers, ServerConfig};
use crate::image::{Image, Node, Record, bootstrap};

pub use configs::{Alteration, AlterationKind};
pub use error::ControllerError;
pub use names::check_topic_name;
pub use partitions::MorePartitions;
pub use topics::{CreatedTopic, DeletedTopic, NewTopic, TopicRef};

/// Producer ids that one record reserves.
pub const PRODUCER_ID_BLOCK: i64 = 1000;
/// Partitions that one request may create.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// The decider.
#[derive(Debug)]
pub struct Controller {
    node: NodeId,
    server: Arc<ServerConfig>,
    image: Image,
    random: u64,
    producer_ids: Range<i64>,
}

impl Controller {
    /// Goes on from `image`, on the node `node`. `seed` makes topic ids; it must differ from one
    /// start to the next.
    pub fn new(node: NodeId, server: Arc<ServerConfig>, image: Image, seed: u64) -> Self {
        Self { node, server, image, random: seed, producer_ids: 0..0 }
    }

    /// The image that all records decided so far make.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The server starts with these nodes: the first records of a new cluster, or what has changed.
    pub fn register(&mut self, nodes: Vec<Node>) -> Vec<Record> {
        let records = if self.image.cluster_id().is_empty() {
            let id = self.new_id().to_string();
            bootstrap(id.into(), nodes)
        } else {
            let changed = |n: &Node| self.image.node(n.id) != Some(n);
            nodes.into_iter().filter(changed).map(Record::Node).collect()
        };
        self.commit(records)
    }

    /// Gives out a producer id, from a block that a record has reserved. What is left of a block
    /// when the server stops is never used.
    pub fn next_producer_id(&mut self) -> (Vec<Record>, i64) {
        if let Some(id) = self.producer_ids.next() {
            return (Vec::new(), id);
        }
        let first = self.image.next_producer_id();
        let next = first.saturating_add(PRODUCER_ID_BLOCK);
        self.producer_ids = first + 1..next;
        (self.commit(vec![Record::ProducerIds { next }]), first)
    }

    fn layers(&self) -> Layers<'_> {
        self.image.layers(self.node, &self.server)
    }

    /// Takes the records into the image, and hands them on.
    fn commit(&mut self, records: Vec<Record>) -> Vec<Record> {
        if !records.is_empty() {
            match self.image.apply(&records) {
                Ok((next, _)) => self.image = next,
                Err(e) => panic!("K1: {e}"),
            }
        }
        records
    }

    /// A topic id that no topic has: 122 random bits. Like Kafka's, its text does not start with a
    /// dash, which tools would take for an option.
    fn new_id(&mut self) -> TopicId {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&self.next_random().to_be_bytes());
            bytes[8..].copy_from_slice(&self.next_random().to_be_bytes());
            bytes[6] = 0x40 | (bytes[6] & 0x0f);
            bytes[8] = 0x80 | (bytes[8] & 0x3f);
            let id = TopicId(bytes);
            if self.image.topic_by_id(id).is_none() && !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    /// SplitMix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod testing {
    use super::*;

    /// A controller of a cluster of `nodes` nodes that was started with this file.
    pub(super) fn controller(nodes: i32, file: &str) -> Controller {
        let server = Arc::new(ServerConfig::load(file, &[]).unwrap());
        let mut controller = Controller::new(NodeId(0), server, Image::default(), 7);
        let node = |id| Node { id: NodeId(id), host: "h".into(), port: 9092, rack: None };
        controller.register((0..nodes).map(node).collect());
        controller
    }
}

#[cfg(test)]
mod tests {
    use super::testing::controller;
    use super::*;

    #[test]
    fn a_new_cluster_gets_a_name_and_its_nodes_and_a_known_one_what_has_changed() {
        let mut controller = controller(2, "");
        assert_eq!(controller.image().cluster_id().len(), 22);
        assert_eq!(controller.image().nodes().len(), 2);
        let mut nodes: Vec<Node> = controller.image().nodes().cloned().collect();
        assert_eq!(controller.register(nodes.clone()), []);
        nodes[1].port = 1;
        assert_eq!(controller.register(nodes.clone()), [Record::Node(nodes[1].clone())]);
    }

    #[test]
    fn producer_ids_are_reserved_in_blocks_and_given_out_once() {
        let mut first = controller(1, "");
        let mut records = Vec::new();
        for expect in 0..=PRODUCER_ID_BLOCK {
            let (more, id) = first.next_producer_id();
            assert_eq!(id, expect);
            records.extend(more);
        }
        assert_eq!(records.len(), 2);
        let image = first.image().clone();
        let mut restarted = Controller::new(NodeId(0), first.server.clone(), image, 8);
        assert_eq!(restarted.next_producer_id().1, 2 * PRODUCER_ID_BLOCK);
    }
}
