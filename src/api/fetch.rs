//! Fetch (key 1): stored batches go to the client as they lie.
//!
//! A request is read in place, its partitions come from it or from its session (`shard::sessions`),
//! and it is parked at once: at the end of the turn, when all appends of the turn are known, it is
//! looked at, and again whenever one of its partitions has more to read. It is answered when there
//! are `MinBytes`, when any partition has an error, or at its deadline. A look costs what a request
//! names, or, with a session, the partitions that have news; more than a turn can do with goes on in
//! slices (`large`). Source: KIP-74 (limits), KIP-227 (sessions), KIP-320 (leader epochs), KIP-516
//! (topic ids).

mod large;
mod request;

use std::mem;
use std::time::Duration;

use bytes::Bytes;

use request::{FINAL_EPOCH, Head, Request};

use crate::api::Outcome;
use crate::api::fetch_answer::{Encoder, PartitionData};
use crate::api::pieces::PIECE_MAX;
use crate::base::{LeaderEpoch, Moment, Offset};
use crate::metrics::Refusal;
use crate::partition::leader::Leader;
use crate::runtime::network::ConnectionId;
use crate::shard::park::ParkedFetch;
use crate::shard::partition::Missing;
use crate::shard::sessions::{Session, TopicKey, Wanted};
use crate::shard::{Call, Shard, Slot};
use crate::storage::{LogId, Read};
use crate::wire::ErrorCode;
use crate::wire::frame::{Answer, FrameError};

pub(super) const FLEXIBLE_FROM: i16 = 12;
pub(super) const TOPIC_ID_FROM: i16 = 13;
pub(super) const SESSION_FROM: i16 = 7;
/// How much longer than its client asked a fetch waits for the disk.
const DISK_WAIT: Duration = Duration::from_secs(10);

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, body: &[u8]) -> Outcome {
    let request = match Request::read(call.version, body, &shard.partitions) {
        Ok(request) => request,
        Err(FrameError::TooMany { .. }) => {
            return large::begin(shard, call, body).unwrap_or_else(|e| Outcome::Close(e.into()));
        }
        Err(e) => return Outcome::Close(e.into()),
    };
    match begin(shard, call, request) {
        Ok(fetch) => {
            shard.fetches.park(Box::new(fetch));
            Outcome::Parked
        }
        Err(code) => Outcome::Answer(Encoder::new(call, code, 0, 0).finish()),
    }
}

/// Where the partitions of a fetch come from.
#[derive(Debug)]
enum Source {
    /// The request itself.
    Request(Vec<Wanted>),
    /// A session.
    Session {
        id: i32,
        /// This request opened it, so all of its partitions are told of.
        full: bool,
    },
}

#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "four things that have nothing to do with each other"
)]
struct Fetch {
    call: Call,
    deadline: Moment,
    /// The client's wait is over, but all there is lies on disk and is on its way.
    awaits_disk: bool,
    /// It was looked at before, and had to wait.
    has_waited: bool,
    /// Its session has more to look at than one turn does.
    goes_on: bool,
    min_bytes: i32,
    max_bytes: i32,
    read_committed: bool,
    source: Source,
}

/// Finds or opens the session.
fn begin(shard: &mut Shard, call: &Call, request: Request) -> Result<Fetch, ErrorCode> {
    let by_id = call.version >= TOPIC_ID_FROM;
    let (id, epoch, now) = (request.head.session_id, request.head.session_epoch, shard.now);
    let source = match epoch {
        0 | FINAL_EPOCH => {
            shard.close_session(id);
            let wanted = request.wanted;
            let opens = epoch == 0 && !wanted.is_empty();
            let opened = opens.then(|| shard.sessions.open(wanted.iter().cloned(), by_id, now));
            if let Some(None) = opened {
                shard.metrics.refuse(Refusal::FetchSession);
            }
            match opened.flatten() {
                Some(id) => Source::Session { id, full: true },
                None => Source::Request(wanted),
            }
        }
        _ => {
            let (wanted, forgotten) = (request.wanted, request.forgotten);
            let goes_on = shard.sessions.advance((id, epoch), by_id, wanted, forgotten, now)?;
            if goes_on { Source::Session { id, full: false } } else { Source::Request(Vec::new()) }
        }
    };
    let empty = matches!(&source, Source::Request(wanted) if wanted.is_empty());
    // A request that is too large to be kept is answered with what there is.
    let too_large = matches!(&source, Source::Request(wanted)
        if wanted.len() * size_of::<Wanted>() > shard.answer_room);
    let mut fetch = Fetch::new(shard, call, &request.head, source);
    if empty || too_large {
        fetch.deadline = now;
    }
    Ok(fetch)
}

