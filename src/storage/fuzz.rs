//! Each reader of a file against damaged bytes: an error, or what the bytes say, never a panic.

use super::index::Index;
use super::journal::{self, Entry};
use super::{fence, files, segment};
use crate::base::fuzzing::{corpus, fuzz};
use crate::base::{Offset, TopicId, TopicPartition};
use crate::partition::epochs::Epochs;
use crate::partition::producers::Producers;

fn named((name, bytes): (&str, Vec<u8>)) -> (String, Vec<u8>) {
    (name.to_owned(), bytes)
}

/// Files of a kind that brokers wrote.
fn of_corpus(kind: &str) -> Vec<(String, Vec<u8>)> {
    corpus("files.txt").into_iter().filter(|(name, _)| name == kind).collect()
}

#[test]
fn the_journal_is_read_up_to_the_damage() {
    let tp = TopicPartition { topic: TopicId([7; 16]), partition: 3 };
    let mut writer = journal::Writer::new(1 << 16);
    writer.clear();
    writer.push(tp, &Entry::Create { topic: "orders" });
    writer.push(tp, &Entry::Data { base: Offset(0), at: 0, bytes: &[1; 200] });
    writer.push(tp, &Entry::LogStart { offset: Offset(5), segment: Offset(0) });
    writer.push(tp, &Entry::Delete);
    let valid = writer.finish(9, 4).to_vec();
    let mut inputs = of_corpus("journal");
    inputs.push(("journal".to_owned(), valid));
    fuzz(&inputs, |_, bytes| {
        // As it is, and with a checksum that fits, as another program could have written it.
        let mut summed = bytes.to_vec();
        if summed.len() >= 36 {
            let length = u32::from_le_bytes(summed[32..36].try_into().unwrap()) as usize;
            if let Some(covered) = summed.get(12..length) {
                let sum = crc32c::crc32c(covered).to_le_bytes();
                summed[8..12].copy_from_slice(&sum);
            }
        }
        // In the generation that it says it is of.
        let generation = bytes.get(16..24).map_or(9, |b| u64::from_le_bytes(b.try_into().unwrap()));
        for bytes in [bytes, &summed] {
            if let Some(commit) = journal::Commit::parse(bytes, generation) {
                assert!(commit.length <= bytes.len());
                assert!(commit.entries().take_while(Result::is_ok).count() <= bytes.len());
            } else {
                let _ = journal::Broken::parse(bytes, generation);
            }
        }
    });
}

#[test]
fn indexes_are_read_or_built_anew() {
    let (offsets, times) = {
        let mut offsets = Vec::new();
        let mut times = Vec::new();
        for n in 1..20_u32 {
            offsets.extend_from_slice(&n.to_be_bytes());
            offsets.extend_from_slice(&(n * 4096).to_be_bytes());
            times.extend_from_slice(&(1_700_000_000_000 + i64::from(n)).to_be_bytes());
            times.extend_from_slice(&n.to_be_bytes());
        }
        (offsets, times)
    };
    let size = 1 << 20;
    assert!(Index::decode(Offset(5), size, &offsets, &times).is_some());
    let own = [("offsets", offsets.clone()), ("times", times.clone())];
    let valid = [own.map(named).to_vec(), of_corpus("offsets"), of_corpus("times")].concat();
    fuzz(&valid, |which, bytes| {
        let (offsets, times) = match which.as_str() {
            "offsets" => (bytes, times.as_slice()),
            _ => (offsets.as_slice(), bytes),
        };
        if let Some(index) = Index::decode(Offset(5), size, offsets, times) {
            for offset in [0, 5, 6, 24, 25, i64::MAX] {
                assert!(index.floor(Offset(offset)) < size);
            }
        }
    });
}

#[test]
fn small_files_are_read_or_named_as_damaged() {
    let text = |text: &str| text.as_bytes().to_vec();
    let mut producers = Producers::new();
    let batch = crate::wire::record::BatchBuilder::default()
        .build(crate::wire::codec::Codec::None, crate::wire::record::ProducerStamp::NONE)
        .unwrap();
    let header = crate::wire::batch::BatchHeader::parse(&batch).unwrap();
    for id in 1..4 {
        let batch = crate::wire::batch::BatchHeader {
            producer_id: id,
            producer_epoch: 0,
            base_sequence: 0,
            ..header
        };
        producers.on_append(&batch, None);
    }
    let snapshot = producers.snapshot();
    assert_eq!(Producers::from_snapshot(&snapshot).unwrap().len(), 3);
    let own = [
        ("metadata", text("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ")),
        ("metadata", text(&files::metadata_text(TopicId([7; 16])))),
        ("generation", text(&files::generation_text(u64::MAX, 17))),
        ("fence", text("0\n23 20 4096\n0.log is damaged at byte 4096, offset 23\n")),
        ("epochs", text("0\n2\n0 0\n3 17\n")),
        ("checkpoint", text("0\n2\norders 0 5\norders 1 17\n")),
        ("name", text("orders-12")),
        ("name", text("00000000000000000042.timeindex")),
        ("snapshot", snapshot),
    ];
    let kinds = ["metadata", "epochs", "checkpoint", "snapshot"];
    let valid = [own.map(named).to_vec(), kinds.map(of_corpus).concat()].concat();
    fuzz(&valid, |which, bytes| {
        let text = String::from_utf8_lossy(bytes);
        match which.as_str() {
            "metadata" => {
                if let Ok(id) = files::parse_metadata(bytes) {
                    let again = files::metadata_text(id);
                    assert_eq!(files::parse_metadata(again.as_bytes()), Ok(id));
                }
            }
            "generation" => {
                if let Ok((generation, sequence)) = files::parse_generation(&text) {
                    assert_eq!(files::generation_text(generation, sequence), text);
                }
            }
            "fence" => {
                if let Some(fence) = fence::parse(&text) {
                    assert_eq!(fence::parse(&fence.text()), Some(fence));
                }
            }
            "epochs" => drop(Epochs::from_text(&text)),
            "checkpoint" => drop(files::parse_offsets(&text)),
            "snapshot" => {
                let mut summed = bytes.to_vec();
                if summed.len() >= 6 {
                    let sum = crc32c::crc32c(&summed[6..]).to_be_bytes();
                    summed[2..6].copy_from_slice(&sum);
                }
                drop(Producers::from_snapshot(bytes));
                drop(Producers::from_snapshot(&summed));
            }
            _ => {
                let _ = (files::parse_dir_name(&text), segment::parse_name(&text));
            }
        }
    });
}

