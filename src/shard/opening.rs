//! Requests that the opener works on, which takes too long for a turn: produce requests with batches
//! that have to be opened, large requests that are cut into pieces (`shard::pieces`), those whose answer
//! is long and tells of nothing but an image, and large changes of the metadata (`shard::metadata`); and the opener's time, which the batches of
//! lookups (`storage::lookups`) have by turns with them.
//!
//! Flow: `api::produce` finds such a batch, opens it at once if it is cheap, and else puts the whole
//! request here, before any of it is appended -> the turn hands one [`Chore`] at a time to the opener
//! (`runtime::servant`) -> it comes back as an event of a later turn -> `api::produce` serves the request
//! from its start, with what came of opening its batches. Meanwhile the connection is not served, as in
//! Kafka, so what a client sends stays in order.
//!
//! Invariants:
//! - O1. One chore is out at a time; a connection has one at most, out or waiting. So their memory is
//!   that of the requests, which is counted, and once what a chore takes.
//! - O2. A connection that is gone takes its waiting chore with it.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::base::WallMs;
use crate::config::ServerConfig;
use crate::partition::append::{Refusal, Rules, check, check_sum};
use crate::partition::open::{Opened, must_open, open, open_small};
use crate::runtime::disk::ServantJob;
use crate::runtime::network::ConnectionId;
use crate::shard::metadata::LongChange;
use crate::shard::pieces::{Cut, Joined, Pieces, Whole};
use crate::shard::{Call, Slot};
use crate::storage::{Laid, LogId, Lookup, LookupDone, Store};
use crate::wire::batch::BatchHeader;
use crate::wire::frame::{Answer, FrameError};

/// Plain bytes of the batches that one turn opens itself: a fraction of a millisecond.
const ROOM_PER_TURN: usize = 16 << 10;

/// A batch below this is copied in no time, and would waste most of a chunk of its own.
const LAID_BYTES_MIN: usize = 16 << 10;

/// A produce request whose batches are being opened.
#[derive(Debug)]
pub struct Opening {
    /// The request's header.
    pub call: Call,
    /// The rest of it.
    pub body: Bytes,
    /// The batches to open, in the request's order.
    pub batches: Vec<ToOpen>,
    /// Memory that opening one may take besides; see [`memory_share`].
    pub memory_bytes: usize,
    /// From this size on a batch is laid out for its log.
    pub laid_bytes_min: usize,
}

/// Of a node's memory beside its cache, what opening a batch may take besides the request and what becomes
/// of it. It is set aside, since how much a batch takes shows only when it is opened; one is opened at a
/// time.
pub fn memory_share(config: &ServerConfig) -> usize {
    (config.memory_bytes.saturating_sub(config.cache_bytes) / 4) as usize
}

/// One batch of right size.
#[derive(Debug)]
pub struct ToOpen {
    /// Which of the request's partitions it is for.
    pub at: usize,
    /// The log of that.
    pub log: LogId,
    /// Where it lies in the body.
    pub range: Range<usize>,
    /// Its header.
    pub header: BatchHeader,
    /// What its topic asks.
    pub rules: Rules,
    /// The time that it is checked against.
    pub wall: WallMs,
    /// Its checksum was not looked at.
    pub unsummed: bool,
    /// Where in a chunk of the log it would lie, once it is handed to the opener.
    pub lie: usize,
    /// What came of it, once it is opened, or found to be good without that.
    pub made: Option<Result<Made, Refusal>>,
}

/// What a batch became that may be appended.
#[derive(Debug)]
pub enum Made {
    /// What came of opening it, for the turn to go on with.
    Opened(Option<Bytes>),
    /// The batch as it is to be appended, checked, in its place.
    Laid(Box<Laid>),
}

type Make = Box<dyn FnOnce(&Call) -> Result<Answer, FrameError> + Send>;

/// An answer that takes long to make, from what does not change meanwhile.
pub struct LongAnswer {
    /// The request's header.
    pub call: Call,
    /// Makes it, unless the request cannot be read.
    pub make: Make,
}

impl fmt::Debug for LongAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongAnswer").field("call", &self.call).finish_non_exhaustive()
    }
}

/// Work for the opener.
#[derive(Debug)]
pub enum Chore {
    /// Open the batches of a produce request.
    Open(Opening),
    /// Look for records by time.
    Find(Lookup),
    /// Cut a large request.
    Cut(Whole),
    /// Join the answers to its pieces.
    Join(Pieces),
    /// Make a long answer.
    Answer(LongAnswer),
    /// Decide on a large change of the metadata.
    Change(LongChange),
    /// Give back what takes long to give back, and its size.
    Drop(Box<dyn Any + Send>, usize),
}

