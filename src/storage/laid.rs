//! A large batch in a chunk of its own: made beside the turn, which then only takes it over.
//!
//! Flow: the store says where the batch would lie ([`Store::lie_of`](super::Store::lie_of)) -> the opener
//! copies it ([`Laid::new`]) -> [`Store::append_laid`](super::Store::append_laid). If something else was
//! appended to the log meanwhile, the batch is copied once more, in the turn.

use crate::base::{AlignedBuf, WallMs};
use crate::wire::batch::{self, BatchError, BatchHeader};

/// A batch in its chunk.
#[derive(Debug)]
pub struct Laid {
    pub(super) buf: AlignedBuf,
    /// Where in the chunk it begins: after the bytes of an unfinished block.
    pub(super) from: usize,
    header: BatchHeader,
    append_time: Option<WallMs>,
}

impl Laid {
    /// Copies a whole batch to where it will lie, a place below one block. `append_time` is stamped on it.
    ///
    /// # Errors
    /// It is no whole batch.
    pub fn new(batch: &[u8], from: usize, append_time: Option<WallMs>) -> Result<Self, BatchError> {
        let (_, batch) = BatchHeader::parse_whole(batch)?;
        let mut buf = AlignedBuf::zeroed(from + batch.len());
        let copy = &mut buf[from..from + batch.len()];
        copy.copy_from_slice(batch);
        if let Some(time) = append_time {
            batch::set_append_time(copy, time.0);
        }
        let header = BatchHeader::parse(copy)?;
        Ok(Self { buf, from, header, append_time })
    }

    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The broker's time, if it is stamped with that.
    pub fn append_time(&self) -> Option<WallMs> {
        self.append_time
    }

    /// Memory that it takes.
    pub fn size_bytes(&self) -> usize {
        self.buf.len()
    }

    pub(super) fn batch(&self) -> &[u8] {
        &self.buf[self.from..self.from + self.header.size_bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{LeaderEpoch, Moment, Offset, TopicId, TopicPartition};
    use crate::sim::disk::SimDisk;
    use crate::storage::{Append, LogConfig, Read, Store, StoreConfig};
    use crate::wire::codec::Codec;
    use crate::wire::record::{BatchBuilder, ProducerStamp};
    use std::sync::Arc;

    const TIMES: (Moment, WallMs) = (Moment(0), WallMs(7));

    fn batch(bytes: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        builder.push(7, None, Some(&vec![b'x'; bytes]), &[]);
        builder.build(Codec::None, ProducerStamp::NONE).unwrap().to_vec()
    }

    /// As it is stored.
    fn at(batch: &[u8], offset: i64) -> Vec<u8> {
        let mut batch = batch.to_vec();
        batch::set_base_offset(&mut batch, Offset(offset));
        batch::set_leader_epoch(&mut batch, LeaderEpoch(3));
        batch
    }

    #[test]
    fn a_laid_batch_is_taken_over_where_it_lies_and_copied_when_the_log_went_on() {
        let disk = Arc::new(SimDisk::new(1));
        let mut store = Store::open(disk, StoreConfig::new("/data".into()), 1, WallMs(0)).unwrap();
        let tp = TopicPartition { topic: TopicId([1; 16]), partition: 0 };
        let log = store.create(tp, "t", LogConfig::default(), Moment(0));
        let (small, large) = (batch(5000), batch(3 << 20));
        let header = BatchHeader::parse(&large).unwrap();
        let how = Append { leader_epoch: LeaderEpoch(3), append_time: None };
        let small_header = BatchHeader::parse(&small).unwrap();
        let add_small = |store: &mut Store| {
            store.append(log, &small, &small_header, how, TIMES).unwrap();
        };
        let lay = |store: &Store| Laid::new(&large, store.lie_of(log, &header), None).unwrap();
        let add = |store: &mut Store, laid: Laid| {
            store.append_laid(log, laid, LeaderEpoch(3), TIMES).unwrap();
        };
        add_small(&mut store);
        let laid = lay(&store);
        assert_eq!(laid.from, small.len() % 4096);
        add(&mut store, laid);
        assert_eq!(store.gone().len(), 0, "it was taken over");
        let late = lay(&store);
        add_small(&mut store);
        add(&mut store, late);
        assert_eq!(store.gone().len(), 1, "it was copied");
        add_small(&mut store);
        let expected =
            [at(&small, 0), at(&large, 1), at(&small, 2), at(&large, 3), at(&small, 4)].concat();
        let read = store.read(log, Offset(0), Offset(5), 1 << 30, true).unwrap();
        let Read::Ready(batches) = read else { panic!("not in memory") };
        assert!(batches.parts.concat() == expected, "{} B", batches.bytes);
    }

    #[test]
    fn a_batch_is_stamped_where_it_lies() {
        let sent = batch(100_000);
        let laid = Laid::new(&sent, 100, Some(WallMs(99))).unwrap();
        assert_eq!((laid.header().max_timestamp, laid.append_time()), (99, Some(WallMs(99))));
        assert!(laid.header().is_append_time());
        assert_eq!(laid.header().check_crc(laid.batch()), Ok(()));
    }
}
