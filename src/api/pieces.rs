//! From a large request to pieces, and from their answers to one, for any API that says how its lists
//! are cut and joined (`cuts`). All of this runs on the opener, which
//! lets the node's turn run in between; see `shard::pieces` for the way there.

use bytes::{Bytes, BytesMut};

use crate::api::{Outcome, PARTITIONS_MAX};
use crate::runtime::cpu;
use crate::shard::opening::{Chore, LongAnswer};
use crate::shard::pieces::{Answered, How, Piece, Start};
use crate::shard::survey::Survey;
use crate::shard::{Call, Shard};
use crate::wire::ApiVersion;
use crate::wire::codes::Coded;
use crate::wire::frame::{self, Answer, FrameError, SIZE_BYTES};
use crate::wire::messages::RequestResponsePair;

/// Partitions, or topics without, that one piece names: tens of microseconds of a turn.
pub(super) const PIECE_MAX: usize = 512;
/// A body from which on it is worth a look whether it names more.
const LARGE_BYTES: usize = 16 << 10;

/// A request that can be cut.
pub(super) trait InPieces: RequestResponsePair<Response: Coded> + Sized {
    /// See [`How`].
    const LARGE_BYTES: usize = LARGE_BYTES;

    /// Cuts it; with each piece, whether it begins with the rest of what the one before ends with.
    ///
    /// # Errors
    /// See [`Uncut`].
    fn cut(self, version: i16) -> Result<Vec<(Self, bool)>, Uncut<Self::Response>>;

    /// Appends the answer to a piece to those before.
    fn join(all: &mut Self::Response, more: Self::Response, goes_on: bool);
}

/// Why there is nothing to cut.
pub(super) enum Uncut<A> {
    /// It names more than any request may.
    TooMany,
    /// This is the answer to all of it.
    Answered(A),
}

/// Answers a request from what does not change meanwhile: at once when `size` is small, which counts
/// topics and partitions, and else on the opener.
pub(super) fn answer_long(
    shard: &mut Shard,
    call: &Call,
    size: usize,
    make: impl FnOnce(&Call) -> Answer + Send + 'static,
) -> Outcome {
    read_long(shard, call, size, |call| Ok(make(call)))
}

/// The same with a request that is not read yet.
pub(super) fn read_long(
    shard: &mut Shard,
    call: &Call,
    size: usize,
    make: impl FnOnce(&Call) -> Result<Answer, FrameError> + Send + 'static,
) -> Outcome {
    if size <= PIECE_MAX {
        return make(call).map_or_else(|e| Outcome::Close(e.into()), Outcome::Answer);
    }
    let long = LongAnswer { call: call.clone(), make: Box::new(make) };
    shard.openings.push(Chore::Answer(long));
    Outcome::Opening
}

/// Answers a request with what a survey sees: at once when there is little to see.
pub(super) fn survey(shard: &mut Shard, call: &Call, survey: impl Survey + 'static) -> Outcome {
    let mut survey = Box::new(survey);
    if survey.look(shard) {
        return Outcome::Answer(survey.answer(call));
    }
    shard.surveys.push_back((call.clone(), survey));
    Outcome::Opening
}

/// How requests of this kind are cut.
pub(super) const fn how<Q: InPieces>() -> How {
    How { large_bytes: Q::LARGE_BYTES, cut: cut::<Q>, join: join::<Q> }
}

fn cut<Q: InPieces>(call: &Call, body: Bytes) -> Result<Start, FrameError> {
    let version = call.version;
    let request: Q = frame::decode_request(body, version, PARTITIONS_MAX)?;
    let piece = |(piece, goes_on)| {
        cpu::yield_now();
        Ok(Piece { body: encode(&piece, version)?, goes_on })
    };
    match request.cut(version) {
        Ok(pieces) => pieces.into_iter().map(piece).collect::<Result<_, _>>().map(Start::Pieces),
        Err(Uncut::Answered(answer)) => Ok(Start::Answered(call.answer(&answer))),
        Err(Uncut::TooMany) => Err(FrameError::TooMany { limit: PARTITIONS_MAX }),
    }
}

/// What was decoded in a version fits it.
fn encode<Q: InPieces>(request: &Q, version: i16) -> Result<Bytes, FrameError> {
    let mut body = BytesMut::new();
    request.encode_into(&mut body, ApiVersion::new(version)).map_err(|_| FrameError::Header)?;
    Ok(body.freeze())
}

fn join<Q: InPieces>(call: &Call, answered: Vec<Answered>) -> Answer {
    let mut all: Option<Q::Response> = None;
    for (answer, goes_on) in answered {
        cpu::yield_now();
        let Some(more) = read::<Q>(&answer, call.version) else {
            return Answer::lost();
        };
        match &mut all {
            None => all = Some(more),
            Some(all) => Q::join(all, more, goes_on),
        }
    }
    all.map_or_else(Answer::default, |all| call.answer(&all))
}

/// What an answer says.
fn read<Q: InPieces>(answer: &Answer, version: i16) -> Option<Q::Response> {
    let bytes = match &answer.parts[..] {
        [one] => one.clone(),
        several => several.concat().into(),
    };
    let tags = usize::from(Q::is_flexible(ApiVersion::new(version)));
    let header_bytes = SIZE_BYTES + size_of::<i32>() + tags;
    let body = (bytes.len() >= header_bytes).then(|| bytes.slice(header_bytes..))?;
    frame::decode(body, version).ok()
}
