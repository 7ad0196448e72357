//! The way from one image to the next in steps of a few partitions, for whoever carries it out over
//! several turns.
//!
//! Invariants:
//! - T1. Each partition of a topic that is new, changed or gone is in one step; so is each of a topic
//!   of which only the settings changed.
//! - T2. The steps of a topic follow each other, from its first partition on.

use std::collections::BTreeSet;
use std::ops::{Bound, Range};
use std::sync::Arc;

use super::{Delta, Image, Resource, Topic};
use crate::base::TopicId;
use crate::config::Level;

/// What is to be done with some partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// They are there, perhaps from now on.
    There,
    /// Their topic is gone.
    Gone,
    /// Their settings are new.
    Settings,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// What is to be done.
    pub what: What,
    /// The topic, as it is; as it was when it is gone.
    pub topic: Arc<Topic>,
    /// Which partitions of it; none of a topic without any.
    pub partitions: Range<usize>,
}

/// The steps that are left.
#[derive(Debug)]
pub struct Steps {
    old: Arc<Image>,
    new: Arc<Image>,
    delta: Arc<Delta>,
    /// The topic that was begun.
    topic: Option<Step>,
    after: After,
}

/// The last topic that was begun.
#[derive(Debug)]
enum After {
    Topic(Option<TopicId>),
    Resource(Option<Resource>),
    /// When the settings of all may be new.
    Name(Arc<str>),
}

impl Steps {
    /// From `old` to `new`, which differ by `delta`.
    pub fn new(old: Arc<Image>, new: Arc<Image>, delta: Arc<Delta>) -> Self {
        Self { old, new, delta, topic: None, after: After::Topic(None) }
    }

    /// Where they lead to.
    pub fn image(&self) -> &Arc<Image> {
        &self.new
    }

    /// Whether settings of nodes differ.
    pub fn are_about_nodes(&self) -> bool {
        let of_nodes = |r: &Resource| matches!(r.level, Level::Node | Level::Cluster);
        self.delta.configs.iter().any(of_nodes)
    }

    /// The next step, of at most so many partitions.
    pub fn next(&mut self, partitions_max: usize) -> Option<Step> {
        let begun = self.topic.take().or_else(|| {
            let (what, topic) = self.next_topic()?;
            Some(Step { what, topic, partitions: 0..0 })
        });
        let mut step = begun?;
        let (from, count) = (step.partitions.end, step.topic.partitions.len());
        step.partitions = from..count.min(from.saturating_add(partitions_max));
        if step.partitions.end < count {
            self.topic = Some(step.clone());
        }
        Some(step)
    }

    fn next_topic(&mut self) -> Option<(What, Arc<Topic>)> {
        loop {
            match &mut self.after {
                After::Topic(last) => {
                    let Some(id) = next_in(&self.delta.topics, last) else {
                        let all = self.are_about_nodes();
                        self.after =
                            if all { After::Name("".into()) } else { After::Resource(None) };
                        continue;
                    };
                    if let Some(topic) = self.new.topic_by_id(*id) {
                        return Some((What::There, Arc::clone(topic)));
                    }
                    if let Some(topic) = self.old.topic_by_id(*id) {
                        return Some((What::Gone, Arc::clone(topic)));
                    }
                }
                After::Resource(last) => {
                    let changed = next_in(&self.delta.configs, last)?;
                    let named = if changed.level == Level::Topic { &*changed.name } else { "" };
                    let is_done = |t: &&Arc<Topic>| self.delta.topics.contains(&t.id);
                    if let Some(topic) = self.new.topic(named).filter(|t| !is_done(t)) {
                        return Some((What::Settings, Arc::clone(topic)));
                    }
                }
                After::Name(last) => {
                    let is_next =
                        |t: &&Arc<Topic>| t.name > *last && !self.delta.topics.contains(&t.id);
                    let topic = Arc::clone(self.new.topics_from(last).find(is_next)?);
                    *last = Arc::clone(&topic.name);
                    return Some((What::Settings, topic));
                }
            }
        }
    }
}

/// The item after the last one.
fn next_in<'a, T: Ord + Clone>(set: &'a BTreeSet<T>, last: &mut Option<T>) -> Option<&'a T> {
    let from = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let next = set.range((from, Bound::Unbounded)).next()?;
    *last = Some(next.clone());
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{LeaderEpoch, NodeId};
    use crate::image::{Partition, Record};

    fn id(n: u8) -> TopicId {
        TopicId([n; 16])
    }

    fn topic(n: u8, partitions: i32) -> Vec<Record> {
        let state = Partition {
            leader: NodeId(0),
            leader_epoch: LeaderEpoch(0),
            replicas: vec![NodeId(0)],
            isr: vec![NodeId(0)],
            partition_epoch: 0,
        };
        let partition = |index| Record::Partition { topic: id(n), index, state: state.clone() };
        let mut records = vec![Record::Topic { id: id(n), name: format!("t{n}").into() }];
        records.extend((0..partitions).map(partition));
        records
    }

    fn config(resource: Resource) -> Record {
        Record::Config { resource, name: "retention.ms".into(), value: Some("5".into()) }
    }

    /// Takes all steps of at most `max`; what is to be done with each partition.
    fn walk(old: &Image, records: &[Record], max: usize) -> Vec<(What, String, Range<usize>)> {
        let (new, delta) = old.apply(records).unwrap();
        let mut steps = Steps::new(Arc::new(old.clone()), Arc::new(new), Arc::new(delta));
        let mut seen: Vec<(What, String, Range<usize>)> = Vec::new();
        while let Some(Step { what, topic, partitions }) = steps.next(max) {
            assert!(partitions.len() <= max);
            let name = topic.name.to_string();
            match seen.last_mut() {
                Some(last) if (last.0, &last.1) == (what, &name) => {
                    assert_eq!(last.2.end, partitions.start, "T2");
                    last.2.end = partitions.end;
                }
                _ => seen.push((what, name, partitions)),
            }
        }
        seen
    }

    #[test]
    fn whatever_the_size_of_a_step_all_that_differs_is_in_one_of_them() {
        let all = [topic(1, 5), topic(2, 7), topic(3, 1), topic(4, 0)].concat();
        let (old, _) = Image::default().apply(&all).unwrap();
        let mut records = topic(5, 3);
        records.push(Record::RemoveTopic { id: id(2) });
        records.push(config(Resource::topic("t1")));
        records.push(config(Resource::topic("t5")));
        records.extend(topic(6, 1));
        records.push(Record::RemoveTopic { id: id(6) });
        let mut expect = vec![
            (What::Gone, "t2".to_owned(), 0..7),
            (What::There, "t5".to_owned(), 0..3),
            (What::Settings, "t1".to_owned(), 0..5),
        ];
        for max in [1, 2, 3, 100] {
            assert_eq!(walk(&old, &records, max), expect, "{max}");
        }
        // What is set on a node may be a setting of any topic.
        records.push(config(Resource::cluster()));
        expect.extend([
            (What::Settings, "t3".to_owned(), 0..1),
            (What::Settings, "t4".to_owned(), 0..0),
        ]);
        for max in [1, 2, 3, 100] {
            assert_eq!(walk(&old, &records, max), expect, "{max}");
        }
    }

    #[test]
    fn an_image_without_news_for_partitions_has_no_step() {
        let (old, _) = Image::default().apply(&topic(1, 2)).unwrap();
        assert_eq!(walk(&old, &[Record::ProducerIds { next: 5 }], 10), []);
    }
}
