//! Group commit: what goes into the next one, and what its end means.
//!
//! Flow: `store::append` puts logs in line -> **commits** -> the committer runs `commit::Commit` ->
//! **commits** again -> `StoreEvent::Durable`.
//!
//! Logs are created and deleted in the journal in the order in which they were here; what a log has
//! waits until its creation was taken.
//!
//! One commit is out at a time; all that is appended meanwhile is the next one. A log is taken up to
//! a batch end: up to the end of its bytes, or of one of its segments. When the journal is nearly
//! full only repeats are taken (see `checkpoint`), up to what was durable before.
//!
//! Of a log with very much to commit, one part goes ahead with each commit of the others, until the
//! rest is small enough to be committed. So a large batch delays the others by one part at a time.

use std::mem;

use bytes::Bytes;

use super::commit::{Commit, CommitDone, Direct, LogCommit, Meta};
use super::error::StorageError;
use super::journal::{DATA_ENTRY_BYTES, Entry, Writer};
use super::log::{Ahead, Log, Queue};
use super::segment::{Kind, file_path};
use super::store::Store;
use super::tail::block_floor;
use super::{LogId, StoreEvent};
use crate::base::{BLOCK_BYTES, Moment, Offset};

/// Most that an entry without data takes.
const META_ENTRY_BYTES: usize = 512;
/// What a log could have in a commit.
enum Plan {
    /// This.
    Takes(LogCommit),
    /// This part of it, ahead of the commit that will make it durable.
    Ahead(Direct),
    /// Nothing new, or not yet: its file has to be opened first.
    Nothing,
    /// The commit has no room for it.
    NoRoom,
}

/// Bounds of a commit under construction.
#[derive(Clone, Copy)]
struct Bounds {
    /// Bytes that it may have.
    room: usize,
    /// Only repeats are taken, of what is durable already.
    repeats: bool,
    direct_bytes_min: u64,
    direct_bytes_max: u64,
}

/// What logs have in a commit under construction.
#[derive(Default)]
struct Taken {
    logs: Vec<LogCommit>,
    ahead: Vec<(LogId, Direct, Result<(), StorageError>)>,
}

impl Store {
    /// The next commit, when one is due and none is out. Hand it to the committer.
    pub fn commit(&mut self, now: Moment) -> Option<Commit> {
        if self.failed || self.writer.is_none() {
            return None;
        }
        self.promote_lazy(now);
        if self.due.is_empty() && self.metas_deadline > now {
            return None;
        }
        let mut writer = self.writer.take()?;
        let (mut metas, mut taken) = (Vec::new(), Taken::default());
        for repeats in [false, true] {
            let room = self.ring.room(self.config.commit_bytes_limit(), repeats) as usize;
            let direct_bytes_min = self.config.direct_bytes_min as u64;
            let direct_bytes_max = self.config.direct_bytes_max as u64;
            writer.clear();
            metas = self.take_metas(&mut writer, room);
            let bounds = Bounds { room, repeats, direct_bytes_min, direct_bytes_max };
            self.take_logs(&mut writer, bounds, &mut taken);
            if !writer.is_empty() || !taken.ahead.is_empty() {
                // There was room, such as in a chunk file that has only now been made.
                self.full &= repeats;
                break;
            }
            self.full = self.due.len() > self.waiting_for_files || !self.metas.is_empty();
            if repeats && self.full {
                self.check_held();
            }
        }
        let place = if writer.is_empty() { None } else { self.ring.take(writer.padded_len()) };
        if place.is_none() && taken.ahead.is_empty() {
            self.writer = Some(writer);
            return None;
        }
        let Taken { logs, ahead } = taken;
        if let Some(place) = &place {
            self.note_chunk(place.chunk, &logs, &metas);
        }
        self.metrics.commit_began = Some(now);
        let generation = self.generation;
        Some(Commit { writer, place, generation, ahead, logs, metas, started: now })
    }

    /// Logs that waited long enough are due, as many as one commit takes of them.
    fn promote_lazy(&mut self, now: Moment) {
        if self.lazy_deadline > now {
            return;
        }
        let mut copied = 0;
        while copied < self.config.commit_lazy_bytes_max {
            let Some(id) = self.lazy.pop_front() else {
                self.lazy_deadline = Moment::NEVER;
                return;
            };
            if let Some(log) = self.logs[id.0 as usize].as_deref_mut()
                && log.queue == Queue::Lazy
            {
                copied += log.uncommitted().min(self.config.direct_bytes_min as u64) as usize;
                log.queue = Queue::Due;
                self.due.push_back(id);
            }
        }
    }

