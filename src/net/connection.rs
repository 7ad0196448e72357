//! One client connection: which request may be served next, and which answer leaves next.
//!
//! Flow: bytes received -> [`Connection::next_frame`] -> `api::dispatch` -> [`Connection::settle`] or,
//! for a parked request, later [`Connection::answer`] -> [`Connection::out`] -> the socket.
//!
//! Kafka serves one request of a connection at a time. Klamm does so too, but for produce requests:
//! those that a client has pipelined share a commit, so the next one is served while the earlier
//! ones wait for theirs. Their appends stay in order, and so do all answers.
//!
//! Invariants:
//! - N1. Answers leave in the order of their requests.
//! - N2. A request that is not Produce is served only when nothing before it waits, and nothing is
//!   served while a request that is not Produce waits.
//!   The same while the opener works on a request, and while one is served in pieces.
//! - N3. Nothing is served while more than `OUT_BYTES_MAX` wait to be sent: a client that does not
//!   read stops being read.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::api::{self, CloseReason, Outcome, PRODUCE};
use crate::base::Moment;
use crate::net::budget::Held;
use crate::runtime::network::Outgoing;
use crate::shard::opening::Ended;
use crate::shard::pieces::Pieces;
use crate::wire::codes::Codes;
use crate::wire::frame::{self, Answer, FrameError, SIZE_BYTES};

/// Produce requests of one connection that may wait at once.
const WAITING_MAX: usize = 128;
/// Bytes that may wait for a client that is slow to read.
const OUT_BYTES_MAX: usize = 1 << 20;

/// Where one connection stands.
#[derive(Debug)]
pub struct Connection {
    /// Address of the client.
    pub peer: IpAddr,
    /// When the last request came: idle connections are closed.
    pub active_at: Moment,
    /// Bytes on their way to the client.
    pub out: Outgoing,
    /// Memory that is counted for it.
    pub held: Held,
    /// Since when a request is unfinished.
    pub unfinished_since: Option<Moment>,
    /// Since when an answer is not taken.
    pub unsent_since: Option<Moment>,
    /// Sequence of the next request.
    next: u64,
    /// Requests without an answer that may leave, oldest first; the first has sequence
    /// `next - waiting.len()`.
    waiting: VecDeque<Waiting>,
    throttled: bool,
    /// The opener works on the last request, or it is served in pieces.
    opens: bool,
    /// What the opener made of it.
    pub opened: Option<Box<Ended>>,
    /// The last request, while it is served in pieces.
    pub pieces: Option<Box<Pieces>>,
    /// Pieces of it are served here, and it is not answered: a stop waits for that.
    pub has_begun: bool,
}

#[derive(Debug)]
struct Waiting {
    request: Served,
    /// `Some` once served; it leaves when it is the oldest.
    answer: Option<Answer>,
}

/// A request of which nothing is left to do, for whoever counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Numeric API key.
    pub key: i16,
    /// Beginning of the turn in which it came.
    pub came: Moment,
    /// The error codes of its answer.
    pub errors: Codes,
}

/// What can be done with the bytes that are there.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Serve this request: its sequence, and its frame without the size field.
    Serve(u64, &'a [u8]),
    /// Receive more; the frame that has begun has this many bytes, 0 when that is not known.
    NeedBytes(usize),
    /// Something before it must leave first.
    Busy,
    /// It is a produce request, and those are held back.
    Held,
}

impl Connection {
    /// A new connection.
    pub fn new(peer: IpAddr, now: Moment) -> Self {
        let (out, waiting) = (Outgoing::default(), VecDeque::new());
        Self {
            peer,
            active_at: now,
            out,
            held: Held::default(),
            unfinished_since: None,
            unsent_since: None,
            next: 0,
            waiting,
            throttled: false,
            opens: false,
            opened: None,
            pieces: None,
            has_begun: false,
        }
    }