impl ParkedFetch for Fetch {
    fn slot(&self) -> Slot {
        self.call.slot
    }

    fn deadline(&self) -> Moment {
        self.deadline
    }

    fn size_bytes(&self) -> usize {
        match &self.source {
            Source::Request(wanted) => wanted.len() * size_of::<Wanted>(),
            Source::Session { .. } => 0,
        }
    }

    fn in_slices(&self) -> bool {
        self.goes_on
    }

    fn look(&mut self, shard: &mut Shard, expired: bool) -> Option<Answer> {
        self.goes_on = false;
        let answer = match mem::replace(&mut self.source, Source::Request(Vec::new())) {
            Source::Request(wanted) => {
                let answer = self.look_at_request(shard, &wanted, expired);
                self.source = Source::Request(wanted);
                answer
            }
            Source::Session { id, full } => {
                self.source = Source::Session { id, full };
                let Some(mut session) = shard.sessions.take(id) else {
                    let code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
                    return Some(Encoder::new(&self.call, code, 0, 0).finish());
                };
                let answer = self.look_at_session(shard, (id, &mut session), full, expired);
                let connection = ConnectionId(self.call.slot.connection);
                session.parked = answer.is_none().then_some(connection);
                shard.sessions.put_back(id, session);
                answer
            }
        };
        if self.goes_on {
            return answer;
        }
        // However short the client's wait: what there is and lies on disk is not "nothing".
        if answer.is_none() && expired {
            self.awaits_disk = true;
            self.deadline = shard.now + DISK_WAIT;
        }
        self.has_waited = true;
        answer
    }
}

/// How a partition stands for a fetch that waits.
enum State {
    /// The answer is due whatever else there is: an error, or a divergence.
    Due,
    /// Bytes that could be read.
    Bytes(usize),
    /// Nothing to read, but something that a session's client was not told.
    News,
    Quiet,
}

impl Fetch {
    fn new(shard: &Shard, call: &Call, head: &Head, source: Source) -> Self {
        let wait = if head.min_bytes <= 0 { Duration::ZERO } else { head.max_wait };
        Self {
            call: call.clone(),
            deadline: shard.now + wait,
            awaits_disk: false,
            has_waited: false,
            goes_on: false,
            min_bytes: head.min_bytes,
            max_bytes: head.max_bytes.clamp(0, shard.config.fetch_bytes_max),
            read_committed: head.read_committed,
            source,
        }
    }

    /// Wakes the connection when this partition has more to read.
    fn watch(&self, shard: &mut Shard, wanted: &Wanted) {
        let found = locate(shard, wanted).ok();
        if let Some(partition) = found.and_then(|log| shard.partitions.get_mut(log)) {
            partition.watch(ConnectionId(self.call.slot.connection));
        }
    }

    fn look_at_request(
        &self,
        shard: &mut Shard,
        wanted: &[Wanted],
        expired: bool,
    ) -> Option<Answer> {
        let mut answer = None;
        if expired || self.awaits_disk || self.is_ready(wanted.iter().map(|w| self.state(shard, w)))
        {
            let mut encoder = Encoder::new(&self.call, ErrorCode::NONE, 0, wanted.len());
            let mut budget = Budget::new(shard.bound_answer(self.max_bytes));
            for (at, partition) in wanted.iter().enumerate() {
                let data = self.read(shard, partition, &mut budget);
                encoder.push(&shard.image, partition, data, wanted.len() - at);
            }
            answer = self.ends(&budget, expired).then(|| encoder.finish());
        }
        if answer.is_none() {
            for wanted in wanted {
                self.watch(shard, wanted);
            }
        }
        answer
    }

