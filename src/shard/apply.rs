//! Making a shard what an image says: logs of the partitions it leads, rules, settings.
//!
//! Flow: an image is durable -> it waits in line ([`Shard::take_image`]) -> each turn with a slice takes
//! some steps of the first one ([`Shard::apply_slice`]) -> after its last step the image is what this
//! node goes by, and the controller hears of it.
//!
//! Invariants:
//! - A1. A turn takes no more than [`Shard::apply_max`], however large a change is; only a node that
//!   nobody can reach yet takes all of it at once.
//! - A2. [`Shard::image`] never names what is not applied. What it still names may be gone: a client
//!   that wants it hears that it is not known, and asks again.
//! - A3. Images are applied in the order in which they came.

use std::ops::Range;
use std::sync::Arc;

use crate::base::{NodeId, Offset, TopicPartition};
use crate::config::{Compression, Layers, NodeLimits, TopicConfig};
use crate::image::steps::{Step, Steps, What};
use crate::image::{
    CONSUMER_OFFSETS, Delta, Image, Partition as State, Resource, Topic, is_internal_topic,
};
use crate::partition::append::Rules;
use crate::partition::leader::Leader;
use crate::shard::kept::Kept;
use crate::shard::partition::Partition;
use crate::shard::{CONTROLLER, Mail, Post, Shard};
use crate::storage::{LogConfig, LogId};
use crate::wire::codec::Codec;

/// Partitions that one turn begins to lead, gives up or changes: less than 100 us.
pub(super) const PARTITIONS_PER_TURN: usize = 4;

/// An image on its way into the shard.
#[derive(Debug)]
pub(super) struct Application {
    steps: Steps,
    number: u64,
    /// The settings of a topic that has none of its own: those of most are the same, and working them
    /// out takes a while.
    plain: Option<TopicConfig>,
}

impl Shard {
    /// An image is to be applied; the controller is told its number then.
    pub fn take_image(&mut self, image: Arc<Image>, delta: Arc<Delta>, number: u64) {
        let last = self.applying.back().map_or(&self.image, |a| a.steps.image());
        let steps = Steps::new(Arc::clone(last), image, delta);
        self.applying.push_back(Application { steps, number, plain: None });
    }

    /// Goes on with the images that wait. Returns how many partitions, and ends of images, that were.
    pub fn apply_slice(&mut self) -> usize {
        let most = if self.ready { self.apply_max } else { usize::MAX };
        let mut room = most;
        while room > 0
            && let Some(mut first) = self.applying.pop_front()
        {
            let Some(step) = first.steps.next(room) else {
                room -= 1;
                self.end_application(&first);
                continue;
            };
            room -= step.partitions.len().max(1).min(room);
            self.take_step(&step, &mut first);
            self.applying.push_front(first);
        }
        most - room
    }

    fn end_application(&mut self, ended: &Application) {
        let (image, number) = (Arc::clone(ended.steps.image()), ended.number);
        if ended.steps.are_about_nodes() {
            self.limits = NodeLimits::of(&image.layers(self.node, &self.config));
        }
        self.image = image;
        self.kept = Kept::default();
        self.ready = true;
        if self.holds_controller() {
            self.on_applied(self.index, number);
        } else {
            let mail = Mail::Applied { by: self.index, number };
            self.post.push(Post { to: CONTROLLER, mail });
        }
    }

    fn take_step(&mut self, step: &Step, of: &mut Application) {
        let (topic, partitions) = (&*step.topic, step.partitions.clone());
        if step.what == What::Gone {
            return self.give_up(topic, partitions);
        }
        let settings = self.settings_of(topic, of);
        if step.what == What::There {
            self.lead(topic, partitions.clone(), &settings);
        }
        for index in partitions {
            let Some(log) = self.store.find(place(topic, index)) else { continue };
            self.apply_settings(topic, log, &settings);
        }
    }

    fn settings_of(&self, topic: &Topic, of: &mut Application) -> TopicConfig {
        let image = of.steps.image();
        let work_out = || {
            let layers: Layers<'_> = image.layers(self.node, &self.config);
            image.topic_config(&topic.name, &layers)
        };
        if image.config(&Resource::topic(&topic.name)).is_some() {
            return work_out();
        }
        of.plain.get_or_insert_with(work_out).clone()
    }

    /// The topic is not known here from the first of its partitions on.
    fn give_up(&mut self, topic: &Topic, partitions: Range<usize>) {
        if partitions.start == 0 {
            self.partitions.remove_topic(topic.id);
            let (name, id) = (&topic.name, topic.id);
            self.ask_groups(|groups, at, out| groups.on_topic_deleted(name, id, at, out));
        }
        for index in partitions {
            let Some(log) = self.store.find(place(topic, index)) else { continue };
            self.fail_waits(log);
            let gone = self.partitions.remove(log);
            if let Some(gone) = gone.filter(|p| &*p.topic == CONSUMER_OFFSETS) {
                self.ask_groups(|groups, _, out| groups.unload(gone.id.partition, out));
            }
            self.store.delete(log);
        }
    }

    fn lead(&mut self, topic: &Topic, partitions: Range<usize>, settings: &TopicConfig) {
        let mut logs = Vec::with_capacity(partitions.len());
        for index in partitions.clone() {
            let state = &topic.partitions[index];
            if state.leader != self.node {
                logs.push(None);
                continue;
            }
            let id = place(topic, index);
            let log = self.store.find(id).unwrap_or_else(|| {
                self.store.create(id, &topic.name, log_config(settings), self.now)
            });
            logs.push(Some(log));
            let known = self.partitions.get(log).map(|p| p.leader.epoch());
            if known != Some(state.leader_epoch) {
                self.begin_to_lead(topic, state, (id, log), settings);
            }
        }
        self.partitions.put_logs(&topic.name, topic.id, partitions.start, &logs);
        if &*topic.name == CONSUMER_OFFSETS && partitions.end == topic.partitions.len() {
            self.groups.set_partitions(topic.partitions.len() as i32);
        }
    }

    fn begin_to_lead(
        &mut self,
        topic: &Topic,
        state: &State,
        (id, log): (TopicPartition, LogId),
        settings: &TopicConfig,
    ) {
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
            self.load_groups(log, id.partition);
        }
    }

    fn apply_settings(&mut self, topic: &Topic, log: LogId, settings: &TopicConfig) {
        self.store.configure(log, log_config(settings));
        let Some(partition) = self.partitions.get_mut(log) else { return };
        partition.rules = rules(settings);
        partition.internal = is_internal_topic(&topic.name);
        partition.compact_only = settings.compacts && !settings.deletes;
        let min = usize::try_from(settings.min_insync_replicas).unwrap_or(1);
        let mut effects = std::mem::take(&mut self.effects);
        partition.leader.set_min_in_sync(min, &mut effects);
        self.carry_out(log, effects);
    }
}

fn place(topic: &Topic, index: usize) -> TopicPartition {
    TopicPartition { topic: topic.id, partition: index as i32 }
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
