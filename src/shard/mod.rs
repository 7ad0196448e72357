//! What one core owns: its partitions, groups and logs, and the mail from and to its siblings.
//!
//! Flow: `api` handlers call into [`Shard`]; what it cannot answer at once it parks, and answers
//! into [`Shard::outbox`] when a commit, a record or a deadline makes that possible. The node's
//! turn (`server`) drains the outboxes. No clock, no I/O, no thread in here.

pub mod call;
pub mod mail;
pub mod sessions;

use bytes::Bytes;

use crate::base::{Moment, NodeId, WallMs};
use crate::wire::frame::Answer;

pub use call::{Call, Slot};
pub use mail::{Mail, Post, ShardIndex};

/// The shard that holds the controller and the metadata log.
pub const CONTROLLER: ShardIndex = ShardIndex(0);

/// All state of one node.
pub struct Shard {
    /// Which of the process's shards this is.
    pub index: ShardIndex,
    /// The broker id that clients know it by.
    pub node: NodeId,
    /// Time of the current turn.
    pub now: Moment,
    /// Wall-clock time of the current turn.
    pub wall: WallMs,
    /// Answers to requests that were parked, for connections of this shard.
    pub outbox: Vec<(Slot, Answer)>,
    /// Mail for sibling shards.
    pub post: Vec<Post>,
}

impl Shard {
    /// Whether requests that change metadata run here.
    pub fn holds_controller(&self) -> bool {
        self.index == CONTROLLER
    }

    /// Sends a request, as it came, to the controller's shard; the answer comes to the call's slot.
    pub fn forward(&mut self, call: Call, frame: Bytes) {
        self.post.push(Post { to: CONTROLLER, mail: Mail::Request { call, frame } });
    }

    /// Answers a parked request, wherever its connection lives.
    pub fn send(&mut self, slot: Slot, answer: Answer) {
        if slot.shard == self.index {
            self.outbox.push((slot, answer));
        } else {
            self.post.push(Post { to: slot.shard, mail: Mail::Answer { slot, answer } });
        }
    }
}
