//! Metadata on a shard: proposing changes where the controller lives, and applying each new image
//! everywhere.
//!
//! Flow on the controller's shard: a handler decides records against [`Shard::latest`] ->
//! [`Shard::propose`] appends them to the metadata log -> when they are durable the new image is
//! applied here and mailed to all siblings -> when every one of them has applied it, the answer
//! leaves. So a client that was told of a change sees it on every node.
//!
//! Invariants:
//! - M1. Images are published in the order of their records, and only when those are durable.
//! - M2. `latest` is the last published image plus all records that are on their way.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::{NodeId, Offset, TopicId, TopicPartition};
use crate::config::{Compression, Layers, Level, NodeLimits, TopicConfig};
use crate::image::{self, CONSUMER_OFFSETS, Delta, Image, Record, Topic, is_internal_topic};
use crate::partition::append::Rules;
use crate::partition::leader::Leader;
use crate::shard::partition::{LocalTopic, Partition};
use crate::shard::{Mail, Post, Shard, ShardIndex, Slot};
use crate::storage::{LogConfig, LogId, StorageError};
use crate::wire::codec::Codec;
use crate::wire::frame::Answer;
use crate::wire::record::{BatchBuilder, ProducerStamp};

/// Name of the metadata log's directory, as Kafka's.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// Its id, as Kafka's.
pub const METADATA_ID: TopicId = TopicId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// Its one partition.
pub const METADATA_PARTITION: TopicPartition = TopicPartition { topic: METADATA_ID, partition: 0 };

/// Where the controller's records go on their way to every shard; only its own shard has one.
#[derive(Debug)]
pub struct Publisher {
    log: LogId,
    latest: Arc<Image>,
    proposed: VecDeque<Proposal>,
    /// Published, but not yet applied by every sibling.
    published: VecDeque<(u64, Option<(Slot, Answer)>)>,
    number: u64,
    applied: Vec<u64>,
    /// Producer ids that a record has reserved and nobody has yet.
    pub producer_ids: std::ops::Range<i64>,
}

#[derive(Debug)]
struct Proposal {
    end: Offset,
    image: Arc<Image>,
    delta: Delta,
    answer: Option<(Slot, Answer)>,
}

impl Publisher {
    /// Over the metadata log, whose records made `image`. `siblings` is the number of shards.
    pub fn new(log: LogId, image: Arc<Image>, siblings: usize) -> Self {
        Self {
            log,
            latest: image,
            proposed: VecDeque::new(),
            published: VecDeque::new(),
            number: 0,
            applied: vec![0; siblings],
            producer_ids: 0..0,
        }
    }

    /// The metadata log.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Whether every change is published.
    pub(super) fn has_settled(&self) -> bool {
        self.proposed.is_empty() && self.published.is_empty()
    }

    /// Mails all of the image, as at start; the number to tell when it is applied.
    pub(super) fn publish_whole(&mut self, post: &mut Vec<Post>) -> u64 {
        self.number += 1;
        self.published.push_back((self.number, None));
        self.mail(&self.latest, &whole(&self.latest), post);
        self.number
    }

    /// The change that was proposed last brings all of its image: nobody has applied any before.
    pub(super) fn propose_whole(&mut self) {
        if let Some(first) = self.proposed.back_mut() {
            first.delta = whole(&first.image);
        }
    }

    fn mail(&self, image: &Arc<Image>, delta: &Delta, post: &mut Vec<Post>) {
        for sibling in (1..self.applied.len()).map(|i| ShardIndex(i as u16)) {
            let (image, delta) = (Arc::clone(image), delta.clone());
            post.push(Post {
                to: sibling,
                mail: Mail::Image { image, delta, number: self.number },
            });
        }
    }
}

