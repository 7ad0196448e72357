//! The scrub: batches that nobody reads are read back too, so that damage is found while there is still
//! something to repair it from.
//!
//! Flow: [`Store::step_scrub`] looks for the next window, at the pace that is set -> `background` hands it
//! out when the disk has nothing else to do -> the back reads it, past the page cache, and checks it
//! ([`ScrubWork`]) -> [`Store::on_scrubbed`].
//!
//! It goes through the sealed segments of all logs, one after the other, and begins anew a day after it
//! began. What it reads is not kept. A batch that is longer than a window is summed up over several.
//!
//! Invariants:
//! - B1. One window is out at a time, and it is small: a commit may stand behind it in the device's queue.
//! - B2. It decides nothing: where it meets no good batch the segment is examined, as it is when a
//!   reader meets none (`read`), and that names the damage.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::error::StorageError;
use super::jobs::{Job, Work};
use super::log::Log;
use super::scan::{self, Expect};
use super::segment::{Kind, file_path};
use super::store::{LOGS_PER_STEP, STEP_EVERY, Store};
use super::tail::block_floor;
use super::{LogId, StoreEvent};
use crate::base::{BLOCK_BYTES, Moment, Offset};
use crate::runtime::disk::ReadSpec;
use crate::wire::batch::{self, BatchError, BatchHeader};

/// Bytes of a window.
const WINDOW_BYTES: u64 = 256 << 10;
/// A disk that is busy puts a window off for so long, not longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// From the beginning of a round to that of the next.
const ROUND: Duration = Duration::from_hours(24);

/// How far it is.
pub(super) struct Scrub {
    state: State,
    /// When this round began.
    began: Moment,
    /// What comes next lies here, or behind it.
    log: usize,
    segment: Offset,
    reached: Option<Reached>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Until then.
    Rests(Moment),
    /// A window is to be read when the disk is idle, or then.
    Wants(Moment),
    /// It is to be read now.
    Must,
    /// It is being read.
    Out,
}

/// How far a segment is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// Byte.
    at: u64,
    /// The next batch that begins.
    expect: Expect,
    /// The batch that `at` lies in.
    part: Option<Part>,
}

/// A batch whose beginning is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    /// Checksum of what is read of it, and the one that it should have in the end.
    sum: u32,
    stored: u32,
    /// Bytes that are not read.
    left: usize,
}

impl Default for Scrub {
    fn default() -> Self {
        let state = State::Rests(Moment::default());
        Self { state, began: Moment::NEVER, log: 0, segment: Offset(0), reached: None }
    }
}

impl Scrub {
    fn go_to(&mut self, log: usize, segment: Offset) {
        (self.log, self.segment, self.reached) = (log, segment, None);
    }

    /// The segment of `log` that is next, by index.
    fn next_segment(&self, log: &Log) -> Option<usize> {
        let next = log.segments.partition_point(|s| s.base < self.segment);
        let i = next.max(log.segment_of(log.log_start));
        let is_there = |s: &&super::segment::Segment| s.sealed && s.size > 0 && !log.failed;
        log.segments.get(i).filter(is_there).map(|_| i)
    }

    fn work(&mut self, log: &Log) -> Option<ScrubWork> {
        let i = self.next_segment(log)?;
        let segment = &log.segments[i];
        let begin = Reached { at: 0, expect: scan::after(segment.base, log.dense), part: None };
        let known = self.reached.filter(|_| self.segment == segment.base);
        let next = log.segments.get(i + 1).map(|next| next.base);
        Some(ScrubWork {
            path: file_path(&log.dir, segment.base, Kind::Log),
            segment: segment.base,
            size: segment.size,
            from: known.unwrap_or(begin),
            next: next.filter(|_| log.dense),
            dense: log.dense,
        })
    }
}

impl Store {
    /// When [`Self::step_scrub`] has something to do.
    pub(super) fn scrub_at(&self) -> Moment {
        match self.scrub.state {
            _ if self.config.scrub_bytes_per_second == 0 => Moment::NEVER,
            State::Rests(until) | State::Wants(until) => until,
            State::Must | State::Out => Moment::NEVER,
        }
    }

    /// Looks for the next window, when it is time.
    pub(super) fn step_scrub(&mut self, now: Moment) {
        if self.scrub_at() > now {
            return;
        }
        if let State::Wants(_) = self.scrub.state {
            self.scrub.state = State::Must;
            return;
        }
        if self.scrub.began == Moment::NEVER {
            self.scrub.began = now;
        }
        for _ in 0..LOGS_PER_STEP {
            let Some(log) = self.logs.get(self.scrub.log) else {
                // The next round.
                self.scrub.state = State::Rests(now.max(self.scrub.began + ROUND));
                self.scrub.began = Moment::NEVER;
                self.scrub.go_to(0, Offset(0));
                return;
            };
            if log.as_deref().is_some_and(|log| self.scrub.next_segment(log).is_some()) {
                self.scrub.state = State::Wants(now + PATIENCE);
                return;
            }
            self.scrub.go_to(self.scrub.log + 1, Offset(0));
        }
        self.scrub.state = State::Rests(now + STEP_EVERY);
    }

