//! The producer id under which an idempotent producer writes: wanted, asked for, known.

use crate::base::Moment;
use crate::client::call::{Outgoing, To, Typed};
use crate::client::connection::Answer;
use crate::client::error::ClientError;
use crate::msg;
use crate::wire::messages::InitProducerIdRequest;

/// A producer id and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// Where the producer stands.
#[derive(Debug)]
pub(super) enum Identity {
    /// Not idempotent.
    NotWanted,
    /// To be asked for.
    Wanted { not_before: Moment },
    /// The request is on its way.
    Asked { id: u64 },
    /// Given by a broker.
    Known(Known),
}

impl Identity {
    pub(super) fn wanted() -> Self {
        Self::Wanted { not_before: Moment::default() }
    }

    /// The id, when there is one.
    pub(super) fn known(&self) -> Option<Known> {
        match self {
            Self::Known(known) => Some(*known),
            _ => None,
        }
    }

    pub(super) fn is_asked(&self, id: u64) -> bool {
        matches!(self, Self::Asked { id: asked } if *asked == id)
    }

    /// Whether batches can go out; if not, asks for what is missing.
    pub(super) fn is_ready(
        &mut self,
        now: Moment,
        next_id: &mut u64,
        timeout_ms: u64,
        out: &mut Vec<Outgoing>,
    ) -> bool {
        match self {
            Self::NotWanted | Self::Known(_) => return true,
            Self::Asked { .. } => return false,
            Self::Wanted { not_before } if now < *not_before => return false,
            Self::Wanted { .. } => {}
        }
        *next_id += 1;
        *self = Self::Asked { id: *next_id };
        let request = msg!(InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
        });
        let call = Typed::new(request).boxed();
        out.push(Outgoing { to: To::Any, id: *next_id, timeout_ms, call });
        false
    }

    /// Reads the answer; a failure that may pass is asked again at `retry_at`.
    pub(super) fn on_answer(
        &mut self,
        answer: Result<Answer, ClientError>,
        retry_at: Moment,
    ) -> Result<(), ClientError> {
        *self = Self::Wanted { not_before: retry_at };
        let read = answer.and_then(|a| a.decode::<InitProducerIdRequest>()).and_then(|r| {
            ClientError::check("InitProducerId", r.error_code, None)?;
            Ok(r)
        });
        match read {
            Ok(known) => {
                *self = Self::Known(Known { id: known.producer_id, epoch: known.producer_epoch });
                Ok(())
            }
            Err(e) if e.is_retriable() => Ok(()),
            Err(e) => Err(e),
        }
    }
}
