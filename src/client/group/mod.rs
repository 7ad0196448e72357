//! A member of a classic consumer group: finds the coordinator, joins, gets partitions with their
//! committed offsets, keeps them by heartbeats, commits, and leaves.
//!
//! Flow: [`Member::poll`] asks, [`Member::on_answer`] tells what [`Happened`]. On `Revoked` the holder
//! stops reading, commits what it has consumed and calls [`Member::rejoin`]: the range assignor takes
//! all partitions away before it deals them out anew.
//!
//! Invariants:
//! - G1. Between `Assigned` and `Revoked` the partitions are this member's alone, as long as the
//!   holder polls within the session timeout.
//! - G2. A commit carries the member id and generation under which the partitions were assigned, so
//!   the coordinator refuses it once they are somebody else's.

mod coordinator;
mod membership;
pub mod offsets;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::Moment;
use crate::client::call::{Outgoing, To, Typed};
use crate::client::cluster::{Cluster, PartitionName};
use crate::client::connection::Answer;
use crate::client::error::ClientError;
use crate::wire::ErrorCode;
use crate::wire::messages::{OffsetCommitRequest, OffsetFetchRequest};

use coordinator::Coordinator;
pub use coordinator::{FIND_COORDINATOR_VERSION_MAX, find, found};
use membership::{Membership, Verdict};
use offsets::{Committed, Committer};

/// Settings, in the words of Kafka's consumer.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// `group.id`.
    pub group_id: String,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// `session.timeout.ms`.
    pub session_timeout_ms: i32,
    /// `max.poll.interval.ms`: how long others wait for this member in a rebalance.
    pub rebalance_timeout_ms: i32,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `request.timeout.ms`.
    pub request_timeout_ms: u64,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
}

impl MemberOptions {
    /// Kafka's defaults.
    pub fn new(group_id: &str) -> Self {
        Self {
            group_id: group_id.to_owned(),
            instance_id: None,
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 300_000,
            heartbeat_interval: Duration::from_secs(3),
            request_timeout_ms: 30_000,
            retry_backoff: Duration::from_millis(100),
        }
    }
}

/// What the holder of a member must act on.
#[derive(Debug)]
pub enum Happened {
    /// Read these partitions, from the committed offset where there is one.
    Assigned(Vec<(PartitionName, Option<Committed>)>),
    /// Stop reading, commit, and call [`Member::rejoin`].
    Revoked,
    /// A commit is through, or why it is not.
    Committed(Result<(), ClientError>),
    /// The group is left.
    Left,
}

#[derive(Debug)]
enum OffsetLookup {
    None,
    Wanted { not_before: Moment },
    Asked { id: u64 },
}

/// The member.
#[derive(Debug)]
pub struct Member {
    options: MemberOptions,
    topics: Vec<Arc<str>>,
    coordinator: Coordinator,
    membership: Membership,
    assigned: Vec<PartitionName>,
    lookup: OffsetLookup,
    commits: BTreeSet<u64>,
    next_id: u64,
}

impl Member {
    /// A member that will join with these topics.
    pub fn new(options: MemberOptions, topics: &[Arc<str>]) -> Self {
        Self {
            coordinator: Coordinator::new(options.group_id.clone(), options.retry_backoff),
            options,
            topics: topics.to_vec(),
            membership: Membership::new(),
            assigned: Vec::new(),
            lookup: OffsetLookup::None,
            commits: BTreeSet::new(),
            next_id: 0,
        }
    }

    /// Member id and generation; an empty id before the coordinator gave one.
    pub fn identity(&self) -> (&str, i32) {
        (&self.membership.member_id, self.membership.generation_id)
    }

    /// Commits under way.
    pub fn commits_under_way(&self) -> usize {
        self.commits.len()
    }

    /// The next moment at which [`Self::poll`], just called, has something to do by the clock alone.
    pub fn deadline(&self, now: Moment) -> Moment {
        let lookup = match self.lookup {
            OffsetLookup::Wanted { not_before } => not_before,
            OffsetLookup::None | OffsetLookup::Asked { .. } => Moment::NEVER,
        };
        let all = [self.coordinator.deadline(), self.membership.deadline(), lookup];
        all.into_iter().filter(|&moment| moment > now).min().unwrap_or(Moment::NEVER)
    }

    /// Sends what is due.
    ///
    /// # Errors
    /// When a request cannot be encoded.
    pub fn poll(
        &mut self,
        cluster: &mut Cluster,
        now: Moment,
        out: &mut Vec<Outgoing>,
    ) -> Result<(), ClientError> {
        let timeout_ms = self.options.request_timeout_ms;
        self.coordinator.poll(now, &mut self.next_id, timeout_ms, out);
        let Some(node) = self.coordinator.node() else { return Ok(()) };
        if !cluster.brokers().contains_key(&node) {
            cluster.mark_stale();
            return Ok(());
        }
        let context = (&self.options, &self.topics[..], node);
        self.membership.poll(context, cluster, now, &mut self.next_id, out)?;
        if let OffsetLookup::Wanted { not_before } = self.lookup
            && now >= not_before
        {
            self.next_id += 1;
            self.lookup = OffsetLookup::Asked { id: self.next_id };
            let request = offsets::fetch(&self.options.group_id, Some(&self.assigned));
            let call = Typed::up_to(request, offsets::FETCH_VERSION_MAX).boxed();
            out.push(Outgoing { to: To::Node(node), id: self.next_id, timeout_ms, call });
        }
        Ok(())
    }

