//! Classic consumer groups and their offsets: all groups whose partition of `__consumer_offsets`
//! this node leads.
//!
//! Flow: `api::join_group` and its siblings -> [`Groups`] -> effects -> the shard, which appends
//! records to the offsets topic and delivers answers. `R` is the return address of a request.
//!
//! **Records are the state.** What outlives a crash is what the log of the offsets topic says: one
//! record per group (its last stable or empty generation) and one per committed offset. A request
//! that changes it emits [`Effect::Append`] and is answered when the shard reports the append; only
//! then does [`replay`](Groups::replay)'s rule apply the records, the same rule that reads the log
//! after a start. So nobody is shown an offset that could still be lost. What Kafka keeps in memory
//! only (who is joining, timers, sessions) stays in memory here too.
//!
//! One file per part of the protocol: `group` the state, `join`, `rebalance` (the join phase from
//! its start to its end), `sync`, `session` (heartbeats, leaving, silence), `offsets`, `looks` (at all
//! groups, some in a turn), `expiry`, `admin` (describe, list, delete); beneath them `appends` (what
//! is on its way to the log), `records` (its format), `timers`, `held` (memory that is counted) and `ids`.
//!
//! Invariants:
//! - C1. Every reply address that comes in goes out again exactly once.
//! - C2. Time and randomness are arguments: one seed and one script give one trace.
//! - C3. No call but `list`, the looks, and the loss of a partition looks at more groups than it names.
//! - C4. A request is answered with the variant of [`Answer`] that its method names.
//!
//! Deliberately absent: transactional offsets, and the group types of KIP-848 and later, whose
//! records are skipped. A group is first written when it has a generation; Kafka also writes an empty
//! record when the first member knocks.

mod admin;
mod appends;
mod error;
mod expiry;
mod group;
mod held;
mod ids;
mod join;
mod looks;
mod message;
mod offsets;
mod rebalance;
mod records;
mod session;
mod sync;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::Moment;
use crate::config::GroupLimits;
use crate::coordinator::appends::{Appends, Then};
use crate::coordinator::group::{Group, State};
use crate::coordinator::ids::MemberIds;
use crate::coordinator::looks::{Looks, Room};
use crate::coordinator::timers::{Due, Timers};
use crate::metrics::GroupTally;

pub use admin::{GroupCounts, Listing, Walk};
pub use error::{AppendFailure, GroupError, RecordError};
pub use group::CommittedOffset;
pub use ids::partition_of;
pub use message::{
    Answer, At, Commit, CommitOffset, Described, DescribedMember, Effect, Join, Joined,
    JoinedMember, Leaver, Listed, Outcomes, Sender, Sync, Synced, Ticket,
};
pub use offsets::FetchTopic;
pub use records::Record;

/// A tree, so that a look at all of them can stop and go on, and none of them move when there are more.
type GroupMap<R> = BTreeMap<Arc<str>, Group<R>>;

/// The groups of one partition of the offsets topic.
#[derive(Debug)]
struct Partition<R> {
    /// Its log is being read, or cannot be.
    loading: bool,
    /// It cannot be.
    failed: bool,
    groups: GroupMap<R>,
    looks: Looks,
}

impl<R> Partition<R> {
    /// Whether its groups are known, or why not.
    fn check(&self) -> Result<(), GroupError> {
        match (self.loading, self.failed) {
            (false, _) => Ok(()),
            (true, true) => Err(GroupError::NotAvailable),
            (true, false) => Err(GroupError::LoadInProgress),
        }
    }
}

/// What all groups of the node share.
#[derive(Debug)]
struct Shared<R> {
    limits: GroupLimits,
    ids: MemberIds,
    timers: Timers,
    appends: Appends<R>,
    tally: GroupTally,
    /// Bytes of the members' metadata, and of the ids that are promised.
    held: Arc<AtomicUsize>,
    /// What the looks of this turn may still take.
    room: Room,
}

