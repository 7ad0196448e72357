//! Ids, units, time and buffers. Depends on nothing, does no I/O, cannot fail.

pub mod aligned;
#[cfg(test)]
pub(crate) mod fuzzing;
pub mod id;
pub mod map;
pub mod time;

pub use aligned::{AlignedBuf, BLOCK_BYTES};
pub use id::{LeaderEpoch, NodeId, Offset, TopicId, TopicPartition};
pub use map::{DetMap, DetSet, SplitMap};
pub use time::{Moment, WallMs};
