//! Requests that the opener works on, which takes too long for a turn: produce requests with batches
//! that have to be opened, large requests that are cut into pieces (`shard::pieces`), and those whose
//! answer is long and tells of nothing but an image; and the opener's time, which the batches of lookups (`storage::lookups`) have by turns with them.
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
use crate::partition::append::Rules;
use crate::partition::open::{Opened, open, open_small};
use crate::runtime::disk::ServantJob;
use crate::runtime::network::ConnectionId;
use crate::shard::pieces::{Cut, Joined, Pieces, Whole};
use crate::shard::{Call, Slot};
use crate::storage::{Lookup, LookupDone, Store};
use crate::wire::batch::BatchHeader;
use crate::wire::frame::Answer;

/// Plain bytes of the batches that one turn opens itself: a fraction of a millisecond.
const ROOM_PER_TURN: usize = 16 << 10;

/// A produce request whose batches are being opened.
#[derive(Debug)]
pub struct Opening {
    /// The request's header.
    pub call: Call,
    /// The rest of it.
    pub body: Bytes,
    /// The batches to open, in the request's order.
    pub batches: Vec<ToOpen>,
}

/// One batch, with right size and checksum.
#[derive(Debug)]
pub struct ToOpen {
    /// Which of the request's partitions it is for.
    pub at: usize,
    /// Where it lies in the body.
    pub range: Range<usize>,
    /// Its header.
    pub header: BatchHeader,
    /// What its topic asks.
    pub rules: Rules,
    /// The time that it is checked against.
    pub wall: WallMs,
    /// What came of it, once it is opened.
    pub opened: Option<Opened>,
}

/// An answer that takes long to make, from what does not change meanwhile.
pub struct LongAnswer {
    /// The request's header.
    pub call: Call,
    /// Makes it.
    pub make: Box<dyn FnOnce(&Call) -> Answer + Send>,
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
    /// Give back something that consists of very many parts.
    Drop(Box<dyn Any + Send>),
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
    /// It is given back.
    Dropped,
}

impl Chore {
    fn connection(&self) -> Option<u64> {
        match self {
            Self::Open(opening) => Some(opening.call.slot.connection),
            Self::Cut(whole) => Some(whole.call.slot.connection),
            Self::Join(pieces) => Some(pieces.call.slot.connection),
            Self::Answer(long) => Some(long.call.slot.connection),
            Self::Find(_) | Self::Drop(_) => None,
        }
    }

    fn size_bytes(&self) -> usize {
        match self {
            Self::Open(opening) => opening.size_bytes(),
            Self::Find(lookup) => lookup.size_bytes(),
            Self::Cut(whole) => whole.frame.len(),
            Self::Join(pieces) => pieces.size_bytes(),
            Self::Answer(_) | Self::Drop(_) => 0,
        }
    }
}

impl Ended {
    /// The request that it belongs to.
    pub fn slot(&self) -> Option<Slot> {
        match self {
            Self::Opened(opening) => Some(opening.call.slot),
            Self::Cut(cut) => Some(cut.call.slot),
            Self::Joined(joined) => Some(joined.call.slot),
            Self::Found(_) | Self::Dropped => None,
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
            Self::Answer(LongAnswer { call, make }) => {
                let answer = make(&call);
                Ended::Joined(Joined { call, answer })
            }
            Self::Drop(parts) => {
                drop(parts);
                Ended::Dropped
            }
        }
    }
}

impl Opening {
    fn size_bytes(&self) -> usize {
        let anew = |b: &ToOpen| match &b.opened {
            Some(Ok(Some(bytes))) => bytes.len(),
            _ => 0,
        };
        self.body.len() + self.batches.iter().map(anew).sum::<usize>()
    }

    fn run(mut self) -> Self {
        for batch in self.batches.iter_mut().filter(|b| b.opened.is_none()) {
            let bytes = &self.body[batch.range.clone()];
            batch.opened = Some(open(&batch.header, bytes, &batch.rules, batch.wall));
        }
        self
    }
}

/// The chores of one node.
#[derive(Debug)]
pub struct Openings {
    /// Plain bytes that each turn opens itself.
    pub room_per_turn: usize,
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
        let (room_per_turn, waiting) = (ROOM_PER_TURN, VecDeque::new());
        Self { room_per_turn, room: 0, waiting, out: None, looks: false, waiting_bytes: 0 }
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
        Some(chore)
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
        Chore::Open(Opening { call, body: Bytes::from(vec![0; bytes]), batches: Vec::new() })
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
