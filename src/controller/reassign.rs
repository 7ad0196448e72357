//! Moving the replicas of a partition to other nodes: what is checked, in Kafka's order. Nothing
//! moves until replication exists, so a move that is sound and not already done is refused.

use super::Controller;
use super::error::ControllerError;
use super::placement::check_replicas;
use crate::base::NodeId;

/// What a client wants of one partition.
#[derive(Debug, Clone, Copy)]
pub struct Reassignment<'a> {
    /// Name of its topic.
    pub topic: &'a str,
    /// Its index.
    pub index: i32,
    /// The nodes that it shall be on; `None` cancels a move that is under way.
    pub replicas: Option<&'a [NodeId]>,
    /// Whether there may be more or fewer of them than now.
    pub may_resize: bool,
}

impl Controller<'_> {
    /// Decides on one partition. There is nothing to write where it succeeds: the partition is
    /// where it shall be.
    ///
    /// # Errors
    /// [`ControllerError`] says why it stays where it is.
    pub fn reassign(&self, wanted: &Reassignment<'_>) -> Result<(), ControllerError> {
        let (topic, index) = (wanted.topic, wanted.index);
        let Some(found) = self.image.topic(topic) else {
            return Err(ControllerError::NoTopicToReassign(topic.to_owned()));
        };
        let Some(partition) = self.image.partition(found.id, index) else {
            let topic = topic.to_owned();
            return Err(ControllerError::NoPartitionToReassign { topic, index });
        };
        let Some(replicas) = wanted.replicas else {
            return Err(ControllerError::NotReassigning);
        };
        check_replicas(replicas, self.image)?;
        let (from, to) = (partition.replicas.len(), replicas.len());
        if from != to && !wanted.may_resize {
            return Err(ControllerError::ReplicationFactorChanged { from, to });
        }
        if replicas != partition.replicas {
            let text = "Replicas cannot be moved yet: replication does not exist.";
            return Err(ControllerError::InvalidAssignment(text.into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::Cluster;
    use crate::controller::topics::NewTopic;

    #[test]
    fn a_partition_stays_and_the_reason_is_the_first_that_kafka_would_find() {
        let mut cluster = Cluster::new(2, "");
        let topic = NewTopic {
            name: "t".into(),
            partitions: -1,
            replication_factor: -1,
            assignments: vec![(0, vec![NodeId(0)])],
            configs: Vec::new(),
        };
        cluster.decide(|c| c.create_topics(vec![topic], false));
        let mut check = |topic, index, replicas: Option<&[i32]>, may_resize| {
            let nodes = replicas.map(|ids| ids.iter().copied().map(NodeId).collect::<Vec<_>>());
            let replicas = nodes.as_deref();
            let wanted = Reassignment { topic, index, replicas, may_resize };
            let mut refused = None;
            cluster.decide(|c| {
                refused = c.reassign(&wanted).err();
                (Vec::new(), ())
            });
            refused.map_or_else(|| "ok".to_owned(), |e| e.to_string())
        };
        let unknown =
            "The manual partition assignment includes broker 9, but no such broker is registered.";
        for (topic, index, replicas, may_resize, expect) in [
            ("t", 0, Some(&[0][..]), false, "ok"),
            ("x", 0, Some(&[0]), true, "Unable to find a topic named x."),
            ("t", 1, None, true, "Unable to find partition t:1."),
            ("t", -1, Some(&[9]), true, "Unable to find partition t:-1."),
            ("t", 0, None, true, "No reassignment of the partition is in progress."),
            (
                "t",
                0,
                Some(&[]),
                true,
                "The manual partition assignment includes an empty replica list.",
            ),
            ("t", 0, Some(&[0, 9]), false, unknown),
            ("t", 0, Some(&[0, 1]), false, "The replication factor is changed from 1 to 2"),
            (
                "t",
                0,
                Some(&[0, 1]),
                true,
                "Replicas cannot be moved yet: replication does not exist.",
            ),
            (
                "t",
                0,
                Some(&[1]),
                false,
                "Replicas cannot be moved yet: replication does not exist.",
            ),
        ] {
            assert_eq!(check(topic, index, replicas, may_resize), expect);
        }
    }
}
