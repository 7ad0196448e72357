//! Groups as administrators see them: list, describe, delete.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::coordinator::appends::Then;
use crate::coordinator::error::GroupError;
use crate::coordinator::group::{Group, State};
use crate::coordinator::message::{At, Described, DescribedMember, Effect, Listed};
use crate::coordinator::records::Key;
use crate::coordinator::{GroupMap, Groups};

/// The one kind of group there is.
const CLASSIC: &str = "classic";

const STATES: [State; 5] = [
    State::Empty,
    State::PreparingRebalance,
    State::CompletingRebalance,
    State::Stable,
    State::Dead,
];

/// How many groups, members and offsets a node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCounts {
    /// Partitions of the offsets topic that are being read.
    pub loading: usize,
    /// Those that are served.
    pub active: usize,
    /// Groups by state.
    pub states: [(&'static str, usize); 5],
    /// Members of all groups.
    pub members: usize,
    /// Committed offsets of all groups.
    pub offsets: usize,
}

impl Default for GroupCounts {
    fn default() -> Self {
        let states = STATES.map(|state| (state.name(), 0));
        Self { loading: 0, active: 0, states, members: 0, offsets: 0 }
    }
}

/// How far a look at all groups has come.
#[derive(Debug, Default)]
pub struct Walk {
    partition: i32,
    /// The last group of it that was looked at.
    group: Option<Arc<str>>,
}

/// A list of groups that is being made.
#[derive(Debug)]
pub struct Listing {
    /// States that pass.
    states: Vec<State>,
    walk: Walk,
    /// What was found so far, in no order.
    pub found: Vec<Listed>,
}

impl Listing {
    /// Filters that are empty let all pass; the case of states and types does not matter.
    pub fn new<S: AsRef<str>>(states: &[S], types: &[S]) -> Self {
        let passes = |filter: &[S], name: &str| {
            filter.is_empty() || filter.iter().any(|f| f.as_ref().eq_ignore_ascii_case(name))
        };
        let states = STATES.into_iter().filter(|s| passes(states, s.name()));
        let states = if passes(types, CLASSIC) { states.collect() } else { Vec::new() };
        Self { states, walk: Walk::default(), found: Vec::new() }
    }
}

impl<R> Groups<R> {
    /// The next groups of a walk, `max` of them unless it ends.
    fn next_groups(&self, walk: &mut Walk, max: usize) -> Vec<&Group<R>> {
        let rest = self.partitions.range(walk.partition..).flat_map(|(&partition, entry)| {
            let last = walk.group.as_deref().filter(|_| partition == walk.partition);
            let after = (last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
            entry.groups.range::<str, _>(after).map(move |(_, group)| (partition, group))
        });
        let (partitions, next): (Vec<_>, Vec<_>) = rest.take(max).unzip();
        if let Some((&partition, group)) = partitions.last().zip(next.last()) {
            *walk = Walk { partition, group: Some(group.id.clone()) };
        }
        next
    }

    /// Goes on with a list by `max` groups; whether that is all of them.
    ///
    /// # Errors
    /// [`GroupError::LoadInProgress`]: the list would not be whole. As with Kafka, it goes on without those
    /// of a partition that cannot be read.
    pub fn list(&self, listing: &mut Listing, max: usize) -> Result<bool, GroupError> {
        if self.partitions.values().any(|p| p.loading && !p.failed) {
            return Err(GroupError::LoadInProgress);
        }
        let next = self.next_groups(&mut listing.walk, max);
        let ends = next.len() < max;
        let listed = next.into_iter().filter(|g| listing.states.contains(&g.state));
        listing.found.extend(listed.map(|g| Listed {
            group: g.id.clone(),
            protocol_type: g.protocol_type.clone().unwrap_or_default(),
            state: g.state.name(),
            group_type: CLASSIC,
        }));
        Ok(ends)
    }

    /// Goes on counting, for metrics, by `max` groups; whether that is all of them.
    pub fn count(&self, counts: &mut GroupCounts, walk: &mut Walk, max: usize) -> bool {
        let next = self.next_groups(walk, max);
        for group in &next {
            let known = counts.states.iter_mut().find(|(name, _)| *name == group.state.name());
            if let Some((_, n)) = known {
                *n += 1;
            }
            counts.members += group.members.len();
            counts.offsets += group.offsets.values().map(BTreeMap::len).sum::<usize>();
        }
        counts.loading = self.partitions.values().filter(|p| p.loading).count();
        counts.active = self.partitions.len() - counts.loading;
        next.len() < max
    }

    /// One group.
    ///
    /// # Errors
    /// [`GroupError::GroupIdNotFound`], or this node cannot answer for the group.
    pub fn describe(&self, group: &str) -> Result<Described, GroupError> {
        let group = self.look(group)?.get(group).ok_or(GroupError::GroupIdNotFound)?;
        if group.state == State::Dead {
            return Err(GroupError::GroupIdNotFound);
        }
        let protocol = group.protocol.as_ref().filter(|_| group.state == State::Stable);
        let members = group.members.iter().map(|(id, member)| DescribedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol.map(|p| member.metadata(Some(p))).unwrap_or_default(),
            assignment: member.assignment.clone(),
        });
        Ok(Described {
            state: group.state.name(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.cloned().unwrap_or_default(),
            members: members.collect(),
        })
    }

    /// Deletes groups without members, and their offsets. Answered with
    /// [`Answer::Each`](crate::coordinator::Answer::Each), one outcome a group.
    pub fn delete_groups(&mut self, groups: &[&str], to: R, at: At, out: &mut Vec<Effect<R>>) {
        let request = self.shared.appends.open_deletions(to, vec![Ok(()); groups.len()]);
        for (place, group) in groups.iter().enumerate() {
            self.shared.appends.add_deletion(request);
            if let Err(error) = self.delete(group, request, place, at, out) {
                self.shared.appends.end_deletion(request, Some((place, error)), out);
            }
        }
        self.shared.appends.end_deletion(request, None, out);
    }

    fn delete(
        &mut self,
        group: &str,
        request: u64,
        place: usize,
        at: At,
        out: &mut Vec<Effect<R>>,
    ) -> Result<(), GroupError> {
        let (groups, mut env) = self.seat(group, at, out)?;
        let group = deletable(groups, group)?;
        let in_flight = env.shared.appends.offsets_of(env.partition, &group.id);
        let kept = group.offsets.iter().flat_map(|(t, o)| o.keys().map(|p| (t.clone(), *p)));
        let mut keys: Vec<(Arc<str>, i32)> = kept.chain(in_flight).collect();
        keys.sort_unstable();
        keys.dedup();
        let offset = |(topic, partition): &(Arc<str>, i32)| {
            Key::Offset { group: &group.id, topic, partition: *partition }.tombstone()
        };
        let mut records: Vec<_> = keys.iter().map(offset).collect();
        records.push(Key::Group(&group.id).tombstone());
        let then = Then::Deletion { group: group.id.clone(), request: Some((request, place)) };
        group.state = State::Dead;
        group.promised.clear();
        env.append(records, then);
        Ok(())
    }
}

fn deletable<'a, R>(
    groups: &'a mut GroupMap<R>,
    group: &str,
) -> Result<&'a mut Group<R>, GroupError> {
    let group = groups.get_mut(group).ok_or(GroupError::GroupIdNotFound)?;
    match group.state {
        State::Empty => Ok(group),
        State::Dead => Err(GroupError::GroupIdNotFound),
        _ => Err(GroupError::NonEmptyGroup),
    }
}
