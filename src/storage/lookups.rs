//! Batches that a lookup by time has to open, which may take long.
//!
//! Flow: `lookup` asks -> **lookups** opens a small batch at once, and keeps a larger one for the opener
//! (`runtime::servant`), which takes all that are kept in one [`Lookup`] -> [`Store::on_lookup`] notes what
//! was found, and tells that the logs are worth asking again -> `lookup` asks again, and is told.
//!
//! Invariants:
//! - K1. A turn opens [`ROOM_PER_TURN`] plain bytes at most.
//! - K2. Batches of [`WAITING_BYTES_MAX`] or a single one wait for the opener, which opens one at a time.
//!   A log whose batch finds no room is told to ask again when there is some.
//! - K3. [`KNOWN_MAX`] answers are kept, the newest; who asks for another one has it opened again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::lookup::{Find, Found};
use super::store::Store;
use super::{LogId, StoreEvent};
use crate::base::Offset;
use crate::runtime::disk::ServantJob;
use crate::wire::batch::{BatchHeader, HEADER_BYTES};
use crate::wire::codec::{Codec, CodecError};
use crate::wire::record;

/// Plain bytes of the batches that one turn opens itself: a fraction of a millisecond.
const ROOM_PER_TURN: usize = 16 << 10;
/// A record of a batch that is not compressed takes about the time of so many compressed bytes.
const RECORD_ROOM: usize = 16;
/// Bytes of batches that wait for the opener.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// Answers that are kept.
const KNOWN_MAX: usize = 4096;
/// Logs that are told in one turn to ask again.
const TOLD_MAX: usize = 64;
/// Most that the records of a batch may have when it is opened.
const PLAIN_BYTES_MAX: usize = 128 << 20;

/// Which record is asked for: the first at or after both, of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) log: LogId,
    /// Base offset of the batch.
    pub(super) batch: Offset,
    pub(super) start: Offset,
    pub(super) target_ms: i64,
}

/// Batches for the opener.
#[derive(Debug, Default)]
pub struct Lookup {
    batches: Vec<(Asked, BatchHeader, Bytes)>,
    bytes: usize,
}

/// What came of a [`Lookup`].
#[derive(Debug)]
pub struct LookupDone(Vec<(Asked, Option<Found>)>);

impl Lookup {
    /// Memory of its batches.
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }
}

impl ServantJob for Lookup {
    type Done = LookupDone;

    fn run(self) -> LookupDone {
        let open = |(asked, header, batch): (Asked, BatchHeader, Bytes)| {
            let opened = record_in(asked, &header, &batch, PLAIN_BYTES_MAX);
            (asked, opened.map_or(None, |(found, _)| found))
        };
        LookupDone(self.batches.into_iter().map(open).collect())
    }
}

/// The lookups of one store that a batch has to be opened for.
#[derive(Debug)]
pub(super) struct Lookups {
    /// Plain bytes that this turn may open yet.
    room: usize,
    waiting: Lookup,
    /// Logs whose batches found no room. K2.
    unheard: BTreeSet<LogId>,
    /// What is asked for and, once it is known, found.
    known: BTreeMap<Asked, Option<Option<Found>>>,
    /// Answers from the oldest on.
    answered: VecDeque<Asked>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self {
            room: ROOM_PER_TURN,
            waiting: Lookup::default(),
            unheard: BTreeSet::new(),
            known: BTreeMap::new(),
            answered: VecDeque::new(),
        }
    }
}