/// What surrounds a group during one call.
struct Env<'a, R> {
    shared: &'a mut Shared<R>,
    partition: i32,
    at: At,
    out: &'a mut Vec<Effect<R>>,
}

impl<R> Env<'_, R> {
    fn append(&mut self, records: Vec<Record>, then: Then<R>) -> Ticket {
        self.shared.appends.begin(self.partition, records, then, self.at.now, self.out)
    }
}

/// Answers a parked request, if there is one.
fn reply<R>(out: &mut Vec<Effect<R>>, to: Option<R>, answer: impl FnOnce() -> Answer) {
    if let Some(to) = to {
        out.push(Effect::Reply { to, answer: answer() });
    }
}

/// All groups of one node.
#[derive(Debug)]
pub struct Groups<R> {
    shared: Shared<R>,
    partitions: BTreeMap<i32, Partition<R>>,
}

impl<R> Groups<R> {
    /// No groups yet; each partition must be loaded first. The seed makes the members' ids.
    pub fn new(limits: GroupLimits, seed: u64) -> Self {
        let shared = Shared {
            limits,
            ids: MemberIds::new(seed),
            timers: Timers::default(),
            appends: Appends::default(),
            tally: GroupTally::default(),
            held: Arc::default(),
            room: Room::default(),
        };
        Self { shared, partitions: BTreeMap::new() }
    }

    /// The offsets topic has this many partitions, whatever the configuration says.
    pub fn set_partitions(&mut self, partitions: i32) {
        self.shared.limits.offsets_topic_partitions = partitions;
    }

    /// Partition of the offsets topic that holds the group.
    pub fn partition_of(&self, group: &str) -> i32 {
        partition_of(group, self.shared.limits.offsets_topic_partitions)
    }

    /// This node has become leader of the partition: its requests are put off until
    /// [`Self::loaded`]. If it was leader before, that was another time: [`Self::unload`] comes first.
    pub fn load(&mut self, partition: i32, out: &mut Vec<Effect<R>>) {
        self.unload(partition, out);
        let fresh = Partition {
            loading: true,
            failed: false,
            groups: GroupMap::default(),
            looks: Looks::default(),
        };
        self.partitions.insert(partition, fresh);
    }

    /// Applies one record of the partition's log, in the log's order. Records of other kinds of
    /// groups are skipped.
    ///
    /// # Errors
    /// [`RecordError`]: the record is skipped, the others still count.
    pub fn replay(
        &mut self,
        partition: i32,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        let Some(partition) = self.partitions.get_mut(&partition) else { return Ok(()) };
        appends::replay(&mut partition.groups, key, value, None)
    }

    /// The partition's log has been read to its end: members' sessions start, those of some groups now
    /// and of the others as time goes on.
    pub fn loaded(&mut self, partition: i32, at: At, out: &mut Vec<Effect<R>>) {
        let Some(entry) = self.partitions.get_mut(&partition) else { return };
        entry.loading = false;
        let mut env = Env { shared: &mut self.shared, partition, at, out };
        entry.looks.begin(&env);
        looks::go_on(entry, &mut env);
    }

    /// The partition's log cannot be read: its groups are not available, since what is known of them may be
    /// old.
    pub fn load_failed(&mut self, partition: i32) {
        if let Some(entry) = self.partitions.get_mut(&partition) {
            entry.failed = true;
            entry.groups.clear();
        }
    }