    /// The window that is wanted. Nothing else waits for the back.
    pub(super) fn next_window(&mut self) -> Option<Job> {
        match self.scrub.state {
            State::Must => {}
            State::Wants(_) if self.is_idle() => {}
            _ => return None,
        }
        let log = self.logs.get(self.scrub.log).and_then(Option::as_deref);
        let Some(work) = log.and_then(|log| self.scrub.work(log)) else {
            // It has gone meanwhile.
            self.scrub.state = State::Rests(Moment::default());
            return None;
        };
        self.scrub.state = State::Out;
        let log = Some(LogId(self.scrub.log as u32));
        Some(Job { log, work: Work::Scrub(work) })
    }

    /// Whether the disk has nothing to do.
    fn is_idle(&self) -> bool {
        self.writer.is_some() && self.checkpoint.is_none() && self.queues.out == 0
    }

    /// A window was read.
    pub(super) fn on_scrubbed(
        &mut self,
        id: LogId,
        work: &ScrubWork,
        good: Result<Option<Reached>, StorageError>,
        now: Moment,
        out: &mut Vec<StoreEvent>,
    ) {
        let bytes = work.bytes();
        self.metrics.scrubbed_bytes += bytes;
        let pause_ns = bytes as f64 / self.config.scrub_bytes_per_second as f64 * 1e9;
        self.scrub.state = State::Rests(now + Duration::from_nanos(pause_ns as u64));
        let i = self.log(id).and_then(|log| log.segment_from(work.segment));
        match good {
            Ok(Some(reached)) if reached.at < work.size => {
                (self.scrub.segment, self.scrub.reached) = (work.segment, Some(reached));
            }
            Ok(Some(_)) => self.scrub.go_to(id.0 as usize, Offset(work.segment.0 + 1)),
            bad => {
                self.scrub.go_to(id.0 as usize, Offset(work.segment.0 + 1));
                // Else its file was removed.
                let Some(i) = i else { return };
                self.metrics.scrub_damages += 1;
                match bad {
                    Err(error) => self.fail(id, error, out),
                    Ok(_) => self.ask_index(id, i, Some(work.from.at)),
                }
            }
        }
    }
}

/// Reads a window of a sealed segment and checks the batches in it.
pub(super) struct ScrubWork {
    path: PathBuf,
    segment: Offset,
    /// Bytes of the segment.
    size: u64,
    from: Reached,
    /// Where the last batch has to end.
    next: Option<Offset>,
    /// The batches follow each other without a gap.
    dense: bool,
}

impl ScrubWork {
    /// Bytes that it reads.
    fn bytes(&self) -> u64 {
        (self.size - block_floor(self.from.at)).min(WINDOW_BYTES)
    }

    pub(super) fn spec(&self) -> ReadSpec {
        let len = (self.bytes() as usize).next_multiple_of(BLOCK_BYTES);
        let (path, at) = (self.path.clone(), block_floor(self.from.at));
        ReadSpec { path, at, len, head: Bytes::new() }
    }

    /// How far the segment is good, if all of the window is.
    ///
    /// # Errors
    /// It could not be read.
    pub(super) fn verify(&self, read: io::Result<Bytes>) -> Result<Option<Reached>, StorageError> {
        let read = read.map_err(StorageError::disk("reading", &self.path))?;
        let begin = (self.from.at - block_floor(self.from.at)) as usize;
        let window = read.get(begin..self.bytes() as usize);
        Ok(window.and_then(|window| self.check(window)))
    }

