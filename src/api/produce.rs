//! Produce (key 0): batches go to their partitions, and the answer waits until they are safe.
//!
//! The request is read in place and its batches are copied once, into the tail of their log. If some
//! of them have to be opened and that takes long, the whole request goes to `shard::opening` first and is
//! served from its start when it comes back. With acks=0 nothing is answered, and a failure closes the connection, since there is no other way to
//! tell. With acks=1 and acks=all the answer waits for the commit that covers the appends; see
//! `partition::append` for the checks and their order.

use std::sync::Arc;
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::api::error::Failure;
use crate::api::leaders::{CurrentLeader, Leaders};
use crate::api::pieces::PIECE_MAX;
use crate::api::{CloseReason, Outcome};
use crate::base::{Moment, Offset, TopicId};
use crate::partition::append::{RecordRefusal, Refusal, Rules, single_batch, unsummed_batch};
use crate::partition::open::{may_have_to_open, must_open};
use crate::runtime::network::LARGE_FRAME;
use crate::shard::append::{Acks, ProduceError, Produced};
use crate::shard::opening::{Chore, Made, Opening, ToOpen, memory_share};
use crate::shard::park::{ParkedAck, WaitEnd};
use crate::shard::partition::Missing;
use crate::shard::{Call, Shard, Slot};
use crate::storage::LogId;
use crate::wire::ErrorCode;
use crate::wire::batch::BatchHeader;
use crate::wire::codec::Codec;
use crate::wire::codes::Codes;
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
    match Request::read(shard, call, body) {
        Ok(request) => serve(shard, call, request, Vec::new()),
        Err(FrameError::TooMany { .. }) => Outcome::Large,
        Err(e) => Outcome::Close(e.into()),
    }
}

/// Serves a request whose batches were opened.
pub fn go_on(shard: &mut Shard, opening: Opening) -> Outcome {
    let Opening { call, body, batches, .. } = opening;
    let outcome = match Request::read(shard, &call, &body) {
        Ok(request) => {
            shard.frame = Some(body.clone()).filter(|body| body.len() > LARGE_FRAME);
            serve(shard, &call, request, batches)
        }
        Err(e) => Outcome::Close(e.into()),
    };
    shard.frame = None;
    if body.len() > LARGE_FRAME {
        shard.openings.push(Chore::drop(body.len(), body));
    }
    outcome
}

fn serve(shard: &mut Shard, call: &Call, request: Request<'_>, known: Vec<ToOpen>) -> Outcome {
    let mut batches = request.to_open(shard, call, known);
    if batches.iter().any(|b| b.made.is_none()) {
        let (call, body) = (call.clone(), shard.keep(request.body));
        let memory_bytes = memory_share(&shard.config);
        let laid_bytes_min = shard.openings.laid_bytes_min;
        let opening = Opening { call, body, batches, memory_bytes, laid_bytes_min };
        shard.openings.push(Chore::Open(opening));
        return Outcome::Opening;
    }
    batches.reverse();
    let mut serving = Serving::default();
    let mut partitions = request.partitions.iter().enumerate();
    for topic in &request.topics {
        for (at, sent) in partitions.by_ref().take(topic.partitions) {
            let opened = batches.pop_if(|b| b.at == at);
            let mut answer = serving.partition(shard, call, &request, sent, opened);
            let led_elsewhere = answer.failure.code == ErrorCode::NOT_LEADER_OR_FOLLOWER
                && call.version >= CURRENT_LEADER_FROM;
            if let (true, Some(id)) = (led_elsewhere, topic.local) {
                answer.leader = serving.leaders.find(&shard.image, id, sent.index);
            }
            serving.answers.push(answer);
        }
    }
    let Serving { waits, answers, leaders } = serving;
    let Request { acks, timeout_ms, topics, .. } = request;
    let parked = Parked { call: call.clone(), topics, answers, leaders };
    finish(shard, parked, acks.unwrap_or(Acks::All), &waits, timeout_ms)
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

/// The request as it lies in its bytes, read to the end, so that nothing of it is appended that turns
/// out to be malformed. One that names more than [`PIECE_MAX`] partitions is not read here.
struct Request<'a> {
    body: &'a [u8],
    acks: Result<Acks, Failure>,
    transactional: bool,
    timeout_ms: i32,
    topics: Vec<Topic>,
    /// Those of the first topic, then of the next.
    partitions: Vec<Sent<'a>>,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    /// As the request named it.
    id: TopicId,
    /// The topic that this is here.
    local: Option<TopicId>,
    partitions: usize,
}