    /// Looks at the bytes received. The frame that it returns counts as taken: the caller consumes
    /// its bytes and settles it. `hold_produce` says that nothing can be appended now.
    ///
    /// # Errors
    /// [`FrameError::Size`]: close the connection.
    pub fn next_frame<'a>(
        &mut self,
        bytes: &'a [u8],
        frame_bytes_max: usize,
        hold_produce: bool,
    ) -> Result<Next<'a>, FrameError> {
        let Some(size) = frame::frame_bytes(bytes, frame_bytes_max)? else {
            return Ok(Next::NeedBytes(0));
        };
        let Some(whole) = bytes.get(SIZE_BYTES..size) else { return Ok(Next::NeedBytes(size)) };
        let (key, _) = api::key_and_version(whole);
        let is_produce = key == PRODUCE;
        self.throttled = self.out.len() > OUT_BYTES_MAX;
        if self.throttled || !self.may_serve(is_produce) {
            return Ok(Next::Busy);
        }
        if is_produce && hold_produce {
            return Ok(Next::Held);
        }
        let sequence = self.next;
        self.next += 1;
        let request = Served { key, came: Moment(0), errors: Codes::default() };
        self.waiting.push_back(Waiting { request, answer: None });
        Ok(Next::Serve(sequence, whole))
    }

    /// The frame that [`Self::next_frame`] returned last is served in the turn that began now.
    pub fn began(&mut self, now: Moment) {
        self.active_at = now;
        self.unfinished_since = None;
        if let Some(last) = self.waiting.back_mut() {
            last.request.came = now;
        }
    }

    /// N2.
    fn may_serve(&self, is_produce: bool) -> bool {
        let pipelined = is_produce
            && self.waiting.len() < WAITING_MAX
            && self.waiting.back().is_none_or(|w| w.request.key == PRODUCE);
        !self.opens && (self.waiting.is_empty() || pipelined)
    }

    /// The request was served; those that this ends are added to `served`.
    ///
    /// # Errors
    /// The reason to close the connection.
    pub fn settle(
        &mut self,
        sequence: u64,
        outcome: Outcome,
        served: &mut Vec<Served>,
    ) -> Result<(), CloseReason> {
        self.opens = matches!(outcome, Outcome::Opening);
        match outcome {
            Outcome::Answer(answer) if answer.is_lost => return Err(CloseReason::Lost),
            Outcome::Answer(answer) => self.answer(sequence, answer, served),
            Outcome::Silent => self.answer(sequence, Answer::default(), served),
            Outcome::Parked | Outcome::Opening | Outcome::Large => {}
            Outcome::Close(reason) => return Err(reason),
        }
        Ok(())
    }

    /// A parked request is answered; those that this ends are added to `served`. N1.
    pub fn answer(&mut self, sequence: u64, answer: Answer, served: &mut Vec<Served>) {
        let oldest = self.next - self.waiting.len() as u64;
        let at = sequence.checked_sub(oldest).and_then(|at| usize::try_from(at).ok());
        let Some(waiting) = at.and_then(|at| self.waiting.get_mut(at)) else { return };
        waiting.answer = Some(answer);
        while let Some(Waiting { mut request, answer: Some(answer) }) =
            self.waiting.pop_front_if(|w| w.answer.is_some())
        {
            request.errors = answer.errors;
            served.push(request);
            for part in answer.parts {
                self.out.push(part);
            }
        }
    }

    /// Whether the next request was held back until the client has read (N3).
    pub fn is_throttled(&self) -> bool {
        self.throttled
    }

    /// Since when it has not finished a request, or not taken an answer.
    pub fn stuck_since(&self) -> Option<Moment> {
        [self.unfinished_since, self.unsent_since].into_iter().flatten().min()
    }

    /// Whether no request waits and nothing is on its way out.
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.out.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use smallvec::smallvec;

    const FETCH: i16 = 1;

    fn frame(key: i16) -> Vec<u8> {
        [&6_i32.to_be_bytes()[..], &key.to_be_bytes(), &[0; 4]].concat()
    }

    fn answer(text: &'static str) -> Answer {
        Answer { parts: smallvec![Bytes::from(text)], ..Answer::default() }
    }

    fn connection() -> Connection {
        Connection::new("127.0.0.1".parse().unwrap(), Moment(0))
    }

    fn serves(c: &mut Connection, key: i16) -> Option<u64> {
        match c.next_frame(&frame(key), 100, false).unwrap() {
            Next::Serve(sequence, _) => Some(sequence),
            Next::Busy => None,
            other => panic!("{other:?}"),
        }
    }

    fn sent(c: &mut Connection) -> String {
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let n = c.out.slices(&mut slices, usize::MAX);
        let text: String = slices[..n].iter().map(|s| str::from_utf8(s).unwrap()).collect();
        c.out.advance(text.len());
        text
    }

    #[test]
    fn pipelined_produce_requests_wait_together_and_answers_keep_their_order() {
        let (mut c, mut served) = (connection(), Vec::new());
        assert_eq!([serves(&mut c, PRODUCE), serves(&mut c, PRODUCE)], [Some(0), Some(1)]);
        assert_eq!(serves(&mut c, FETCH), None, "a fetch waits for the produces before it");
        c.answer(1, answer("second"), &mut served);
        assert_eq!(sent(&mut c), "");
        c.answer(0, answer("first "), &mut served);
        assert_eq!(sent(&mut c), "first second");
        assert_eq!(serves(&mut c, FETCH), Some(2));
        assert_eq!(serves(&mut c, PRODUCE), None, "nothing passes a parked fetch");
        c.settle(2, Outcome::Answer(answer("third")), &mut served).unwrap();
        assert_eq!(serves(&mut c, PRODUCE), Some(3));
        c.settle(3, Outcome::Silent, &mut served).unwrap();
        assert_eq!(sent(&mut c), "third");
        assert!(c.is_quiet());
        let keys: Vec<_> = served.iter().map(|s| s.key).collect();
        assert_eq!(keys, [PRODUCE, PRODUCE, FETCH, PRODUCE], "each is told when it is done");
    }

    #[test]
    fn nothing_is_served_while_a_batch_is_opened() {
        let (mut c, mut served) = (connection(), Vec::new());
        assert_eq!([serves(&mut c, PRODUCE), serves(&mut c, PRODUCE)], [Some(0), Some(1)]);
        c.settle(1, Outcome::Opening, &mut served).unwrap();
        c.answer(0, answer("first "), &mut served);
        assert_eq!([serves(&mut c, PRODUCE), serves(&mut c, FETCH)], [None, None]);
        c.settle(1, Outcome::Parked, &mut served).unwrap();
        assert_eq!(serves(&mut c, PRODUCE), Some(2), "it waits for its commit like any other");
        c.answer(2, answer("third"), &mut served);
        c.answer(1, answer("second "), &mut served);
        assert_eq!(sent(&mut c), "first second third");
    }

    #[test]
    fn a_client_that_does_not_read_is_not_served() {
        let mut c = connection();
        serves(&mut c, FETCH);
        c.answer(
            0,
            Answer {
                parts: smallvec![Bytes::from(vec![0; OUT_BYTES_MAX + 1])],
                ..Answer::default()
            },
            &mut Vec::new(),
        );
        assert_eq!(serves(&mut c, FETCH), None);
        c.out.advance(1);
        assert_eq!(serves(&mut c, FETCH), Some(1));
    }

    #[test]
    fn a_frame_is_served_when_it_is_whole() {
        let mut c = connection();
        let whole = frame(FETCH);
        assert_eq!(c.next_frame(&whole[..3], 100, false), Ok(Next::NeedBytes(0)));
        assert_eq!(c.next_frame(&whole[..9], 100, false), Ok(Next::NeedBytes(10)));
        assert!(c.next_frame(&whole, 5, false).is_err());
        assert_eq!(c.next_frame(&whole, 6, false), Ok(Next::Serve(0, &whole[4..])));
    }

    #[test]
    fn a_produce_request_is_held_back_and_served_later() {
        let mut c = connection();
        let whole = frame(PRODUCE);
        assert_eq!(c.next_frame(&whole, 100, true), Ok(Next::Held));
        assert_eq!(c.next_frame(&whole, 100, false), Ok(Next::Serve(0, &whole[4..])));
    }

    #[test]
    fn a_late_answer_for_an_unknown_request_is_dropped() {
        let mut c = connection();
        c.answer(7, answer("x"), &mut Vec::new());
        assert!(c.is_quiet());
    }
}