    fn check(&self, mut window: &[u8]) -> Option<Reached> {
        let mut reached = self.from;
        loop {
            if let Some(part) = &mut reached.part {
                let (now, rest) = window.split_at(part.left.min(window.len()));
                part.sum = crc32c::crc32c_append(part.sum, now);
                part.left -= now.len();
                (reached.at, window) = (reached.at + now.len() as u64, rest);
                if part.left > 0 {
                    return Some(reached).filter(|reached| reached.at < self.size);
                }
                if part.sum != part.stored {
                    return None;
                }
                reached.part = None;
            }
            if reached.at == self.size {
                let ends = self.next.is_none_or(|next| reached.expect == Expect::Exactly(next));
                return Some(reached).filter(|_| ends);
            }
            match BatchHeader::parse_whole(window) {
                Ok((header, batch)) => {
                    scan::check(&header, batch, reached.expect).ok()?;
                    reached.expect = scan::after(header.next_offset(), self.dense);
                    reached.at += batch.len() as u64;
                    window = &window[batch.len()..];
                }
                // The batch, or its header, goes on behind the window.
                Err(BatchError::Short { need, .. }) if need as u64 <= self.size - reached.at => {
                    let Ok(header) = BatchHeader::parse(window) else { return Some(reached) };
                    scan::check_place(&header, reached.expect).ok()?;
                    reached.expect = scan::after(header.next_offset(), self.dense);
                    reached.at += window.len() as u64;
                    let left = header.size_bytes - window.len();
                    let (sum, stored) = (batch::crc(window), header.crc);
                    reached.part = Some(Part { sum, stored, left });
                    return Some(reached);
                }
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Codec;
    use crate::wire::record::{BatchBuilder, ProducerStamp};

    const BASE: Offset = Offset(100);

    /// A segment with batches of these sizes, about; the offset behind it.
    fn segment(sizes: &[usize]) -> (Vec<u8>, Offset) {
        let (mut bytes, mut next) = (Vec::new(), BASE);
        for (i, &size) in sizes.iter().enumerate() {
            let mut builder = BatchBuilder::default();
            let value: Vec<u8> = (0..size).map(|k| (k * 31 + i) as u8).collect();
            builder.push(1000, None, Some(&value), &[]);
            let mut batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap().to_vec();
            batch::set_base_offset(&mut batch, next);
            bytes.extend_from_slice(&batch);
            next.0 += 1;
        }
        (bytes, next)
    }

    /// Windows that were read, and the byte from which the last one was not good.
    fn scrub(bytes: &[u8], size: usize, next: Offset) -> (usize, Option<u64>) {
        let expect = Expect::Exactly(BASE);
        let mut work = ScrubWork {
            path: PathBuf::new(),
            segment: BASE,
            size: size as u64,
            from: Reached { at: 0, expect, part: None },
            next: Some(next),
            dense: true,
        };
        for windows in 1.. {
            let spec = work.spec();
            assert!(
                spec.len <= WINDOW_BYTES as usize && spec.at.is_multiple_of(BLOCK_BYTES as u64)
            );
            let from = bytes.len().min(spec.at as usize);
            let read = &bytes[from..bytes.len().min(from + spec.len)];
            match work.verify(Ok(Bytes::copy_from_slice(read))).unwrap() {
                Some(reached) if reached.at == work.size => return (windows, None),
                Some(reached) => {
                    assert!(reached.at > work.from.at, "{reached:?}");
                    work.from = reached;
                }
                None => return (windows, Some(work.from.at)),
            }
        }
        unreachable!("it ends")
    }

    const SIZES: [usize; 9] = [100, 4000, 250_000, 10, 700_000, 1, 262_000, 9000, 300_000];

    #[test]
    fn good_segments_are_good_wherever_their_batches_lie() {
        for begin in 0..SIZES.len() {
            let (bytes, next) = segment(&SIZES[begin..]);
            let (windows, bad) = scrub(&bytes, bytes.len(), next);
            assert_eq!(bad, None, "from {begin}");
            assert!(windows <= bytes.len() / (250 << 10) + 1, "{windows} windows");
        }
        // A header at each place around the end of a window.
        for less in 0..140 {
            let (bytes, next) = segment(&[WINDOW_BYTES as usize - less, 5000, 10]);
            assert_eq!(scrub(&bytes, bytes.len(), next), (2, None), "{less}");
        }
    }

    #[test]
    fn every_flipped_bit_is_found_in_its_window_but_for_those_of_the_leader_epoch() {
        let (mut bytes, next) = segment(&SIZES);
        let size = bytes.len();
        let starts: Vec<_> = batch::iter(&bytes)
            .scan(0, |at, (_, batch)| Some(std::mem::replace(at, *at + batch.len())))
            .collect();
        let headers = starts.iter().flat_map(|start| (0..70).map(move |byte| start + byte));
        for at in headers.chain((0..size).step_by(10_007)).filter(|at| *at < size) {
            let start = *starts.iter().rfind(|start| **start <= at).unwrap();
            let bit = 1 << (at % 8);
            bytes[at] ^= bit;
            let (_, bad) = scrub(&bytes, size, next);
            bytes[at] ^= bit;
            let unchecked = (12..16).contains(&(at - start));
            assert_eq!(bad.is_none(), unchecked, "byte {at}, {} of its batch", at - start);
        }
    }

    #[test]
    fn a_segment_that_is_short_or_ends_too_early_is_not_good() {
        let (bytes, next) = segment(&SIZES);
        for cut in [1, 60, 62, 4096, 300_000] {
            assert!(scrub(&bytes[..bytes.len() - cut], bytes.len(), next).1.is_some(), "{cut}");
        }
        assert!(scrub(&bytes, bytes.len(), Offset(next.0 + 1)).1.is_some());
        let (shorter, _) = segment(&SIZES[..8]);
        assert!(scrub(&shorter, shorter.len(), next).1.is_some());
    }
}
