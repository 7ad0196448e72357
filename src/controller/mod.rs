//! The controller: it decides what may change in the metadata, and how.
//!
//! Flow: `api` -> [`Controller`] over the latest image -> (records, a result for each item) ->
//! `shard::metadata` writes the records, and answers when they are durable and every shard has the
//! image that they make. The latest image already has all records on their way, so the next request
//! is decided at once.
//!
//! Invariants:
//! - K1. Records that the controller decides fit the image that it decided on.
//! - K2. A refused item has no records; the other items of its request are not affected.
//! - K3. A topic id and a producer id are given out once.
//!
//! Pure: no clock, no I/O, no state of its own; randomness is handed in. Kafka's error codes are the
//! business of `api`.

mod configs;
mod error;
mod names;
mod partitions;
mod placement;
mod reassign;
mod topics;

use std::mem;
use std::ops::Range;

use crate::base::{NodeId, TopicId};
use crate::config::{Layers, ServerConfig};
use crate::image::{Image, Node, Record, bootstrap};

pub use configs::{Alteration, AlterationKind};
pub use error::ControllerError;
pub use names::check_topic_name;
pub use partitions::MorePartitions;
pub use reassign::Reassignment;
pub use topics::{CreatedTopic, DeletedTopic, NewTopic, TopicRef};

/// Producer ids that one record reserves.
pub const PRODUCER_ID_BLOCK: i64 = 1000;
/// Partitions that one request may create.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// The decider, for one request.
#[derive(Debug)]
pub struct Controller<'a> {
    image: &'a Image,
    server: &'a ServerConfig,
    node: NodeId,
    random: &'a mut u64,
}

impl<'a> Controller<'a> {
    /// Decides on `image`, as the node `node`. `random` makes topic ids; it starts with a seed that
    /// differs from one start to the next.
    pub fn new(
        image: &'a Image,
        node: NodeId,
        server: &'a ServerConfig,
        random: &'a mut u64,
    ) -> Self {
        Self { image, server, node, random }
    }

    /// The server starts with these nodes: the first records of a new cluster, or what has changed.
    /// `cluster_id` is the id of a new one.
    pub fn register(&mut self, cluster_id: &str, nodes: Vec<Node>) -> Vec<Record> {
        if self.image.cluster_id().is_empty() {
            return bootstrap(cluster_id.into(), nodes);
        }
        let changed = |n: &Node| self.image.node(n.id) != Some(n);
        nodes.into_iter().filter(changed).map(Record::Node).collect()
    }

    fn layers(&self) -> Layers<'a> {
        self.image.layers(self.node, self.server)
    }

    /// A topic id that no topic has: 122 random bits. Like Kafka's, its text does not start with a
    /// dash, which tools would take for an option.
    fn new_id(&mut self) -> TopicId {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&next_random(self.random).to_be_bytes());
            bytes[8..].copy_from_slice(&next_random(self.random).to_be_bytes());
            bytes[6] = 0x40 | (bytes[6] & 0x0f);
            bytes[8] = 0x80 | (bytes[8] & 0x3f);
            let id = TopicId(bytes);
            if self.image.topic_by_id(id).is_none() && !id.to_string().starts_with('-') {
                return id;
            }
        }
    }
}

/// SplitMix64 counts in these steps.
const RANDOM_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A series of random numbers for a decision that is made elsewhere: `state` goes on far behind it.
pub fn split_random(state: &mut u64) -> u64 {
    mem::replace(state, state.wrapping_add(RANDOM_STEP << 20))
}

fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(RANDOM_STEP);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Gives out a producer id from `block`, which a record has reserved; reserves another when the
/// block is used up, or when its record is not yet in `applied`: an id that a crash could give out
/// again is not given out. What is left of a block at a stop is never used.
pub fn next_producer_id(
    latest: &Image,
    applied: &Image,
    block: &mut Range<i64>,
) -> (Vec<Record>, i64) {
    let reserved = block.end <= applied.next_producer_id();
    if let Some(id) = block.next().filter(|_| reserved) {
        return (Vec::new(), id);
    }
    let first = latest.next_producer_id();
    let next = first.saturating_add(PRODUCER_ID_BLOCK);
    *block = first + 1..next;
    (vec![Record::ProducerIds { next }], first)
}

#[cfg(test)]
mod testing {
    use super::*;

    /// A cluster whose controller decides, and whose records are applied at once.
    pub(super) struct Cluster {
        pub(super) image: Image,
        server: ServerConfig,
        random: u64,
    }

    impl Cluster {
        /// A cluster of `nodes` nodes that was started with this file.
        pub(super) fn new(nodes: i32, file: &str) -> Self {
            let server = ServerConfig::load(file, &[]).unwrap();
            let mut cluster = Self { image: Image::default(), server, random: 7 };
            let node = |id| Node { id: NodeId(id), host: "h".into(), port: 9092, rack: None };
            cluster.decide(|c| (c.register("c", (0..nodes).map(node).collect()), ()));
            cluster
        }

        /// Decides, applies, and returns both.
        pub(super) fn decide<R>(
            &mut self,
            f: impl FnOnce(&mut Controller<'_>) -> (Vec<Record>, R),
        ) -> (Vec<Record>, R) {
            let mut c = Controller::new(&self.image, NodeId(0), &self.server, &mut self.random);
            let (records, result) = f(&mut c);
            self.image = self.image.apply(&records).expect("K1").0;
            (records, result)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Cluster;
    use super::*;

    #[test]
    fn a_new_cluster_gets_a_name_and_its_nodes_and_a_known_one_what_has_changed() {
        let mut cluster = Cluster::new(2, "");
        assert_eq!(cluster.image.cluster_id(), "c");
        assert_eq!(cluster.image.nodes().len(), 2);
        let mut nodes: Vec<Node> = cluster.image.nodes().cloned().collect();
        assert_eq!(cluster.decide(|c| (c.register("c", nodes.clone()), ())).0, []);
        nodes[1].port = 1;
        let (records, ()) = cluster.decide(|c| (c.register("c", nodes.clone()), ()));
        assert_eq!(records, [Record::Node(nodes[1].clone())]);
    }

    #[test]
    fn producer_ids_are_reserved_in_blocks_and_given_out_once() {
        let mut image = Image::default();
        let mut block = 0..0;
        let mut written = 0;
        for expect in 0..=PRODUCER_ID_BLOCK {
            let (records, id) = next_producer_id(&image, &image, &mut block);
            assert_eq!(id, expect);
            written += records.len();
            image = image.apply(&records).unwrap().0;
        }
        assert_eq!(written, 2);
        assert_eq!(next_producer_id(&image, &image, &mut (0..0)).1, 2 * PRODUCER_ID_BLOCK);
    }

    #[test]
    fn a_block_whose_record_is_not_durable_is_not_used() {
        let applied = Image::default();
        let mut block = 0..0;
        let (records, first) = next_producer_id(&applied, &applied, &mut block);
        let latest = applied.apply(&records).unwrap().0;
        let (records, second) = next_producer_id(&latest, &applied, &mut block);
        assert_eq!((first, second, records.len()), (0, PRODUCER_ID_BLOCK, 1));
    }
}
