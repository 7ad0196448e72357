//! Bytes in, values out: frames, headers, record batches, and the messages of `kafka-wire`.
//!
//! The hot path (frame, header, batch, the shapes of Produce and Fetch) is our own and copies
//! nothing; every other message is decoded and encoded by the `kafka-wire` crate, which is
//! generated from Kafka's schemas and bounds each length by the bytes that are there. Its structs
//! are `#[non_exhaustive]`: build them with [`msg!`](crate::msg).

pub mod batch;
pub mod codec;
pub mod codes;
pub mod error;
pub mod frame;
#[cfg(test)]
mod fuzz;
pub mod record;
pub mod writer;

pub use error::ErrorCode;
pub use kafka_wire as messages;
pub use kafka_wire_core::{ApiVersion, StrBytes, Uuid};

use crate::base::TopicId;

/// Builds a `kafka-wire` message: the named fields, and Kafka's default for all others.
///
/// ```
/// use klamm::msg;
/// use klamm::wire::messages::HeartbeatResponse;
/// let r = msg!(HeartbeatResponse { error_code: 25 });
/// assert_eq!((r.error_code, r.throttle_time_ms), (25, 0));
/// ```
#[macro_export]
macro_rules! msg {
    ($t:ty { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        #[allow(unused_mut, reason = "no field may be given")]
        let mut message = <$t>::default();
        $($crate::msg!(@set message $field $($value)?);)*
        message
    }};
    (@set $m:ident $field:ident $value:expr) => { $m.$field = $value };
    (@set $m:ident $field:ident) => { $m.$field = $field };
}

impl From<TopicId> for Uuid {
    fn from(id: TopicId) -> Self {
        Self::from_bytes(id.0)
    }
}

impl From<Uuid> for TopicId {
    fn from(id: Uuid) -> Self {
        Self(id.to_bytes())
    }
}
