//! Deadlines of all groups of a node, in one heap, with lazy removal.
//!
//! Invariants:
//! - T1. A [`Timer`] has at most one heap entry that is not stale: the one at its `armed` moment.
//! - T2. Moving a deadline back costs nothing: the entry stays where it is and goes in again when it
//!   comes up. So a heartbeat touches its member alone, however many groups there are.
//! - T3. An entry, with the names in it, is counted until it comes up, stale or not: members that join and
//!   leave at once leave one behind.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::base::Moment;

/// What comes due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The session of a member, or of a member id that was handed out.
    Session(i32, Arc<str>, Arc<str>),
    /// The end of a group's join phase.
    Join(i32, Arc<str>),
    /// The end of a group's sync phase.
    Sync(i32, Arc<str>),
    /// The next look at the groups of a partition.
    Look(i32),
}

impl Due {
    /// Memory of an entry. The names may be kept by nothing else.
    fn size_bytes(&self) -> usize {
        let names = match self {
            Self::Session(_, group, member) => group.len() + member.len(),
            Self::Join(_, group) | Self::Sync(_, group) => group.len(),
            Self::Look(_) => 0,
        };
        size_of::<Reverse<(Moment, u64, Self)>>() + names
    }
}

/// One deadline of one thing. It lies beside what it belongs to; the heap finds it again.
#[derive(Debug)]
pub(super) struct Timer {
    due: Moment,
    armed: Moment,
}

impl Default for Timer {
    fn default() -> Self {
        Self { due: Moment::NEVER, armed: Moment::NEVER }
    }
}

impl Timer {
    /// Sets the deadline, earlier or later than it was.
    pub(super) fn set(&mut self, due: Moment, timers: &mut Timers, key: impl FnOnce() -> Due) {
        self.due = due;
        if due < self.armed {
            self.armed = due;
            timers.push(due, key());
        }
    }

    /// Whether there is a deadline.
    pub(super) fn is_set(&self) -> bool {
        self.due != Moment::NEVER
    }

    /// There is no deadline any more.
    pub(super) fn cancel(&mut self) {
        self.due = Moment::NEVER;
    }

    /// The heap entry of `at` came up: whether the deadline has passed. If not, it is armed again.
    pub(super) fn fires(&mut self, at: Moment, now: Moment, timers: &mut Timers, key: Due) -> bool {
        if self.armed != at {
            return false;
        }
        self.armed = Moment::NEVER;
        if self.due <= now {
            self.due = Moment::NEVER;
            return true;
        }
        let due = self.due;
        self.set(due, timers, || key);
        false
    }
}

/// The heap.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Moment, u64, Due)>>,
    pushed: u64,
    /// Of all entries. T3.
    bytes: usize,
}

impl Timers {
    fn push(&mut self, at: Moment, key: Due) {
        if at == Moment::NEVER {
            return;
        }
        self.bytes += key.size_bytes();
        self.heap.push(Reverse((at, self.pushed, key)));
        self.pushed += 1;
    }

    /// Number of entries, stale ones too.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Memory of all entries, about.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// When [`Self::pop`] has something, at the earliest.
    pub(super) fn next(&self) -> Moment {
        self.heap.peek().map_or(Moment::NEVER, |Reverse((at, _, _))| *at)
    }

    /// Number of entries ever pushed: the bound for [`Self::pop`].
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Takes the next entry that is due and was pushed before `bound`, so that a deadline which is
    /// set to this very moment waits for the next call.
    pub(super) fn pop(&mut self, now: Moment, bound: u64) -> Option<(Moment, Due)> {
        let Reverse((at, number, _)) = self.heap.peek()?;
        if *at > now || *number >= bound {
            return None;
        }
        let Reverse((at, _, key)) = self.heap.pop()?;
        self.bytes -= key.size_bytes();
        Some((at, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_moves_back_costs_no_entry_and_one_that_moves_forward_is_kept() {
        let (mut timers, mut timer) = (Timers::default(), Timer::default());
        for due in [100, 200, 300] {
            timer.set(Moment(due), &mut timers, || Due::Look(0));
        }
        assert_eq!(timers.heap.len(), 1);
        let (at, key) = timers.pop(Moment(150), timers.pushed()).unwrap();
        assert!(!timer.fires(at, Moment(150), &mut timers, key));
        timer.set(Moment(160), &mut timers, || Due::Look(0));
        let (at, key) = timers.pop(Moment(160), timers.pushed()).unwrap();
        assert!(timer.fires(at, Moment(160), &mut timers, key));
        let (at, key) = timers.pop(Moment(300), timers.pushed()).unwrap();
        assert!(!timer.fires(at, Moment(300), &mut timers, key), "the entry of 300 is stale");
        assert_eq!((timers.next(), timers.size_bytes()), (Moment::NEVER, 0));
    }
}
