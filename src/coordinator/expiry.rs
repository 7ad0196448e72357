//! Offsets that nobody needs any more.
//!
//! | the group is | an offset expires `offsets.retention.minutes` after |
//! |---|---|
//! | empty, with a protocol | the group became empty (or the commit, when the record does not say) |
//! | empty, without a protocol (simple) | its commit |
//! | stable, of consumers whose subscriptions can be read | its commit, if no member reads the topic |
//! | anything else | never |
//!
//! A client of old that named a retention has its own expiry time instead. An empty group that keeps
//! no offset goes too.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::coordinator::appends::Then;
use crate::coordinator::group::{CommittedOffset, Group, State};
use crate::coordinator::records::Key;
use crate::coordinator::timers::Due;
use crate::coordinator::{Env, Partition};

/// Looks through all groups of a partition, and sets the time of the next look.
pub(super) fn sweep<R>(partition: &mut Partition<R>, env: &mut Env<'_, R>) {
    let ids: Vec<_> = partition.groups.keys().cloned().collect();
    for id in ids {
        if let Some(group) = partition.groups.get_mut(&id) {
            expire(group, env);
        }
    }
    let next = env.at.now.plus_ms(env.shared.limits.offsets_retention_check_interval_ms);
    partition.expiry.set(next, &mut env.shared.timers, || Due::Expiry(env.partition));
}

fn expire<R>(group: &mut Group<R>, env: &mut Env<'_, R>) {
    let (now_ms, retention_ms) = (env.at.wall.0, env.shared.limits.offsets_retention_ms);
    let in_flight: BTreeSet<_> =
        env.shared.appends.offsets_of(env.partition, &group.id).into_iter().collect();
    let (mut records, mut kept) = (Vec::new(), !in_flight.is_empty());
    for (topic, offsets) in &group.offsets {
        for (&partition, offset) in offsets {
            let expired = is_expired(group, topic, offset, now_ms, retention_ms);
            if expired && !in_flight.contains(&(topic.clone(), partition)) {
                let key = Key::Offset { group: &group.id, topic, partition };
                records.push(key.tombstone());
            } else {
                kept = true;
            }
        }
    }
    env.shared.tally.expirations += records.len() as u64;
    let goes = group.state == State::Empty && !kept && group.promised.is_empty();
    if goes {
        records.push(Key::Group(&group.id).tombstone());
        group.state = State::Dead;
        let then = Then::Deletion { group: group.id.clone(), request: None };
        env.append(records, then);
    } else if !records.is_empty() {
        env.append(records, Then::Nothing);
    }
}

fn is_expired<R>(
    group: &Group<R>,
    topic: &Arc<str>,
    offset: &CommittedOffset,
    now_ms: i64,
    retention_ms: i64,
) -> bool {
    let since_ms = match (group.state, &group.protocol_type) {
        (State::Dead, _) => return false,
        (State::Empty, Some(_)) if group.since_ms >= 0 => group.since_ms,
        (_, None) | (State::Empty, Some(_)) => offset.commit_ms,
        (State::Stable, Some(_)) if group.is_consumer() && group.subscribed.is_some() => {
            offset.commit_ms
        }
        _ => return false,
    };
    if group.is_subscribed_to(topic) {
        return false;
    }
    match offset.expire_ms {
        Some(expire_ms) => now_ms >= expire_ms,
        None => now_ms.saturating_sub(since_ms) >= retention_ms,
    }
}