/// Why a change could not be proposed. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// This shard does not hold the publisher.
    #[error("the controller is on another shard")]
    NotController,
    /// The records do not fit the image: a defect of the publisher.
    #[error(transparent)]
    Image(#[from] image::ImageError),
    /// The metadata log failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The records make no batch.
    #[error(transparent)]
    Codec(#[from] crate::wire::codec::CodecError),
}

impl Shard {
    /// The image that the next decision starts from; on other shards the one that is applied.
    pub fn latest(&self) -> &Arc<Image> {
        self.publisher.as_ref().map_or(&self.image, |c| &c.latest)
    }

    /// Writes `records`; `answer` leaves when every shard has applied them.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub fn propose(
        &mut self,
        records: &[Record],
        answer: Option<(Slot, Answer)>,
    ) -> Result<(), ProposeError> {
        let publisher = self.publisher.as_ref().ok_or(ProposeError::NotController)?;
        let log = publisher.log;
        let (image, delta) = publisher.latest.apply(records)?;
        let mut builder = BatchBuilder::default();
        for value in image::encode(records) {
            builder.push(self.wall.0, None, Some(&value), &[]);
        }
        let batch = builder.build(Codec::None, ProducerStamp::NONE)?;
        let end = self.append_own(log, &batch)?;
        if let Some(publisher) = &mut self.publisher {
            let image = Arc::new(image);
            publisher.latest = Arc::clone(&image);
            publisher.proposed.push_back(Proposal { end, image, delta, answer });
        }
        Ok(())
    }

    /// The metadata log is durable up to `end`. M1.
    pub(super) fn on_metadata_durable(&mut self, end: Offset) {
        loop {
            let Some(publisher) = &mut self.publisher else { return };
            let Some(proposal) = publisher.proposed.pop_front_if(|p| p.end <= end) else { return };
            publisher.number += 1;
            let number = publisher.number;
            publisher.published.push_back((number, proposal.answer));
            publisher.mail(&proposal.image, &proposal.delta, &mut self.post);
            self.apply_image(proposal.image, &proposal.delta);
            self.on_applied(self.index, number);
        }
    }

    /// A shard has applied the image with this number; answers whoever waited for the last one.
    pub fn on_applied(&mut self, by: ShardIndex, number: u64) {
        let Some(publisher) = &mut self.publisher else { return };
        if let Some(applied) = publisher.applied.get_mut(usize::from(by.0)) {
            *applied = (*applied).max(number);
        }
        let everywhere = publisher.applied.iter().copied().min().unwrap_or(number);
        let mut answers = Vec::new();
        while let Some((_, answer)) = publisher.published.pop_front_if(|p| p.0 <= everywhere) {
            answers.extend(answer);
        }
        for (slot, answer) in answers {
            self.send(slot, answer);
        }
    }

    /// Makes this shard what `image` says: logs of the partitions it leads, rules, settings.
    pub fn apply_image(&mut self, image: Arc<Image>, delta: &Delta) {
        self.image = image;
        self.ready = true;
        let of_brokers = |r: &image::Resource| matches!(r.level, Level::Node | Level::Cluster);
        let brokers_changed = delta.configs.iter().any(of_brokers);
        if brokers_changed {
            self.plain_settings = None;
        }
        for id in &delta.topics {
            match self.image.topic_by_id(*id).cloned() {
                Some(topic) => {
                    let settings = self.topic_settings(&topic);
                    self.apply_topic(&topic, &settings);
                }
                None => self.remove_topic(*id),
            }
        }
        let changed: Vec<_> = if brokers_changed {
            self.limits = NodeLimits::of(&self.image.layers(self.node, &self.config));
            self.image.topics().cloned().collect()
        } else {
            let topics = delta.configs.iter().filter(|r| r.level == Level::Topic);
            topics.filter_map(|r| self.image.topic(&r.name)).cloned().collect()
        };
        for topic in changed {
            let settings = self.topic_settings(&topic);
            self.apply_settings(&topic, &settings);
        }
    }

    /// All of an image, as at start.
    pub(super) fn apply_whole_image(&mut self, image: Arc<Image>) {
        let delta = whole(&image);
        self.apply_image(image, &delta);
    }

    fn remove_topic(&mut self, id: TopicId) {
        if let Ok(topic) = self.partitions.topic_by_id(id).cloned() {
            self.ask_groups(|groups, at, out| groups.on_topics_deleted(&[&topic.name], at, out));
        }
        for log in self.partitions.remove_topic(id) {
            self.fail_waits(log);
            let gone = self.partitions.remove(log);
            if let Some(gone) = gone.filter(|p| &*p.topic == CONSUMER_OFFSETS) {
                self.ask_groups(|groups, _, out| groups.unload(gone.id.partition, out));
            }
            self.store.delete(log);
        }
    }

    fn apply_topic(&mut self, topic: &Topic, settings: &TopicConfig) {
        let mut logs = Vec::with_capacity(topic.partitions.len());
        for (index, state) in topic.partitions.iter().enumerate() {
            if state.leader != self.node {
                logs.push(None);
                continue;
            }
            let id = TopicPartition { topic: topic.id, partition: index as i32 };
            let log = self.store.find(id).unwrap_or_else(|| {
                self.store.create(id, &topic.name, log_config(settings), self.now)
            });
            logs.push(Some(log));
            let known = self.partitions.get(log).map(|p| p.leader.epoch());
            if known == Some(state.leader_epoch) {
                continue;
            }
            let end = self.store.log(log).map_or(Offset(0), crate::storage::Log::durable_end);
            let followers = state.replicas.iter().copied().filter(|&n| n != self.node);
            let followers: Vec<NodeId> = followers.collect();
            let min = usize::try_from(settings.min_insync_replicas).unwrap_or(1);
            let leader = Leader::new(state.leader_epoch, end, end, min, followers, self.now);
            let mut partition = Partition::new(id, Arc::clone(&topic.name), log, leader);
            // What recovery found, or a new log: on disk, or with nothing below it.
            partition.safe_start =
                self.store.log(log).map_or(Offset(0), crate::storage::Log::log_start);
            self.partitions.put(partition);
            if &*topic.name == CONSUMER_OFFSETS {
                self.load_groups(log, index as i32);
            }
        }
        if &*topic.name == CONSUMER_OFFSETS {
            self.groups.set_partitions(topic.partitions.len() as i32);
        }
        let name = Arc::clone(&topic.name);
        self.partitions.put_topic(LocalTopic { name, id: topic.id, partitions: logs });
        self.apply_settings(topic, settings);
    }

    /// Those of most topics are the same, and working them out takes a while.
    fn topic_settings(&mut self, topic: &Topic) -> TopicConfig {
        let own = image::Resource::topic(&topic.name);
        let has_own = self.image.config(&own).is_some();
        if let Some(plain) = self.plain_settings.as_ref().filter(|_| !has_own) {
            return plain.clone();
        }
        let layers: Layers<'_> = self.image.layers(self.node, &self.config);
        let settings = self.image.topic_config(&topic.name, &layers);
        if !has_own {
            self.plain_settings = Some(settings.clone());
        }
        settings
    }

    fn apply_settings(&mut self, topic: &Topic, settings: &TopicConfig) {
        let Ok(local) = self.partitions.topic_by_id(topic.id).cloned() else { return };
        for &log in local.partitions.iter().flatten() {
            self.store.configure(log, log_config(settings));
            let Some(partition) = self.partitions.get_mut(log) else { continue };
            partition.rules = rules(settings);
            partition.internal = is_internal_topic(&topic.name);
            partition.compact_only = settings.compacts && !settings.deletes;
            let min = usize::try_from(settings.min_insync_replicas).unwrap_or(1);
            let mut effects = std::mem::take(&mut self.effects);
            partition.leader.set_min_in_sync(min, &mut effects);
            self.carry_out(log, effects);
        }
    }
}

