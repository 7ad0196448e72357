//! The network as the turn sees it: events in, bytes out, nothing that waits but `wait`.
//!
//! [`Front`](super::front::Front) is the real one; the simulator brings its own.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::base::{AlignedBuf, BLOCK_BYTES};

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
    /// As much as one turn sends: the rest goes in the next one.
    Part,
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
    /// Takes what was received together with its buffer, without a copy, if that is the one large frame
    /// of `frame_bytes` and nothing else (see [`LARGE_FRAME`]).
    fn take_frame(&mut self, id: ConnectionId, frame_bytes: usize) -> Option<AlignedBuf>;
    /// Receives more. `frame_bytes` is the size of the frame that has begun, 0 when unknown.
    fn receive(&mut self, id: ConnectionId, frame_bytes: usize);
    /// Size of the buffer in which the connection's bytes arrive, and how much [`Self::receive`] with
    /// this `frame_bytes` would add to it.
    fn buffer(&self, id: ConnectionId, frame_bytes: usize) -> (usize, usize);
    /// Sends as much of `out` as the socket takes and one turn may send, and removes it from `out`.
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

    /// Fills `slices` with the first parts, up to `bytes_max`; returns how many there are.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>], mut bytes_max: usize) -> usize {
        let mut count = 0;
        for (part, slice) in self.parts.iter().zip(slices) {
            let taken = part.len().min(bytes_max);
            if taken == 0 {
                break;
            }
            *slice = IoSlice::new(&part[..taken]);
            bytes_max -= taken;
            count += 1;
        }
        count
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

/// A frame above this arrives in a buffer of its own, which it can keep. A topic with the default
/// `max.message.bytes` takes no batch as large.
pub const LARGE_FRAME: usize = (1 << 20) + (64 << 10);

/// Where a connection's bytes arrive. It grows with what has arrived, never with what a size field
/// promises, and gives back the room of a large frame when no other one follows.
///
/// Much is neither copied nor received in one go: both would hold up a turn. So a large frame has pages
/// of its own, which grow where they are, and no receive takes more than 256 KiB.
#[derive(Debug)]
pub struct RecvBuf {
    buf: Room,
    start: usize,
    end: usize,
    /// Times in a row that it was emptied with little in it.
    small: u32,
}

#[derive(Debug)]
enum Room {
    Shared(Box<[u8]>),
    /// Of one large frame alone.
    Own(AlignedBuf),
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(pages) => pages,
        }
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(pages) => pages,
        }
    }
}

/// Room of an idle connection, in bytes.
const ROOM_MIN: usize = 8 << 10;
/// Room that is kept without a reason.
const ROOM_KEPT: usize = 64 << 10;
/// Least room that a receive is made with.
const ROOM_FREE: usize = 2 << 10;
/// Most that one receive takes: 50 us of copying, and as much again when its pages are new.
const RECEIVE_MAX: usize = 256 << 10;
const SMALL_BEFORE_SHRINK: u32 = 64;

