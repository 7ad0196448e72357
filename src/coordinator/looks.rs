//! Looks at all groups of a partition, some of them in a turn: to start the sessions of members that were
//! read from the log, to forget the offsets of deleted topics, and to find the expired ones.
//!
//! One look at a time. Its next step waits until what the one before wrote is in the log, so that there
//! is never more of it under way. All partitions of a node share what a turn may look at.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Moment, TopicId, WallMs};
use crate::coordinator::appends::Then;
use crate::coordinator::group::{CommittedOffset, Group};
use crate::coordinator::message::Ticket;
use crate::coordinator::records::{Key, Record};
use crate::coordinator::timers::{Due, Timer};
use crate::coordinator::{Env, GroupMap, Partition, expiry, rebalance, session};

/// What one turn looks at: offsets that stay, or as many of the others as cost the same.
const LOOKS_PER_TURN: usize = 512;
/// What a group costs, an offset that goes, and an append.
const GROUP_LOOKS: usize = 4;
const GONE_LOOKS: usize = 4;
const APPEND_LOOKS: usize = 16;
/// From one turn to the next.
const PAUSE: Duration = Duration::from_millis(1);

/// A topic and a partition of it.
pub(super) type Place = (Arc<str>, i32);
/// What is known of topics that are gone: their ids, and when they went.
type Deleted = BTreeMap<Arc<str>, Vec<(TopicId, WallMs)>>;

/// What the looks of this turn may still take.
#[derive(Debug)]
pub(super) struct Room {
    now: Moment,
    left: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { now: Moment::NEVER, left: 0 }
    }
}

impl Room {
    fn of(&mut self, now: Moment) -> usize {
        if self.now != now {
            *self = Self { now, left: LOOKS_PER_TURN };
        }
        self.left
    }
}

/// The looks at one partition.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) timer: Timer,
    /// The one that goes on.
    look: Option<Look>,
    /// What the next one forgets.
    deleted: Deleted,
    /// When expired offsets are looked for.
    expiry_at: Moment,
}

#[derive(Debug)]
struct Look {
    kind: Kind,
    /// Groups before this one are done, and of its own offsets those up to this one; all if there is none.
    at: Option<(Arc<str>, Option<Place>)>,
    /// The last that was written.
    written: Option<Ticket>,
}

#[derive(Debug)]
enum Kind {
    Sessions,
    Deleted(Deleted),
    Expired,
}

impl Look {
    fn new(kind: Kind) -> Self {
        Self { kind, at: None, written: None }
    }
}

impl Looks {
    /// The partition's groups are known now.
    pub(super) fn begin<R>(&mut self, env: &Env<'_, R>) {
        self.look = Some(Look::new(Kind::Sessions));
        self.expiry_at = next_expiry(env);
    }

    /// Offsets of this topic are of no use any more.
    pub(super) fn on_topic_deleted(&mut self, topic: &str, id: TopicId, wall: WallMs) {
        self.deleted.entry(topic.into()).or_default().push((id, wall));
    }

    fn next(&mut self, now: Moment) -> Option<Look> {
        if !self.deleted.is_empty() {
            return Some(Look::new(Kind::Deleted(mem::take(&mut self.deleted))));
        }
        (self.expiry_at <= now).then(|| Look::new(Kind::Expired))
    }
}

fn next_expiry<R>(env: &Env<'_, R>) -> Moment {
    env.at.now.plus_ms(env.shared.limits.offsets_retention_check_interval_ms)
}

/// Goes on with the look at a partition, or begins the next one, and sets the time of the next step.
pub(super) fn go_on<R>(partition: &mut Partition<R>, env: &mut Env<'_, R>) {
    let Partition { looks, groups, .. } = partition;
    if let Some(look) = looks.look.take().or_else(|| looks.next(env.at.now)) {
        let waits = look.written.is_some_and(|ticket| env.shared.appends.is_pending(ticket));
        let is_expiry = matches!(look.kind, Kind::Expired);
        looks.look = if waits { Some(look) } else { step(look, groups, env) };
        if is_expiry && looks.look.is_none() {
            looks.expiry_at = next_expiry(env);
        }
    }
    let goes_on = looks.look.is_some() || !looks.deleted.is_empty();
    let next = if goes_on { env.at.now + PAUSE } else { looks.expiry_at };
    looks.timer.set(next, &mut env.shared.timers, || Due::Look(env.partition));
}

