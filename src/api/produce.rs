//! Produce (key 0): batches go to their partitions, and the answer waits until they are safe.
//!
//! The request is read in place and its batches are copied once, into the tail of their log. With
//! acks=0 nothing is answered, and a failure closes the connection, since there is no other way to
//! tell. With acks=1 and acks=all the answer waits for the commit that covers the appends; see
//! `partition::append` for the checks and their order.

use std::sync::Arc;
use std::time::Duration;

use crate::api::error::Failure;
use crate::api::leaders::{CurrentLeader, Leaders};
use crate::api::{CloseReason, Outcome, PARTITIONS_MAX};
use crate::base::{Moment, Offset, TopicId};
use crate::partition::append::{RecordRefusal, single_batch};
use crate::shard::append::{Acks, ProduceError, Produced};
use crate::shard::park::{ParkedAck, WaitEnd};
use crate::shard::partition::Missing;
use crate::shard::{Call, Shard, Slot};
use crate::storage::LogId;
use crate::wire::ErrorCode;
use crate::wire::codec::Codec;
use crate::wire::frame::{Answer, FrameError, Reader};
use crate::wire::writer::Writer;

const FLEXIBLE_FROM: i16 = 9;
const TOPIC_ID_FROM: i16 = 13;
const ZSTD_FROM: i16 = 7;
const LOG_START_FROM: i16 = 5;
const RECORD_ERRORS_FROM: i16 = 8;
const CURRENT_LEADER_FROM: i16 = 10;
const CURRENT_LEADER_TAG: u32 = 0;
/// The one client that may write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, body: &[u8]) -> Outcome {
    match produce(shard, call, body) {
        Ok(outcome) => outcome,
        Err(e) => Outcome::Close(e.into()),
    }
}

fn produce(shard: &mut Shard, call: &Call, body: &[u8]) -> Result<Outcome, FrameError> {
    let compact = call.version >= FLEXIBLE_FROM;
    let mut reader = Reader::new(body);
    let transactional_id = reader.nullable_string_of(compact)?;
    let acks = reader.i16()?;
    let timeout_ms = reader.i32()?;
    let acks = match acks {
        0 => Ok(Acks::None),
        1 => Ok(Acks::Leader),
        -1 => Ok(Acks::All),
        _ => Err(Failure::of(ErrorCode::INVALID_REQUIRED_ACKS)),
    };
    let mut request = Request {
        call,
        acks,
        transactional: transactional_id.is_some(),
        waits: Vec::new(),
        answers: Vec::new(),
        leaders: Leaders::default(),
    };
    check_whole(reader.clone(), call.version)?;
    let topics = reader.array_len(compact)?;
    let mut names = Vec::with_capacity(topics.min(64));
    for _ in 0..topics {
        names.push(request.topic(shard, &mut reader, compact)?);
    }
    let Request { waits, answers, acks, leaders, .. } = request;
    let parked = Parked { call: call.clone(), topics: names, answers, leaders };
    Ok(finish(shard, parked, acks.unwrap_or(Acks::All), &waits, timeout_ms))
}

/// Reads to the end, so that nothing of a request is appended that turns out to be malformed.
fn check_whole(mut reader: Reader<'_>, version: i16) -> Result<(), FrameError> {
    let compact = version >= FLEXIBLE_FROM;
    let mut partitions = 0;
    for _ in 0..reader.array_len(compact)? {
        if version >= TOPIC_ID_FROM {
            reader.uuid()?;
        } else {
            reader.string(compact)?;
        }
        let count = reader.array_len(compact)?;
        partitions += count;
        if partitions > PARTITIONS_MAX {
            return Err(FrameError::TooMany { limit: PARTITIONS_MAX });
        }
        for _ in 0..count {
            reader.i32()?;
            reader.nullable_bytes(compact)?;
            if compact {
                reader.skip_tags()?;
            }
        }
        if compact {
            reader.skip_tags()?;
        }
    }
    if compact {
        reader.skip_tags()?;
    }
    Ok(())
}

