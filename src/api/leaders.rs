//! Where a partition is led instead: what Produce and Fetch add for a client that came to the wrong
//! node, so that it need not ask for Metadata before it tries again (KIP-951).
//!
//! On the wire: a tagged field that ends the partition's row names leader and epoch, and one that
//! ends the response tells the address of every node that a row has named.

use std::collections::BTreeMap;

use crate::base::{LeaderEpoch, NodeId, TopicId};
use crate::image::{Image, Node};
use crate::wire::writer::Writer;

const NODE_ENDPOINTS_TAG: u32 = 0;

/// Leader and epoch of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CurrentLeader {
    node: NodeId,
    epoch: LeaderEpoch,
}

impl CurrentLeader {
    /// Ends a struct with the one tagged field that says it.
    pub(super) fn write(self, w: &mut Writer, tag: u32) {
        let mut value = w.tag_value();
        value.i32(self.node.0);
        value.i32(self.epoch.0);
        value.no_tags();
        w.uvarint(1);
        w.tag(tag, &value);
    }
}

/// The nodes that one response names.
#[derive(Debug, Default)]
pub(super) struct Leaders {
    nodes: BTreeMap<NodeId, Node>,
}

impl Leaders {
    /// Who leads the partition, for its row; `None` when it is gone.
    pub(super) fn find(
        &mut self,
        image: &Image,
        topic: TopicId,
        index: i32,
    ) -> Option<CurrentLeader> {
        let partition = image.partition(topic, index)?;
        if let Some(node) = image.node(partition.leader) {
            self.nodes.entry(node.id).or_insert_with(|| node.clone());
        }
        Some(CurrentLeader { node: partition.leader, epoch: partition.leader_epoch })
    }

    /// Ends the response with the addresses, if a row needs one.
    pub(super) fn end(&self, w: &mut Writer) {
        if self.nodes.is_empty() {
            return w.no_tags();
        }
        let mut value = w.tag_value();
        value.array_len(Some(self.nodes.len()));
        for node in self.nodes.values() {
            value.i32(node.id.0);
            value.string(Some(&node.host));
            value.i32(i32::from(node.port));
            value.string(node.rack.as_deref());
            value.no_tags();
        }
        w.uvarint(1);
        w.tag(NODE_ENDPOINTS_TAG, &value);
    }
}

#[cfg(test)]
mod tests {
    use crate::api::testing::World;
    use crate::msg;
    use crate::wire::messages::fetch_request::{FetchPartition, FetchTopic};
    use crate::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use crate::wire::messages::{FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};

    const NOBODY: (i32, i32) = (-1, -1);

    #[test]
    fn a_producer_at_the_wrong_node_is_told_where_to_go_from_version_10() {
        let mut world = World::new(2, "");
        let topic = world.create("t", &[0, 1]);
        for version in 9..=13 {
            let data = |index| msg!(PartitionProduceData { index, records: Some("".into()) });
            let partition_data = [0, 1, 0, 7].map(data).to_vec();
            let mut topic_data = msg!(TopicProduceData { partition_data });
            match version {
                13 => topic_data.topic_id = topic.into(),
                _ => topic_data.name = "t".into(),
            }
            let request = msg!(ProduceRequest { acks: -1, topic_data: vec![topic_data] });
            let answer: ProduceResponse = world.ask(1, version, &request);
            let rows = answer.responses[0].partition_responses.iter();
            let rows = rows.map(|p| {
                let leader = &p.current_leader;
                (p.index, p.error_code, (leader.leader_id, leader.leader_epoch))
            });
            let leader = if version >= 10 { (0, 0) } else { NOBODY };
            let expect = [(0, 6, leader), (1, 87, NOBODY), (0, 6, leader), (7, 3, NOBODY)];
            assert_eq!(rows.collect::<Vec<_>>(), expect, "v{version}");
            let nodes = answer.node_endpoints.iter();
            let nodes = nodes.map(|n| (n.node_id, &*n.host, n.port)).collect::<Vec<_>>();
            let known = [(0, "127.0.0.1", 9092)];
            assert_eq!(nodes, known[usize::from(version < 10)..], "v{version}");
        }
    }

    #[test]
    fn a_consumer_at_the_wrong_node_is_told_where_to_go_from_version_16() {
        let mut world = World::new(3, "");
        let topic = world.create("t", &[0, 1, 2]);
        for version in 12..=18 {
            let partition = |partition| msg!(FetchPartition { partition, fetch_offset: 0 });
            let partitions = [0, 1, 2, 7].map(partition).to_vec();
            let mut fetched = msg!(FetchTopic { partitions });
            match version {
                13.. => fetched.topic_id = topic.into(),
                _ => fetched.topic = "t".into(),
            }
            let request = msg!(FetchRequest { topics: vec![fetched] });
            let answer: FetchResponse = world.ask(1, version, &request);
            let rows = answer.responses[0].partitions.iter();
            let rows = rows.map(|p| {
                let leader = p.current_leader.leader_id;
                (p.error_code, leader, p.aborted_transactions.is_some())
            });
            let told = version >= 16;
            let (a, b) = if told { (0, 2) } else { (-1, -1) };
            let expect = [(6, a, false), (0, -1, false), (6, b, false), (3, -1, true)];
            assert_eq!(rows.collect::<Vec<_>>(), expect, "v{version}");
            let nodes: Vec<_> = answer.node_endpoints.iter().map(|n| (n.node_id, n.port)).collect();
            assert_eq!(nodes, [(0, 9092), (2, 9094)][if told { 0 } else { 2 }..], "v{version}");
        }
    }
}
