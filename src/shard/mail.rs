//! What shards of one process say to each other. Mail is the only thing that they share.

use std::sync::Arc;

use bytes::Bytes;

use crate::image::{Delta, Image};

use crate::shard::call::{Call, Slot};
use crate::shard::observe::Observed;
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
        answer: Box<Answer>,
    },
    /// Create these topics, which a client asked about, if they are still missing.
    CreateMissing {
        /// Their names.
        names: Vec<String>,
    },
    /// A request that was served elsewhere makes no sense: close its connection.
    Close {
        /// Where its answer would go.
        slot: Slot,
    },
    /// The metadata changed.
    Image {
        /// All of it.
        image: Arc<Image>,
        /// What is new in it.
        delta: Arc<Delta>,
        /// Counts the changes; the controller's shard wants to hear it back.
        number: u64,
    },
    /// A shard has applied the change with this number.
    Applied {
        /// The shard.
        by: ShardIndex,
        /// The change.
        number: u64,
    },
    /// Tell how you are, and what you counted if `whole`.
    Observe {
        /// All of it.
        whole: bool,
        /// Where to.
        to: async_channel::Sender<Observed>,
    },
    /// Answer what is under way, then stop.
    Stop,
}