impl Lookups {
    /// The record that is asked for of a batch, which lies in `part`.
    pub(super) fn find(
        &mut self,
        asked: Asked,
        header: &BatchHeader,
        part: &Bytes,
        batch: &[u8],
    ) -> Find {
        match self.known.get(&asked) {
            Some(Some(found)) => return Find::Ready(*found),
            Some(None) => return Find::Pending,
            None => {}
        }
        if let Some(found) = self.find_now(asked, header, batch) {
            return Find::Ready(found);
        }
        if self.waiting.bytes > 0 && self.waiting.bytes + batch.len() > WAITING_BYTES_MAX {
            self.unheard.insert(asked.log);
            return Find::Pending;
        }
        // A view of a small batch would keep all that was read with it.
        let bytes = if batch.len() <= WAITING_BYTES_MAX {
            Bytes::copy_from_slice(batch)
        } else {
            part.slice_ref(batch)
        };
        self.known.insert(asked, None);
        self.waiting.bytes += bytes.len();
        self.waiting.batches.push((asked, *header, bytes));
        Find::Pending
    }

    /// The same at once, when that is cheap. K1.
    fn find_now(
        &mut self,
        asked: Asked,
        header: &BatchHeader,
        batch: &[u8],
    ) -> Option<Option<Found>> {
        let is_plain = Codec::from_id(header.codec_id()) == Some(Codec::None);
        let records = usize::try_from(header.count).unwrap_or(0);
        let costs = if is_plain { records * RECORD_ROOM } else { batch.len() };
        if costs > self.room {
            return None;
        }
        if let Ok((found, plain_bytes)) = record_in(asked, header, batch, self.room) {
            self.room -= if is_plain { costs } else { plain_bytes };
            return Some(found);
        }
        // That was work too: whoever comes next in this turn gets none of it.
        self.room = 0;
        None
    }