impl Default for RecvBuf {
    fn default() -> Self {
        Self { buf: Room::Shared(vec![0; ROOM_MIN].into()), start: 0, end: 0, small: 0 }
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

    /// Takes the bytes with their buffer, if they are the one large frame of `frame_bytes` that it is for.
    pub fn take_frame(&mut self, frame_bytes: usize) -> Option<AlignedBuf> {
        if (self.start, self.end) != (0, frame_bytes) || matches!(self.buf, Room::Shared(_)) {
            return None;
        }
        match mem::take(self).buf {
            Room::Own(pages) => Some(pages),
            Room::Shared(_) => None,
        }
    }

    /// Size in memory, and how much [`Self::room`] would add to it.
    pub fn size_and_growth(&self, frame_bytes: usize) -> (usize, usize) {
        let size = self.buf.len();
        (size, self.wanted(frame_bytes).map_or(0, |(wanted, _)| wanted.saturating_sub(size)))
    }

    /// Bytes that the buffer has to take, those that it holds included.
    fn least(&self, frame_bytes: usize) -> usize {
        let held = self.end - self.start;
        frame_bytes.clamp(held + ROOM_FREE, (2 * held).max(ROOM_MIN))
    }

    /// The size of the buffer that is needed in place of this one, and whether it is for one frame.
    fn wanted(&self, frame_bytes: usize) -> Option<(usize, bool)> {
        let wanted = self.least(frame_bytes);
        let has_own = matches!(self.buf, Room::Own(_));
        if has_own || frame_bytes > LARGE_FRAME && wanted > ROOM_KEPT {
            let wanted = wanted.next_multiple_of(BLOCK_BYTES);
            return (!has_own || self.buf.len() < wanted).then_some((wanted, true));
        }
        (self.buf.len() < wanted).then(|| (wanted.next_power_of_two(), false))
    }

    /// Room for more. `frame_bytes` is the size of the frame that has begun, 0 when unknown.
    pub fn room(&mut self, frame_bytes: usize) -> &mut [u8] {
        let held = self.end - self.start;
        if held == 0 {
            self.shrink();
        }
        if let Some((size, own)) = self.wanted(frame_bytes) {
            self.move_to(size, own);
        } else if held == 0 || self.start + self.least(frame_bytes) > self.buf.len() {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
        }
        let most = match frame_bytes.checked_sub(held) {
            Some(left @ 1..) if frame_bytes > LARGE_FRAME => left.min(RECEIVE_MAX),
            _ => RECEIVE_MAX,
        };
        let upto = self.buf.len().min(self.end + most);
        &mut self.buf[self.end..upto]
    }

    fn move_to(&mut self, size: usize, own: bool) {
        let (held, before) =
            (self.end - self.start, mem::replace(&mut self.buf, Room::Shared([].into())));
        self.buf = match before {
            Room::Own(pages) if self.start == 0 => Room::Own(pages.grow(size)),
            before => {
                let mut larger = if own {
                    Room::Own(AlignedBuf::mapped(size))
                } else {
                    Room::Shared(vec![0; size].into())
                };
                larger[..held].copy_from_slice(&before[self.start..self.end]);
                larger
            }
        };
        (self.start, self.end) = (0, held);
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
            self.buf = Room::Shared(vec![0; ROOM_KEPT].into());
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
    fn a_large_frame_leaves_with_its_buffer_and_nothing_behind_it_is_received() {
        let (mut inbox, frame) = (RecvBuf::default(), 3 << 20);
        inbox.room(0)[..100].fill(1);
        inbox.filled(100);
        inbox.consume(60);
        while inbox.bytes().len() < frame {
            assert!(inbox.take_frame(frame).is_none(), "it is not whole");
            let (before, growth) = inbox.size_and_growth(frame);
            let room = inbox.room(frame);
            assert!(!room.is_empty() && room.len() <= RECEIVE_MAX);
            room.fill(2);
            let bytes = room.len();
            inbox.filled(bytes);
            assert_eq!(inbox.buf.len(), before + growth, "what is counted is what is taken");
        }
        let taken = inbox.take_frame(frame).unwrap();
        assert_eq!([taken[0], taken[39], taken[40], taken[frame - 1]], [1, 1, 2, 2]);
        assert!(taken.len() < frame + ROOM_FREE + BLOCK_BYTES, "{}", taken.len());
        assert_eq!((inbox.bytes().len(), inbox.room(0).len()), (0, ROOM_MIN));
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
        let n = out.slices(&mut slices, 1);
        assert_eq!((n, &*slices[0]), (1, &b"e"[..]));
        let n = out.slices(&mut slices, usize::MAX);
        let rest: Vec<u8> = slices[..n].iter().flat_map(|s| s.to_vec()).collect();
        assert_eq!((rest, out.len()), (b"ef".to_vec(), 2));
        out.advance(2);
        assert!(out.is_empty());
    }
}