/// What comes back from the opener.
#[derive(Debug)]
pub enum Ended {
    /// A produce request whose batches are opened.
    Opened(Opening),
    /// What was found.
    Found(LookupDone),
    /// A request in pieces.
    Cut(Cut),
    /// The answer to one, or a long one.
    Joined(Joined),
    /// What was decided.
    Changed(LongChange),
    /// It is given back.
    Dropped,
}

impl Chore {
    /// To give back `what`, of `bytes` as far as they are counted.
    pub fn drop(bytes: usize, what: impl Any + Send) -> Self {
        Self::Drop(Box::new(what), bytes)
    }

    fn connection(&self) -> Option<u64> {
        match self {
            Self::Open(opening) => Some(opening.call.slot.connection),
            Self::Cut(whole) => Some(whole.call.slot.connection),
            Self::Join(pieces) => Some(pieces.call.slot.connection),
            Self::Answer(long) => Some(long.call.slot.connection),
            // It may come from another node, and is carried out in any case.
            Self::Change(_) | Self::Find(_) | Self::Drop(..) => None,
        }
    }

    fn size_bytes(&self) -> usize {
        match self {
            Self::Open(opening) => opening.size_bytes(),
            Self::Find(lookup) => lookup.size_bytes(),
            Self::Cut(whole) => whole.frame.len(),
            Self::Join(pieces) => pieces.size_bytes(),
            Self::Answer(_) | Self::Change(_) => 0,
            Self::Drop(_, bytes) => *bytes,
        }
    }
}

impl Chore {
    /// Says where batches would lie in their logs now.
    fn lie_in(mut self, store: &Store) -> Self {
        if let Self::Open(opening) = &mut self {
            for batch in &mut opening.batches {
                batch.lie = store.lie_of(batch.log, &batch.header);
            }
        }
        self
    }
}

impl Ended {
    /// The request that it belongs to.
    pub fn slot(&self) -> Option<Slot> {
        match self {
            Self::Opened(opening) => Some(opening.call.slot),
            Self::Cut(cut) => Some(cut.call.slot),
            Self::Joined(joined) => Some(joined.call.slot),
            Self::Found(_) | Self::Changed(_) | Self::Dropped => None,
        }
    }
}

impl ServantJob for Chore {
    type Done = Ended;

    fn run(self) -> Ended {
        match self {
            Self::Open(opening) => Ended::Opened(opening.run()),
            Self::Find(lookup) => Ended::Found(lookup.run()),
            Self::Cut(whole) => Ended::Cut(whole.cut()),
            Self::Join(pieces) => Ended::Joined(pieces.join()),
            Self::Answer(LongAnswer { call, make }) => match make(&call) {
                Ok(answer) => Ended::Joined(Joined { call, answer }),
                Err(e) => Ended::Cut(Cut { call, pieces: Err(e) }),
            },
            Self::Change(change) => Ended::Changed(change.run()),
            Self::Drop(parts, _) => {
                drop(parts);
                Ended::Dropped
            }
        }
    }
}

impl Opening {
    fn size_bytes(&self) -> usize {
        self.body.len() + self.batches.iter().map(ToOpen::size_bytes).sum::<usize>()
    }

    fn run(mut self) -> Self {
        for batch in self.batches.iter_mut().filter(|b| b.made.is_none()) {
            let bytes = &self.body[batch.range.clone()];
            batch.made = Some(batch.make(bytes, self.memory_bytes, self.laid_bytes_min));
        }
        self
    }
}

impl ToOpen {
    /// Memory of what becomes of it, which is mostly not more than it has itself.
    fn size_bytes(&self) -> usize {
        match &self.made {
            None => self.range.len(),
            Some(Ok(Made::Laid(laid))) => laid.size_bytes(),
            Some(Ok(Made::Opened(Some(bytes)))) => bytes.len(),
            _ => 0,
        }
    }

    fn make(
        &self,
        bytes: &[u8],
        memory_bytes: usize,
        laid_bytes_min: usize,
    ) -> Result<Made, Refusal> {
        let (header, rules, wall) = (&self.header, &self.rules, self.wall);
        if self.unsummed {
            check_sum(header, bytes, rules)?;
        }
        let wanted = must_open(header, rules, wall);
        let opened = if wanted { open(header, bytes, rules, wall, memory_bytes)? } else { None };
        let size = opened.as_ref().map_or(bytes.len(), Bytes::len);
        if size < laid_bytes_min {
            return Ok(Made::Opened(opened));
        }
        let checked = check(*header, bytes, rules, wall, Some(Ok(opened)))?;
        let append_time = rules.append_time.then_some(wall);
        let laid = Laid::new(checked.batch.as_ref(), self.lie, append_time);
        Ok(Made::Laid(Box::new(laid.map_err(Refusal::Corrupt)?)))
    }
}

