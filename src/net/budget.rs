//! The memory of one node, `node.memory.bytes`: who has how much, and whether more may be read.
//!
//! Counted are the buffers in which requests arrive, the answers on their way out, and what the
//! shard has: cache, parked fetches, fetch sessions. These rules keep the sum inside the limit while
//! clients with small requests go on as if nothing happened:
//!
//! - B1. A buffer grows beyond [`SMALL`] only while a reserve (an eighth) stays free; nothing at all
//!   is read while the limit is reached. Who may not read is paused until memory was given back, and no
//!   buffer grows beyond [`SMALL`] before one that is paused: many that want little more would take
//!   it all from one that wants much.
//! - B2. While somebody is paused, a connection that has not finished a large request, or not taken a large
//!   answer, within its [`patience`] is closed, the largest first, and those that are paused themselves
//!   last: so those that never finish what they began cannot keep the memory from all others. That
//!   a request grows does not begin its time anew: each closed connection would only feed the next.
//! - B3. What opening a batch takes while it is under way (`shard::opening::memory_share`) is set aside
//!   from the beginning, since how much that is shows only when it is opened; a batch that would take more
//!   is refused.
//!
//! `queued.max.request.bytes` bounds the request buffers alone; as in Kafka, a request that has begun
//! to arrive below that bound may go over it.

use std::time::Duration;

/// A buffer of this size may grow as long as there is any memory.
pub const SMALL: usize = 64 << 10;
/// Time for any request or answer, see B2; and how many of its bytes give it a second more.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_BYTES: usize = 8 << 20;
/// How often B2 is looked after.
pub const RELIEF_PERIOD: Duration = Duration::from_secs(1);

/// How long a connection may take for a request or an answer of so many bytes while memory is short.
pub fn patience(bytes: usize) -> Duration {
    PATIENCE + Duration::from_secs((bytes / PATIENCE_BYTES) as u64)
}

/// What one connection has, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// The buffer in which requests arrive.
    pub request: usize,
    /// Answers on their way out.
    pub answers: usize,
}

/// The memory of a node.
#[derive(Debug)]
pub struct Budget {
    /// Without what is set aside (B3).
    limit: usize,
    set_aside: usize,
    queued_max: usize,
    held: Held,
    /// What is not a connection's.
    shard: usize,
    /// Usage when a connection was paused last.
    paused_at: usize,
}

impl Budget {
    /// Nothing is used but what is set aside. `queued_max` is `queued.max.request.bytes`.
    pub fn new(limit: usize, set_aside: usize, queued_max: Option<usize>) -> Self {
        let queued_max = queued_max.unwrap_or(usize::MAX);
        let limit = limit - set_aside;
        Self { limit, set_aside, queued_max, held: Held::default(), shard: 0, paused_at: 0 }
    }

    /// A connection had `held` and has `now`.
    pub fn count(&mut self, held: &mut Held, now: Held) {
        self.held.request = self.held.request + now.request - held.request;
        self.held.answers = self.held.answers + now.answers - held.answers;
        *held = now;
    }

    /// What the shard has.
    pub fn set_shard(&mut self, bytes: usize) {
        self.shard = bytes;
    }

    /// What all connections have.
    pub fn held(&self) -> Held {
        self.held
    }

    /// `node.memory.bytes`.
    pub fn limit(&self) -> usize {
        self.limit + self.set_aside
    }

    /// What answers may take.
    pub fn room(&self) -> usize {
        (self.limit - self.limit / 8).saturating_sub(self.used())
    }

    /// Whether a connection may come.
    pub fn takes_connection(&self) -> bool {
        self.used() + SMALL <= self.limit
    }

    /// Whether a connection may read into a buffer that has `size` bytes and takes `growth` more. B1.
    pub fn may_read(&self, size: usize, growth: usize) -> bool {
        if self.used() + growth > self.limit {
            return false;
        }
        let small = growth == 0 || size + growth <= SMALL;
        small || growth <= self.room() && self.held.request < self.queued_max
    }

    /// A connection was paused.
    pub fn paused(&mut self) {
        self.paused_at = self.used();
    }

    /// Whether memory was given back since a connection was paused last.
    pub fn has_eased(&self) -> bool {
        self.used() < self.paused_at
    }

    fn used(&self) -> usize {
        self.held.request + self.held.answers + self.shard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn large_buffers_leave_a_reserve_and_small_ones_use_it() {
        let mut budget = Budget::new(17 * MIB, MIB, None);
        let mut large = Held::default();
        assert!(budget.may_read(8 << 10, 14 * MIB));
        assert!(!budget.may_read(8 << 10, 14 * MIB + 1));
        budget.count(&mut large, Held { request: 10 * MIB, answers: 4 * MIB });
        assert!(!budget.may_read(MIB, 1), "the reserve is left alone");
        assert!(budget.may_read(MIB, 0), "what is there may be filled");
        assert!(budget.may_read(8 << 10, 8 << 10) && budget.takes_connection());
        budget.set_shard(2 * MIB);
        assert!(!budget.may_read(8 << 10, 1) && !budget.takes_connection());
        budget.set_shard(2 * MIB + 1);
        assert!(!budget.may_read(8 << 10, 0), "nothing is read over the limit");
        budget.paused();
        assert!(!budget.has_eased());
        budget.count(&mut large, Held::default());
        assert!(budget.has_eased());
        assert_eq!(budget.held(), Held::default());
    }

    #[test]
    fn queued_bytes_stop_large_requests_once_the_bound_is_reached() {
        let mut budget = Budget::new(1 << 30, 0, Some(MIB));
        let mut one = Held::default();
        assert!(budget.may_read(8 << 10, 4 * MIB), "one may go over the bound");
        budget.count(&mut one, Held { request: 4 * MIB, answers: 0 });
        assert!(!budget.may_read(8 << 10, 4 * MIB));
        assert!(budget.may_read(8 << 10, 8 << 10) && budget.may_read(8 << 10, 0));
    }
}
