//! Incremental fetch sessions (KIP-227): what a consumer fetches is remembered here, so that a
//! request names only what changed and a response only what is new.
//!
//! A session is opened by a request with epoch 0 and goes on with 1, 2, ... (after 2^31-1 comes 1
//! again). Its partitions are read in order, and those that returned data move to the end, so that
//! none starves. The cache has a fixed number of slots; a full one evicts a session that has been
//! idle for [`EVICTABLE_AFTER`], or opens none: the client then gets session id 0 and its data.
//!
//! A fetch looks only at places that are *fresh*, so it costs what is new and not what there is:
//! - E1. Whatever could put a partition into the next answer makes its place fresh: a request that
//!   names it, and its partition's word (`Sessions::mark`) that it has moved.
//! - E2. A place stops being fresh only when a look finds nothing to read, no error, and nothing
//!   that its client was not told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::base::{DetMap, LeaderEpoch, Moment, Offset, TopicId};
use crate::runtime::network::ConnectionId;
use crate::storage::LogId;

/// A session that was not used for this long gives its slot to a new one.
pub const EVICTABLE_AFTER: Duration = Duration::from_mins(2);

/// A partition as a fetch request names it: by topic name up to version 12, by id from 13.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKey {
    /// Up to version 12.
    Name(Arc<str>),
    /// From version 13.
    Id(TopicId),
}

/// What a client wants of one partition, and what it was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The topic.
    pub topic: TopicKey,
    /// Partition index.
    pub partition: i32,
    /// Its log when the request came, to save a look-up; worth nothing once that is not led here.
    pub log: Option<LogId>,
    /// First offset wanted.
    pub offset: Offset,
    /// Most bytes of this partition.
    pub bytes_max: i32,
    /// Leader epoch that the client knows, or -1.
    pub current_epoch: LeaderEpoch,
    /// Epoch of the last record that the client has, or -1.
    pub last_epoch: LeaderEpoch,
    /// High watermark in the last answer; -1 forces the partition into the next one.
    pub told_high_watermark: Offset,
    /// Log start offset in the last answer.
    pub told_log_start: Offset,
}

/// Why a session cannot be used. Nothing else is in such an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Evicted, closed, or never opened here.
    #[error("fetch session {0} is not known")]
    NotFound(i32),
    /// A request was lost or repeated.
    #[error("fetch session epoch is {asked}, expected {expected}")]
    BadEpoch {
        /// In the request.
        asked: i32,
        /// Of the session.
        expected: i32,
    },
    /// The client changed between topic names and topic ids.
    #[error("a fetch session cannot change between topic names and topic ids")]
    TopicIds,
}

/// One partition of a session.
#[derive(Debug)]
pub struct Place {
    /// What is wanted of it.
    pub wanted: Wanted,
    /// The log that tells this place when it has moved.
    pub log: Option<LogId>,
    order: u64,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    epoch: i32,
    by_id: bool,
    used_at: Moment,
    next_order: u64,
    by_name: DetMap<(TopicKey, i32), usize>,
    places: Slab<Place>,
    /// Places worth a look, in the order in which they are read.
    fresh: BTreeMap<u64, usize>,
    /// The connection whose fetch waits for one of them.
    pub parked: Option<ConnectionId>,
}

impl Session {
    /// A session without partitions, but with room for so many.
    pub fn new(by_id: bool, partitions: usize, now: Moment) -> Self {
        let mut by_name = DetMap::default();
        by_name.reserve(partitions);
        Self {
            epoch: 1,
            by_id,
            used_at: now,
            next_order: 0,
            by_name,
            places: Slab::with_capacity(partitions),
            fresh: BTreeMap::new(),
            parked: None,
        }
    }

    /// Takes in a partition, new or anew. E1.
    pub fn put(&mut self, wanted: Wanted) {
        let key = (wanted.topic.clone(), wanted.partition);
        if let Some(&at) = self.by_name.get(&key) {
            let place = &mut self.places[at];
            let told = (place.wanted.told_high_watermark, place.wanted.told_log_start);
            place.wanted = wanted;
            (place.wanted.told_high_watermark, place.wanted.told_log_start) = told;
            self.fresh.insert(place.order, at);
            return;
        }
        let order = self.next_order;
        self.next_order += 1;
        let at = self.places.insert(Place { wanted, log: None, order });
        self.by_name.insert(key, at);
        self.fresh.insert(order, at);
    }

