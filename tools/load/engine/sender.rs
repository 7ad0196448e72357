//! One producer of the load: its share of the schedule, and what became of its records.

use std::collections::VecDeque;
use std::sync::Arc;

use klamm::base::map::DetMap;
use klamm::base::{Moment, WallMs};
use klamm::client::Cluster;
use klamm::client::partitioner::partition_of_key;
use klamm::client::producer::{Delivery, NewRecord, Producer};

use crate::tools::load::engine::Plan;
use crate::tools::load::meter::Meter;
use crate::tools::load::payload::{Head, Payloads};
use crate::tools::load::verify::Chain;

/// All producers together may buffer so much.
const BUFFERS_BYTES_MAX: usize = 1 << 30;
const BUFFER_BYTES_MIN: usize = 1 << 20;
/// With `--verify`, so many records without a key go to one partition before the next has its turn.
const RECORDS_IN_A_ROW: u64 = 64;

/// One producer.
pub(super) struct Sender {
    number: u32,
    topic: Arc<str>,
    partitions: u32,
    /// Bytes that a key and its value have at most.
    bytes_max: usize,
    pub(super) producer: Producer,
    /// Records pushed, and those of them that are of the schedule.
    pushed: u64,
    pub(super) scheduled: u64,
    /// Records that are due and not pushed.
    pub(super) owed: u64,
    /// Intended times of the records of each partition that have no delivery, in order.
    waiting: DetMap<i32, VecDeque<u64>>,
    /// With `--verify`: what went to each partition.
    chains: Option<DetMap<i32, Chain>>,
}

/// What a push needs to know.
pub(super) struct Push<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) payloads: &'a mut Payloads,
    pub(super) run: u32,
    pub(super) now: (Moment, WallMs),
}

impl Sender {
    /// All producers of a plan.
    pub(super) fn all(plan: &Plan, bytes_max: usize) -> Result<Vec<Self>, String> {
        let w = &plan.workload;
        let count = plan.topics.len() * w.producers as usize;
        let share = BUFFERS_BYTES_MAX / count.max(1);
        let buffer_bytes = share.max(BUFFER_BYTES_MIN).max(bytes_max * 2);
        let sender = |at: usize| {
            let mut options = w.producer_options(at as u64 + 1)?;
            options.buffer_bytes_max = options.buffer_bytes_max.min(buffer_bytes);
            Ok(Self {
                number: at as u32,
                topic: Arc::clone(&plan.topics[at % plan.topics.len()]),
                partitions: w.partitions,
                bytes_max,
                producer: Producer::new(options),
                pushed: 0,
                scheduled: 0,
                owed: 0,
                waiting: DetMap::default(),
                chains: w.verify.then(DetMap::default),
            })
        };
        (0..count).map(sender).collect()
    }

    /// Whether any record fits into the buffer.
    pub(super) fn has_room(&self) -> bool {
        self.producer.has_room(self.bytes_max)
    }

    /// Pushes one record that was to be sent at `intended`.
    pub(super) fn push(
        &mut self,
        intended: Moment,
        push: &mut Push<'_>,
        meter: &mut Meter,
    ) -> Result<(), String> {
        let head = Head { intended_ns: intended.0, run: push.run, producer: self.number };
        let drawn = push.payloads.next(head);
        let mut partition = None;
        if let Some(chains) = &mut self.chains {
            let count = self.partitions as usize;
            let in_turn = (self.pushed / RECORDS_IN_A_ROW) as usize % count;
            let chosen = drawn.key.map_or(in_turn, |key| partition_of_key(key, count)) as i32;
            chains.entry(chosen).or_default().seal(drawn.key, drawn.value);
            partition = Some(chosen);
        }
        let (now, wall) = push.now;
        let record = NewRecord {
            topic: &self.topic,
            partition,
            timestamp: wall.0,
            key: drawn.key,
            value: Some(drawn.value),
            headers: &[],
        };
        let partition =
            self.producer.push(push.cluster, &record, now).map_err(|e| e.to_string())?;
        self.waiting.entry(partition).or_default().push_back(intended.0);
        self.pushed += 1;
        meter.sent(intended, now);
        Ok(())
    }

    /// Counts what became of its records.
    pub(super) fn count(
        &mut self,
        deliveries: std::vec::Drain<'_, Delivery>,
        now: Moment,
        meter: &mut Meter,
    ) {
        for delivery in deliveries {
            let partition = delivery.partition.partition;
            let count = usize::try_from(delivery.count).unwrap_or(0);
            if let Some(chain) = self.chains.as_mut().and_then(|c| c.get_mut(&partition)) {
                chain.settle(count as u64, delivery.result.is_ok());
            }
            let Some(waiting) = self.waiting.get_mut(&partition) else { continue };
            let intended = waiting.drain(..count.min(waiting.len()));
            match &delivery.result {
                Ok(_) => intended.for_each(|ns| meter.acked(Moment(ns), now)),
                Err(e) => meter.failed(intended.count() as u64, e),
            }
        }
    }

    /// What it sent to each partition, with `--verify`.
    pub(super) fn chains(&self) -> impl Iterator<Item = (u32, i32, &Chain)> {
        let chains = self.chains.iter().flatten();
        chains.map(|(&partition, chain)| (self.number, partition, chain))
    }
}
