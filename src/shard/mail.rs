//! What shards of one process say to each other. Mail is the only thing that they share.

use bytes::Bytes;

use crate::shard::call::{Call, Slot};
use crate::wire::frame::Answer;

/// Position of a shard in its process, `0..node.count`. Its node id is `node.id` plus this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardIndex(pub u16);

/// One piece of mail with its address.
#[derive(Debug)]
pub struct Post {
    /// The shard that gets it.
    pub to: ShardIndex,
    /// What it says.
    pub mail: Mail,
}

/// What a shard can say.
#[derive(Debug)]
pub enum Mail {
    /// Serve this request, which arrived elsewhere.
    Request {
        /// With the return address of the connection it arrived on.
        call: Call,
        /// The frame without its size field.
        frame: Bytes,
    },
    /// The answer to a request that was served elsewhere.
    Answer {
        /// Where it goes.
        slot: Slot,
        /// The whole response.
        answer: Answer,
    },
    /// Answer what is under way, then stop.
    Stop,
}
