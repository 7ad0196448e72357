//! Topics grow: partitions are added, never taken away.

use super::placement::{check_assignment, new_partition, place};
use super::topics::{Results, without_duplicates};
use super::{Controller, ControllerError, PARTITIONS_PER_REQUEST_MAX};
use crate::base::NodeId;
use crate::image::{Record, Topic};

/// How far a topic is to grow.
#[derive(Debug, Clone, Default)]
pub struct MorePartitions {
    /// Its name.
    pub name: String,
    /// Partitions it is to have.
    pub count: i32,
    /// Replicas of each new partition; `None` lets the controller place them.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

impl Controller<'_> {
    /// Adds partitions to topics, each by itself. With `validate_only` the results are the same and
    /// nothing happens.
    pub fn create_partitions(
        &self,
        topics: Vec<MorePartitions>,
        validate_only: bool,
    ) -> (Vec<Record>, Results<()>) {
        let (topics, mut results) = without_duplicates(topics, |t| &t.name);
        let (mut records, mut total) = (Vec::new(), 0);
        for topic in topics {
            let result = self.grow(&topic, &mut total).map(|more| records.extend(more));
            results.push((topic.name, result));
        }
        if validate_only {
            return (Vec::new(), results);
        }
        (records, results)
    }

    fn grow(
        &self,
        more: &MorePartitions,
        total: &mut usize,
    ) -> Result<Vec<Record>, ControllerError> {
        let topic = self.image.topic(&more.name).ok_or(ControllerError::UnknownTopic)?;
        let has = topic.partitions.len();
        let added = usize::try_from(more.count).unwrap_or(0).saturating_sub(has);
        if added == 0 {
            return Err(ControllerError::InvalidPartitions(if more.count == has as i32 {
                format!("Topic already has {has} partition(s).")
            } else {
                format!(
                    "The topic {} currently has {has} partition(s); {} would not be an increase.",
                    more.name, more.count
                )
            }));
        }
        let wanted = *total + added;
        if wanted > PARTITIONS_PER_REQUEST_MAX {
            let limit = PARTITIONS_PER_REQUEST_MAX;
            return Err(ControllerError::TooManyPartitions { wanted, limit });
        }
        let replicas = match &more.assignments {
            None => place(self.image, self.place_after(topic), added),
            Some(given) if given.len() != added => {
                return Err(ControllerError::InvalidAssignment(format!(
                    "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
                    given.len()
                )));
            }
            Some(given) => {
                let like = topic.partitions.first().map(|p| p.replicas.len());
                given.iter().try_for_each(|r| check_assignment(r, like, self.image))?;
                given.clone()
            }
        };
        *total = wanted;
        let record = |(index, replicas)| Record::Partition {
            topic: topic.id,
            index,
            state: new_partition(replicas),
        };
        Ok((has as i32..).zip(replicas).map(record).collect())
    }

    /// The place after the node that leads the last partition.
    fn place_after(&self, topic: &Topic) -> usize {
        let last = topic.partitions.last().map(|p| p.leader);
        self.image.nodes().position(|n| Some(n.id) == last).map_or(0, |place| place + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Cluster;
    use super::*;
    use crate::controller::NewTopic;
    use expect_test::expect;
    use std::fmt::Write as _;

    #[test]
    fn a_topic_grows_round_the_nodes_and_never_shrinks() {
        let mut cluster = Cluster::new(3, "");
        let a = NewTopic {
            name: "a".into(),
            partitions: 2,
            replication_factor: 1,
            ..NewTopic::default()
        };
        cluster.decide(|c| c.create_topics(vec![a], false));
        let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let cases = [
            ("a", 4, None, true),
            ("a", 4, None, false),
            ("a", 4, None, false),
            ("a", 1, None, false),
            ("a", -1, None, false),
            ("nope", 4, None, false),
            ("a", 6, Some(vec![nodes(&[1])]), false),
            ("a", 5, Some(vec![nodes(&[99])]), false),
            ("a", 5, Some(vec![nodes(&[])]), false),
            ("a", 5, Some(vec![nodes(&[0, 1])]), false),
            ("a", 5, Some(vec![nodes(&[0])]), false),
            ("a", 30_000, None, false),
        ];
        let mut text = String::new();
        for (name, count, assignments, validate_only) in cases {
            let more = MorePartitions { name: name.into(), count, assignments };
            let (_, results) = cluster.decide(|c| c.create_partitions(vec![more], validate_only));
            let result = results[0].1.clone().map_or_else(|e| e.to_string(), |()| "ok".to_owned());
            let topic = cluster.image.topic("a").unwrap();
            let leaders: Vec<_> = topic.partitions.iter().map(|p| p.leader.0).collect();
            writeln!(text, "{name} to {count}: {result} {leaders:?}").unwrap();
        }
        expect![[r"
            a to 4: ok [0, 1]
            a to 4: ok [0, 1, 2, 0]
            a to 4: Topic already has 4 partition(s). [0, 1, 2, 0]
            a to 1: The topic a currently has 4 partition(s); 1 would not be an increase. [0, 1, 2, 0]
            a to -1: The topic a currently has 4 partition(s); -1 would not be an increase. [0, 1, 2, 0]
            nope to 4: This server does not host this topic-partition. [0, 1, 2, 0]
            a to 6: Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified. [0, 1, 2, 0]
            a to 5: The manual partition assignment includes broker 99, but no such broker is registered. [0, 1, 2, 0]
            a to 5: The manual partition assignment includes an empty replica list. [0, 1, 2, 0]
            a to 5: The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s). [0, 1, 2, 0]
            a to 5: ok [0, 1, 2, 0, 0]
            a to 30000: Excessively large number of partitions per request. [0, 1, 2, 0, 0]
        "]].assert_eq(&text);
    }

    #[test]
    fn a_topic_that_comes_twice_is_refused_once() {
        let more = || MorePartitions { name: "a".into(), count: 3, assignments: None };
        let (records, results) =
            Cluster::new(1, "").decide(|c| c.create_partitions(vec![more(), more()], false));
        assert_eq!((records.len(), results.len()), (0, 1));
        assert_eq!(results[0].1, Err(ControllerError::request("Duplicate topic name.")));
    }
}
