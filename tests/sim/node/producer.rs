//! A producer of one partition: pipelined, plain or idempotent; the latter tries again for ever.

use std::collections::VecDeque;

use klamm::base::Moment;
use klamm::client::Answer;
use klamm::msg;
use klamm::sim::Rng;
use klamm::wire::ErrorCode;
use klamm::wire::codec::Codec;
use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm::wire::messages::{InitProducerIdRequest, ProduceRequest};
use klamm::wire::record::{BatchBuilder, ProducerStamp};

use super::admin::RECODED;
use super::facts::{Facts, LogKey};
use super::link::{Client, Ctx, Directory};

const IN_FLIGHT_MAX: usize = 5;

struct Batch {
    fact: usize,
    bytes: Vec<u8>,
    count: i64,
}

enum Asked {
    Directory,
    Identity,
    Produce,
}

pub(crate) struct Producer {
    index: usize,
    topic: String,
    partition: i32,
    idempotent: bool,
    acks: i16,
    version_max: i16,
    /// Batches that it still makes.
    left: usize,
    identity: Option<(i64, i16)>,
    sequence: i32,
    counter: u64,
    /// Batches without an acknowledgement; the first `in_flight` are sent.
    queue: VecDeque<Batch>,
    in_flight: usize,
    asked: VecDeque<Asked>,
    directory: Directory,
    log: Option<LogKey>,
    leader: Option<usize>,
    not_before: Moment,
}

impl Producer {
    pub(crate) fn new(index: usize, topic: &str, rng: &mut Rng) -> Self {
        let by_id = topic.starts_with('c') || rng.chance(50);
        let idempotent = rng.chance(60);
        Self {
            index,
            topic: topic.to_owned(),
            partition: rng.below(2) as i32,
            idempotent,
            acks: if idempotent || rng.chance(50) { -1 } else { 1 },
            version_max: if by_id { 13 } else { [3, 8, 12][rng.below(3)] },
            left: 20 + rng.below(60),
            identity: None,
            sequence: 0,
            counter: 0,
            queue: VecDeque::new(),
            in_flight: 0,
            asked: VecDeque::new(),
            directory: Directory::default(),
            log: None,
            leader: None,
            not_before: Moment(0),
        }
    }

    /// Begins anew: the topic is not what it was.
    fn reset(&mut self) {
        (self.log, self.leader, self.identity) = (None, None, None);
        self.queue.clear();
        self.in_flight = 0;
    }

    fn make(&mut self, ctx: &mut Ctx<'_>, log: LogKey) {
        let mut builder = BatchBuilder::default();
        let count = 1 + ctx.rng.below(3);
        self.counter += 1;
        self.left -= 1;
        let mut key = self.index.to_be_bytes().to_vec();
        key.extend_from_slice(&self.counter.to_be_bytes());
        let size = if ctx.rng.chance(5) { 6_000 } else { 300 };
        for _ in 0..count {
            let value: Vec<u8> =
                (0..ctx.rng.below(size)).map(|_| ctx.rng.next_u64() as u8).collect();
            builder.push(1_700_000_000_000, Some(&key), Some(&value), &[]);
        }
        let stamp =
            self.identity.filter(|_| self.idempotent).map_or(ProducerStamp::NONE, |(id, epoch)| {
                ProducerStamp { id, epoch, sequence: self.sequence, transactional: false }
            });
        let codec = if ctx.rng.chance(40) { RECODED.1 } else { Codec::None };
        let bytes = builder.build(codec, stamp).unwrap().to_vec();
        self.sequence += count as i32;
        let recoded = self.topic == RECODED.0;
        let fact = ctx.facts.on_send(log, self.index, self.counter, &bytes, recoded);
        self.queue.push_back(Batch { fact, bytes, count: count as i64 });
    }

    fn send(&mut self, ctx: &mut Ctx<'_>, log: LogKey) {
        let batch = &self.queue[self.in_flight];
        let records = Some(batch.bytes.clone().into());
        let data = msg!(PartitionProduceData { index: self.partition, records });
        let partition_data = vec![data];
        let topic = if self.version_max >= 13 {
            msg!(TopicProduceData { topic_id: log.0.into(), partition_data })
        } else {
            msg!(TopicProduceData { name: self.topic.as_str().into(), partition_data })
        };
        let topic_data = vec![topic];
        let request = msg!(ProduceRequest { acks: self.acks, timeout_ms: 30_000, topic_data });
        ctx.send(&request, self.version_max);
        self.in_flight += 1;
        self.asked.push_back(Asked::Produce);
    }

