//! Topics come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::names::{NamesInUse, check_topic_name};
use super::placement::{check_assignment, check_replication_factor, new_partition, place};
use super::{Controller, ControllerError, PARTITIONS_PER_REQUEST_MAX};
use crate::base::{NodeId, TopicId};
use crate::config::{ConfigError, Overrides, alter};
use crate::image::{CONSUMER_OFFSETS, Image, Record, Resource, is_internal_topic};

/// A topic that is asked for.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Partitions; -1 for the default, or where `assignments` says it.
    pub partitions: i32,
    /// Replicas of each; -1 for the default, or where `assignments` says it.
    pub replication_factor: i16,
    /// Index and replicas of each partition; empty lets the controller place them.
    pub assignments: Vec<(i32, Vec<NodeId>)>,
    /// Settings.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic that was created, or could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: i32,
    /// Replicas of each.
    pub replication_factor: i16,
    /// What is set on it.
    pub configs: Overrides,
}

/// A topic that is meant to go.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicRef {
    /// Its name, or
    pub name: Option<String>,
    /// its id; `ZERO` when it goes by name.
    pub id: TopicId,
}

/// What became of it: both names of the topic as far as they are known, and the result.
pub type DeletedTopic = (TopicRef, Result<(), ControllerError>);

/// A result for each item of a request, by its name.
pub(super) type Results<T> = Vec<(String, Result<T, ControllerError>)>;