    fn take_metas(&mut self, writer: &mut Writer, room: usize) -> Vec<Meta> {
        let mut taken = Vec::new();
        while taken.len() < self.config.commit_metas_max && writer.len() + META_ENTRY_BYTES <= room
        {
            let Some((tp, topic, meta)) = self.metas.pop_front() else { break };
            let entry = match &meta {
                Meta::Create(id) => {
                    if let Some(log) = self.log_mut(*id) {
                        log.disk.unannounced = false;
                    }
                    Entry::Create { topic: &topic }
                }
                Meta::LogStart(_, offset, segment) => {
                    Entry::LogStart { offset: *offset, segment: *segment }
                }
                Meta::Delete(_) => Entry::Delete,
            };
            writer.push(tp, &entry);
            taken.push(meta);
        }
        if self.metas.is_empty() {
            self.metas_deadline = Moment::NEVER;
        }
        taken
    }

    /// Takes logs in line until the commit is large enough, those that ride along last.
    fn take_logs(&mut self, writer: &mut Writer, bounds: Bounds, taken: &mut Taken) {
        taken.logs = mem::take(&mut self.taken);
        let (mut again, mut bytes) = (Vec::new(), 0);
        let lazy_bytes_max = self.config.commit_lazy_bytes_max;
        self.waiting_for_files = 0;
        while bytes < self.config.commit_bytes_max {
            let (line, id) = match self.due.pop_front() {
                Some(id) => (Queue::Due, id),
                None if bounds.repeats || writer.len() > lazy_bytes_max => break,
                None => match self.lazy.pop_front() {
                    Some(id) => (Queue::Lazy, id),
                    None => break,
                },
            };
            let Some(log) = self.logs[id.0 as usize].as_deref_mut() else { continue };
            if log.queue != line {
                continue;
            }
            if log.failed && !log.rejournal {
                log.queue = Queue::Idle;
                continue;
            }
            if log.disk.no_room && !log.fits_a_repeat(log.progress.end, &self.config) {
                log.queue = Queue::Idle;
                self.stop_waiting(id);
                continue;
            }
            if log.disk.unannounced {
                log.queue = Queue::Due;
                again.push(id);
                continue;
            }
            let plan = if bounds.repeats && !log.rejournal {
                Plan::NoRoom
            } else {
                plan(id, log, writer, bounds)
            };
            let no_room = matches!(plan, Plan::NoRoom);
            match plan {
                Plan::Takes(commit) => {
                    bytes += commit.bytes;
                    log.lazy_records = 0;
                    taken.logs.push(commit);
                }
                Plan::Ahead(part) => {
                    bytes += bounds.direct_bytes_max as usize;
                    taken.ahead.push((id, part, Ok(())));
                }
                Plan::Nothing | Plan::NoRoom => {}
            }
            let waits = log.rejournal || !log.failed && log.uncommitted() > 0;
            log.queue = if waits { Queue::Due } else { Queue::Idle };
            if waits {
                again.push(id);
            }
            if log.disk.want_file.is_some() {
                self.waiting_for_files += 1;
                self.want_write(id);
            }
            self.settle(id);
            if no_room && !bounds.repeats {
                break;
            }
        }
        self.due.extend(again);
    }

    /// Notes which logs the journal chunk has to be kept for.
    fn note_chunk(&mut self, chunk: u64, logs: &[LogCommit], metas: &[Meta]) {
        let mut ids: Vec<_> = metas
            .iter()
            .filter_map(|m| if let Meta::Create(id) = m { Some(*id) } else { None })
            .collect();
        for commit in logs {
            let log = self.log(commit.log);
            if log.is_some_and(|l| l.progress.newest_chunk() != Some(chunk)) {
                ids.push(commit.log);
            }
        }
        if let Some(live) = self.ring.newest_mut() {
            live.logs.extend(ids);
        }
    }