    fn on_produced(&mut self, ctx: &mut Ctx<'_>, answer: &Answer) {
        let said = answer.decode::<ProduceRequest>().unwrap();
        let said = &said.responses[0].partition_responses[0];
        let code = ErrorCode(said.error_code);
        ctx.facts.told = ctx.facts.told.wrapping_mul(31) ^ said.base_offset as u64;
        let is_created = self.log.is_some_and(|l| ctx.facts.created.contains_key(&l.0));
        let doomed = self.log.is_some_and(|l| ctx.facts.is_doomed(l.0));
        match code {
            ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
                self.in_flight -= 1;
                let Some(batch) = self.queue.pop_front() else { return };
                ctx.facts.on_ack(batch.fact, said.base_offset, batch.count, ctx.now);
            }
            _ if doomed && code.is_retriable() => {
                self.reset();
                ctx.hang_up = true;
            }
            _ if ctx.facts.is_storage_error(code.0) => {
                self.not_before = ctx.now.plus_ms(300);
                ctx.hang_up = true;
            }
            // The clock jumped: nobody knows.
            ErrorCode::REQUEST_TIMED_OUT => ctx.hang_up = true,
            // The topic is so new that its leader has not heard of it.
            _ if code.is_retriable() && !is_created => ctx.hang_up = true,
            code => panic!(
                "produce {:?}: {} for {} of {}, {} in flight, {:?}",
                self.log,
                code.name(),
                self.counter - self.queue.len() as u64 + 1,
                self.counter,
                self.in_flight,
                self.identity,
            ),
        }
    }
}

impl Client for Producer {
    fn aim(&mut self, rng: &mut Rng, nodes: usize) -> usize {
        self.leader.unwrap_or_else(|| rng.below(nodes))
    }

    fn act(&mut self, ctx: &mut Ctx<'_>) -> Moment {
        if ctx.now < self.not_before {
            return self.not_before;
        }
        let Some((log, leader)) = self.log.zip(self.leader) else {
            if self.asked.is_empty() {
                self.directory.ask(ctx);
                self.asked.push_back(Asked::Directory);
            }
            return Moment::NEVER;
        };
        if leader != ctx.link.node {
            ctx.hang_up = self.asked.is_empty();
            return Moment::NEVER;
        }
        if self.idempotent && self.identity.is_none() {
            if self.asked.is_empty() {
                ctx.send(&msg!(InitProducerIdRequest { transactional_id: None }), i16::MAX);
                self.asked.push_back(Asked::Identity);
            }
            return Moment::NEVER;
        }
        for _ in 0..=ctx.rng.below(3) {
            if self.in_flight >= IN_FLIGHT_MAX {
                return Moment::NEVER;
            }
            if self.in_flight == self.queue.len() {
                if ctx.stopping || self.left == 0 {
                    return Moment::NEVER;
                }
                self.make(ctx, log);
            }
            self.send(ctx, log);
        }
        self.not_before = ctx.later(80);
        self.not_before
    }

    fn on_answer(&mut self, ctx: &mut Ctx<'_>, answer: Answer) {
        match self.asked.pop_front().expect("asked") {
            Asked::Directory => {
                self.directory.on_answer(ctx, &answer);
                let found = self.directory.topics.get(&self.topic);
                let Some((id, leaders)) = found.filter(|t| !ctx.facts.is_doomed(t.0)) else {
                    self.not_before = ctx.now.plus_ms(200);
                    return;
                };
                let log = (*id, self.partition);
                if self.log.is_none_or(|known| known == log) {
                    self.log = Some(log);
                    self.leader = leaders.get(self.partition as usize).copied();
                }
            }
            Asked::Identity => {
                let said = answer.decode::<InitProducerIdRequest>().unwrap();
                assert_eq!(said.error_code, 0, "InitProducerId");
                self.identity = Some((said.producer_id, said.producer_epoch));
                self.sequence = 0;
            }
            Asked::Produce => self.on_produced(ctx, &answer),
        }
    }

    fn on_lost(&mut self) {
        if !self.idempotent {
            self.queue.drain(..self.in_flight);
        }
        self.in_flight = 0;
        self.asked.clear();
    }

    fn is_done(&self, facts: &Facts) -> bool {
        self.queue.is_empty() || self.log.is_some_and(|l| facts.is_doomed(l.0))
    }
}
