//! Committed offsets: keeping, showing, deleting them.
//!
//! An offset is kept under the group, topic and partition, with the id of the topic it was committed
//! for, so that a topic made again under the same name does not inherit it. A group without members
//! is a place to keep offsets too ("simple" group): then nobody's generation is asked for.

use std::sync::Arc;

use crate::base::TopicId;
use crate::coordinator::appends::Then;
use crate::coordinator::error::GroupError;
use crate::coordinator::group::{CommittedOffset, Group, State};
use crate::coordinator::message::{Answer, At, Commit, CommitOffset, Effect, Outcomes, Sender};
use crate::coordinator::records::{self, Key, Record, STRING_BYTES_MAX};
use crate::coordinator::{Env, Groups, alive, looks, reply, session};

/// One topic that offsets are asked for.
#[derive(Debug, Clone)]
pub struct FetchTopic<'a> {
    /// Its name.
    pub topic: &'a str,
    /// Its id; zero when the client does not say.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: &'a [i32],
}

/// Offsets of one topic, by partition; `None` where there is none.
type TopicOffsets<'g> = (Arc<str>, Vec<(i32, Option<&'g CommittedOffset>)>);

impl<R> Groups<R> {
    /// Keeps offsets. Answered with [`Answer::Each`], when they are committed.
    pub fn commit_offsets(&mut self, commit: &Commit<'_>, to: R, at: At, out: &mut Vec<Effect<R>>) {
        let mut to = Some(to);
        if let Err(error) = self.try_commit(commit, &mut to, at, out) {
            reply(out, to, || Answer::Each(Err(error)));
        }
    }

    fn try_commit(
        &mut self,
        commit: &Commit<'_>,
        to: &mut Option<R>,
        at: At,
        out: &mut Vec<Effect<R>>,
    ) -> Result<(), GroupError> {
        let from = &commit.from;
        let (groups, mut env) = self.seat(from.group, at, out)?;
        match alive(groups, from.group, GroupError::GroupIdNotFound) {
            Ok(group) => {
                check_commit(group, from)?;
                if matches!(group.state, State::Stable | State::PreparingRebalance) {
                    session::restart(group, from.member, &mut env);
                }
            }
            Err(GroupError::GroupIdNotFound) if from.generation < 0 => {}
            Err(GroupError::GroupIdNotFound) if !commit.reports_unknown_group => {
                return Err(GroupError::IllegalGeneration { asked: from.generation, current: -1 });
            }
            Err(error) => return Err(error),
        }
        let metadata_max = env.shared.limits.offset_metadata_chars_max;
        let (mut records, mut outcomes) = (Vec::new(), Vec::new());
        for offset in &commit.offsets {
            let checked = check_offset(from.group, offset, metadata_max);
            if checked.is_ok() {
                records.push(record(from.group, offset, at, commit.retention_ms));
            }
            outcomes.push(checked);
        }
        env.shared.tally.commits += records.len() as u64;
        append_or_reply(records, outcomes, to, &mut env);
        Ok(())
    }