/// Everything in it is new.
fn whole(image: &Image) -> Delta {
    Delta {
        topics: image.topics().map(|t| t.id).collect(),
        configs: image.configured().cloned().collect(),
        nodes: true,
    }
}

fn log_config(topic: &TopicConfig) -> LogConfig {
    let jitter = topic.segment_jitter_ms.min(topic.segment_ms);
    LogConfig {
        segment_bytes: topic.segment_bytes as u64,
        segment_ms: topic.segment_ms - jitter,
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        index_interval_bytes: topic.index_interval_bytes as u32,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
        delete: topic.deletes,
    }
}

fn rules(topic: &TopicConfig) -> Rules {
    let codec = match topic.compression {
        Compression::Producer => None,
        Compression::Uncompressed => Some((Codec::None, 0)),
        Compression::Gzip(level) => Some((Codec::Gzip, level)),
        Compression::Snappy => Some((Codec::Snappy, 0)),
        Compression::Lz4(level) => Some((Codec::Lz4, level)),
        Compression::Zstd(level) => Some((Codec::Zstd, level)),
    };
    Rules {
        batch_bytes_max: topic.max_message_bytes as usize,
        segment_bytes: topic.segment_bytes as usize,
        compacted: topic.compacts,
        codec,
        append_time: topic.log_append_time,
        before_max_ms: topic.timestamp_before_max_ms,
        after_max_ms: topic.timestamp_after_max_ms,
    }
}