    /// Joins again, after [`Happened::Revoked`].
    pub fn rejoin(&mut self) {
        self.assigned.clear();
        self.lookup = OffsetLookup::None;
        self.membership.rejoin();
    }

    /// Joins again with other topics.
    pub fn resubscribe(&mut self, topics: &[Arc<str>]) {
        self.topics = topics.to_vec();
        self.rejoin();
    }

    /// Commits offsets. Nothing happens without a coordinator or without offsets.
    pub fn commit(
        &mut self,
        offsets: &BTreeMap<PartitionName, Committed>,
        out: &mut Vec<Outgoing>,
    ) -> bool {
        let Some(node) = self.coordinator.node().filter(|_| !offsets.is_empty()) else {
            return false;
        };
        let committer = Committer {
            member_id: &self.membership.member_id,
            instance_id: self.options.instance_id.as_deref(),
            generation_id: self.membership.generation_id,
        };
        let request = offsets::commit(&self.options.group_id, committer, offsets);
        self.next_id += 1;
        self.commits.insert(self.next_id);
        out.push(Outgoing {
            to: To::Node(node),
            id: self.next_id,
            timeout_ms: self.options.request_timeout_ms,
            call: Typed::up_to(request, offsets::COMMIT_VERSION_MAX).boxed(),
        });
        true
    }

    /// Leaves the group; `false` when there is nothing to leave.
    pub fn leave(&mut self, out: &mut Vec<Outgoing>) -> bool {
        let Some(node) = self.coordinator.node() else { return false };
        self.membership.leave(&self.options, node, &mut self.next_id, out)
    }

    /// The answer to a request of this member, or why there is none.
    ///
    /// # Errors
    /// What will not pass: the member cannot be in this group. All else is asked again.
    pub fn on_answer(
        &mut self,
        id: u64,
        answer: Result<Answer, ClientError>,
        now: Moment,
        out: &mut Vec<Happened>,
    ) -> Result<(), ClientError> {
        if self.coordinator.is_asked(id) {
            return self.coordinator.on_answer(answer, now);
        }
        if self.membership.is_asked(id) {
            let verdict = self.membership.on_answer(&self.options, answer, now)?;
            self.on_verdict(verdict, now, out);
            return Ok(());
        }
        if self.commits.remove(&id) {
            let result = answer.and_then(|a| a.decode::<OffsetCommitRequest>()).and_then(|a| {
                let codes = offsets::committed(&a);
                let bad = codes.into_values().find(|&c| c != ErrorCode::NONE);
                ClientError::check("OffsetCommit", bad.unwrap_or_default().0, None)
            });
            if result.as_ref().is_err_and(is_about_coordinator) {
                self.coordinator.lose(now);
            }
            out.push(Happened::Committed(result));
            return Ok(());
        }
        if matches!(self.lookup, OffsetLookup::Asked { id: asked } if asked == id) {
            let read = answer.and_then(|a| a.decode::<OffsetFetchRequest>());
            return self.on_offsets(read.and_then(|a| offsets::fetched(&a)), now, out);
        }
        Ok(())
    }

    fn on_verdict(&mut self, verdict: Verdict, now: Moment, out: &mut Vec<Happened>) {
        match verdict {
            Verdict::Fine => {}
            Verdict::Assigned(partitions) if partitions.is_empty() => {
                out.push(Happened::Assigned(Vec::new()));
            }
            Verdict::Assigned(partitions) => {
                self.assigned = partitions;
                self.lookup = OffsetLookup::Wanted { not_before: now };
            }
            Verdict::Revoked => out.push(Happened::Revoked),
            Verdict::CoordinatorLost => self.coordinator.lose(now),
            Verdict::Left => out.push(Happened::Left),
        }
    }

    fn on_offsets(
        &mut self,
        found: Result<BTreeMap<PartitionName, Committed>, ClientError>,
        now: Moment,
        out: &mut Vec<Happened>,
    ) -> Result<(), ClientError> {
        self.lookup = OffsetLookup::None;
        match found {
            Ok(found) => {
                let with_offset = |name: &PartitionName| (name.clone(), found.get(name).copied());
                out.push(Happened::Assigned(self.assigned.iter().map(with_offset).collect()));
                Ok(())
            }
            Err(e) if e.is_retriable() => {
                if is_about_coordinator(&e) {
                    self.coordinator.lose(now);
                }
                let not_before = now + self.options.retry_backoff;
                self.lookup = OffsetLookup::Wanted { not_before };
                Ok(())
            }
            // The generation is over; the next heartbeat says so and the member joins again.
            Err(_) if self.membership.is_in() => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn is_about_coordinator(e: &ClientError) -> bool {
    match e {
        ClientError::Refused { code, .. } => {
            [ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_NOT_AVAILABLE].contains(code)
        }
        other => other.is_retriable(),
    }
}
