//! Produce requests with batches that have to be opened, which takes too long for a turn; and the
//! opener's time, which the batches of lookups (`storage::lookups`) have by turns with them.
//!
//! Flow: `api::produce` finds such a batch, opens it at once if it is cheap, and else puts the whole
//! request here, before any of it is appended -> the turn hands one [`Opening`] at a time to the opener
//! (`runtime::servant`) -> it comes back as an event of a later turn -> `api::produce` serves the request
//! from its start, with what came of opening its batches. Meanwhile the connection is not served, as in
//! Kafka, so what a client sends stays in order.
//!
//! Invariants:
//! - O1. One job of the opener is out at a time; a connection has one opening at most, out or waiting. So
//!   their memory is that of the requests, which is counted, and once what opening takes.
//! - O2. A connection that is gone takes its waiting opening with it.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::base::WallMs;
use crate::partition::append::Rules;
use crate::partition::open::{Opened, open, open_small};
use crate::runtime::disk::ServantJob;
use crate::runtime::network::ConnectionId;
use crate::shard::Call;
use crate::storage::{Lookup, LookupDone, Store};
use crate::wire::batch::BatchHeader;

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

impl Opening {
    fn size_bytes(&self) -> usize {
        let anew = |b: &ToOpen| match &b.opened {
            Some(Ok(Some(bytes))) => bytes.len(),
            _ => 0,
        };
        self.body.len() + self.batches.iter().map(anew).sum::<usize>()
    }
}

/// What the opener does.
#[derive(Debug)]
pub enum OpenerJob {
    /// Opens the batches of a produce request.
    Produce(Opening),
    /// Looks for records by time.
    Find(Lookup),
}

/// What came of it.
#[derive(Debug)]
pub enum OpenerDone {
    /// Its batches are opened.
    Produce(Opening),
    /// What was found.
    Find(LookupDone),
}

impl ServantJob for OpenerJob {
    type Done = OpenerDone;

    fn run(self) -> OpenerDone {
        match self {
            Self::Produce(mut opening) => {
                for batch in opening.batches.iter_mut().filter(|b| b.opened.is_none()) {
                    let bytes = &opening.body[batch.range.clone()];
                    batch.opened = Some(open(&batch.header, bytes, &batch.rules, batch.wall));
                }
                OpenerDone::Produce(opening)
            }
            Self::Find(lookup) => OpenerDone::Find(lookup.run()),
        }
    }
}

/// The openings of one node.
#[derive(Debug)]
pub struct Openings {
    /// Plain bytes that each turn opens itself.
    pub room_per_turn: usize,
    room: usize,
    waiting: VecDeque<Opening>,
    /// Memory of the job that is out.
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
    pub fn push(&mut self, opening: Opening) {
        self.waiting_bytes += opening.size_bytes();
        self.waiting.push_back(opening);
    }

    /// The next job for the opener, if it is idle. O1.
    pub fn next_job(&mut self, store: &mut Store) -> Option<OpenerJob> {
        if self.out.is_some() {
            return None;
        }
        self.looks = !self.looks;
        let lookup = |store: &mut Store| store.next_lookup().map(OpenerJob::Find);
        let first = if self.looks { lookup(store) } else { None };
        let job = first.or_else(|| self.next_opening(store)).or_else(|| lookup(store))?;
        self.out = Some(match &job {
            OpenerJob::Produce(opening) => opening.size_bytes(),
            OpenerJob::Find(lookup) => lookup.size_bytes(),
        });
        Some(job)
    }

    fn next_opening(&mut self, store: &Store) -> Option<OpenerJob> {
        // What is opened while nothing can be appended would pile up.
        let opening = if store.is_full() { None } else { self.waiting.pop_front() }?;
        self.waiting_bytes -= opening.size_bytes();
        Some(OpenerJob::Produce(opening))
    }

    /// The one that was out is back.
    pub fn ended(&mut self) {
        self.out = None;
    }

    /// O2.
    pub fn drop_connection(&mut self, connection: ConnectionId) {
        let is_its = |o: &Opening| o.call.slot.connection == connection.0;
        if let Some(at) = self.waiting.iter().position(is_its) {
            let gone = self.waiting.remove(at);
            self.waiting_bytes -= gone.map_or(0, |o| o.size_bytes());
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
    use crate::shard::{ShardIndex, Slot};
    use crate::sim::disk::SimDisk;
    use crate::storage::StoreConfig;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    fn opening(connection: u64, bytes: usize) -> Opening {
        let slot = Slot { shard: ShardIndex(0), connection, sequence: 0 };
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let client_id = "".into();
        let call = Call { slot, api_key: 0, version: 9, correlation_id: 0, client_id, peer };
        Opening { call, body: Bytes::from(vec![0; bytes]), batches: Vec::new() }
    }

    /// The next one, when all are of produce requests.
    fn next(openings: &mut Openings, store: &mut Store) -> Option<Opening> {
        openings.next_job(store).map(|job| match job {
            OpenerJob::Produce(opening) => opening,
            OpenerJob::Find(_) => panic!("nobody asked"),
        })
    }

    #[test]
    fn one_is_out_at_a_time_and_those_of_closed_connections_are_gone() {
        let (mut openings, disk) = (Openings::default(), Arc::new(SimDisk::new(1)));
        let mut store = Store::open(disk, StoreConfig::new("/data".into()), 1, WallMs(0)).unwrap();
        for (connection, bytes) in [(1, 10), (2, 200), (3, 3000)] {
            openings.push(opening(connection, bytes));
        }
        let first = next(&mut openings, &mut store).unwrap();
        assert_eq!((first.call.slot.connection, openings.size_bytes()), (1, 3210));
        assert!(next(&mut openings, &mut store).is_none());
        openings.drop_connection(ConnectionId(1));
        openings.drop_connection(ConnectionId(2));
        assert_eq!(openings.size_bytes(), 3010, "what is out is counted until it is back");
        openings.ended();
        assert_eq!(next(&mut openings, &mut store).unwrap().call.slot.connection, 3);
        openings.ended();
        assert!(next(&mut openings, &mut store).is_none());
        assert_eq!(openings.size_bytes(), 0);
    }
}
