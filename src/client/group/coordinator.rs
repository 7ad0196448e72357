//! Which broker coordinates the group: unknown, asked for, known; and lost again.

use std::time::Duration;

use crate::base::{Moment, NodeId};
use crate::client::call::{Outgoing, To, Typed};
use crate::client::connection::Answer;
use crate::client::error::ClientError;
use crate::msg;
use crate::wire::ErrorCode;
use crate::wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

/// One key at a time up to this version of FindCoordinator.
pub const FIND_COORDINATOR_VERSION_MAX: i16 = 3;

#[derive(Debug)]
enum State {
    Unknown { not_before: Moment },
    Asked { id: u64 },
    Known(NodeId),
}

/// Finds the coordinator of one group.
#[derive(Debug)]
pub(super) struct Coordinator {
    group_id: String,
    state: State,
    backoff: Duration,
}

impl Coordinator {
    pub(super) fn new(group_id: String, backoff: Duration) -> Self {
        Self { group_id, state: State::Unknown { not_before: Moment::default() }, backoff }
    }

    pub(super) fn node(&self) -> Option<NodeId> {
        match self.state {
            State::Known(node) => Some(node),
            State::Unknown { .. } | State::Asked { .. } => None,
        }
    }

    /// The broker said that it is not the one, or cannot be reached.
    pub(super) fn lose(&mut self, now: Moment) {
        if let State::Known(_) = self.state {
            self.state = State::Unknown { not_before: now + self.backoff };
        }
    }

    pub(super) fn deadline(&self) -> Moment {
        match self.state {
            State::Unknown { not_before } => not_before,
            State::Asked { .. } | State::Known(_) => Moment::NEVER,
        }
    }

    pub(super) fn poll(
        &mut self,
        now: Moment,
        next_id: &mut u64,
        timeout_ms: u64,
        out: &mut Vec<Outgoing>,
    ) {
        let State::Unknown { not_before } = self.state else { return };
        if now < not_before {
            return;
        }
        *next_id += 1;
        self.state = State::Asked { id: *next_id };
        let call = Typed::up_to(find(&self.group_id), FIND_COORDINATOR_VERSION_MAX).boxed();
        out.push(Outgoing { to: To::Any, id: *next_id, timeout_ms, call });
    }

    pub(super) fn is_asked(&self, id: u64) -> bool {
        matches!(self.state, State::Asked { id: asked } if asked == id)
    }

    /// A failure that may pass is asked again after the backoff; another one is returned.
    pub(super) fn on_answer(
        &mut self,
        answer: Result<Answer, ClientError>,
        now: Moment,
    ) -> Result<(), ClientError> {
        self.state = State::Unknown { not_before: now + self.backoff };
        let read = answer.and_then(|a| a.decode::<FindCoordinatorRequest>());
        match read.and_then(|r| found(&r)) {
            Ok(node) => {
                self.state = State::Known(node);
                Ok(())
            }
            Err(e) if e.is_retriable() => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Asks for the coordinator of a group.
pub fn find(group_id: &str) -> FindCoordinatorRequest {
    msg!(FindCoordinatorRequest { key: group_id.into(), key_type: 0 })
}

/// The coordinator of an answer.
///
/// # Errors
/// [`ClientError::Refused`].
pub fn found(answer: &FindCoordinatorResponse) -> Result<NodeId, ClientError> {
    let message = answer.error_message.as_deref().filter(|m| !m.is_empty());
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE => Ok(NodeId(answer.node_id)),
        code => Err(ClientError::Refused {
            asked: "FindCoordinator",
            code,
            message: message.map(str::to_owned),
        }),
    }
}