    /// Memory of what members say of themselves, of ids that are promised, and of deadlines: all of them
    /// last as long as sessions, and no record bounds them.
    pub fn size_bytes(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed) + self.shared.timers.size_bytes()
    }

    /// What was counted.
    pub fn tally(&self) -> GroupTally {
        let failed = self.partitions.values().filter(|p| p.failed).count();
        GroupTally { failed, ..self.shared.tally }
    }

    /// This node does not lead the partition any more: all that is parked is answered, all state of
    /// it dropped.
    pub fn unload(&mut self, partition: i32, out: &mut Vec<Effect<R>>) {
        const ERROR: GroupError = GroupError::NotCoordinator;
        let Some(entry) = self.partitions.remove(&partition) else { return };
        for group in entry.groups.into_values() {
            for (id, member) in group.members {
                reply(out, member.join, || Answer::Join(id, Err(ERROR)));
                reply(out, member.sync, || Answer::Sync(Err(ERROR)));
            }
        }
        self.shared.appends.abandon(partition, out);
    }

    /// When [`Self::on_time`] has something to do, at the earliest.
    pub fn next_deadline(&self) -> Moment {
        let append =
            self.shared.appends.next_deadline(self.shared.limits.offsets_commit_timeout_ms);
        self.shared.timers.next().min(append)
    }

    /// Does what is due.
    pub fn on_time(&mut self, at: At, out: &mut Vec<Effect<R>>) {
        let bound = self.shared.timers.pushed();
        while let Some((armed, due)) = self.shared.timers.pop(at.now, bound) {
            self.on_due(armed, due, at, out);
        }
        while let Some(ticket) =
            self.shared.appends.overdue(at.now, self.shared.limits.offsets_commit_timeout_ms)
        {
            self.on_append_late(ticket, at, out);
        }
    }

    fn on_due(&mut self, armed: Moment, due: Due, at: At, out: &mut Vec<Effect<R>>) {
        let (Due::Session(partition, ..)
        | Due::Join(partition, _)
        | Due::Sync(partition, _)
        | Due::Look(partition)) = due;
        let Some(entry) = self.partitions.get_mut(&partition) else { return };
        let mut env = Env { shared: &mut self.shared, partition, at, out };
        let (group, rest) = match &due {
            Due::Look(_) => {
                if entry.looks.timer.fires(armed, at.now, &mut env.shared.timers, due) {
                    looks::go_on(entry, &mut env);
                }
                return;
            }
            Due::Session(_, group, _) | Due::Join(_, group) | Due::Sync(_, group) => {
                (group.clone(), due)
            }
        };
        let Some(state) = entry.groups.get_mut(&group) else { return };
        match rest {
            Due::Session(..) => session::on_due(state, armed, rest, &mut env),
            _ => rebalance::on_due(state, armed, rest, &mut env),
        }
        Self::drop_void(&mut entry.groups, &group);
    }

    /// The partition of a group and what surrounds it.
    fn seat<'a>(
        &'a mut self,
        group: &str,
        at: At,
        out: &'a mut Vec<Effect<R>>,
    ) -> Result<(&'a mut GroupMap<R>, Env<'a, R>), GroupError> {
        let partition = self.partition_of(group);
        let Some(entry) = self.partitions.get_mut(&partition) else {
            return Err(GroupError::NotCoordinator);
        };
        entry.check()?;
        Ok((&mut entry.groups, Env { shared: &mut self.shared, partition, at, out }))
    }

    /// The groups of a partition, for a question.
    fn look(&self, group: &str) -> Result<&GroupMap<R>, GroupError> {
        let partition = self.partitions.get(&self.partition_of(group));
        let partition = partition.ok_or(GroupError::NotCoordinator)?;
        partition.check()?;
        Ok(&partition.groups)
    }

    /// Forgets a group that nothing is known of.
    fn drop_void(groups: &mut GroupMap<R>, group: &str) {
        if groups.get(group).is_some_and(Group::is_void) {
            groups.remove(group);
        }
    }
}

/// A group that is not there or on its way out.
fn alive<'a, R>(
    groups: &'a mut GroupMap<R>,
    group: &str,
    missing: GroupError,
) -> Result<&'a mut Group<R>, GroupError> {
    match groups.get_mut(group) {
        None => Err(missing),
        Some(group) if group.state == State::Dead => Err(GroupError::NotAvailable),
        Some(group) => Ok(group),
    }
}