fn finish(
    shard: &mut Shard,
    parked: Parked,
    acks: Acks,
    waits: &[(LogId, Offset, u32)],
    timeout_ms: i32,
) -> Outcome {
    if acks == Acks::None {
        let failed = parked.answers.iter().find(|a| a.failure.code != ErrorCode::NONE);
        return match failed {
            Some(a) => Outcome::Close(CloseReason::SilentFailure(a.failure.code.to_string())),
            None => Outcome::Silent,
        };
    }
    if waits.is_empty() {
        return Outcome::Answer(parked.encode());
    }
    // The client's time-out is for other replicas; what is appended here becomes safe or fails.
    let awaits_others = |(log, ..): &(LogId, Offset, u32)| {
        shard.partitions.get(*log).is_some_and(|p| p.leader.in_sync() > 1)
    };
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let bounded = acks == Acks::All && waits.iter().any(awaits_others);
    let deadline = if bounded { shard.now + timeout } else { Moment::NEVER };
    shard.park_ack(Box::new(parked), waits, acks, deadline);
    Outcome::Parked
}

/// What is gathered while the request is read.
struct Request<'a> {
    call: &'a Call,
    acks: Result<Acks, Failure>,
    transactional: bool,
    waits: Vec<(LogId, Offset, u32)>,
    answers: Vec<PartitionAnswer>,
    leaders: Leaders,
}

