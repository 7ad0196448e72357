//! What goes on after the turn in which a request came: those that the opener worked on, and those
//! that are served in pieces.
//!
//! One piece of one connection in a turn with a slice, and such connections take turns, so that a
//! request however large never costs others more than a piece.

use crate::api::{self, CloseReason, Outcome, PRODUCE};
use crate::metrics::Step;
use crate::net::connection::{Connection, Served};
use crate::runtime::network::ConnectionId;
use crate::server::turn::{Node, Outside};
use crate::shard::opening::{Chore, Ended};
use crate::wire::frame::Answer;

impl Node {
    /// The connection has a request that goes on.
    ///
    /// # Errors
    /// The reason to close the connection.
    pub(super) fn go_on(&mut self, id: ConnectionId) -> Result<(), CloseReason> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        match connection.opened.take().map(|ended| *ended) {
            Some(opened @ Ended::Opened(_)) if self.shard.store.is_full() => {
                connection.opened = Some(Box::new(opened));
                self.stalled.push(id);
                return Ok(());
            }
            Some(Ended::Opened(opening)) => {
                let sequence = opening.call.slot.sequence;
                let outcome = api::produce::go_on(&mut self.shard, opening);
                settle(connection, sequence, outcome, &mut self.served)?;
            }
            Some(Ended::Cut(cut)) => {
                let api = api::table::find(cut.call.api_key);
                let here = api.is_some_and(|api| api.on == api::On::Here);
                connection.pieces = Some(Box::new(cut.pieces?));
                connection.has_begun = here || self.shard.holds_controller();
            }
            Some(Ended::Joined(joined)) => {
                let sequence = joined.call.slot.sequence;
                let silent = joined.answer.is_empty() && !joined.answer.is_lost;
                let outcome = if silent { Outcome::Silent } else { Outcome::Answer(joined.answer) };
                // It may be the long answer to a piece.
                connection.has_begun &= connection.pieces.is_some();
                settle(connection, sequence, outcome, &mut self.served)?;
            }
            Some(Ended::Found(_) | Ended::Changed(_) | Ended::Dropped) | None => {}
        }
        if connection.pieces.as_ref().is_some_and(|pieces| pieces.are_done()) {
            if let Some(pieces) = connection.pieces.take() {
                self.shard.openings.push(Chore::Join(*pieces));
            }
        } else if connection.pieces.as_mut().is_some_and(|pieces| pieces.queue()) {
            self.in_pieces.push_back(id);
        }
        Ok(())
    }

    /// Serves one piece of one connection.
    pub(super) fn serve_piece(&mut self, outside: &mut impl Outside) {
        let Some(id) = self.in_pieces.pop_front() else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(pieces) = &mut connection.pieces else { return };
        let (slot, key) = (pieces.call.slot, pieces.call.api_key);
        if key == PRODUCE && self.shard.store.is_full() {
            pieces.unqueue();
            self.stalled.push(id);
            return;
        }
        let Some(frame) = pieces.next_frame() else { return };
        self.work.requests += 1;
        self.work.request_bytes += frame.len() as u64;
        let outcome = api::dispatch_piece(&mut self.shard, slot, connection.peer, &frame);
        let settled = settle(connection, slot.sequence, outcome, &mut self.served);
        match settled.and_then(|()| self.go_on(id)) {
            Ok(()) => self.hold(id, outside),
            Err(reason) => self.close_for(id, &reason, outside),
        }
        self.work.steps.end_request(Step::Pieces, key, outside.ticks());
    }
}

/// A request, or a piece of one, was served.
fn settle(
    connection: &mut Connection,
    sequence: u64,
    outcome: Outcome,
    served: &mut Vec<Served>,
) -> Result<(), CloseReason> {
    let Some(pieces) = &mut connection.pieces else {
        return connection.settle(sequence, outcome, served);
    };
    match outcome {
        Outcome::Answer(answer) if answer.is_lost => return Err(CloseReason::Lost),
        Outcome::Answer(answer) => pieces.answer(answer),
        Outcome::Silent => pieces.answer(Answer::default()),
        Outcome::Parked | Outcome::Opening | Outcome::Large => {}
        Outcome::Close(reason) => return Err(reason),
    }
    Ok(())
}
