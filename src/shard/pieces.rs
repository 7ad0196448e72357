//! Requests that name very many things, which takes too long for a turn: they are served in pieces.
//!
//! Flow: `api` finds that a request is large and hands the whole of it to the opener, which decodes it
//! and cuts it into requests of the same API ([`Whole`] -> [`Pieces`]) -> each turn serves one piece
//! of one connection, as if it had come by itself, and the next one when it is answered -> the opener
//! joins the answers ([`Pieces::join`]). So the turn never sees more than one small piece, and no API
//! has to know about it but for how its requests are cut and its answers joined ([`How`]).
//!
//! Invariants:
//! - P1. Nothing of a request is served that is malformed anywhere.
//! - P2. The pieces of a request are served in its order, each when the one before is answered, and
//!   nothing else of its connection is served meanwhile.
//! - P3. A connection that is gone takes its pieces with it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::shard::Call;
use crate::wire::frame::{Answer, FrameError};

/// How the requests of one API are cut, and their answers joined.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// A body of this many bytes is cut; `usize::MAX` when the handler itself finds what is large.
    pub large_bytes: usize,
    /// Cuts a body.
    pub cut: fn(&Call, Bytes) -> Result<Start, FrameError>,
    /// Makes one answer of those to the pieces, in order.
    pub join: fn(&Call, Vec<Answered>) -> Answer,
}

/// What cutting came to.
#[derive(Debug)]
pub enum Start {
    /// Pieces to serve.
    Pieces(Vec<Piece>),
    /// There is nothing to serve: this is the answer.
    Answered(Answer),
}

/// A part of a request: the body of a request of its own.
#[derive(Debug)]
pub struct Piece {
    /// The body.
    pub body: Bytes,
    /// It begins with the rest of what the piece before ends with.
    pub goes_on: bool,
}

/// A piece's answer, and whether the piece went on.
pub type Answered = (Answer, bool);

/// A request that is to be cut.
#[derive(Debug)]
pub struct Whole {
    /// The request's header.
    pub call: Call,
    /// The frame, without its size field.
    pub frame: Bytes,
    /// Bytes of the header in it.
    pub header_bytes: usize,
    /// What its API needs.
    pub how: How,
}

impl Whole {
    /// Cuts it; P1.
    pub fn cut(self) -> Cut {
        let body = self.frame.slice(self.header_bytes..);
        let pieces = (self.how.cut)(&self.call, body).map(|start| {
            let (left, answered) = match start {
                Start::Pieces(left) => (left.into(), Vec::new()),
                Start::Answered(answer) => (VecDeque::new(), vec![(answer, false)]),
            };
            let waiting = left.iter().map(|p: &Piece| p.body.len()).sum::<usize>();
            let ready = answered.iter().map(|(answer, _)| answer.len()).sum::<usize>();
            Pieces {
                call: self.call.clone(),
                header: Bytes::copy_from_slice(&self.frame[..self.header_bytes]),
                how: self.how,
                left,
                out: None,
                answered,
                bytes: waiting + ready,
                queued: false,
            }
        });
        Cut { call: self.call, pieces }
    }
}

/// A request that was cut.
#[derive(Debug)]
pub struct Cut {
    /// The request's header.
    pub call: Call,
    /// Its pieces, unless it is malformed.
    pub pieces: Result<Pieces, FrameError>,
}

/// A request all of whose pieces are answered.
#[derive(Debug)]
pub struct Joined {
    /// The request's header.
    pub call: Call,
    /// The answer to it; empty when none is expected.
    pub answer: Answer,
}

/// What is left of a request, and the answers so far.
#[derive(Debug)]
pub struct Pieces {
    /// The request's header.
    pub call: Call,
    header: Bytes,
    how: How,
    left: VecDeque<Piece>,
    /// A piece is being served; whether it goes on.
    out: Option<bool>,
    answered: Vec<Answered>,
    bytes: usize,
    /// It is in the queue for the next piece.
    queued: bool,
}

impl Pieces {
    /// Whether it is to be put into the queue of those whose next piece can be served. P2.
    pub fn queue(&mut self) -> bool {
        let goes = !self.queued && self.out.is_none();
        self.queued |= goes;
        goes
    }

    /// It was taken out of the queue.
    pub fn unqueue(&mut self) {
        self.queued = false;
    }

    /// The frame of the next piece, which is being served from now on.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        self.queued = false;
        let Piece { body, goes_on } = self.left.pop_front()?;
        self.bytes -= body.len();
        self.out = Some(goes_on);
        let mut frame = BytesMut::with_capacity(self.header.len() + body.len());
        frame.extend_from_slice(&self.header);
        frame.extend_from_slice(&body);
        Some(frame.freeze())
    }

    /// The piece that is being served is answered.
    pub fn answer(&mut self, answer: Answer) {
        self.bytes += answer.len();
        if let Some(goes_on) = self.out.take() {
            self.answered.push((answer, goes_on));
        }
    }

    /// Whether every piece is answered.
    pub fn are_done(&self) -> bool {
        self.left.is_empty() && self.out.is_none()
    }

    /// Memory of the pieces and answers.
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// Joins the answers.
    pub fn join(mut self) -> Joined {
        let is_silent = self.answered.iter().all(|(answer, _)| answer.is_empty());
        let answer = if is_silent || self.answered.len() == 1 {
            self.answered.pop().unwrap_or_default().0
        } else {
            (self.how.join)(&self.call, self.answered)
        };
        Joined { call: self.call, answer }
    }
}
