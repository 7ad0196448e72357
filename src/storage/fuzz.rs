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
