//! Leader side of one partition: who has what, and how far is it safe to read.
//!
//! Flow: `api::produce` and `storage` events -> **leader** -> the shard wakes whoever is parked.
//! Inputs are calls named `on_*`, effects go into `out`, time is an argument. A node that is its
//! partition's only replica runs this same machine with no followers.
//!
//! Invariants:
//! - P1. The log end never shrinks inside an epoch.
//! - P2. The high watermark never passes the log end and never goes back.
//! - P3. While fewer than `min_in_sync` replicas are in sync the high watermark stands still.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{LeaderEpoch, Moment, NodeId, Offset};

/// What the shard must do after a call, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Readers may now see everything below this offset.
    HighWatermarkMoved(Offset),
    /// Ask the controller to take this follower out of the in-sync set.
    ShrinkInSync(NodeId),
    /// Ask the controller to take this follower into the in-sync set.
    ExpandInSync(NodeId),
}

/// Why a follower's fetch was refused. State is unchanged in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The node is not a replica of this partition.
    #[error("node {0} is not a replica")]
    NotAReplica(NodeId),
    /// The follower claims records that this leader never wrote: the logs have diverged.
    #[error("offset {asked} is past the leader's log end {log_end}")]
    AheadOfLeader {
        /// Offset in the request.
        asked: Offset,
        /// End of the leader's log.
        log_end: Offset,
    },
}

/// A leader epoch in a request that is not the current one (KIP-320).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// The client knows an older leader.
    #[error("leader epoch {asked} is behind the current {current}")]
    Fenced {
        /// In the request.
        asked: LeaderEpoch,
        /// Of this leader.
        current: LeaderEpoch,
    },
    /// The client knows a newer leader than this node does.
    #[error("leader epoch {asked} is not known yet, the current is {current}")]
    Unknown {
        /// In the request.
        asked: LeaderEpoch,
        /// Of this leader.
        current: LeaderEpoch,
    },
}

#[derive(Debug)]
struct Follower {
    /// It says that it durably stored every offset below this one.
    log_end: Offset,
    in_sync: bool,
    caught_up_at: Moment,
}

/// Leader state of one partition. Lives on exactly one shard.
#[derive(Debug)]
pub struct Leader {
    epoch: LeaderEpoch,
    /// Local records below this may be acknowledged: they are stored as safely as the topic asks.
    log_end: Offset,
    high_watermark: Offset,
    min_in_sync: usize,
    followers: BTreeMap<NodeId, Follower>,
}

impl Leader {
    /// Starts an epoch over a log of which everything below `log_end` is safe and, up to
    /// `high_watermark`, known to be committed. `followers` are in sync, at offset 0.
    pub fn new(
        epoch: LeaderEpoch,
        log_end: Offset,
        high_watermark: Offset,
        min_in_sync: usize,
        followers: impl IntoIterator<Item = NodeId>,
        now: Moment,
    ) -> Self {
        let start = |id| (id, Follower { log_end: Offset(0), in_sync: true, caught_up_at: now });
        let followers: BTreeMap<_, _> = followers.into_iter().map(start).collect();
        let mut leader = Self { epoch, log_end, high_watermark, min_in_sync, followers };
        leader.advance(&mut Vec::new());
        leader
    }

    /// Current epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Local records below this are stored as safely as the topic asks.
    pub fn local_end(&self) -> Offset {
        self.log_end
    }

    /// Consumers see the records below this offset.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Consumers of committed transactions see the records below this offset.
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    /// Replicas in sync, this one included.
    pub fn in_sync(&self) -> usize {
        1 + self.followers.values().filter(|f| f.in_sync).count()
    }

    /// `min.insync.replicas`, never above the number of replicas.
    pub fn min_in_sync(&self) -> usize {
        self.min_in_sync.min(1 + self.followers.len())
    }

    /// The topic's `min.insync.replicas` changed.
    pub fn set_min_in_sync(&mut self, min: usize, out: &mut Vec<Effect>) {
        self.min_in_sync = min;
        self.advance(out);
    }

    /// Compares a client's leader epoch with the current one; -1 is not checked.
    ///
    /// # Errors
    /// [`EpochError`].
    pub fn check_epoch(&self, asked: LeaderEpoch) -> Result<(), EpochError> {
        let current = self.epoch;
        match asked.0 {
            -1 => Ok(()),
            _ if asked < current => Err(EpochError::Fenced { asked, current }),
            _ if asked > current => Err(EpochError::Unknown { asked, current }),
            _ => Ok(()),
        }
    }

    /// Local records below `log_end` are stored as safely as the topic asks.
    pub fn on_local_end(&mut self, log_end: Offset, out: &mut Vec<Effect>) {
        assert!(log_end >= self.log_end, "P1: the leader's log never shrinks inside an epoch");
        self.log_end = log_end;
        self.advance(out);
    }

    /// A follower asks for records from `asked`, which says that it stored everything below it.
    /// `newest` is the end of what has been appended here, safe or not.
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn on_follower_fetch(
        &mut self,
        from: NodeId,
        asked: Offset,
        newest: Offset,
        now: Moment,
        out: &mut Vec<Effect>,
    ) -> Result<(), FetchError> {
        if asked > newest {
            return Err(FetchError::AheadOfLeader { asked, log_end: newest });
        }
        let high_watermark = self.high_watermark;
        let follower = self.followers.get_mut(&from).ok_or(FetchError::NotAReplica(from))?;
        // The newest statement wins even when it goes back: a follower that lost its tail must
        // stop counting from now on.
        follower.log_end = asked;
        if asked == newest {
            follower.caught_up_at = now;
        }
        if !follower.in_sync && asked >= high_watermark {
            out.push(Effect::ExpandInSync(from));
        }
        self.advance(out);
        Ok(())
    }