    /// A commit came back.
    pub fn on_commit(&mut self, done: CommitDone, now: Moment, out: &mut Vec<StoreEvent>) {
        let CommitDone { commit, result } = done;
        let bytes: usize = commit.logs.iter().map(|l| l.bytes).sum();
        self.metrics.commits += 1;
        self.metrics.commit_bytes += bytes as u64;
        self.metrics.journal_bytes += commit.writer.padded_len() as u64;
        self.metrics.commit_time.record_between(commit.started, now);
        self.metrics.commit_began = None;
        self.writer = Some(commit.writer);
        out.append(&mut self.events);
        let sync_time = match result {
            Ok(sync_time) => sync_time,
            Err(error) => return self.fail_all(error, out),
        };
        for (id, _, written) in commit.ahead {
            if let Err(error) = written {
                self.stick(id, error, out);
            }
        }
        let Some(place) = commit.place else { return };
        self.metrics.sync_time.record(sync_time);
        if bytes > 0 || !commit.metas.is_empty() {
            if !self.checkpoint_wanted {
                self.checkpoint_at = now.plus_ms(self.config.checkpoint_ms);
            }
            self.checkpoint_wanted = true;
            self.checkpoint_bytes += bytes as u64;
            if self.checkpoint_bytes >= self.config.checkpoint_bytes {
                self.checkpoint_at = now;
            }
        }
        let deletes = commit.metas.iter().any(|meta| matches!(meta, Meta::Delete(_)));
        for meta in commit.metas {
            self.on_meta(meta, (place.chunk, place.sequence), out);
        }
        if deletes {
            self.finish_checkpoint();
        }
        let mut logs = commit.logs;
        for log in logs.drain(..) {
            self.on_log_commit(log, place.chunk, out);
        }
        self.taken = logs;
        self.evict();
        self.start_checkpoint(now);
    }

    fn on_log_commit(&mut self, commit: LogCommit, chunk: u64, out: &mut Vec<StoreEvent>) {
        let id = commit.log;
        let write_bytes_min = self.config.write_bytes_min as u64;
        let Some(log) = self.logs[id.0 as usize].as_deref_mut() else { return };
        if let Some(error) = commit.error {
            log.repeating = false;
            return self.stick(id, error, out);
        }
        for d in &commit.directs {
            log.progress.on_written(d.from, d.upto, d.boundary);
            if d.completes {
                log.progress.on_synced(d.upto, d.boundary);
            }
        }
        log.progress.on_commit(commit.end, chunk, commit.data_from);
        log.repeating = false;
        if !log.failed {
            log.pending_bytes -= commit.bytes;
            self.dirty_bytes -= commit.bytes;
        }
        if commit.end_offset > log.durable_end {
            log.durable_end = commit.end_offset;
            out.push(StoreEvent::Durable { log: id, end: commit.end_offset });
        }
        let unwritten = log.progress.durable.saturating_sub(log.progress.written);
        if unwritten >= write_bytes_min || log.wants_seal() {
            self.want_write(id);
        }
        self.settle(id);
    }

    fn on_meta(&mut self, meta: Meta, (chunk, sequence): (u64, u64), out: &mut Vec<StoreEvent>) {
        match meta {
            Meta::Create(id) => {
                if let Some(log) = self.log_mut(id)
                    && !log.disk.made
                {
                    log.disk.created_in = Some(chunk);
                }
            }
            Meta::LogStart(log, start, first) => {
                self.on_log_start(log, start, first);
                out.push(StoreEvent::LogStartMoved { log, start });
            }
            Meta::Delete(id) => {
                self.removals.on_durable(id, chunk, sequence);
                self.start_removal(id);
            }
        }
    }
}

/// Puts a log's bytes into the commit: whole blocks of segments with much to commit directly, the
/// rest through the journal.
fn plan(id: LogId, log: &mut Log, writer: &mut Writer, bounds: Bounds) -> Plan {
    let p = &log.progress;
    log.rejournal &= log.is_repeatable();
    let from = if log.rejournal { p.synced } else { p.journaled };
    let repeats = bounds.repeats || log.failed;
    let all = if repeats { (p.durable, log.durable_end) } else { (p.end, log.log_end) };
    let goal = log.disk.ahead.filter(|_| !repeats).map_or(all, |ahead| ahead.goal);
    let (journaled, first) = (p.journaled, log.segment_at(from));
    let mut commit = LogCommit::new(id);
    let (mut next, mut fits) = (first, true);
    let entries_from = writer.count();
    while fits && next < log.segments.len() {
        let segment = &log.segments[next];
        let (lo, hi) = (from.max(segment.at), segment.end().min(goal.0));
        let direct =
            hi.saturating_sub(lo) >= bounds.direct_bytes_min && !log.stuck && !log.disk.no_room;
        if direct && segment.file.is_none() {
            log.disk.want_file = Some(segment.base);
            break;
        }
        if direct && !repeats && hi.saturating_sub(log.after_ahead(lo)) > bounds.direct_bytes_max {
            if writer.count() == entries_from
                && let Some(part) = plan_ahead(log, next, (lo, hi), bounds.direct_bytes_max)
            {
                let goes_on = log.disk.ahead.filter(|ahead| ahead.upto == part.from);
                let from = goes_on.map_or(part.from, |ahead| ahead.from);
                log.disk.ahead = Some(Ahead { from, upto: part.upto, goal });
                return Plan::Ahead(part);
            }
            break;
        }
        let needed = if direct { BLOCK_BYTES } else { hi.saturating_sub(lo) as usize };
        let entries = DATA_ENTRY_BYTES * (needed / BLOCK_BYTES + 3);
        fits = writer.len() + needed + entries <= bounds.room;
        if fits && lo < hi {
            put_segment(log, next, (lo, hi, direct), writer, &mut commit);
        }
        next += usize::from(fits);
        if fits && hi == goal.0 {
            next = log.segments.len();
        }
    }
    commit.entries = entries_from..writer.count();
    if commit.entries.is_empty() {
        return if fits { Plan::Nothing } else { Plan::NoRoom };
    }
    log.repeating = mem::take(&mut log.rejournal);
    (commit.end, commit.end_offset) = if repeats || next == log.segments.len() {
        goal
    } else {
        (log.segments[next - 1].end(), log.segments[next].base)
    };
    log.disk.ahead.take_if(|ahead| commit.end >= ahead.goal.0);
    commit.bytes = log.bytes_in(journaled, commit.end) as usize;
    log.progress.journaled = journaled.max(commit.end);
    Plan::Takes(commit)
}