/// With a disk of the simulation.
#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::base::{Moment, WallMs};
    use crate::runtime::disk::{BackJob as _, Disk as _, ServantJob as _};
    use crate::sim::disk::SimDisk;
    use crate::storage::{Read, Store, StoreConfig};
    use crate::wire::batch::{self, BatchHeader};

    /// Runs commits and jobs until none is left.
    fn rest(store: &mut Store, disk: &SimDisk) {
        let (mut events, mut jobs) = (Vec::new(), Vec::new());
        loop {
            let commit = store.commit(Moment(0));
            store.jobs(&mut jobs);
            if commit.is_none() && jobs.is_empty() {
                return;
            }
            if let Some(commit) = commit {
                store.on_commit(commit.run(), Moment(0), &mut events);
            }
            for job in jobs.drain(..) {
                store.on_job(job.run(disk), Moment(0), &mut events);
            }
        }
    }

    /// Opens a store with this segment, and reads what it serves of it: whole batches, each with its checksum,
    /// one after another. With the end of the log as its `point` the segment is trusted until it is read.
    fn read_segment(base: Offset, bytes: &[u8], point: Option<Offset>) -> Vec<u8> {
        let tp = TopicPartition { topic: TopicId([7; 16]), partition: 0 };
        let (disk, node) = (SimDisk::new(1), Path::new("/node-0"));
        disk.create_dir_all(&node.join("t-0")).unwrap();
        let put = |name: &str, bytes: &[u8]| files::write(&disk, &node.join(name), bytes).unwrap();
        put("t-0/partition.metadata", files::metadata_text(tp.topic).as_bytes());
        put(&format!("t-0/{:020}.log", base.0), bytes);
        if let Some(point) = point {
            put(files::RECOVERY_POINT, format!("0\n1\nt 0 {point}\n").as_bytes());
            put(files::LOG_START, format!("0\n1\nt 0 {base}\n").as_bytes());
            put(files::CLEAN_SHUTDOWN, files::CLEAN_SHUTDOWN_TEXT.as_bytes());
        }
        let small = StoreConfig {
            journal_bytes: 2 << 20,
            journal_chunk_bytes: 512 << 10,
            commit_bytes_max: 16 << 10,
            cache_bytes: 1 << 20,
            ..StoreConfig::new(node.into())
        };
        let mut store = Store::open(Arc::new(disk.clone()), small, 1, WallMs(0)).unwrap();
        let id = store.find(tp).unwrap();
        let (mut at, mut served) = (store.log(id).unwrap().log_start(), Vec::new());
        loop {
            match store.read(id, at, Offset(i64::MAX), 1 << 20, true) {
                Err(_) => return served,
                Ok(Read::Pending) => rest(&mut store, &disk),
                Ok(Read::Ready(read)) if read.bytes == 0 => return served,
                Ok(Read::Ready(read)) => {
                    let bytes = read.parts.concat();
                    let mut left = bytes.len();
                    for (header, batch) in batch::iter(&bytes) {
                        assert!(header.base_offset >= at || served.is_empty(), "{at}");
                        header.check_crc(batch).unwrap();
                        at = header.next_offset();
                        left -= batch.len();
                    }
                    assert_eq!((left, at), (0, read.next));
                    served.extend_from_slice(&bytes);
                }
            }
        }
    }

    #[test]
    fn of_a_damaged_segment_valid_batches_are_served_or_nothing() {
        let mut valid: Vec<_> = corpus("batches.txt")
            .into_iter()
            .filter(|(_, bytes)| BatchHeader::parse_whole(bytes).is_ok())
            .map(|(_, bytes)| (bytes.clone(), bytes))
            .collect();
        let several: Vec<_> = valid.iter().take(6).flat_map(|(bytes, _)| bytes.clone()).collect();
        valid.push((several.clone(), several));
        fuzz(&valid, |whole, bytes| {
            let of = |end| batch::iter(whole).map(|(header, _)| header).nth(end).unwrap();
            let (base, count) = (of(0).base_offset, batch::iter(whole).count());
            for point in [None, Some(of(count - 1).next_offset())] {
                let served = read_segment(base, bytes, point);
                assert!(served == *whole || bytes != whole, "{point:?}: not all is served");
            }
        });
    }
}