    fn look_at_session(
        &mut self,
        shard: &mut Shard,
        (id, session): (i32, &mut Session),
        full: bool,
        expired: bool,
    ) -> Option<Answer> {
        let (mut at_order, mut looked) = (0, 0);
        let fresh = std::iter::from_fn(|| {
            let (order, at) = session.next_fresh(at_order).filter(|_| looked < PIECE_MAX)?;
            (at_order, looked) = (order + 1, looked + 1);
            watch_place(shard, (id, session), at);
            let state = self.state(shard, &session.place(at)?.wanted);
            if matches!(state, State::Quiet) {
                session.is_quiet(at);
            }
            Some(state)
        });
        let mut ready = self.is_ready(fresh);
        if !ready && looked == PIECE_MAX && session.next_fresh(at_order).is_some() {
            // There are more than one turn looks at; what moved among the first ones need not wait.
            ready = session.next_fresh(0).is_some_and(|(order, _)| order < at_order);
            self.goes_on = !ready;
        }
        if !ready && !expired && !self.awaits_disk {
            return None;
        }
        if full {
            session.look_at_all();
        }
        let mut encoder = Encoder::new(&self.call, ErrorCode::NONE, id, 1);
        let mut budget = Budget::new(shard.bound_answer(self.max_bytes));
        let (mut told, mut at_order) = (Vec::new(), 0);
        while let Some((order, at)) = session.next_fresh(at_order)
            && (full || told.len() < PIECE_MAX)
        {
            at_order = order + 1;
            watch_place(shard, (id, session), at);
            let Some(place) = session.place(at) else { continue };
            let wanted = &place.wanted;
            let data = self.read(shard, wanted, &mut budget);
            let tells = data.tells();
            let news = tells != (wanted.told_high_watermark, wanted.told_log_start);
            if data.has_more {
                told.push((at, tells, data.has_records(), true));
            } else {
                told.push((at, tells, false, false));
            }
            if full || data.has_records() || data.code != ErrorCode::NONE || news {
                encoder.push(&shard.image, wanted, data, 1);
            }
        }
        if !self.ends(&budget, expired) {
            return None;
        }
        // Those that were left out come first in the next answer.
        let rest = session.next_fresh(at_order).is_some();
        for (at, (high_watermark, log_start), had_data, has_more) in told {
            session.told(at, high_watermark, log_start, had_data || rest && has_more);
            if !has_more {
                session.is_quiet(at);
            }
        }
        Some(encoder.finish())
    }

    /// Whether what was read is an answer, or only a reason to wait for the disk.
    fn ends(&self, budget: &Budget, expired: bool) -> bool {
        !budget.only_pending() || expired && self.awaits_disk
    }

    /// Whether there are `min_bytes`, or an error.
    fn is_ready(&self, mut states: impl Iterator<Item = State>) -> bool {
        let mut bytes = 0_usize;
        let enough = usize::try_from(self.min_bytes).unwrap_or(0);
        states.any(|state| {
            match state {
                State::Due => return true,
                State::Bytes(there) => bytes += there,
                State::News | State::Quiet => {}
            }
            bytes >= enough
        })
    }

    /// Only positions are compared here.
    fn state(&self, shard: &Shard, wanted: &Wanted) -> State {
        let Ok(log) = locate(shard, wanted) else { return State::Due };
        let (Some(partition), Some(state)) = (shard.partitions.get(log), shard.store.log(log))
        else {
            return State::Due;
        };
        let leader = &partition.leader;
        let readable = (state.log_start()..=state.log_end()).contains(&wanted.offset);
        if state.is_failed()
            || !readable
            || leader.check_epoch(wanted.current_epoch).is_err()
            || wanted.last_epoch.0 >= 0 && diverges(shard, log, wanted).is_some()
        {
            return State::Due;
        }
        let (end, now) = (self.end(leader), (leader.high_watermark(), state.log_start()));
        if wanted.offset < end {
            let there = shard.store.bytes_between(log, wanted.offset, end);
            return State::Bytes(there.min(usize::try_from(wanted.bytes_max).unwrap_or(0).max(1)));
        }
        let told = (wanted.told_high_watermark, wanted.told_log_start);
        if now == told { State::Quiet } else { State::News }
    }

    /// Where this client may read to.
    fn end(&self, leader: &Leader) -> Offset {
        if self.read_committed { leader.last_stable_offset() } else { leader.high_watermark() }
    }

    fn read(&self, shard: &mut Shard, wanted: &Wanted, budget: &mut Budget) -> PartitionData {
        let log = locate(shard, wanted);
        let data = self.read_at(shard, log, wanted, budget);
        shard.count_fetch(log.ok(), records_len(&data.records), data.code != ErrorCode::NONE);
        data
    }