    /// Shows committed offsets: of the topics asked for, in their order, or of all. A group that is
    /// not known has none.
    ///
    /// # Errors
    /// This node cannot answer for the group.
    pub fn fetch_offsets(
        &self,
        group: &str,
        topics: Option<&[FetchTopic<'_>]>,
    ) -> Result<Vec<TopicOffsets<'_>>, GroupError> {
        let found = self.look(group)?.get(group).filter(|g| g.state != State::Dead);
        let Some(topics) = topics else {
            let all = found.into_iter().flat_map(|g| &g.offsets);
            let each = all.map(|(topic, offsets)| {
                (topic.clone(), offsets.iter().map(|(p, o)| (*p, Some(o))).collect())
            });
            return Ok(each.collect());
        };
        let one = |asked: &FetchTopic<'_>| {
            let offsets = found.and_then(|g| g.offsets.get(asked.topic));
            let of = |partition: &i32| {
                let offset = offsets.and_then(|o| o.get(partition));
                let same = |o: &&CommittedOffset| {
                    [o.topic_id, asked.topic_id].contains(&TopicId::ZERO)
                        || o.topic_id == asked.topic_id
                };
                (*partition, offset.filter(same))
            };
            (Arc::from(asked.topic), asked.partitions.iter().map(of).collect())
        };
        Ok(topics.iter().map(one).collect())
    }

    /// Deletes offsets of topics that the group does not read. Answered with [`Answer::Each`].
    pub fn delete_offsets(
        &mut self,
        group: &str,
        partitions: &[(&str, i32)],
        to: R,
        at: At,
        out: &mut Vec<Effect<R>>,
    ) {
        let mut to = Some(to);
        if let Err(error) = self.try_delete_offsets(group, partitions, &mut to, at, out) {
            reply(out, to, || Answer::Each(Err(error)));
        }
    }

    fn try_delete_offsets(
        &mut self,
        group: &str,
        partitions: &[(&str, i32)],
        to: &mut Option<R>,
        at: At,
        out: &mut Vec<Effect<R>>,
    ) -> Result<(), GroupError> {
        if group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let (groups, mut env) = self.seat(group, at, out)?;
        let state = groups.get(group).filter(|g| g.state != State::Dead);
        let state = state.ok_or(GroupError::GroupIdNotFound)?;
        if state.state != State::Empty && !state.is_consumer() {
            return Err(GroupError::NonEmptyGroup);
        }
        let in_flight = env.shared.appends.offsets_of(env.partition, group);
        let (mut records, mut outcomes) = (Vec::new(), Vec::new());
        for &(topic, partition) in partitions {
            if state.is_subscribed_to(topic) {
                outcomes.push(Err(GroupError::SubscribedToTopic));
                continue;
            }
            outcomes.push(Ok(()));
            let kept = state.offsets.get(topic).is_some_and(|o| o.contains_key(&partition));
            if kept || in_flight.iter().any(|(t, p)| &**t == topic && *p == partition) {
                records.push(Key::Offset { group, topic, partition }.tombstone());
            }
        }
        env.shared.tally.deletions += records.len() as u64;
        append_or_reply(records, outcomes, to, &mut env);
        Ok(())
    }

    /// Deletes the offsets that any group keeps for a topic that is gone, some at once and the rest as time
    /// goes on. A partition that is still being read keeps them; they are not taken for those of another
    /// topic of that name.
    pub fn on_topic_deleted(&mut self, topic: &str, id: TopicId, at: At, out: &mut Vec<Effect<R>>) {
        for (&partition, entry) in self.partitions.iter_mut().filter(|(_, entry)| !entry.loading) {
            let mut env = Env { shared: &mut self.shared, partition, at, out };
            let in_flight = env.shared.appends.tombstones_of(partition, topic);
            if !in_flight.is_empty() {
                env.append(in_flight, Then::Nothing);
            }
            entry.looks.on_topic_deleted(topic, id, at.wall);
            looks::go_on(entry, &mut env);
        }
    }
}

fn check_commit<R>(group: &Group<R>, from: &Sender<'_>) -> Result<(), GroupError> {
    if from.generation < 0 && group.state == State::Empty {
        return Ok(());
    }
    if from.generation < 0 && from.member.is_empty() && from.instance.is_none() {
        return Err(GroupError::UnknownMemberId);
    }
    group.check_member(from.member, from.instance)?;
    group.check_generation(from.generation)?;
    match group.state {
        State::CompletingRebalance => Err(GroupError::RebalanceInProgress),
        _ => Ok(()),
    }
}

fn check_offset(group: &str, offset: &CommitOffset<'_>, limit: usize) -> Result<(), GroupError> {
    for name in [group, offset.topic, offset.metadata] {
        if name.len() > STRING_BYTES_MAX {
            let (bytes, limit_bytes) = (name.len(), STRING_BYTES_MAX);
            return Err(GroupError::NameTooLong { bytes, limit_bytes });
        }
    }
    // No character has more UTF-16 units than bytes.
    if offset.metadata.len() <= limit {
        return Ok(());
    }
    let chars = offset.metadata.encode_utf16().count();
    if chars > limit { Err(GroupError::OffsetMetadataTooLarge { chars, limit }) } else { Ok(()) }
}

fn record(group: &str, offset: &CommitOffset<'_>, at: At, retention_ms: Option<i64>) -> Record {
    let key = Key::Offset { group, topic: offset.topic, partition: offset.partition };
    let kept = CommittedOffset {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.into(),
        commit_ms: at.wall.0,
        expire_ms: retention_ms.map(|ms| at.wall.0.saturating_add(ms)),
        topic_id: offset.topic_id,
    };
    records::offset_record(&key, &kept)
}

/// Without records there is nothing to wait for.
fn append_or_reply<R>(
    records: Vec<Record>,
    outcomes: Vec<Result<(), GroupError>>,
    to: &mut Option<R>,
    env: &mut Env<'_, R>,
) {
    if records.is_empty() {
        let outcomes: Outcomes = Ok(outcomes);
        reply(env.out, to.take(), || Answer::Each(outcomes));
    } else {
        env.append(records, Then::Each { to: to.take(), outcomes });
    }
}
