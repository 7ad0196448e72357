//! Incremental fetch sessions (KIP-227): what a consumer fetches is remembered here, so that a
//! request names only what changed and a response only what is new.
//!
//! A session is opened by a request with epoch 0 and goes on with 1, 2, ... (after 2^31-1 comes 1
//! again). Its partitions are read in order, and those that returned data move to the end, so that
//! none starves. The cache has a fixed number of slots; a full one evicts a session that has been
//! idle for [`EVICTABLE_AFTER`], or opens none: the client then gets session id 0 and its data.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{DetMap, LeaderEpoch, Moment, Offset, TopicId};

/// A session that was not used for this long gives its slot to a new one.
pub const EVICTABLE_AFTER: Duration = Duration::from_mins(2);

/// A partition as a fetch request names it: by topic name up to version 12, by id from 13.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKey {
    /// Up to version 12.
    Name(String),
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

/// One session.
#[derive(Debug)]
pub struct Session {
    epoch: i32,
    by_id: bool,
    used_at: Moment,
    next_order: u64,
    order: DetMap<(TopicKey, i32), u64>,
    wanted: BTreeMap<u64, Wanted>,
}

impl Session {
    fn new(by_id: bool, now: Moment) -> Self {
        Self {
            epoch: 1,
            by_id,
            used_at: now,
            next_order: 0,
            order: DetMap::default(),
            wanted: BTreeMap::new(),
        }
    }

    fn put(&mut self, wanted: Wanted) {
        let key = (wanted.topic.clone(), wanted.partition);
        if let Some(known) = self.order.get(&key).and_then(|order| self.wanted.get_mut(order)) {
            let (high_watermark, log_start) = (known.told_high_watermark, known.told_log_start);
            *known = wanted;
            (known.told_high_watermark, known.told_log_start) = (high_watermark, log_start);
            return;
        }
        self.order.insert(key, self.next_order);
        self.wanted.insert(self.next_order, wanted);
        self.next_order += 1;
    }

    fn forget(&mut self, topic: &TopicKey, partition: i32) {
        if let Some(order) = self.order.remove(&(topic.clone(), partition)) {
            self.wanted.remove(&order);
        }
    }

    /// Its partitions, in the order in which they are read, each with its place.
    pub fn wanted(&self) -> impl Iterator<Item = (u64, &Wanted)> {
        self.wanted.iter().map(|(place, wanted)| (*place, wanted))
    }

    /// What an answer said of the partition at `place`; `had_data` moves it to the end.
    pub fn told(&mut self, place: u64, high_watermark: Offset, log_start: Offset, had_data: bool) {
        let Some(wanted) = self.wanted.get_mut(&place) else { return };
        (wanted.told_high_watermark, wanted.told_log_start) = (high_watermark, log_start);
        if !had_data || self.wanted.len() == 1 {
            return;
        }
        if let Some(wanted) = self.wanted.remove(&place) {
            let key = (wanted.topic.clone(), wanted.partition);
            self.order.insert(key, self.next_order);
            self.wanted.insert(self.next_order, wanted);
            self.next_order += 1;
        }
    }

    /// Number of partitions.
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }
}

/// All sessions of one node.
#[derive(Debug)]
pub struct Sessions {
    slots_max: usize,
    open: DetMap<i32, Session>,
    random: u64,
}

impl Sessions {
    /// No session yet. `slots_max` is `max.incremental.fetch.session.cache.slots`; `random` seeds
    /// the ids.
    pub fn new(slots_max: usize, random: u64) -> Self {
        Self { slots_max, open: DetMap::default(), random: random | 1 }
    }

    /// Number of sessions, and of partitions in all of them.
    pub fn counts(&self) -> (usize, usize) {
        (self.open.len(), self.open.values().map(Session::len).sum())
    }