    fn read_at(
        &self,
        shard: &mut Shard,
        log: Result<LogId, Missing>,
        wanted: &Wanted,
        budget: &mut Budget,
    ) -> PartitionData {
        let log = match log {
            Ok(log) => log,
            Err(Missing::NotLeader) => {
                return PartitionData::failed(ErrorCode::NOT_LEADER_OR_FOLLOWER);
            }
            Err(missing) if self.has_waited => return PartitionData::failed(missing.into()),
            Err(missing) => return PartitionData::unknown(missing.into()),
        };
        let Some(partition) = shard.partitions.get(log) else {
            return PartitionData::failed(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        let leader = &partition.leader;
        if let Err(e) = leader.check_epoch(wanted.current_epoch) {
            return PartitionData::failed(e.into());
        }
        let (high_watermark, stable) = (leader.high_watermark(), leader.last_stable_offset());
        let Some(state) = shard.store.log(log) else {
            return PartitionData::failed(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        let (log_start, log_end) = (state.log_start(), state.log_end());
        if state.is_failed() && wanted.offset >= state.readable_end() {
            return PartitionData::failed(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        if wanted.offset < log_start || wanted.offset > log_end {
            return PartitionData::failed(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let mut data = PartitionData {
            code: ErrorCode::NONE,
            high_watermark,
            stable,
            log_start,
            aborted: self.read_committed.then_some(0),
            diverging: None,
            leader: None,
            has_more: false,
            records: Vec::new(),
        };
        if wanted.last_epoch.0 >= 0 {
            match diverges(shard, log, wanted) {
                Some(Some(diverging)) => {
                    data.diverging = Some(diverging);
                    data.has_more = true;
                    return data;
                }
                Some(None) => return PartitionData::failed(ErrorCode::OFFSET_OUT_OF_RANGE),
                None => {}
            }
        }
        let upto = if self.read_committed { stable } else { high_watermark };
        data.has_more = wanted.offset < upto;
        if !data.has_more || budget.is_spent() {
            return data;
        }
        let bytes_max = budget.for_partition(wanted.bytes_max);
        match shard.store.read(log, wanted.offset, upto, bytes_max, budget.first) {
            Ok(Read::Ready(batches)) => {
                budget.spend(batches.bytes);
                data.records = batches.parts;
            }
            Ok(Read::Pending) => budget.pending = true,
            Err(e) => return PartitionData::failed((&e).into()),
        }
        data
    }
}

/// Has the place of a session told when its partition moves.
fn watch_place(shard: &mut Shard, (id, session): (i32, &mut Session), at: usize) {
    let Some(place) = session.place(at) else { return };
    let log = locate(shard, &place.wanted).ok();
    if place.log == log {
        return;
    }
    place.log = log;
    let Some(log) = log else { return };
    if let Some(partition) = shard.partitions.get_mut(log) {
        partition.watchers.add((id, session), at, log, &shard.sessions);
    }
}

/// Whether the client's log went another way than ours: `Some(None)` when that cannot be said.
#[allow(clippy::option_option, reason = "three answers: no, yes and where, cannot be said")]
fn diverges(shard: &Shard, log: LogId, wanted: &Wanted) -> Option<Option<(LeaderEpoch, Offset)>> {
    let state = shard.store.log(log)?;
    let Some((epoch, end)) = state.epochs().end_offset_for(wanted.last_epoch, state.log_end())
    else {
        return Some(None);
    };
    (epoch < wanted.last_epoch || end < wanted.offset).then_some(Some((epoch, end)))
}

fn locate(shard: &Shard, wanted: &Wanted) -> Result<LogId, Missing> {
    match wanted.log {
        Some(log) if shard.partitions.get(log).is_some() => Ok(log),
        _ => {
            let topic = match &wanted.topic {
                TopicKey::Name(name) => shard.partitions.topic(name),
                TopicKey::Id(id) => shard.partitions.topic_by_id(*id),
            };
            topic?.log(wanted.partition)
        }
    }
}

/// What is left of a response's bytes. The first partition with data gets at least one batch.
#[derive(Clone, Copy)]
struct Budget {
    left: usize,
    first: bool,
    pending: bool,
}

impl Budget {
    fn new(max_bytes: i32) -> Self {
        Self { left: usize::try_from(max_bytes).unwrap_or(0), first: true, pending: false }
    }

    fn is_spent(&self) -> bool {
        !self.first && self.left == 0
    }

    fn for_partition(&self, bytes_max: i32) -> usize {
        self.left.min(usize::try_from(bytes_max).unwrap_or(0))
    }

    fn spend(&mut self, bytes: usize) {
        if bytes > 0 {
            self.first = false;
            self.left = self.left.saturating_sub(bytes);
        }
    }

    /// Nothing was read, but something is being read from disk.
    fn only_pending(&self) -> bool {
        self.pending && self.first
    }
}

/// Bytes of one partition in an answer.
pub(super) fn records_len(records: &[Bytes]) -> usize {
    records.iter().map(Bytes::len).sum()
}
