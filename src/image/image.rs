//! One immutable state of the metadata. Cloning shares; changing makes the next one.
//!
//! Invariants:
//! - I1. `by_name` and `by_id` hold the same topics.
//! - I2. `partitions` is the sum of the partitions of all topics.
//! - I3. A resource without settings has no entry in `configs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use immutable_chunkmap::map::Map;

use super::error::ImageError;
use super::records::{Node, Partition, Record, Resource};
use crate::base::{NodeId, TopicId};
use crate::config::{Layers, Overrides, ServerConfig, TopicConfig};

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Id.
    pub id: TopicId,
    /// Name.
    pub name: Arc<str>,
    /// Partitions; the index is the place.
    pub partitions: Vec<Arc<Partition>>,
}

/// A map whose copies share what they have in common, in chunks of so many entries.
type Shared<K, V> = Map<K, V, 64>;

/// The metadata of the cluster at one moment.
#[derive(Debug, Clone, Default)]
pub struct Image {
    cluster_id: Arc<str>,
    nodes: Arc<BTreeMap<NodeId, Node>>,
    by_id: Shared<TopicId, Arc<Topic>>,
    by_name: Shared<Arc<str>, Arc<Topic>>,
    configs: Shared<Resource, Arc<Overrides>>,
    partitions: usize,
    next_producer_id: i64,
}

/// What differs between two images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Topics that are new, changed or gone.
    pub topics: BTreeSet<TopicId>,
    /// Resources whose settings changed.
    pub configs: BTreeSet<Resource>,
    /// Whether nodes changed.
    pub nodes: bool,
}