    fn forget(&mut self, topic: &TopicKey, partition: i32) {
        if let Some(at) = self.by_name.remove(&(topic.clone(), partition)) {
            let place = self.places.remove(at);
            self.fresh.remove(&place.order);
        }
    }

    /// The place at `at`, when it is told of `log`.
    fn told_of(&self, at: usize, log: LogId) -> Option<&Place> {
        self.places.get(at).filter(|place| place.log == Some(log))
    }

    /// The first fresh place whose order is `from` or more: its order and where it is.
    pub fn next_fresh(&self, from: u64) -> Option<(u64, usize)> {
        self.fresh.range(from..).next().map(|(&order, &at)| (order, at))
    }

    /// A place of [`Self::next_fresh`].
    pub fn place(&mut self, at: usize) -> Option<&mut Place> {
        self.places.get_mut(at)
    }

    /// E2. A look found nothing at the place.
    pub fn is_quiet(&mut self, at: usize) {
        if let Some(place) = self.places.get(at) {
            self.fresh.remove(&place.order);
        }
    }

    /// Makes all places fresh.
    pub fn look_at_all(&mut self) {
        self.fresh = self.places.iter().map(|(at, place)| (place.order, at)).collect();
    }

    /// What an answer said of the place; `had_data` moves it to the end.
    pub fn told(&mut self, at: usize, high_watermark: Offset, log_start: Offset, had_data: bool) {
        let Some(place) = self.places.get_mut(at) else { return };
        place.wanted.told_high_watermark = high_watermark;
        place.wanted.told_log_start = log_start;
        if had_data {
            let was_fresh = self.fresh.remove(&place.order).is_some();
            place.order = self.next_order;
            self.next_order += 1;
            if was_fresh {
                self.fresh.insert(place.order, at);
            }
        }
    }

    /// Number of partitions.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// Who is told when a partition moves: places of sessions, which are never taken off the list when
/// their session or place ends, but when they are met later.
#[derive(Debug, Default)]
pub struct Watchers {
    places: Vec<(i32, usize)>,
    /// At this length the ended ones are looked for.
    sweep_at: usize,
}

/// Fewer watchers than this are not worth a sweep.
const SWEEP_MIN: usize = 16;

impl Watchers {
    /// Adds a place of `session`, which has been taken out of `sessions` and has `id`. The place
    /// must not be on the list.
    pub fn add(
        &mut self,
        (id, session): (i32, &Session),
        at: usize,
        log: LogId,
        sessions: &Sessions,
    ) {
        if self.places.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.places.sort_unstable();
            self.places.dedup();
            self.places.retain(|&(of, at)| {
                let session =
                    if of == id { Some(session) } else { sessions.open.get(&of).map(|s| &**s) };
                session.is_some_and(|s| s.told_of(at, log).is_some())
            });
            self.sweep_at = 2 * self.places.len();
        }
        self.places.push((id, at));
    }

    /// The partition has moved: makes the places fresh and gives the connections to be woken.
    pub fn wake(
        &mut self,
        log: LogId,
        sessions: &mut Sessions,
        mut wake: impl FnMut(ConnectionId),
    ) {
        self.places.retain(|&(id, at)| match sessions.mark(id, at, log) {
            Some(parked) => {
                parked.into_iter().for_each(&mut wake);
                true
            }
            None => false,
        });
    }
}

/// All sessions of one node.
#[derive(Debug)]
pub struct Sessions {
    slots_max: usize,
    /// Partitions of all sessions together: a bound on their memory.
    pub partitions_max: usize,
    open: DetMap<i32, Box<Session>>,
    random: u64,
}

impl Sessions {
    /// No session yet. `slots_max` is `max.incremental.fetch.session.cache.slots`; `random` seeds
    /// the ids.
    pub fn new(slots_max: usize, random: u64) -> Self {
        Self { slots_max, partitions_max: usize::MAX, open: DetMap::default(), random: random | 1 }
    }

    /// Number of sessions, and of partitions in all of them.
    pub fn counts(&self) -> (usize, usize) {
        (self.open.len(), self.open.values().map(|s| s.len()).sum())
    }

    /// Opens a session over `wanted`; `None` when all slots are in use, or too many partitions.
    pub fn open(
        &mut self,
        wanted: impl IntoIterator<Item = Wanted>,
        by_id: bool,
        now: Moment,
    ) -> Option<i32> {
        let mut session = Box::new(Session::new(by_id, 0, now));
        wanted.into_iter().for_each(|w| session.put(w));
        self.insert(session, now)
    }

