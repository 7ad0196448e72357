//! Requests that the shard answers later: appends until they are safe, fetches until there is
//! something to read.
//!
//! The shard knows when to ask again, the handler's type ([`ParkedAck`], [`ParkedFetch`]) what to
//! answer. A fetch is asked again once per turn at most, after all appends of the turn, so that one
//! answer carries them all. One that names very many partitions is looked at in slices: one slice of
//! one such fetch in a turn that has room for one.

use std::collections::VecDeque;

use crate::base::{DetMap, Moment};
use crate::purgatory::deadlines::Deadlines;
use crate::runtime::network::ConnectionId;
use crate::shard::{Shard, Slot};
use crate::wire::frame::Answer;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitEnd {
    /// What was waited for is safe.
    Safe,
    /// Safe, but fewer replicas than `min.insync.replicas` have it.
    TooFewInSync,
    /// The log failed, or is gone: nothing can be said of it.
    Failed,
}

/// A request that waits for its appends.
pub trait ParkedAck {
    /// The wait with this index is over.
    fn ended(&mut self, index: u32, end: WaitEnd);
    /// All waits are over, or the deadline has come before.
    fn finish(self: Box<Self>) -> (Slot, Answer);
}

/// A fetch that found too little.
pub trait ParkedFetch {
    /// Where its answer goes.
    fn slot(&self) -> Slot;
    /// When it is answered with what there is.
    fn deadline(&self) -> Moment;
    /// Memory that it takes, by estimate.
    fn size_bytes(&self) -> usize;
    /// Looks again; `None` when it goes on waiting, perhaps to a new deadline.
    fn look(&mut self, shard: &mut Shard, expired: bool) -> Option<Answer>;
    /// Whether the next look is a slice of a long one, for which it waits for its turn.
    fn in_slices(&self) -> bool {
        false
    }
    /// Something that it wants has moved between two slices.
    fn moved(&mut self) {}
}

/// Parked fetches; a connection has one at most.
#[derive(Default)]
pub struct Fetches {
    parked: DetMap<ConnectionId, Box<dyn ParkedFetch>>,
    deadlines: Deadlines<ConnectionId>,
    bytes: usize,
    /// To be asked again in this turn.
    woken: Vec<ConnectionId>,
    /// In the middle of a long look, in the order of their slices.
    in_slices: VecDeque<ConnectionId>,
    /// The one whose slice is due in this turn.
    slice: Option<ConnectionId>,
}

impl Fetches {
    /// Parks a fetch. It is looked at first when this turn ends.
    pub fn park(&mut self, fetch: Box<dyn ParkedFetch>) {
        let connection = ConnectionId(fetch.slot().connection);
        self.deadlines.insert(fetch.deadline(), connection);
        self.bytes += fetch.size_bytes();
        if fetch.in_slices() {
            self.in_slices.push_back(connection);
        } else {
            self.woken.push(connection);
        }
        self.parked.insert(connection, fetch);
    }

    /// A turn with a slice begins.
    pub fn begin_slice(&mut self) {
        self.slice = self.in_slices.pop_front();
    }

    /// Asks the fetch of this connection again.
    pub fn wake(&mut self, connection: ConnectionId) {
        self.woken.push(connection);
    }

    /// The connection is gone.
    pub fn drop_connection(&mut self, connection: ConnectionId) {
        if let Some(fetch) = self.parked.remove(&connection) {
            self.bytes -= fetch.size_bytes();
            self.deadlines.remove(fetch.deadline(), connection);
        }
    }

    /// Memory that all of them take.
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// Number of parked fetches.
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether none is parked.
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// When the next one must be answered.
    pub fn next_deadline(&self) -> Moment {
        self.deadlines.next()
    }

    /// Whether some wait to be asked in this turn.
    pub fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// Whether some are in the middle of a long look.
    pub fn has_slices(&self) -> bool {
        !self.in_slices.is_empty() || self.slice.is_some()
    }
}

impl Shard {
    /// Answers the fetches that can be answered now.
    pub fn answer_fetches(&mut self) {
        let mut woken = std::mem::take(&mut self.fetches.woken);
        while let Some(connection) = self.fetches.deadlines.pop_due(self.now) {
            woken.push(connection);
        }
        woken.sort_unstable();
        woken.dedup();
        for connection in woken.drain(..) {
            let Some(mut fetch) = self.fetches.parked.remove(&connection) else { continue };
            if fetch.in_slices() {
                fetch.moved();
                self.fetches.parked.insert(connection, fetch);
            } else {
                self.look(connection, fetch);
            }
        }
        if let Some(connection) = self.fetches.slice.take()
            && let Some(fetch) = self.fetches.parked.remove(&connection)
        {
            self.look(connection, fetch);
        }
        woken.append(&mut self.fetches.woken);
        self.fetches.woken = woken;
    }

    fn look(&mut self, connection: ConnectionId, mut fetch: Box<dyn ParkedFetch>) {
        let (slot, deadline, bytes) = (fetch.slot(), fetch.deadline(), fetch.size_bytes());
        if let Some(answer) = fetch.look(self, deadline <= self.now) {
            self.fetches.deadlines.remove(deadline, connection);
            self.fetches.bytes -= bytes;
            return self.send(slot, answer);
        }
        if fetch.deadline() != deadline {
            self.fetches.deadlines.remove(deadline, connection);
            self.fetches.deadlines.insert(fetch.deadline(), connection);
        }
        self.fetches.bytes = self.fetches.bytes + fetch.size_bytes() - bytes;
        if fetch.in_slices() {
            self.fetches.in_slices.push_back(connection);
        }
        self.fetches.parked.insert(connection, fetch);
    }
}