struct Sent<'a> {
    index: i32,
    log: Result<LogId, Missing>,
    records: &'a [u8],
}

impl<'a> Request<'a> {
    fn read(shard: &Shard, call: &Call, body: &'a [u8]) -> Result<Self, FrameError> {
        let compact = call.version >= FLEXIBLE_FROM;
        let mut reader = Reader::new(body);
        let transactional = reader.nullable_string_of(compact)?.is_some();
        let acks = match reader.i16()? {
            0 => Ok(Acks::None),
            1 => Ok(Acks::Leader),
            -1 => Ok(Acks::All),
            _ => Err(Failure::of(ErrorCode::INVALID_REQUIRED_ACKS)),
        };
        let timeout_ms = reader.i32()?;
        let count = reader.array_len(compact)?;
        if count > PIECE_MAX {
            return Err(FrameError::TooMany { limit: PIECE_MAX });
        }
        let topics = Vec::with_capacity(count.min(64));
        let partitions = Vec::with_capacity(count.min(64));
        let mut request = Self { body, acks, transactional, timeout_ms, topics, partitions };
        for _ in 0..count {
            request.read_topic(shard, call, &mut reader, compact)?;
        }
        if compact {
            reader.skip_tags()?;
        }
        Ok(request)
    }

    fn read_topic(
        &mut self,
        shard: &Shard,
        call: &Call,
        reader: &mut Reader<'a>,
        compact: bool,
    ) -> Result<(), FrameError> {
        let (local, name, id) = if call.version >= TOPIC_ID_FROM {
            let id = TopicId(reader.uuid()?);
            (shard.partitions.topic_by_id(id), Arc::default(), id)
        } else {
            let name = reader.string(compact)?;
            let local = shard.partitions.topic(name);
            (local, local.map_or_else(|_| name.into(), |t| Arc::clone(&t.name)), TopicId::ZERO)
        };
        let partitions = reader.array_len(compact)?;
        if self.partitions.len() + partitions > PIECE_MAX {
            return Err(FrameError::TooMany { limit: PIECE_MAX });
        }
        for _ in 0..partitions {
            let index = reader.i32()?;
            let records = reader.nullable_bytes(compact)?.unwrap_or_default();
            if compact {
                reader.skip_tags()?;
            }
            let log = local.and_then(|topic| topic.log(index));
            self.partitions.push(Sent { index, log, records });
        }
        if compact {
            reader.skip_tags()?;
        }
        let local = local.ok().map(|topic| topic.id);
        self.topics.push(Topic { name, id, local, partitions });
        Ok(())
    }

    /// The batches that have to be opened. Those that were, by the rules that still hold, stay so;
    /// small ones are opened here.
    fn to_open(&self, shard: &mut Shard, call: &Call, mut known: Vec<ToOpen>) -> Vec<ToOpen> {
        let mut batches = Vec::new();
        if self.acks.is_err() {
            return batches;
        }
        known.reverse();
        let wall = shard.wall;
        for (at, sent) in self.partitions.iter().enumerate() {
            let known = known.pop_if(|b| b.at == at);
            let partition = sent.log.ok().and_then(|log| shard.partitions.get(log));
            let Some(partition) = partition else { continue };
            match known {
                Some(batch) if (batch.log, batch.rules) == (partition.log, partition.rules) => {
                    batches.push(batch);
                    continue;
                }
                _ => {}
            }
            let rules = partition.rules;
            let large = sent.records.len() >= shard.openings.laid_bytes_min;
            let unsummed = shard.frame.is_some() && large;
            if !unsummed {
                if !may_have_to_open(sent.records, &rules, wall) {
                    continue;
                }
                let Ok(header) = BatchHeader::parse(sent.records) else { continue };
                if !must_open(&header, &rules, wall) {
                    continue;
                }
            }
            let find = if unsummed { unsummed_batch } else { single_batch };
            let Ok((log, header, batch)) = self.admit(shard, call, sent, find) else { continue };
            let made = if unsummed {
                None
            } else {
                let opened = shard.openings.open_now(&header, batch, &rules, wall);
                opened.map(|opened| opened.map(Made::Opened))
            };
            let start = batch.as_ptr() as usize - self.body.as_ptr() as usize;
            let range = start..start + batch.len();
            let lie = 0;
            batches.push(ToOpen { at, log, range, header, rules, wall, unsummed, lie, made });
        }
        batches
    }