impl Image {
    /// The cluster's name for itself; empty before the first record.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.nodes.values()
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.into_iter().map(|(_, topic)| topic)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.by_name.len()
    }

    /// Topics whose names are not before this one, by name.
    pub fn topics_from<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Topic>> {
        let bounds = (Bound::Included(name), Bound::Unbounded);
        self.by_name.range::<str, _>(bounds).map(|(_, topic)| topic)
    }

    /// The topic with this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// The partition `index` of the topic with this id.
    pub fn partition(&self, topic: TopicId, index: i32) -> Option<&Arc<Partition>> {
        self.by_id.get(&topic)?.partitions.get(usize::try_from(index).ok()?)
    }

    /// Partitions of all topics.
    pub fn partition_count(&self) -> usize {
        self.partitions
    }

    /// What is set on a resource.
    pub fn config(&self, resource: &Resource) -> Option<&Arc<Overrides>> {
        self.configs.get(resource)
    }

    /// All resources that something is set on.
    pub fn configured(&self) -> impl Iterator<Item = &Resource> {
        self.configs.into_iter().map(|(resource, _)| resource)
    }

    /// The first producer id that has not been given out.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// The layers of broker settings that a node sees.
    pub fn layers<'a>(&'a self, node: NodeId, server: &'a ServerConfig) -> Layers<'a> {
        let set = |resource| self.configs.get(&resource).map(|set| &**set);
        Layers { node: set(Resource::node(node)), cluster: set(Resource::cluster()), server }
    }

    /// The effective settings of a topic on a node.
    pub fn topic_config(&self, name: &str, layers: &Layers<'_>) -> TopicConfig {
        let own = self.configs.get(&Resource::topic(name));
        TopicConfig::of(own.map_or(&Overrides::new(), |set| set), layers)
    }

    /// The next image, after these records, and what differs.
    ///
    /// # Errors
    /// The first record that does not fit; see [`ImageError`].
    pub fn apply<'r>(
        &self,
        records: impl IntoIterator<Item = &'r Record>,
    ) -> Result<(Self, Delta), ImageError> {
        let (mut next, mut delta) = (self.clone(), Delta::default());
        for record in records {
            next.replay(record, &mut delta)?;
        }
        Ok((next, delta))
    }

    fn replay(&mut self, record: &Record, delta: &mut Delta) -> Result<(), ImageError> {
        match record {
            Record::Cluster { id } => self.cluster_id = id.clone(),
            Record::Node(node) => {
                Arc::make_mut(&mut self.nodes).insert(node.id, node.clone());
                delta.nodes = true;
            }
            Record::Topic { id, name } => {
                self.add_topic(*id, name)?;
                delta.topics.insert(*id);
            }
            Record::Partition { topic, index, state } => {
                self.set_partition(*topic, *index, state)?;
                delta.topics.insert(*topic);
            }
            Record::RemoveTopic { id } => {
                self.remove_topic(*id, delta)?;
                delta.topics.insert(*id);
            }
            Record::Config { resource, name, value } => {
                self.set_config(resource, name, value.as_deref());
                delta.configs.insert(resource.clone());
            }
            Record::ProducerIds { next } => self.next_producer_id = *next,
        }
        Ok(())
    }

    fn add_topic(&mut self, id: TopicId, name: &Arc<str>) -> Result<(), ImageError> {
        if self.by_id.get(&id).is_some() || self.by_name.get(name).is_some() {
            return Err(ImageError::TopicExists { name: name.to_string() });
        }
        self.put(Arc::new(Topic { id, name: name.clone(), partitions: Vec::new() }));
        Ok(())
    }

    fn set_partition(
        &mut self,
        id: TopicId,
        index: i32,
        state: &Partition,
    ) -> Result<(), ImageError> {
        // Out of both maps first, so that a topic that only this image has is changed in place.
        let mut topic = self.take(id).ok_or(ImageError::NoSuchTopic(id))?;
        let partitions = &mut Arc::make_mut(&mut topic).partitions;
        let count = partitions.len();
        match usize::try_from(index).ok().filter(|&i| i <= count) {
            Some(i) if i == count => {
                partitions.push(Arc::new(state.clone()));
                self.partitions += 1;
            }
            Some(i) => partitions[i] = Arc::new(state.clone()),
            None => return Err(ImageError::Gap { topic: id, index, partitions: count }),
        }
        self.put(topic);
        Ok(())
    }

    fn remove_topic(&mut self, id: TopicId, delta: &mut Delta) -> Result<(), ImageError> {
        let topic = self.take(id).ok_or(ImageError::NoSuchTopic(id))?;
        self.partitions -= topic.partitions.len();
        let resource = Resource::topic(&topic.name);
        if self.configs.remove_cow(&resource).is_some() {
            delta.configs.insert(resource);
        }
        Ok(())
    }

    fn set_config(&mut self, resource: &Resource, name: &str, value: Option<&str>) {
        let set = Arc::make_mut(self.configs.get_or_default_cow(resource.clone()));
        match value {
            Some(value) => set.insert(name.to_owned(), value.to_owned()),
            None => set.remove(name),
        };
        if set.is_empty() {
            self.configs.remove_cow(resource);
        }
    }

    fn take(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove_cow(&id)?;
        self.by_name.remove_cow(&topic.name);
        Some(topic)
    }

    fn put(&mut self, topic: Arc<Topic>) {
        self.by_id.insert_cow(topic.id, topic.clone());
        self.by_name.insert_cow(topic.name.clone(), topic);
    }

    /// Records that make this image out of an empty one: its snapshot.
    pub fn records(&self) -> Vec<Record> {
        let mut records = vec![Record::Cluster { id: self.cluster_id.clone() }];
        records.extend(self.nodes.values().cloned().map(Record::Node));
        for topic in self.topics() {
            records.push(Record::Topic { id: topic.id, name: topic.name.clone() });
            let partition = |(index, state): (usize, &Arc<Partition>)| Record::Partition {
                topic: topic.id,
                index: index as i32,
                state: Partition::clone(state),
            };
            records.extend(topic.partitions.iter().enumerate().map(partition));
        }
        for (resource, set) in &self.configs {
            let config = |(name, value): (&String, &String)| Record::Config {
                resource: resource.clone(),
                name: name.clone(),
                value: Some(value.clone()),
            };
            records.extend(set.iter().map(config));
        }
        records.push(Record::ProducerIds { next: self.next_producer_id });
        records
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.records() == other.records()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::LeaderEpoch;

    fn id(n: u16) -> TopicId {
        let mut bytes = [7; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        TopicId(bytes)
    }

    fn topic(n: u16) -> Record {
        Record::Topic { id: id(n), name: format!("t{n}").into() }
    }

    fn partition(n: u16, index: i32, epoch: i32) -> Record {
        let state = Partition {
            leader: NodeId(0),
            leader_epoch: LeaderEpoch(epoch),
            replicas: vec![NodeId(0)],
            isr: vec![NodeId(0)],
            partition_epoch: epoch,
        };
        Record::Partition { topic: id(n), index, state }
    }

    fn config(n: u16, value: Option<&str>) -> Record {
        Record::Config {
            resource: Resource::topic(&format!("t{n}")),
            name: "retention.ms".into(),
            value: value.map(Into::into),
        }
    }

    fn check_invariants(image: &Image) {
        let by_id: usize = image.by_id.into_iter().map(|(_, t)| t.partitions.len()).sum();
        assert_eq!(image.by_id.len(), image.by_name.len(), "I1");
        assert!(image.topics().all(|t| image.by_id[&t.id] == *t), "I1");
        assert_eq!(by_id, image.partition_count(), "I2");
        assert!(image.configs.into_iter().all(|(_, c)| !c.is_empty()), "I3");
    }

    #[test]
    fn records_make_the_next_image_and_leave_the_last_one_alone() {
        let (one, delta) = Image::default()
            .apply(&[topic(1), partition(1, 0, 0), partition(1, 1, 0), config(1, Some("5"))])
            .unwrap();
        check_invariants(&one);
        assert_eq!(delta.topics.len(), 1);
        assert_eq!(delta.configs.first().unwrap(), &Resource::topic("t1"));
        let (two, delta) = one.apply(&[topic(2), partition(1, 0, 3), config(1, None)]).unwrap();
        check_invariants(&two);
        assert_eq!(delta.topics.len(), 2);
        assert_eq!(one.partition(id(1), 0).unwrap().leader_epoch, LeaderEpoch(0));
        assert_eq!(two.partition(id(1), 0).unwrap().leader_epoch, LeaderEpoch(3));
        assert_eq!((one.partition_count(), two.partition_count()), (2, 2));
        let (three, delta) = one.apply(&[Record::RemoveTopic { id: id(1) }]).unwrap();
        check_invariants(&three);
        assert_eq!((three.partition_count(), three.configured().count()), (0, 0));
        assert_eq!((delta.topics.len(), delta.configs.len()), (1, 1));
    }

    #[test]
    fn an_image_is_made_again_by_its_own_records() {
        let node = Node { id: NodeId(1), host: "h".into(), port: 1, rack: None };
        let all = [
            Record::Cluster { id: "c".into() },
            Record::Node(node),
            topic(2),
            partition(2, 0, 4),
            topic(1),
            config(1, Some("1")),
            Record::ProducerIds { next: 2000 },
        ];
        let (image, _) = Image::default().apply(&all).unwrap();
        let (again, _) = Image::default().apply(&image.records()).unwrap();
        assert_eq!(again, image);
        assert_eq!((again.cluster_id(), again.next_producer_id()), ("c", 2000));
    }

    #[test]
    fn records_that_do_not_fit_are_refused() {
        let (image, _) = Image::default().apply(&[topic(1), partition(1, 0, 0)]).unwrap();
        for (record, expect) in [
            (topic(1), ImageError::TopicExists { name: "t1".into() }),
            (partition(9, 0, 0), ImageError::NoSuchTopic(id(9))),
            (partition(1, 2, 0), ImageError::Gap { topic: id(1), index: 2, partitions: 1 }),
            (partition(1, -1, 0), ImageError::Gap { topic: id(1), index: -1, partitions: 1 }),
            (Record::RemoveTopic { id: id(9) }, ImageError::NoSuchTopic(id(9))),
        ] {
            assert_eq!(image.apply(&[record]).unwrap_err(), expect);
        }
        check_invariants(&image);
    }
}