    fn note(&mut self, asked: Asked, found: Option<Found>) {
        self.known.insert(asked, Some(found));
        self.answered.push_back(asked);
        if self.answered.len() > KNOWN_MAX
            && let Some(oldest) = self.answered.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Store {
    /// A turn begins.
    pub fn begin_turn(&mut self) {
        self.lookups.room = ROOM_PER_TURN;
    }

    /// What the opener is to do, which is idle.
    pub fn next_lookup(&mut self) -> Option<Lookup> {
        if self.lookups.waiting.batches.is_empty() {
            for _ in 0..TOLD_MAX {
                let Some(log) = self.lookups.unheard.pop_first() else { break };
                self.events.push(StoreEvent::Readable { log });
            }
            return None;
        }
        Some(std::mem::take(&mut self.lookups.waiting))
    }

    /// The opener has done it.
    pub fn on_lookup(&mut self, done: LookupDone, out: &mut Vec<StoreEvent>) {
        for (asked, found) in done.0 {
            self.lookups.note(asked, found);
            out.push(StoreEvent::Readable { log: asked.log });
        }
    }
}

/// The plain form of a batch does not fit.
struct TooLarge;

/// The record that is asked for, and the plain bytes of its batch, which are `limit_bytes` at most
/// when it is compressed. A batch that cannot be read has none.
fn record_in(
    asked: Asked,
    header: &BatchHeader,
    batch: &[u8],
    limit_bytes: usize,
) -> Result<(Option<Found>, usize), TooLarge> {
    let body = &batch[HEADER_BYTES..];
    let plain;
    let records = match Codec::from_id(header.codec_id()) {
        Some(Codec::None) => body,
        Some(codec) => match codec.decompress(body, limit_bytes) {
            Ok(bytes) => {
                plain = bytes;
                &plain
            }
            Err(CodecError::TooLarge { .. }) => return Err(TooLarge),
            Err(_) => return Ok((None, 0)),
        },
        None => return Ok((None, 0)),
    };
    let plain_bytes = records.len();
    let mut records = record::records(records, header.count).map_while(Result::ok);
    let found = records.find_map(|record| {
        let offset = Offset(header.base_offset.0 + i64::from(record.offset_delta));
        let timestamp = if header.is_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.saturating_add(record.timestamp_delta)
        };
        let is_it = offset >= asked.start && timestamp >= asked.target_ms;
        is_it.then_some((offset, timestamp, header.leader_epoch))
    });
    Ok((found, plain_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{LeaderEpoch, Moment, TopicId, TopicPartition, WallMs};
    use crate::sim::disk::SimDisk;
    use crate::storage::{Append, LogConfig, StoreConfig};
    use crate::wire::record::{BatchBuilder, ProducerStamp};
    use std::sync::Arc;

    const END: Offset = Offset(i64::MAX);

    /// A store, and one log for each of these batches: a record at each millisecond from 0 on.
    fn store(batches: &[(Codec, i64, usize)]) -> (Store, Vec<LogId>) {
        let disk = Arc::new(SimDisk::new(1));
        let mut store = Store::open(disk, StoreConfig::new("/data".into()), 1, WallMs(0)).unwrap();
        let logs = batches.iter().enumerate().map(|(i, &(codec, records, value_bytes))| {
            let tp = TopicPartition { topic: TopicId([1; 16]), partition: i as i32 };
            let log = store.create(tp, "t", LogConfig::default(), Moment(0));
            let mut builder = BatchBuilder::default();
            // Random enough that a codec makes little of it.
            let value: Vec<u8> = (0..value_bytes as u32).map(|k| ((k * k) >> 7) as u8).collect();
            for at in 0..records {
                builder.push(at, None, Some(&value), &[]);
            }
            let batch = builder.build(codec, ProducerStamp::NONE).unwrap();
            let how = Append { leader_epoch: LeaderEpoch(0), append_time: None };
            let header = BatchHeader::parse(&batch).unwrap();
            store.append(log, &batch, &header, how, (Moment(0), WallMs(0))).unwrap();
            log
        });
        let logs = logs.collect();
        (store, logs)
    }

    fn at(offset: i64) -> Find {
        Find::Ready(Some((Offset(offset), offset, LeaderEpoch(0))))
    }

    /// Does what the opener would; whose logs are worth asking again.
    fn open(store: &mut Store) -> Vec<LogId> {
        let mut events = Vec::new();
        match store.next_lookup() {
            Some(lookup) => store.on_lookup(lookup.run(), &mut events),
            None => store.take_events(&mut events),
        }
        let log = |event: StoreEvent| match event {
            StoreEvent::Readable { log } => log,
            other => panic!("{other:?}"),
        };
        events.into_iter().map(log).collect()
    }

    #[test]
    fn a_turn_opens_small_batches_and_the_opener_all_others() {
        let small = (Codec::Zstd, 10, 1000);
        // Larger than it looks, and longer than it takes bytes.
        let (bomb, many) = ((Codec::Gzip, 20, 10_000), (Codec::None, 2000, 0));
        let (mut store, logs) = store(&[small, small, bomb, many, small]);
        let find = |store: &mut Store, i: usize| store.find_timestamp(logs[i], 7, END).unwrap();
        assert_eq!(find(&mut store, 0), at(7));
        assert_eq!(find(&mut store, 1), Find::Pending, "this turn has opened enough");
        for i in [2, 3] {
            store.begin_turn();
            assert_eq!(find(&mut store, i), Find::Pending, "log {i}");
        }
        assert_eq!(open(&mut store), logs[1..4]);
        for i in 1..4 {
            assert_eq!(find(&mut store, i), at(7), "log {i}");
        }
        assert!(store.next_lookup().is_none(), "nobody asks twice");
        store.begin_turn();
        assert_eq!(find(&mut store, 4), at(7));
    }

    #[test]
    fn what_the_opener_has_no_room_for_is_asked_again() {
        let large = (Codec::None, 3000, 200);
        let (mut store, logs) = store(&[large; 5]);
        let ask = |store: &mut Store, logs: &[LogId]| {
            logs.iter().filter(|&&l| store.find_timestamp(l, 9, END).unwrap() == at(9)).count()
        };
        assert_eq!(ask(&mut store, &logs), 0);
        assert!(store.lookups.waiting.size_bytes() <= WAITING_BYTES_MAX, "K2");
        let mut found = 0;
        for _ in 0..20 {
            let told = open(&mut store);
            found += ask(&mut store, &told);
        }
        assert_eq!((found, ask(&mut store, &logs)), (5, 5));
    }
}
