//! The network as the turn sees it: events in, bytes out, nothing that waits but `wait`.
//!
//! [`Front`](super::front::Front) is the real one; the simulator brings its own.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};

/// A connection, by a number that is never used again in the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happened on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetEvent {
    /// A client connected. Nothing is received until [`Network::receive`].
    Accepted(ConnectionId, SocketAddr),
    /// More bytes are in [`Network::received`]. Nothing more is received until
    /// [`Network::receive`].
    Received(ConnectionId),
    /// A socket that was full takes bytes again.
    Writable(ConnectionId),
    /// The client is gone; the id means nothing any more.
    Closed(ConnectionId),
}

/// How a send went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// All of it.
    All,
    /// The socket is full: [`NetEvent::Writable`] will come.
    Blocked,
    /// The client is gone.
    Gone,
}

/// Sockets. Calls for an id that is closed do nothing.
pub trait Network {
    /// Waits until something happens or `timeout` is over (`None` waits without end), and appends
    /// what happened.
    ///
    /// # Errors
    /// The driver cannot go on; the node stops.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<NetEvent>) -> io::Result<()>;
    /// What was received and not consumed.
    fn received(&self, id: ConnectionId) -> &[u8];
    /// Takes `bytes` off the front of what was received.
    fn consume(&mut self, id: ConnectionId, bytes: usize);
    /// Receives more. `frame_bytes` is the size of the frame that has begun, 0 when unknown.
    fn receive(&mut self, id: ConnectionId, frame_bytes: usize);
    /// Size of the buffer in which the connection's bytes arrive, and how much [`Self::receive`] with
    /// this `frame_bytes` would add to it.
    fn buffer(&self, id: ConnectionId, frame_bytes: usize) -> (usize, usize);
    /// Sends as much of `out` as the socket takes, and removes it from `out`.
    fn send(&mut self, id: ConnectionId, out: &mut Outgoing) -> Sent;
    /// Ends a connection; no event comes for it any more.
    fn close(&mut self, id: ConnectionId);
}

/// Bytes on their way out, as parts that are sent from where they lie.
#[derive(Debug, Default)]
pub struct Outgoing {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Outgoing {
    /// Appends a part.
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.bytes += part.len();
            self.parts.push_back(part);
        }
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Fills `slices` with the first parts; returns how many there are.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.parts.iter().zip(slices.iter_mut());
        parts.map(|(part, slice)| *slice = IoSlice::new(part)).count()
    }

    /// The first `bytes` were sent.
    pub fn advance(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while let Some(part) = self.parts.front_mut() {
            if bytes < part.len() {
                part.advance(bytes);
                return;
            }
            bytes -= part.len();
            self.parts.pop_front();
        }
    }
}

/// Where a connection's bytes arrive. It grows with what has arrived, never with what a size field
/// promises, and gives back the room of a large frame when no other one follows.
#[derive(Debug)]
pub struct RecvBuf {
    buf: Box<[u8]>,
    start: usize,
    end: usize,
    /// Times in a row that it was emptied with little in it.
    small: u32,
}

/// Room of an idle connection, in bytes.
const ROOM_MIN: usize = 8 << 10;
/// Room that is kept without a reason.
const ROOM_KEPT: usize = 64 << 10;
/// Least room that a receive is made with.
const ROOM_FREE: usize = 2 << 10;
const SMALL_BEFORE_SHRINK: u32 = 64;

impl Default for RecvBuf {
    fn default() -> Self {
        Self { buf: vec![0; ROOM_MIN].into(), start: 0, end: 0, small: 0 }
    }
}

impl RecvBuf {
    /// Bytes that arrived and were not consumed.
    pub fn bytes(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }

    /// Takes bytes off the front.
    pub fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Size in memory, and how much [`Self::room`] would add to it.
    pub fn size_and_growth(&self, frame_bytes: usize) -> (usize, usize) {
        let wanted = Self::wanted(self.end - self.start, frame_bytes);
        let growth = wanted.next_power_of_two().saturating_sub(self.buf.len());
        (self.buf.len(), if self.buf.len() < wanted { growth } else { 0 })
    }

    fn wanted(held: usize, frame_bytes: usize) -> usize {
        frame_bytes.clamp(held + ROOM_FREE, (2 * held).max(ROOM_MIN))
    }

    /// Room for more. `frame_bytes` is the size of the frame that has begun, 0 when unknown.
    pub fn room(&mut self, frame_bytes: usize) -> &mut [u8] {
        let held = self.end - self.start;
        if held == 0 {
            self.shrink();
        }
        let wanted = Self::wanted(held, frame_bytes);
        if self.buf.len() < wanted {
            let mut larger = vec![0; wanted.next_power_of_two()].into_boxed_slice();
            larger[..held].copy_from_slice(&self.buf[self.start..self.end]);
            (self.buf, self.start, self.end) = (larger, 0, held);
        } else if held == 0 || self.start + wanted > self.buf.len() {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
        }
        &mut self.buf[self.end..]
    }

    /// `bytes` were written to the front of the room.
    pub fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buf.len());
    }

    fn shrink(&mut self) {
        let used = self.end;
        (self.start, self.end) = (0, 0);
        self.small = if used * 4 < self.buf.len() { self.small + 1 } else { 0 };
        if self.buf.len() > ROOM_KEPT && self.small > SMALL_BEFORE_SHRINK {
            self.buf = vec![0; ROOM_KEPT].into();
            self.small = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_with_what_arrived_and_not_with_what_was_promised() {
        let mut inbox = RecvBuf::default();
        assert_eq!(inbox.room(90 << 20).len(), ROOM_MIN, "a promise is no reason");
        let mut arrived = 0;
        while arrived < 1 << 20 {
            let room = inbox.room(90 << 20).len();
            assert!(arrived + room <= (2 * arrived).max(ROOM_MIN).next_power_of_two());
            inbox.filled(room);
            arrived += room;
        }
        assert_eq!(inbox.bytes().len(), arrived);
        inbox.consume(arrived);
        for _ in 0..=SMALL_BEFORE_SHRINK {
            inbox.room(0);
            inbox.filled(10);
            inbox.consume(10);
        }
        assert_eq!(inbox.room(0).len(), ROOM_KEPT, "the room of a large frame is given back");
    }

    #[test]
    fn bytes_stay_in_order_through_moves() {
        let mut inbox = RecvBuf::default();
        let (mut sent, mut got) = (0_u32, 0_u32);
        for round in 0..5_000 {
            let room = inbox.room(if round % 7 == 0 { 20_000 } else { 0 });
            let n = room.len().min(4 * (round % 700 + 1));
            for word in room[..n / 4 * 4].chunks_exact_mut(4) {
                word.copy_from_slice(&sent.to_be_bytes());
                sent += 1;
            }
            inbox.filled(n / 4 * 4);
            let take = inbox.bytes().len() / 8 * 4;
            for word in inbox.bytes()[..take].chunks_exact(4) {
                assert_eq!(word, got.to_be_bytes());
                got += 1;
            }
            inbox.consume(take);
        }
    }

    #[test]
    fn what_was_sent_leaves_and_the_rest_stays() {
        let mut out = Outgoing::default();
        for part in ["abc", "", "de", "f"] {
            out.push(Bytes::from(part));
        }
        out.advance(4);
        let mut slices = [IoSlice::new(&[]); 8];
        let n = out.slices(&mut slices);
        let rest: Vec<u8> = slices[..n].iter().flat_map(|s| s.to_vec()).collect();
        assert_eq!((rest, out.len()), (b"ef".to_vec(), 2));
        out.advance(2);
        assert!(out.is_empty());
    }
}