impl Controller<'_> {
    /// Creates topics, each by itself. With `validate_only` the results are the same and nothing
    /// happens.
    pub fn create_topics(
        &mut self,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> (Vec<Record>, Results<CreatedTopic>) {
        let (topics, mut results) = without_duplicates(topics, |t| &t.name);
        let wanted: usize = topics.iter().map(|t| self.partitions_of(t)).sum();
        if wanted > PARTITIONS_PER_REQUEST_MAX {
            let limit = PARTITIONS_PER_REQUEST_MAX;
            let refuse =
                |t: NewTopic| (t.name, Err(ControllerError::TooManyPartitions { wanted, limit }));
            results.extend(topics.into_iter().map(refuse));
            return (Vec::new(), results);
        }
        let mut records = Vec::new();
        let mut names = NamesInUse::default();
        if topics.iter().any(|t| NamesInUse::matter_for(&t.name)) {
            self.image.topics().for_each(|t| names.insert(&t.name));
        }
        let mut place_at = self.image.partition_count();
        for topic in topics {
            let result = self.check_name(&topic.name, &names).and_then(|()| {
                let id = self.new_id();
                let (of_topic, created) = self.create_topic(&topic, id, place_at)?;
                place_at += created.partitions as usize;
                records.extend(of_topic);
                Ok(created)
            });
            if result.is_ok() {
                names.insert(&topic.name);
            }
            results.push((topic.name, result));
        }
        if validate_only {
            return (Vec::new(), results);
        }
        (records, results)
    }

    /// Creates topics that a client has asked about and that are missing: those of clients with
    /// the defaults, the coordinator's own with what it needs. Names that cannot be are left out.
    pub fn auto_create(&mut self, names: Vec<String>) -> Vec<Record> {
        let topic = |name: String| match name.as_str() {
            CONSUMER_OFFSETS => Some(self.consumer_offsets()),
            internal if is_internal_topic(internal) => None,
            _ => Some(NewTopic {
                name,
                partitions: -1,
                replication_factor: -1,
                ..NewTopic::default()
            }),
        };
        let topics = names.into_iter().filter_map(topic).collect();
        self.create_topics(topics, false).0
    }

    /// Deletes topics, each by itself. A topic that is named and given by id is refused once.
    pub fn delete_topics(&self, topics: Vec<TopicRef>) -> (Vec<Record>, Vec<DeletedTopic>) {
        let mut count: BTreeMap<TopicRef, usize> = BTreeMap::new();
        for topic in topics {
            *count.entry(topic).or_default() += 1;
        }
        let mut results = Vec::new();
        let mut doomed: BTreeMap<Arc<str>, TopicId> = BTreeMap::new();
        let mut named_too = BTreeSet::new();
        for (topic, times) in &count {
            let by_id = |id| count.contains_key(&TopicRef { name: None, id });
            match self.find_doomed(topic, *times > 1) {
                Ok((id, _)) if topic.name.is_some() && by_id(id) => {
                    named_too.insert(id);
                    let topic = TopicRef { id, ..topic.clone() };
                    results.push((
                        topic,
                        Err(ControllerError::request(
                            "The provided topic name maps to an ID that was already supplied.",
                        )),
                    ));
                }
                Ok((id, name)) => {
                    doomed.insert(name, id);
                }
                Err(e) => results.push((topic.clone(), Err(e))),
            }
        }
        doomed.retain(|_, id| !named_too.contains(id));
        let records = doomed.values().map(|&id| Record::RemoveTopic { id }).collect();
        results.extend(
            doomed
                .into_iter()
                .map(|(name, id)| (TopicRef { name: Some(name.to_string()), id }, Ok(()))),
        );
        (records, results)
    }

    fn find_doomed(
        &self,
        topic: &TopicRef,
        twice: bool,
    ) -> Result<(TopicId, Arc<str>), ControllerError> {
        let request = |text| Err(ControllerError::request(text));
        let found = match (&topic.name, topic.id) {
            (Some(_), id) if id != TopicId::ZERO => {
                return request("You may not specify both topic name and topic id.");
            }
            (None, TopicId::ZERO) => return request("Neither topic name nor id were specified."),
            (Some(_), _) if twice => return request("Duplicate topic name."),
            (None, _) if twice => return request("Duplicate topic id."),
            _ if !self.server.delete_topics => return Err(ControllerError::DeletionDisabled),
            (Some(name), _) => self.image.topic(name).ok_or(ControllerError::UnknownTopic)?,
            (None, id) => self.image.topic_by_id(id).ok_or(ControllerError::UnknownTopicId(id))?,
        };
        Ok((found.id, found.name.clone()))
    }

    fn check_name(&self, name: &str, names: &NamesInUse) -> Result<(), ControllerError> {
        if name == "__cluster_metadata" {
            return Err(ControllerError::InvalidRequest(format!(
                "Creation of internal topic {name} is prohibited."
            )));
        }
        check_topic_name(name)?;
        if self.image.topic(name).is_some() {
            return Err(ControllerError::TopicExists { name: name.to_owned() });
        }
        match names.colliding(name) {
            Some(other) => Err(ControllerError::NameCollision {
                name: name.to_owned(),
                existing: other.to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn create_topic(
        &self,
        topic: &NewTopic,
        id: TopicId,
        place_at: usize,
    ) -> Result<(Vec<Record>, CreatedTopic), ControllerError> {
        let configs = self.topic_configs(&topic.configs)?;
        let replicas = if topic.assignments.is_empty() {
            let default = self.server.default_replication_factor;
            check_replication_factor(topic.replication_factor, default, self.image)?;
            if topic.partitions < -1 || topic.partitions == 0 {
                return Err(ControllerError::InvalidPartitions(
                    "Number of partitions was set to an invalid non-positive value.".to_owned(),
                ));
            }
            place(self.image, place_at, self.partitions_of(topic))
        } else {
            assigned(topic, self.image)?
        };
        let created = CreatedTopic {
            id,
            partitions: replicas.len() as i32,
            replication_factor: replicas.first().map_or(0, Vec::len) as i16,
            configs,
        };
        let mut records = vec![Record::Topic { id, name: topic.name.as_str().into() }];
        let partitions = replicas.into_iter().map(new_partition);
        records.extend((0..).zip(partitions).map(|(index, state)| Record::Partition {
            topic: id,
            index,
            state,
        }));
        records.extend(created.configs.iter().map(|(name, value)| Record::Config {
            resource: Resource::topic(&topic.name),
            name: name.clone(),
            value: Some(value.clone()),
        }));
        Ok((records, created))
    }

    fn topic_configs(
        &self,
        configs: &[(String, Option<String>)],
    ) -> Result<Overrides, ControllerError> {
        let read = |(name, value): &(String, Option<String>)| match value {
            Some(value) => Ok((name.clone(), value.trim().to_owned())),
            None => Err(ConfigError::NullValue(name.clone())),
        };
        let set = configs.iter().map(read).collect::<Result<Overrides, _>>();
        let checked = set.and_then(|s| alter::check_topic(&s, &self.layers()).map(|()| s));
        checked.map_err(ControllerError::InvalidConfig)
    }

    /// How many partitions a new topic would have.
    fn partitions_of(&self, topic: &NewTopic) -> usize {
        match (topic.assignments.len(), topic.partitions) {
            (0, -1) => self.server.num_partitions as usize,
            (0, count) => usize::try_from(count).unwrap_or(0),
            (count, _) => count,
        }
    }

    fn consumer_offsets(&self) -> NewTopic {
        let group = &self.server.group;
        let config = |name: &str, value: String| (name.to_owned(), Some(value));
        NewTopic {
            name: CONSUMER_OFFSETS.to_owned(),
            partitions: group.offsets_topic_partitions,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: vec![
                config("cleanup.policy", "compact".to_owned()),
                config("compression.type", "producer".to_owned()),
                config("segment.bytes", group.offsets_topic_segment_bytes.to_string()),
            ],
        }
    }
}

/// The replicas that the client wants, by index.
fn assigned(topic: &NewTopic, image: &Image) -> Result<Vec<Vec<NodeId>>, ControllerError> {
    let both = |what| {
        Err(ControllerError::InvalidRequest(format!(
            "A manual partition assignment was specified, but {what} was not set to -1."
        )))
    };
    if topic.replication_factor != -1 {
        return both("replication factor");
    }
    if topic.partitions != -1 {
        return both("numPartitions");
    }
    let mut by_index: BTreeMap<i32, Vec<NodeId>> = BTreeMap::new();
    for (index, replicas) in &topic.assignments {
        if by_index.contains_key(index) {
            return Err(ControllerError::InvalidAssignment(format!(
                "Found multiple manual partition assignments for partition {index}"
            )));
        }
        check_assignment(replicas, by_index.values().next().map(Vec::len), image)?;
        by_index.insert(*index, replicas.clone());
    }
    if by_index.keys().copied().ne(0..by_index.len() as i32) {
        return Err(ControllerError::InvalidAssignment(
            "partitions should be a consecutive 0-based integer sequence".to_owned(),
        ));
    }
    Ok(by_index.into_values().collect())
}

/// Takes out the items whose name comes twice; each such name is refused once.
pub(super) fn without_duplicates<T, R>(
    items: Vec<T>,
    name: impl Fn(&T) -> &String,
) -> (Vec<T>, Results<R>) {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for item in &items {
        *count.entry(name(item).clone()).or_default() += 1;
    }
    let refuse = |n| (n, Err(ControllerError::request("Duplicate topic name.")));
    let unique = items.into_iter().filter(|i| count[name(i)] == 1).collect();
    let twice = count.iter().filter(|(_, n)| **n > 1).map(|(name, _)| name.clone());
    (unique, twice.map(refuse).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Cluster;
    use super::*;
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;

    fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
        NewTopic { name: name.into(), partitions, replication_factor, ..NewTopic::default() }
    }

    fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
        let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect();
        let assignments = assignments.iter().map(|&(i, ids)| (i, nodes(ids))).collect();
        NewTopic { assignments, ..topic(name, -1, -1) }
    }

    fn configured(name: &str, key: &str, value: Option<&str>) -> NewTopic {
        let configs = vec![(key.into(), value.map(Into::into))];
        NewTopic { configs, ..topic(name, 1, 1) }
    }

    /// Creates one after the other; a line each: partitions with their leaders, or the refusal.
    #[track_caller]
    fn check(mut cluster: Cluster, topics: Vec<NewTopic>, expect: &Expect) {
        let mut text = String::new();
        for topic in topics {
            let (records, results) = cluster.decide(|c| c.create_topics(vec![topic], false));
            for (name, result) in results {
                let _ = match result {
                    Ok(_) => {
                        let made = cluster.image.topic(&name).unwrap();
                        let leaders: Vec<_> = made.partitions.iter().map(|p| p.leader.0).collect();
                        writeln!(text, "{name}: leaders {leaders:?}, {} records", records.len())
                    }
                    Err(e) => writeln!(text, "{name}: {e}"),
                };
            }
        }
        expect.assert_eq(&text);
    }

    #[test]
    fn leaders_go_round_the_nodes_from_topic_to_topic() {
        check(
            Cluster::new(3, "num.partitions=2"),
            vec![
                topic("a", 4, 1),
                topic("b", 1, 1),
                topic("c", -1, -1),
                assigned("d", &[(1, &[2]), (0, &[1])]),
                topic("e", 3, 1),
                configured("f", "retention.ms", Some(" 5 ")),
            ],
            &expect![[r"
                a: leaders [0, 1, 2, 0], 5 records
                b: leaders [1], 2 records
                c: leaders [2, 0], 3 records
                d: leaders [1, 2], 3 records
                e: leaders [0, 1, 2], 4 records
                f: leaders [0], 3 records
            "]],
        );
    }

    #[test]
    fn what_cannot_be_created_is_refused_with_the_reason() {
        check(
            Cluster::new(2, ""),
            vec![
                topic("a.b", 1, 1),
                topic("a.b", 1, 1),
                topic("a_b", 1, 1),
                topic("a b", 1, 1),
                topic("__cluster_metadata", 1, 1),
                topic("x", 0, 1),
                topic("x", -5, 1),
                topic("x", 1, 0),
                topic("x", 1, -2),
                topic("x", 1, 9),
                topic("x", 1, 2),
                topic("x", 10_001, 1),
                topic("x", i32::MAX, 1),
                configured("x", "no.such", Some("1")),
                configured("x", "retention.ms", Some("abc")),
                configured("x", "retention.ms", None),
                NewTopic { partitions: 1, ..assigned("x", &[(0, &[1])]) },
                NewTopic { replication_factor: 1, ..assigned("x", &[(0, &[1])]) },
                assigned("x", &[(0, &[77])]),
                assigned("x", &[(1, &[1])]),
                assigned("x", &[(0, &[1]), (0, &[1])]),
                assigned("x", &[(0, &[1, 1])]),
                assigned("x", &[(0, &[])]),
                assigned("x", &[(0, &[0]), (1, &[0, 1])]),
                assigned("x", &[(0, &[0, 1])]),
            ],
            &expect![[r"
                a.b: leaders [0], 2 records
                a.b: Topic 'a.b' already exists.
                a_b: Topic 'a_b' collides with existing topic: a.b
                a b: Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'
                __cluster_metadata: Creation of internal topic __cluster_metadata is prohibited.
                x: Number of partitions was set to an invalid non-positive value.
                x: Number of partitions was set to an invalid non-positive value.
                x: Replication factor must be larger than 0, or -1 to use the default value.
                x: Replication factor must be larger than 0, or -1 to use the default value.
                x: Unable to replicate the partition 9 time(s): The target replication factor of 9 cannot be reached because only 2 broker(s) are registered or some brokers have all their log directories cordoned.
                x: Unable to replicate the partition 2 time(s): replication does not exist yet; use a replication factor of 1.
                x: Excessively large number of partitions per request.
                x: Excessively large number of partitions per request.
                x: Unknown topic config name: no.such
                x: Invalid value abc for configuration retention.ms: Not a number of type LONG
                x: Null value not supported for : retention.ms
                x: A manual partition assignment was specified, but numPartitions was not set to -1.
                x: A manual partition assignment was specified, but replication factor was not set to -1.
                x: The manual partition assignment includes broker 77, but no such broker is registered.
                x: partitions should be a consecutive 0-based integer sequence
                x: Found multiple manual partition assignments for partition 0
                x: The manual partition assignment includes the broker 1 more than once.
                x: The manual partition assignment includes an empty replica list.
                x: The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s).
                x: Unable to replicate the partition 2 time(s): replication does not exist yet; use a replication factor of 1.
            "]],
        );
    }

    #[test]
    fn one_bad_topic_does_not_harm_the_others_of_its_request() {
        let mut cluster = Cluster::new(1, "");
        let request =
            || vec![topic("w", 1, 1), topic("bad", 0, 1), topic("w", 1, 1), topic("z", 1, 1)];
        let (records, results) = cluster.decide(|c| c.create_topics(request(), true));
        assert_eq!((records.len(), cluster.image.topic_count()), (0, 0));
        let text = |results: &Results<CreatedTopic>| {
            let line = |(name, r): &(String, Result<_, ControllerError>)| match r {
                Ok(_) => format!("{name}: ok"),
                Err(e) => format!("{name}: {e}"),
            };
            results.iter().map(line).collect::<Vec<_>>().join("\n")
        };
        expect![[r"
            w: Duplicate topic name.
            bad: Number of partitions was set to an invalid non-positive value.
            z: ok"]]
        .assert_eq(&text(&results));
        let (records, results) = cluster.decide(|c| c.create_topics(request(), false));
        assert_eq!((records.len(), results.len()), (2, 3));
        assert_eq!(cluster.image.topic_count(), 1);
    }

    #[test]
    fn topics_are_deleted_by_name_or_id_and_not_by_both() {
        let mut cluster = Cluster::new(1, "");
        let four = ["a", "b", "c", "d"];
        let topics = four.iter().map(|n| topic(n, 2, 1)).collect();
        cluster.decide(|c| c.create_topics(topics, false));
        let id = |c: &Cluster, name: &str| c.image.topic(name).unwrap().id;
        let named = |n: &str| TopicRef { name: Some(n.into()), id: TopicId::ZERO };
        let by_id = |id| TopicRef { name: None, id };
        let request = vec![
            named("a"),
            by_id(id(&cluster, "b")),
            named("c"),
            named("c"),
            named("d"),
            by_id(id(&cluster, "d")),
            named("nope"),
            by_id(TopicId([9; 16])),
            by_id(TopicId::ZERO),
            TopicRef { name: Some("x".into()), id: TopicId([8; 16]) },
        ];
        let (records, results) = cluster.decide(|c| c.delete_topics(request));
        assert_eq!(records.len(), 2);
        let mut text = String::new();
        for (topic, result) in results {
            let name = topic.name.as_deref().unwrap_or("-");
            let id = if topic.id == TopicId::ZERO { "no id" } else { "id" };
            let result = result.map_or_else(|e| e.to_string(), |()| "gone".to_owned());
            writeln!(text, "{name}, {id}: {result}").unwrap();
        }
        expect![[r"
            -, no id: Neither topic name nor id were specified.
            -, id: This server does not host this topic ID.
            c, no id: Duplicate topic name.
            d, id: The provided topic name maps to an ID that was already supplied.
            nope, no id: This server does not host this topic-partition.
            x, id: You may not specify both topic name and topic id.
            a, id: gone
            b, id: gone
        "]]
        .assert_eq(&text);
        let left: Vec<_> = cluster.image.topics().map(|t| t.name.to_string()).collect();
        assert_eq!(left, ["c", "d"]);
    }

    #[test]
    fn deletion_can_be_switched_off() {
        let mut cluster = Cluster::new(1, "delete.topic.enable=false");
        cluster.decide(|c| c.create_topics(vec![topic("a", 1, 1)], false));
        let named = TopicRef { name: Some("a".into()), id: TopicId::ZERO };
        let (records, results) = cluster.decide(|c| c.delete_topics(vec![named]));
        assert_eq!(records.len(), 0);
        assert_eq!(results[0].1, Err(ControllerError::DeletionDisabled));
    }

    #[test]
    fn the_topic_of_committed_offsets_gets_what_the_coordinator_needs() {
        let mut cluster = Cluster::new(2, "offsets.topic.num.partitions=4");
        let names =
            vec![CONSUMER_OFFSETS.to_owned(), "__transaction_state".to_owned(), "a".to_owned()];
        cluster.decide(|c| (c.auto_create(names), ()));
        let image = &cluster.image;
        assert_eq!(image.topic_count(), 2);
        assert_eq!(image.topic(CONSUMER_OFFSETS).unwrap().partitions.len(), 4);
        let set = image.config(&Resource::topic(CONSUMER_OFFSETS)).unwrap();
        assert_eq!(set["cleanup.policy"], "compact");
        assert_eq!(set["segment.bytes"], "104857600");
    }
}