    /// Opens a session over `wanted`; `None` when all slots are in use.
    pub fn open(
        &mut self,
        wanted: impl IntoIterator<Item = Wanted>,
        by_id: bool,
        now: Moment,
    ) -> Option<i32> {
        if self.open.len() >= self.slots_max {
            let oldest = self.open.iter().min_by_key(|(id, s)| (s.used_at, **id))?;
            let (id, idle) = (*oldest.0, now.since(oldest.1.used_at));
            if idle <= EVICTABLE_AFTER {
                return None;
            }
            self.open.remove(&id);
        }
        let mut session = Session::new(by_id, now);
        wanted.into_iter().for_each(|w| session.put(w));
        if session.is_empty() {
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
        wanted.into_iter().for_each(|w| session.put(w));
        forgotten.into_iter().for_each(|(topic, partition)| session.forget(&topic, partition));
        if session.is_empty() {
            self.open.remove(&id);
            return Ok(false);
        }
        Ok(true)
    }

    /// Ends a session.
    pub fn close(&mut self, id: i32) {
        self.open.remove(&id);
    }

    /// A session.
    pub fn find(&mut self, id: i32) -> Option<&mut Session> {
        self.open.get_mut(&id)
    }

    /// Takes a session out while the shard is read for it; [`Self::put_back`] follows.
    pub fn take(&mut self, id: i32) -> Option<Session> {
        self.open.remove(&id)
    }

    /// Puts a session back.
    pub fn put_back(&mut self, id: i32, session: Session) {
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
            offset: Offset(0),
            bytes_max: 1 << 20,
            current_epoch: LeaderEpoch(-1),
            last_epoch: LeaderEpoch(-1),
            told_high_watermark: Offset(-1),
            told_log_start: Offset(-1),
        }
    }

    fn order(sessions: &mut Sessions, id: i32) -> Vec<i32> {
        sessions.find(id).unwrap().wanted().map(|(_, w)| w.partition).collect()
    }

    #[test]
    fn epochs_count_up_and_a_wrong_one_is_told() {
        let mut sessions = Sessions::new(10, 7);
        let id = sessions.open([wanted(0)], false, Moment(0)).unwrap();
        let mut go = |epoch, by_id| sessions.advance((id, epoch), by_id, [], [], Moment(0));
        assert_eq!(go(1, false), Ok(true));
        assert_eq!(go(1, false), Err(SessionError::BadEpoch { asked: 1, expected: 2 }));
        assert_eq!(go(2, true), Err(SessionError::TopicIds));
        sessions.find(id).unwrap().epoch = i32::MAX;
        assert_eq!(sessions.advance((id, i32::MAX), false, [], [], Moment(0)), Ok(true));
        assert_eq!(sessions.advance((id, 1), false, [], [], Moment(0)), Ok(true));
        sessions.close(id);
        let gone = sessions.advance((id, 2), false, [], [], Moment(0));
        assert_eq!(gone, Err(SessionError::NotFound(id)));
    }

    #[test]
    fn partitions_that_returned_data_are_read_last_and_forgetting_the_last_ends_the_session() {
        let mut sessions = Sessions::new(10, 7);
        let id = sessions.open([wanted(0), wanted(1), wanted(2)], false, Moment(0)).unwrap();
        sessions.find(id).unwrap().told(0, Offset(5), Offset(0), true);
        assert_eq!(order(&mut sessions, id), [1, 2, 0]);
        let forget = |p| (TopicKey::Name("t".into()), p);
        let left = sessions.advance((id, 1), false, [wanted(3)], [forget(2)], Moment(0));
        assert_eq!((left, order(&mut sessions, id)), (Ok(true), vec![1, 0, 3]));
        let all = [forget(0), forget(1), forget(3)];
        assert_eq!(sessions.advance((id, 2), false, [], all, Moment(0)), Ok(false));
        assert!(sessions.find(id).is_none());
    }

    #[test]
    fn a_changed_partition_keeps_what_its_client_was_told() {
        let mut sessions = Sessions::new(10, 7);
        let id = sessions.open([wanted(0)], false, Moment(0)).unwrap();
        sessions.find(id).unwrap().told(0, Offset(5), Offset(2), false);
        let moved = Wanted { offset: Offset(5), ..wanted(0) };
        sessions.advance((id, 1), false, [moved], [], Moment(0)).unwrap();
        let (_, kept) = sessions.find(id).unwrap().wanted().next().unwrap();
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
        assert!(sessions.find(first).is_none());
    }
}