    /// The checks that need no look into the records.
    fn admit(
        &self,
        shard: &Shard,
        call: &Call,
        sent: &Sent<'a>,
        find: impl FnOnce(&'a [u8], &Rules) -> Result<(BatchHeader, &'a [u8]), Refusal>,
    ) -> Result<(LogId, BatchHeader, &'a [u8]), Denied> {
        let log = sent.log?;
        let partition = shard.partitions.get(log).ok_or(Missing::Partition)?;
        let (header, batch) =
            find(sent.records, &partition.rules).map_err(|refusal| Denied::Batch(log, refusal))?;
        if header.is_transactional() && !self.transactional {
            return Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.into());
        }
        if call.version < ZSTD_FROM {
            match Codec::from_id(header.codec_id()) {
                Some(Codec::Zstd) => return Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE.into()),
                Some(_) => {}
                None => return Err(ErrorCode::UNKNOWN_SERVER_ERROR.into()),
            }
        }
        if partition.internal && &*call.client_id != ADMIN_CLIENT {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION.into());
        }
        Ok((log, header, batch))
    }
}

/// Why a partition's bytes do not come as far as its log.
enum Denied {
    /// Counted for its log.
    Batch(LogId, Refusal),
    Other(Failure),
}

impl From<Missing> for Denied {
    fn from(missing: Missing) -> Self {
        Self::Other(missing.into())
    }
}

impl From<ErrorCode> for Denied {
    fn from(code: ErrorCode) -> Self {
        Self::Other(Failure::of(code))
    }
}

impl From<Failure> for Denied {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// Appends what was admitted, and made of it, before.
fn append_made(
    shard: &mut Shard,
    request: &Request<'_>,
    batch: ToOpen,
    acks: Acks,
) -> Result<(LogId, Produced), Denied> {
    let ToOpen { log, range, header, made, .. } = batch;
    let produced = match made {
        Some(Ok(Made::Laid(laid))) => shard.append_laid(log, *laid, acks),
        Some(Err(refusal)) => return Err(Denied::Batch(log, refusal)),
        Some(Ok(Made::Opened(opened))) => {
            shard.append_produced(log, header, &request.body[range], Some(Ok(opened)), acks)
        }
        None => shard.append_produced(log, header, &request.body[range], None, acks),
    };
    Ok((log, produced.map_err(Failure::from)?))
}

/// What is gathered while the request is served.
#[derive(Default)]
struct Serving {
    waits: SmallVec<[(LogId, Offset, u32); 1]>,
    answers: Vec<PartitionAnswer>,
    leaders: Leaders,
}

impl Serving {
    fn partition(
        &mut self,
        shard: &mut Shard,
        call: &Call,
        request: &Request<'_>,
        sent: &Sent<'_>,
        opened: Option<ToOpen>,
    ) -> PartitionAnswer {
        let index = sent.index;
        let acks = match &request.acks {
            Ok(acks) => *acks,
            Err(failure) => return PartitionAnswer::failed(index, failure.clone()),
        };
        let appended = match opened {
            Some(batch) => append_made(shard, request, batch, acks),
            None => {
                request.admit(shard, call, sent, single_batch).and_then(|(log, header, batch)| {
                    let produced = shard.append_produced(log, header, batch, None, acks);
                    Ok((log, produced.map_err(Failure::from)?))
                })
            }
        };
        let appended = appended.map_err(|denied| match denied {
            Denied::Batch(log, refusal) => {
                let error = ProduceError::Refused(refusal);
                shard.count_refused(log, sent.records.len(), &error);
                error.into()
            }
            Denied::Other(failure) => failure,
        });
        match appended {
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
                    let state = sent.log.ok().and_then(|log| shard.store.log(log));
                    answer.log_start = state.map_or(-1, |s| s.log_start().0);
                }
                answer
            }
        }
    }
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
    topics: Vec<Topic>,
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
        let (mut answers, mut errors) = (self.answers.iter(), Codes::default());
        for Topic { name, id, partitions, .. } in &self.topics {
            if version >= TOPIC_ID_FROM {
                w.raw(&id.0);
            } else {
                w.string(Some(name));
            }
            w.array_len(Some(*partitions));
            for answer in answers.by_ref().take(*partitions) {
                errors.add(answer.failure.code.0);
                encode_partition(&mut w, version, answer);
            }
            w.no_tags();
        }
        w.i32(0);
        self.leaders.end(&mut w);
        Answer { parts: smallvec![w.finish()], errors, ..Answer::default() }
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