/// The chores of one node.
#[derive(Debug)]
pub struct Openings {
    /// Plain bytes that each turn opens itself.
    pub room_per_turn: usize,
    /// Batches from this size on are laid out for their logs.
    pub laid_bytes_min: usize,
    room: usize,
    waiting: VecDeque<Chore>,
    /// Memory of the one that is out.
    out: Option<usize>,
    /// A lookup is next, when there is one.
    looks: bool,
    waiting_bytes: usize,
}

impl Default for Openings {
    fn default() -> Self {
        Self {
            room_per_turn: ROOM_PER_TURN,
            laid_bytes_min: LAID_BYTES_MIN,
            room: 0,
            waiting: VecDeque::new(),
            out: None,
            looks: false,
            waiting_bytes: 0,
        }
    }
}

impl Openings {
    /// A turn begins.
    pub fn begin_turn(&mut self) {
        self.room = self.room_per_turn;
    }

    /// Opens a batch now if that is cheap, and this turn has not opened many.
    pub fn open_now(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        rules: &Rules,
        wall: WallMs,
    ) -> Option<Opened> {
        open_small(header, batch, rules, wall, &mut self.room)
    }

    /// A request waits for the opener.
    pub fn push(&mut self, chore: Chore) {
        self.waiting_bytes += chore.size_bytes();
        self.waiting.push_back(chore);
    }

    /// The next one for the opener, if it is idle. O1.
    pub fn next_job(&mut self, store: &mut Store) -> Option<Chore> {
        if self.out.is_some() {
            return None;
        }
        let gone = store.gone();
        if !gone.is_empty() {
            let bytes = gone.iter().map(|buf| buf.len()).sum();
            self.out = Some(bytes);
            return Some(Chore::drop(bytes, gone));
        }
        self.looks = !self.looks;
        let lookup = |store: &mut Store| store.next_lookup().map(Chore::Find);
        let first = if self.looks { lookup(store) } else { None };
        let chore = first.or_else(|| self.next_waiting(store)).or_else(|| lookup(store))?;
        self.out = Some(chore.size_bytes());
        Some(chore)
    }

    fn next_waiting(&mut self, store: &Store) -> Option<Chore> {
        // What is opened while nothing can be appended would pile up.
        let chore = if store.is_full() { None } else { self.waiting.pop_front() }?;
        self.waiting_bytes -= chore.size_bytes();
        Some(chore.lie_in(store))
    }

    /// The one that was out is back.
    pub fn ended(&mut self) {
        self.out = None;
    }

    /// O2.
    pub fn drop_connection(&mut self, connection: ConnectionId) {
        let is_its = |chore: &Chore| chore.connection() == Some(connection.0);
        if let Some(at) = self.waiting.iter().position(is_its) {
            let gone = self.waiting.remove(at);
            self.waiting_bytes -= gone.map_or(0, |chore| chore.size_bytes());
        }
    }

    /// Takes the first change of the metadata, whatever else waits.
    #[cfg(test)]
    pub fn next_change(&mut self) -> Option<LongChange> {
        let at = self.waiting.iter().position(|chore| matches!(chore, Chore::Change(_)))?;
        match self.waiting.remove(at) {
            Some(Chore::Change(change)) => Some(change),
            _ => None,
        }
    }

    /// Memory of all of them.
    pub fn size_bytes(&self) -> usize {
        self.waiting_bytes + self.out.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::ShardIndex;
    use crate::sim::disk::SimDisk;
    use crate::storage::StoreConfig;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    fn opening(connection: u64, bytes: usize) -> Chore {
        let slot = Slot { shard: ShardIndex(0), connection, sequence: 0 };
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let client_id = "".into();
        let call = Call { slot, api_key: 0, version: 9, correlation_id: 0, client_id, peer };
        let body = Bytes::from(vec![0; bytes]);
        Chore::Open(Opening { call, body, batches: Vec::new(), memory_bytes: 0, laid_bytes_min: 0 })
    }

    #[test]
    fn one_is_out_at_a_time_and_those_of_closed_connections_are_gone() {
        let (mut openings, disk) = (Openings::default(), Arc::new(SimDisk::new(1)));
        let mut store = Store::open(disk, StoreConfig::new("/data".into()), 1, WallMs(0)).unwrap();
        for (connection, bytes) in [(1, 10), (2, 200), (3, 3000)] {
            openings.push(opening(connection, bytes));
        }
        let first = openings.next_job(&mut store).unwrap();
        assert_eq!((first.connection(), openings.size_bytes()), (Some(1), 3210));
        assert!(openings.next_job(&mut store).is_none());
        openings.drop_connection(ConnectionId(1));
        openings.drop_connection(ConnectionId(2));
        assert_eq!(openings.size_bytes(), 3010, "what is out is counted until it is back");
        openings.ended();
        assert_eq!(openings.next_job(&mut store).unwrap().connection(), Some(3));
        openings.ended();
        assert!(openings.next_job(&mut store).is_none());
        assert_eq!(openings.size_bytes(), 0);
    }
}