impl Request<'_> {
    fn topic(
        &mut self,
        shard: &mut Shard,
        reader: &mut Reader<'_>,
        compact: bool,
    ) -> Result<TopicAnswer, FrameError> {
        let (local, name, id) = if self.call.version >= TOPIC_ID_FROM {
            let id = TopicId(reader.uuid()?);
            (shard.partitions.topic_by_id(id).cloned(), Arc::default(), id)
        } else {
            let name = reader.string(compact)?;
            let local = shard.partitions.topic(name).cloned();
            let name = local.as_ref().map_or_else(|_| name.into(), |t| Arc::clone(&t.name));
            (local, name, TopicId::ZERO)
        };
        let count = reader.array_len(compact)?;
        for _ in 0..count {
            let index = reader.i32()?;
            let records = reader.nullable_bytes(compact)?;
            if compact {
                reader.skip_tags()?;
            }
            let log = local.as_ref().map_err(|m| *m).and_then(|topic| topic.log(index));
            let mut answer = self.partition(shard, log, index, records.unwrap_or_default());
            let led_elsewhere = answer.failure.code == ErrorCode::NOT_LEADER_OR_FOLLOWER
                && self.call.version >= CURRENT_LEADER_FROM;
            if let (true, Ok(topic)) = (led_elsewhere, &local) {
                answer.leader = self.leaders.find(&shard.image, topic.id, index);
            }
            self.answers.push(answer);
        }
        if compact {
            reader.skip_tags()?;
        }
        Ok(TopicAnswer { name, id, partitions: count })
    }

    fn partition(
        &mut self,
        shard: &mut Shard,
        log: Result<LogId, Missing>,
        index: i32,
        records: &[u8],
    ) -> PartitionAnswer {
        let acks = match &self.acks {
            Ok(acks) => *acks,
            Err(failure) => return PartitionAnswer::failed(index, failure.clone()),
        };
        match self.append(shard, log, records, acks) {
            Ok((log, produced)) => {
                let below = Offset(produced.last_offset.0 + 1);
                if shard.must_wait(log, below, acks) {
                    self.waits.push((log, below, self.answers.len() as u32));
                }
                PartitionAnswer::produced(index, produced, shard.must_wait(log, below, acks))
            }
            Err(failure) => {
                let mut answer = PartitionAnswer::failed(index, failure);
                if answer.failure.in_log {
                    let state = log.ok().and_then(|log| shard.store.log(log));
                    answer.log_start = state.map_or(-1, |s| s.log_start().0);
                }
                answer
            }
        }
    }

    fn append(
        &self,
        shard: &mut Shard,
        log: Result<LogId, Missing>,
        records: &[u8],
        acks: Acks,
    ) -> Result<(LogId, Produced), Failure> {
        let log = log?;
        let partition = shard.partitions.get(log).ok_or(Missing::Partition)?;
        let (rules, internal) = (partition.rules, partition.internal);
        let (header, batch) = single_batch(records, &rules).map_err(|refusal| {
            let error = ProduceError::Refused(refusal);
            shard.count_refused(log, records.len(), &error);
            Failure::from(error)
        })?;
        if header.is_transactional() && !self.transactional {
            return Err(Failure::of(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
        }
        if self.call.version < ZSTD_FROM {
            match Codec::from_id(header.codec_id()) {
                Some(Codec::Zstd) => {
                    return Err(Failure::of(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
                }
                Some(_) => {}
                None => return Err(Failure::of(ErrorCode::UNKNOWN_SERVER_ERROR)),
            }
        }
        if internal && &*self.call.client_id != ADMIN_CLIENT {
            return Err(Failure::of(ErrorCode::INVALID_TOPIC_EXCEPTION));
        }
        let produced = shard.append_produced(log, header, batch, acks).map_err(Failure::from)?;
        Ok((log, produced))
    }
}

#[derive(Debug)]
struct TopicAnswer {
    name: Arc<str>,
    id: TopicId,
    partitions: usize,
}

#[derive(Debug)]
struct PartitionAnswer {
    index: i32,
    failure: Failure,
    base_offset: i64,
    log_append_time: i64,
    log_start: i64,
    waits: bool,
    leader: Option<CurrentLeader>,
}

impl PartitionAnswer {
    fn produced(index: i32, produced: Produced, waits: bool) -> Self {
        Self {
            index,
            failure: Failure::of(ErrorCode::NONE),
            base_offset: produced.base_offset.0,
            log_append_time: produced.log_append_time,
            log_start: produced.log_start.0,
            waits,
            leader: None,
        }
    }

    fn failed(index: i32, failure: Failure) -> Self {
        Self {
            index,
            failure,
            base_offset: -1,
            log_append_time: -1,
            log_start: -1,
            waits: false,
            leader: None,
        }
    }
}

/// An answer that waits for its appends to be safe.
#[derive(Debug)]
struct Parked {
    call: Call,
    topics: Vec<TopicAnswer>,
    answers: Vec<PartitionAnswer>,
    leaders: Leaders,
}

impl ParkedAck for Parked {
    fn ended(&mut self, index: u32, end: WaitEnd) {
        let Some(answer) = self.answers.get_mut(index as usize) else { return };
        answer.waits = false;
        let code = match end {
            WaitEnd::Safe => return,
            WaitEnd::TooFewInSync => ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            WaitEnd::Failed => ErrorCode::KAFKA_STORAGE_ERROR,
        };
        *answer = PartitionAnswer::failed(answer.index, Failure::of(code));
    }

    fn finish(mut self: Box<Self>) -> (Slot, Answer) {
        for answer in self.answers.iter_mut().filter(|a| a.waits) {
            let timed_out = Failure::of(ErrorCode::REQUEST_TIMED_OUT);
            *answer = PartitionAnswer::failed(answer.index, timed_out);
        }
        (self.call.slot, self.encode())
    }
}

impl Parked {
    fn encode(&self) -> Answer {
        let version = self.call.version;
        let compact = version >= FLEXIBLE_FROM;
        let capacity = 64 + 64 * self.answers.len();
        let mut w = Writer::response(self.call.correlation_id, compact, capacity);
        w.array_len(Some(self.topics.len()));
        let mut answers = self.answers.iter();
        for topic in &self.topics {
            if version >= TOPIC_ID_FROM {
                w.raw(&topic.id.0);
            } else {
                w.string(Some(&topic.name));
            }
            w.array_len(Some(topic.partitions));
            for answer in answers.by_ref().take(topic.partitions) {
                encode_partition(&mut w, version, answer);
            }
            w.no_tags();
        }
        w.i32(0);
        self.leaders.end(&mut w);
        Answer { parts: vec![w.finish()], is_lost: false }
    }
}

fn encode_partition(w: &mut Writer, version: i16, answer: &PartitionAnswer) {
    w.i32(answer.index);
    w.i16(answer.failure.code.0);
    w.i64(answer.base_offset);
    w.i64(answer.log_append_time);
    if version >= LOG_START_FROM {
        w.i64(answer.log_start);
    }
    if version >= RECORD_ERRORS_FROM {
        w.array_len(Some(answer.failure.records.len()));
        for RecordRefusal { index, message } in &answer.failure.records {
            w.i32(*index);
            w.string(Some(message));
            w.no_tags();
        }
        w.string(answer.failure.message.as_deref());
    }
    match answer.leader {
        None => w.no_tags(),
        Some(leader) => leader.write(w, CURRENT_LEADER_TAG),
    }
}