/// Puts positions `lo..hi` of segment `i` into the commit.
fn put_segment(
    log: &Log,
    i: usize,
    (mut lo, hi, direct): (u64, u64, bool),
    writer: &mut Writer,
    commit: &mut LogCommit,
) {
    let segment = &log.segments[i];
    if direct && let Some(d) = plan_direct(log, i, lo, hi) {
        let (base, upto) = (segment.base, d.upto - segment.at);
        writer.push(log.tp, &Entry::Written { base, upto });
        lo = d.upto;
        commit.directs.push(d);
    }
    if lo < hi {
        commit.data_from = commit.data_from.or(Some(lo));
        log.tail.each_slice(lo, hi, |at, bytes| {
            writer.push(log.tp, &Entry::Data { base: segment.base, at: at - segment.at, bytes });
        });
    }
}

/// The whole blocks of `lo..hi` in segment `i`, with those before it that no write has taken. What went
/// ahead is not written again, but it is synced with the rest.
fn plan_direct(log: &Log, i: usize, lo: u64, hi: u64) -> Option<Direct> {
    let segment = &log.segments[i];
    let p = &log.progress;
    let from = first_block(log, i, lo);
    let upto = block_floor(hi);
    if upto <= from {
        return None;
    }
    let (file, boundary) = (segment.file.clone()?, log.boundary_at(upto)?);
    let pieces = pieces(log, i, (log.after_ahead(from), upto));
    let completes = p.written >= from && p.synced >= segment.at && !log.epochs_dirty;
    let path = file_path(&log.dir, segment.base, Kind::Log);
    Some(Direct { file, path, pieces, from, upto, boundary, completes })
}

/// The next part of the same blocks, of at most `bytes_max`.
fn plan_ahead(log: &Log, i: usize, (lo, hi): (u64, u64), bytes_max: u64) -> Option<Direct> {
    let segment = &log.segments[i];
    let from = log.after_ahead(first_block(log, i, lo));
    let upto = block_floor(hi.min(from + bytes_max));
    let (file, path) = (segment.file.clone()?, file_path(&log.dir, segment.base, Kind::Log));
    let (pieces, boundary) = (pieces(log, i, (from, upto)), Offset(0));
    (upto > from).then_some(Direct { file, path, pieces, from, upto, boundary, completes: false })
}

/// Where a direct write that takes bytes from `lo` on begins.
fn first_block(log: &Log, i: usize, lo: u64) -> u64 {
    let ahead = log.progress.written_ahead().max(log.disk.writing_upto);
    block_floor(ahead).max(log.segments[i].at).min(block_floor(lo))
}

/// The bytes of positions `from..upto` with their places in segment `i`.
fn pieces(log: &Log, i: usize, (from, upto): (u64, u64)) -> Vec<(u64, Bytes)> {
    let pieces = log.tail.pieces(from, upto);
    pieces.into_iter().map(|(at, bytes)| (at - log.segments[i].at, bytes)).collect()
}

impl Log {
    /// `from`, or where what went ahead ends when `from` lies in it.
    fn after_ahead(&self, from: u64) -> u64 {
        let covers = |ahead: &Ahead| ahead.from <= from && from < ahead.upto;
        self.disk.ahead.filter(covers).map_or(from, |ahead| ahead.upto)
    }
}