    /// Opens this session; as [`Self::open`].
    pub fn insert(&mut self, session: Box<Session>, now: Moment) -> Option<i32> {
        if self.open.len() >= self.slots_max {
            let oldest = self.open.iter().min_by_key(|(id, s)| (s.used_at, **id))?;
            let (id, idle) = (*oldest.0, now.since(oldest.1.used_at));
            if idle <= EVICTABLE_AFTER {
                return None;
            }
            self.open.remove(&id);
        }
        if session.is_empty() || self.counts().1 + session.len() > self.partitions_max {
            return None;
        }
        let id = self.fresh_id();
        self.open.insert(id, session);
        Some(id)
    }

    /// Goes on with a session: checks its epoch, then takes in what changed. Returns false when it
    /// has no partition left, which ends it.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn advance(
        &mut self,
        (id, epoch): (i32, i32),
        by_id: bool,
        wanted: impl IntoIterator<Item = Wanted>,
        forgotten: impl IntoIterator<Item = (TopicKey, i32)>,
        now: Moment,
    ) -> Result<bool, SessionError> {
        let session = self.open.get_mut(&id).ok_or(SessionError::NotFound(id))?;
        if session.epoch != epoch {
            return Err(SessionError::BadEpoch { asked: epoch, expected: session.epoch });
        }
        if session.by_id != by_id {
            return Err(SessionError::TopicIds);
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.used_at = now;
        let had = session.len();
        wanted.into_iter().for_each(|w| session.put(w));
        forgotten.into_iter().for_each(|(topic, partition)| session.forget(&topic, partition));
        let (has, is_empty) = (session.len(), session.is_empty());
        if is_empty {
            self.open.remove(&id);
            return Ok(false);
        }
        if has > had && self.counts().1 > self.partitions_max {
            self.open.remove(&id);
            return Err(SessionError::NotFound(id));
        }
        Ok(true)
    }

    /// The place has moved. The connection that waits for it, if one does; `None` when there is no
    /// such place any more.
    fn mark(&mut self, id: i32, at: usize, log: LogId) -> Option<Option<ConnectionId>> {
        let session = self.open.get_mut(&id)?;
        let order = session.told_of(at, log)?.order;
        session.fresh.insert(order, at);
        Some(session.parked)
    }

    /// Takes a session out: it ends, or the shard is read for it and [`Self::put_back`] follows.
    pub fn take(&mut self, id: i32) -> Option<Box<Session>> {
        self.open.remove(&id)
    }

    /// Puts a session back.
    pub fn put_back(&mut self, id: i32, session: Box<Session>) {
        self.open.insert(id, session);
    }

    fn fresh_id(&mut self) -> i32 {
        loop {
            // xorshift64: ids only have to differ and not be 0.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let id = (self.random >> 33) as i32;
            if id > 0 && !self.open.contains_key(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(partition: i32) -> Wanted {
        Wanted {
            topic: TopicKey::Name("t".into()),
            partition,
            log: None,
            offset: Offset(0),
            bytes_max: 1 << 20,
            current_epoch: LeaderEpoch(-1),
            last_epoch: LeaderEpoch(-1),
            told_high_watermark: Offset(-1),
            told_log_start: Offset(-1),
        }
    }

    /// Partitions worth a look, in order, each with its place.
    fn fresh(sessions: &Sessions, id: i32) -> Vec<(i32, usize)> {
        let session = &sessions.open[&id];
        session.fresh.values().map(|&at| (session.places[at].wanted.partition, at)).collect()
    }

    fn order(sessions: &Sessions, id: i32) -> Vec<i32> {
        fresh(sessions, id).into_iter().map(|(partition, _)| partition).collect()
    }

    #[test]
    fn epochs_count_up_and_a_wrong_one_is_told() {
        let mut sessions = Sessions::new(10, 7);
        let id = sessions.open([wanted(0)], false, Moment(0)).unwrap();
        let mut go = |epoch, by_id| sessions.advance((id, epoch), by_id, [], [], Moment(0));
        assert_eq!(go(1, false), Ok(true));
        assert_eq!(go(1, false), Err(SessionError::BadEpoch { asked: 1, expected: 2 }));
        assert_eq!(go(2, true), Err(SessionError::TopicIds));
        sessions.open.get_mut(&id).unwrap().epoch = i32::MAX;
        assert_eq!(sessions.advance((id, i32::MAX), false, [], [], Moment(0)), Ok(true));
        assert_eq!(sessions.advance((id, 1), false, [], [], Moment(0)), Ok(true));
        sessions.take(id);
        let gone = sessions.advance((id, 2), false, [], [], Moment(0));
        assert_eq!(gone, Err(SessionError::NotFound(id)));
    }

    #[test]
    fn partitions_that_returned_data_are_read_last_and_forgetting_the_last_ends_the_session() {
        let mut sessions = Sessions::new(10, 7);
        let id = sessions.open([wanted(0), wanted(1), wanted(2)], false, Moment(0)).unwrap();
        sessions.open.get_mut(&id).unwrap().told(0, Offset(5), Offset(0), true);
        assert_eq!(order(&sessions, id), [1, 2, 0]);
        let forget = |p| (TopicKey::Name("t".into()), p);
        let left = sessions.advance((id, 1), false, [wanted(3)], [forget(2)], Moment(0));
        assert_eq!((left, order(&sessions, id)), (Ok(true), vec![1, 0, 3]));
        let all = [forget(0), forget(1), forget(3)];
        assert_eq!(sessions.advance((id, 2), false, [], all, Moment(0)), Ok(false));
        assert!(sessions.take(id).is_none());
    }

    #[test]
    fn a_changed_partition_keeps_what_its_client_was_told() {
        let mut sessions = Sessions::new(10, 7);
        let id = sessions.open([wanted(0)], false, Moment(0)).unwrap();
        sessions.open.get_mut(&id).unwrap().told(0, Offset(5), Offset(2), false);
        let moved = Wanted { offset: Offset(5), ..wanted(0) };
        sessions.advance((id, 1), false, [moved], [], Moment(0)).unwrap();
        let kept = &sessions.open[&id].places[0].wanted;
        assert_eq!((kept.offset, kept.told_high_watermark), (Offset(5), Offset(5)));
    }

    #[test]
    fn a_full_cache_evicts_only_what_has_been_idle() {
        let mut sessions = Sessions::new(1, 7);
        let first = sessions.open([wanted(0)], false, Moment(0)).unwrap();
        let at = |d: Duration| Moment(0) + d;
        assert_eq!(sessions.open([wanted(0)], false, at(EVICTABLE_AFTER)), None);
        let later = at(EVICTABLE_AFTER + Duration::from_nanos(1));
        assert!(sessions.open([wanted(0)], false, later).is_some());
        assert!(sessions.take(first).is_none());
    }
    #[test]
    fn only_what_was_named_or_has_moved_is_looked_at() {
        let (mut sessions, mut watchers) = (Sessions::new(10, 7), Watchers::default());
        let (log, other) = (LogId(3), LogId(4));
        let id = sessions.open([wanted(0), wanted(1), wanted(2)], false, Moment(0)).unwrap();
        let mut session = sessions.take(id).unwrap();
        for at in 0..3 {
            session.is_quiet(at);
        }
        session.places[1].log = Some(log);
        watchers.add((id, &session), 1, log, &sessions);
        session.parked = Some(ConnectionId(8));
        sessions.put_back(id, session);
        assert!(order(&sessions, id).is_empty());
        sessions.advance((id, 1), false, [wanted(2)], [], Moment(0)).unwrap();
        assert_eq!(order(&sessions, id), [2], "named");
        let mut woken = Vec::new();
        watchers.wake(log, &mut sessions, |c| woken.push(c));
        assert_eq!((order(&sessions, id), woken), (vec![1, 2], vec![ConnectionId(8)]), "moved");
        sessions.open.get_mut(&id).unwrap().places[1].log = Some(other);
        watchers.wake(log, &mut sessions, |_| unreachable!("the place is told of another log"));
        assert_eq!(watchers.places, []);
    }

    #[test]
    fn sessions_that_are_opened_and_forgotten_do_not_pile_up() {
        let (mut sessions, mut watchers) = (Sessions::new(1, 7), Watchers::default());
        let log = LogId(0);
        for _ in 0..1_000 {
            let id = sessions.open([wanted(0)], false, Moment(0)).unwrap();
            let mut session = sessions.take(id).unwrap();
            session.places[0].log = Some(log);
            watchers.add((id, &session), 0, log, &sessions);
            sessions.put_back(id, session);
            sessions.take(id);
        }
        assert!(watchers.places.len() <= SWEEP_MIN, "{}", watchers.places.len());
    }
}
