//! Groups as administrators see them: list, describe, delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::appends::Then;
use crate::coordinator::error::GroupError;
use crate::coordinator::group::{Group, State};
use crate::coordinator::message::{At, Described, DescribedMember, Effect, Listed};
use crate::coordinator::records::Key;
use crate::coordinator::{GroupMap, Groups};

/// The one kind of group there is.
const CLASSIC: &str = "classic";

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
        use State::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        let all = [Empty, PreparingRebalance, CompletingRebalance, Stable, Dead];
        let states = all.map(|state| (state.name(), 0));
        Self { loading: 0, active: 0, states, members: 0, offsets: 0 }
    }
}

impl<R> Groups<R> {
    /// All groups of this node, by name. Filters that are empty let all pass; the case of states and
    /// types does not matter.
    ///
    /// # Errors
    /// [`GroupError::LoadInProgress`]: the list would not be whole.
    pub fn list(&self, states: &[&str], types: &[&str]) -> Result<Vec<Listed>, GroupError> {
        if self.partitions.values().any(|p| p.loading) {
            return Err(GroupError::LoadInProgress);
        }
        let passes = |filter: &[&str], name: &str| {
            filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(name))
        };
        if !passes(types, CLASSIC) {
            return Ok(Vec::new());
        }
        let groups = self.partitions.values().flat_map(|p| p.groups.values());
        let listed = |g: &Group<R>| Listed {
            group: g.id.clone(),
            protocol_type: g.protocol_type.clone().unwrap_or_default(),
            state: g.state.name(),
            group_type: CLASSIC,
        };
        let mut all: Vec<_> =
            groups.filter(|g| passes(states, g.state.name())).map(listed).collect();
        all.sort_unstable_by(|a, b| a.group.cmp(&b.group));
        Ok(all)
    }

    /// What there is of each kind, for metrics.
    pub fn counts(&self) -> GroupCounts {
        let mut counts = GroupCounts::default();
        for partition in self.partitions.values() {
            *(if partition.loading { &mut counts.loading } else { &mut counts.active }) += 1;
            for group in partition.groups.values() {
                let known = counts.states.iter_mut().find(|(name, _)| *name == group.state.name());
                if let Some((_, n)) = known {
                    *n += 1;
                }
                counts.members += group.members.len();
                counts.offsets += group.offsets.values().map(BTreeMap::len).sum::<usize>();
            }
        }
        counts
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