/// Looks at as much as a turn may. Where to go on, if there is more.
fn step<R>(look: Look, groups: &mut GroupMap<R>, env: &mut Env<'_, R>) -> Option<Look> {
    let mut room = env.shared.room.of(env.at.now);
    if room == 0 {
        return Some(look);
    }
    let begin = match &look.at {
        Some((group, Some(_))) => Included(group.clone()),
        Some((group, None)) => Excluded(group.clone()),
        None => Unbounded,
    };
    let (mut from, mut written, mut rest) = (look.at, None, None);
    for (id, group) in groups.range_mut((begin, Unbounded)) {
        let same = from.take().filter(|(group, _)| group == id);
        let after = same.and_then(|(_, place)| place);
        room = room.saturating_sub(GROUP_LOOKS);
        let (ticket, place) = match &look.kind {
            Kind::Sessions => {
                start(group, &mut room, env);
                (None, None)
            }
            Kind::Deleted(topics) => forget(group, topics, after.as_ref(), &mut room, env),
            Kind::Expired => expiry::expire(group, after.as_ref(), &mut room, env),
        };
        if ticket.is_some() {
            room = room.saturating_sub(APPEND_LOOKS);
            written = ticket;
        }
        if place.is_some() || room == 0 {
            rest = Some((id.clone(), place));
            break;
        }
    }
    env.shared.room.left = room;
    rest.map(|at| Look { kind: look.kind, at: Some(at), written })
}

/// Starts the sessions of a group's members.
fn start<R>(group: &mut Group<R>, room: &mut usize, env: &mut Env<'_, R>) {
    *room = room.saturating_sub(group.members.len());
    session::start_all(group, env);
    if group.members.len() > env.shared.limits.size_max {
        rebalance::prepare_and_append(group, env);
    }
}

/// Deletes a group's offsets of topics that are gone.
fn forget<R>(
    group: &Group<R>,
    topics: &Deleted,
    after: Option<&Place>,
    room: &mut usize,
    env: &mut Env<'_, R>,
) -> (Option<Ticket>, Option<Place>) {
    let is_gone = |topic: &Arc<str>, _: i32, offset: &CommittedOffset| {
        topics.get(topic).is_some_and(|gone| gone.iter().any(|gone| is_of(offset, *gone)))
    };
    let Found { gone, stopped, .. } = find(group, after, room, is_gone);
    let ticket = (!gone.is_empty()).then(|| env.append(gone, Then::Nothing));
    (ticket, stopped)
}

/// Whether an offset is one of a topic that went then, and not of a later one of its name.
fn is_of(offset: &CommittedOffset, (id, went): (TopicId, WallMs)) -> bool {
    offset.topic_id == id || offset.topic_id == TopicId::ZERO && offset.commit_ms <= went.0
}

/// What a look at a group's offsets found.
pub(super) struct Found {
    /// What deletes those that go.
    pub(super) gone: Vec<Record>,
    /// Some stay.
    pub(super) kept: bool,
    /// The last one that there was room for, if it is not the last of all.
    pub(super) stopped: Option<Place>,
}

/// Looks at the offsets of a group behind `after`.
pub(super) fn find<R>(
    group: &Group<R>,
    after: Option<&Place>,
    room: &mut usize,
    mut is_gone: impl FnMut(&Arc<str>, i32, &CommittedOffset) -> bool,
) -> Found {
    let (mut gone, mut kept) = (Vec::new(), false);
    for ((topic, partition), offset) in offsets(group, after) {
        let goes = is_gone(topic, partition, offset);
        if goes {
            gone.push(Key::Offset { group: &group.id, topic, partition }.tombstone());
        }
        kept |= !goes;
        *room = room.saturating_sub(if goes { GONE_LOOKS } else { 1 });
        if *room == 0 {
            return Found { gone, kept, stopped: Some((topic.clone(), partition)) };
        }
    }
    Found { gone, kept, stopped: None }
}

fn offsets<'a, R>(
    group: &'a Group<R>,
    after: Option<&'a Place>,
) -> impl Iterator<Item = ((&'a Arc<str>, i32), &'a CommittedOffset)> {
    let first = after.map_or(Unbounded, |(topic, _)| Included(topic.clone()));
    group.offsets.range((first, Unbounded)).flat_map(move |(topic, offsets)| {
        let same = after.filter(|after| after.0 == *topic);
        let first = same.map_or(Unbounded, |after| Excluded(after.1));
        offsets.range((first, Unbounded)).map(move |(&partition, o)| ((topic, partition), o))
    })
}