    /// The controller changed the in-sync set.
    pub fn on_in_sync(&mut self, in_sync: &[NodeId], out: &mut Vec<Effect>) {
        for (id, follower) in &mut self.followers {
            follower.in_sync = in_sync.contains(id);
        }
        self.advance(out);
    }

    /// Looks for followers that were behind for longer than `lag_max` (`replica.lag.time.max.ms`).
    pub fn on_tick(&mut self, now: Moment, lag_max: Duration, out: &mut Vec<Effect>) {
        for (&id, follower) in &self.followers {
            let behind = follower.log_end < self.log_end;
            if follower.in_sync && behind && now.since(follower.caught_up_at) > lag_max {
                out.push(Effect::ShrinkInSync(id));
            }
        }
    }

    fn advance(&mut self, out: &mut Vec<Effect>) {
        if self.in_sync() < self.min_in_sync() {
            return;
        }
        let in_sync = self.followers.values().filter(|f| f.in_sync).map(|f| f.log_end);
        let stored_everywhere = in_sync.fold(self.log_end, Offset::min);
        if stored_everywhere > self.high_watermark {
            self.high_watermark = stored_everywhere;
            out.push(Effect::HighWatermarkMoved(stored_everywhere));
        }
        assert!(self.high_watermark <= self.log_end, "P2: nothing is readable before it is local");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;

    /// Runs a script over two followers, `min.insync.replicas` 2.
    ///
    /// `end <offset>` | `fetch <node> <offset> <newest>` | `isr <nodes>` | `tick <seconds>`
    #[track_caller]
    fn check(script: &str, expect: &Expect) {
        let (zero, followers) = (Offset(0), [NodeId(1), NodeId(2)]);
        let mut leader = Leader::new(LeaderEpoch(3), zero, zero, 2, followers, Moment(0));
        let mut trace = String::new();
        for line in script.lines().map(str::trim) {
            let mut out = Vec::new();
            let words: Vec<&str> = line.split(' ').collect();
            let num = |i: usize| words[i].parse::<i64>().unwrap();
            let mut refused = None;
            match words[0] {
                "end" => leader.on_local_end(Offset(num(1)), &mut out),
                "isr" => {
                    let nodes: Vec<_> = (1..words.len()).map(|i| NodeId(num(i) as i32)).collect();
                    leader.on_in_sync(&nodes, &mut out);
                }
                "tick" => leader.on_tick(
                    Moment(0).plus_ms(num(1) * 1000),
                    Duration::from_secs(10),
                    &mut out,
                ),
                _ => {
                    let (from, asked, newest) = (NodeId(num(1) as i32), num(2), num(3));
                    let (asked, newest) = (Offset(asked), Offset(newest));
                    refused =
                        leader.on_follower_fetch(from, asked, newest, Moment(0), &mut out).err();
                }
            }
            match refused {
                None => writeln!(trace, "{line} -> {out:?}").unwrap(),
                Some(e) => writeln!(trace, "{line} -> refused: {e}").unwrap(),
            }
        }
        expect.assert_eq(&trace);
    }

    #[test]
    fn the_high_watermark_waits_for_the_slowest_in_sync_follower_and_for_the_local_disk() {
        check(
            "fetch 1 5 5
             fetch 2 5 5
             end 5
             fetch 2 0 5
             fetch 2 6 5",
            &expect![[r"
                fetch 1 5 5 -> []
                fetch 2 5 5 -> []
                end 5 -> [HighWatermarkMoved(Offset(5))]
                fetch 2 0 5 -> []
                fetch 2 6 5 -> refused: offset 6 is past the leader's log end 5
            "]],
        );
    }

    #[test]
    fn under_min_insync_replicas_it_stands_still() {
        check(
            "end 5
             tick 11
             isr
             isr 1
             fetch 1 5 5
             fetch 2 5 5
             fetch 9 5 5",
            &expect![[r"
                end 5 -> []
                tick 11 -> [ShrinkInSync(NodeId(1)), ShrinkInSync(NodeId(2))]
                isr -> []
                isr 1 -> []
                fetch 1 5 5 -> [HighWatermarkMoved(Offset(5))]
                fetch 2 5 5 -> [ExpandInSync(NodeId(2))]
                fetch 9 5 5 -> refused: node 9 is not a replica
            "]],
        );
    }

    #[test]
    fn a_client_with_another_epoch_is_told_which_way_it_is_wrong() {
        let leader = Leader::new(LeaderEpoch(3), Offset(0), Offset(0), 1, [], Moment(0));
        assert_eq!(leader.check_epoch(LeaderEpoch(-1)), Ok(()));
        assert_eq!(leader.check_epoch(LeaderEpoch(3)), Ok(()));
        assert!(matches!(leader.check_epoch(LeaderEpoch(2)), Err(EpochError::Fenced { .. })));
        assert!(matches!(leader.check_epoch(LeaderEpoch(4)), Err(EpochError::Unknown { .. })));
    }
}
