//! Directories of a real Kafka are opened and served. `dump_log` has the other way: Kafka's own tool
//! reads what was written here.
//!
//! `tests/data/kafka` says where its directories come from.

use std::fs;
use std::path::{Path, PathBuf};

use klamm::base::Offset;
use klamm::client::blocking::Clock;
use klamm::msg;
use klamm::wire::batch::{self, HEADER_BYTES};
use klamm::wire::codec::Codec;
use klamm::wire::messages::OffsetForLeaderEpochRequest;
use klamm::wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use klamm::wire::record::{self, ProducerStamp};

use crate::common::server::Server;
use crate::common::wire::{Wire, batch_of, stamp};

/// A server whose partition `TOPIC-0` has the files of a directory of Kafka.
fn server_with(topic: &str, change: impl FnOnce(&Path)) -> (Server, Wire) {
    let mut server = Server::start();
    Wire::connect(server.address(0)).create(topic, 1, &[("retention.ms", "-1")]);
    let (status, _) = server.signal(libc::SIGTERM);
    assert!(status.success());
    let node = server.place.data().join("node-0");
    let dir = node.join(format!("{topic}-0"));
    // As on a broker that was not stopped cleanly, so that everything is looked at.
    for name in [".kafka_cleanshutdown", "recovery-point-offset-checkpoint"] {
        fs::remove_file(node.join(name)).unwrap();
    }
    let metadata = fs::read(dir.join("partition.metadata")).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    for file in files(&data().join(format!("{topic}-0"))) {
        fs::copy(&file, dir.join(file.file_name().unwrap())).unwrap();
    }
    // The topic's id here is another.
    fs::write(dir.join("partition.metadata"), metadata).unwrap();
    change(&dir);
    server.start_again();
    let wire = Wire::connect(server.address(0));
    (server, wire)
}

/// Moves all times of a directory, so that its last record is of now: a broker forgets a producer that
/// was silent for a day, which those of the directories are.
fn as_of_now(dir: &Path) {
    let (logs, others): (Vec<_>, Vec<_>) =
        files(dir).into_iter().partition(|file| file.extension().is_some_and(|e| e == "log"));
    let newest =
        |log: &PathBuf| batch::iter(&fs::read(log).unwrap()).map(|b| b.0.max_timestamp).max();
    let by = Clock::wall().0 - logs.iter().filter_map(newest).max().unwrap();
    let add = |at: &mut [u8]| {
        let time = i64::from_be_bytes(at.try_into().unwrap());
        at.copy_from_slice(&(time + by).to_be_bytes());
    };
    for file in logs {
        let mut bytes = fs::read(&file).unwrap();
        let sizes: Vec<_> = batch::iter(&bytes).map(|(_, batch)| batch.len()).collect();
        let mut rest = bytes.as_mut_slice();
        for size in sizes {
            let (batch, after) = rest.split_at_mut(size);
            add(&mut batch[27..35]);
            add(&mut batch[35..43]);
            batch::set_crc(batch);
            rest = after;
        }
        fs::write(file, bytes).unwrap();
    }
    for file in others {
        let mut bytes = fs::read(&file).unwrap();
        match file.extension().and_then(|e| e.to_str()) {
            Some("timeindex") => bytes.chunks_exact_mut(12).for_each(|entry| add(&mut entry[..8])),
            Some("snapshot") => {
                bytes[10..].chunks_exact_mut(46).for_each(|entry| add(&mut entry[26..34]));
                let crc = crc32c::crc32c(&bytes[6..]);
                bytes[2..6].copy_from_slice(&crc.to_be_bytes());
            }
            _ => continue,
        }
        fs::write(file, bytes).unwrap();
    }
}

/// Directories of Kafka.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kafka")
}

/// The files of a directory, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Every record from `offset` on: offset, key, value.
fn read(wire: &mut Wire, topic: &str, mut offset: i64) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let partition = super::common::until(super::PATIENCE, "records", || {
            let partition = wire.fetch(topic, 0, offset);
            assert_eq!(partition.error_code, 0, "{partition:?}");
            let has_some = partition.records.as_ref().is_some_and(|r| !r.is_empty());
            (has_some || offset >= partition.high_watermark).then_some(partition)
        });
        for (header, batch) in batch::iter(&partition.records.unwrap_or_default()) {
            header.check_crc(batch).unwrap();
            let codec = Codec::from_id(header.codec_id()).unwrap();
            let plain = codec.decompress(&batch[HEADER_BYTES..], 1 << 20).unwrap();
            for record in record::records(&plain, header.count).map(Result::unwrap) {
                let text = |b: Option<&[u8]>| {
                    b.map_or("null".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
                };
                let at = header.base_offset.0 + i64::from(record.offset_delta);
                lines.push(format!("{at} {}: {}", text(record.key), text(record.value)));
            }
            offset = header.next_offset().0;
        }
        if offset >= partition.high_watermark {
            return lines;
        }
    }
}

#[test]
fn a_partition_directory_of_kafka_is_served_as_its_bytes_are() {
    for topic in ["copied", "compacted"] {
        let (mut server, mut wire) = server_with(topic, |_| {});
        let original = data().join(format!("{topic}-0"));
        let is_log = |file: &PathBuf| file.extension().is_some_and(|e| e == "log");
        let logs = || files(&original).into_iter().filter(is_log);
        let wants: Vec<_> = logs().map(|log| fs::read(log).unwrap()).collect();
        assert_eq!(batches(&mut wire, topic), wants.concat(), "{topic}");
        // Nor does the start write them anew.
        assert!(server.signal(libc::SIGTERM).0.success());
        let dir = server.place.data().join(format!("node-0/{topic}-0"));
        for (log, wants) in logs().zip(wants) {
            assert!(fs::read(dir.join(log.file_name().unwrap())).unwrap() == wants, "{log:?}");
        }
    }
}

/// All batches of a partition as they are sent to a reader.
fn batches(wire: &mut Wire, topic: &str) -> Vec<u8> {
    let (mut bytes, mut offset) = (Vec::new(), 0);
    loop {
        let partition = wire.fetch(topic, 0, offset);
        assert_eq!((partition.error_code, partition.log_start_offset), (0, 0), "{partition:?}");
        let records = partition.records.unwrap_or_default();
        offset = batch::iter(&records).last().map_or(offset, |b| b.0.next_offset().0);
        bytes.extend_from_slice(&records);
        if offset >= partition.high_watermark {
            return bytes;
        }
        assert!(!records.is_empty(), "no records at {offset}, below the high watermark");
    }
}

/// What the producers of `copied-0` sent: offset, key, value.
fn sent() -> Vec<String> {
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let line = |at: usize| {
        let (k, codec) = (at % 8 + 1, codecs[at / 8]);
        format!("{at} k{k}: value {k} of key {k} with {codec}")
    };
    (0..40).map(line).collect()
}

#[test]
fn the_leader_epochs_of_a_directory_of_kafka_are_known() {
    // As of a partition whose leader was elected often; the checksum does not cover the epoch.
    let (mut server, mut wire) = server_with("copied", |dir| {
        for (base, epoch) in [(16, 3), (24, 3), (32, 7_i32)] {
            let log = dir.join(format!("{base:020}.log"));
            let mut bytes = fs::read(&log).unwrap();
            bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
            fs::write(log, bytes).unwrap();
        }
        fs::write(dir.join("leader-epoch-checkpoint"), "0\n3\n0 0\n3 16\n7 32\n").unwrap();
    });
    assert_eq!(read(&mut wire, "copied", 0), sent());
    let all = batches(&mut wire, "copied");
    let epochs: Vec<_> = batch::iter(&all).map(|b| b.0.leader_epoch.0).collect();
    assert_eq!(epochs, [0, 0, 3, 3, 7]);
    assert_epochs(&mut wire);
    // What the file says follows from the records.
    let file = server.place.data().join("node-0/copied-0/leader-epoch-checkpoint");
    for damaged in [Some("0\n3\n0 0\n3 16\n"), None] {
        server.signal(libc::SIGTERM);
        let said = fs::read_to_string(&file).unwrap();
        match damaged {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        server.start_again();
        assert_epochs(&mut Wire::connect(server.address(0)));
        assert_eq!(fs::read_to_string(&file).unwrap(), said);
    }
    let log = server.log();
    let told = log.lines().filter(|l| l.contains("a damaged file is made anew from the records"));
    assert_eq!(told.filter(|l| l.contains("leader-epoch-checkpoint")).count(), 1, "{log}");
}

fn assert_epochs(wire: &mut Wire) {
    for (epoch, wants) in [(0, (0, 16)), (1, (0, 16)), (3, (3, 32)), (5, (3, 32)), (7, (7, 40))] {
        let partition = msg!(OffsetForLeaderPartition { partition: 0, leader_epoch: epoch });
        let topic =
            msg!(OffsetForLeaderTopic { topic: "copied".into(), partitions: vec![partition] });
        let answer = wire.ask(&msg!(OffsetForLeaderEpochRequest { topics: vec![topic] }), 4);
        let end = &answer.topics[0].partitions[0];
        assert_eq!((end.leader_epoch, end.end_offset), wants, "of {epoch}: {end:?}");
    }
}

#[test]
fn the_producers_of_a_directory_of_kafka_are_known() {
    let (_server, mut wire) = server_with("copied", as_of_now);
    let wants = sent();
    assert_eq!(read(&mut wire, "copied", 0), wants);
    assert_eq!(read(&mut wire, "copied", 13)[0], wants[8], "from the batch that holds the offset");
    // The producers of the snapshot are known, also that of the last batch: 8 records each.
    let last = producer_of(&data().join("copied-0/00000000000000000032.log"));
    let again = wire.produce("copied", 0, batch_of(&["x"], Codec::None, stamp(last, 0, 12)));
    assert_eq!(again.error_code, 45, "{again:?}");
    let next = wire.produce("copied", 0, batch_of(&["x"], Codec::None, stamp(last, 0, 8)));
    assert_eq!((next.error_code, next.base_offset), (0, 40));
}

/// The producer of the first batch of a log.
fn producer_of(log: &Path) -> i64 {
    let bytes = fs::read(log).unwrap();
    let (header, _) = batch::iter(&bytes).next().unwrap();
    header.producer_id
}

#[test]
fn a_compacted_directory_of_kafka_is_served_over_its_gaps() {
    let (_server, mut wire) = server_with("compacted", |_| {});
    let mut wants: Vec<_> =
        (2..8).map(|k| format!("{} k{k}: value {} of key {k}", k + 23, k + 24)).collect();
    wants.extend(["32 k8: null".to_owned(), "33 k1: last".into(), "34 end: end".into()]);
    for from in [0, 3, 25] {
        assert_eq!(read(&mut wire, "compacted", from), wants, "from {from}");
    }
    assert_eq!(read(&mut wire, "compacted", 34), wants[8..]);
}

#[test]
fn a_reader_goes_over_a_gap_at_the_end_of_a_segment() {
    // Compaction may take away the last batches of a segment; here they are cut off.
    let (_server, mut wire) = server_with("compacted", |dir| {
        let log = dir.join("00000000000000000000.log");
        let bytes = fs::read(&log).unwrap();
        let kept = batch::iter(&bytes).filter(|(header, _)| header.next_offset() <= Offset(32));
        let size: usize = kept.map(|(_, batch)| batch.len()).sum();
        assert!(size < bytes.len());
        fs::write(&log, &bytes[..size]).unwrap();
        for index in ["index", "timeindex"] {
            fs::remove_file(log.with_extension(index)).unwrap();
        }
    });
    for from in [32, 33, 34] {
        assert_eq!(read(&mut wire, "compacted", from), ["34 end: end"], "from {from}");
    }
    let all = read(&mut wire, "compacted", 0);
    assert_eq!((all.len(), &*all[6]), (7, "34 end: end"));
}

#[test]
fn old_records_of_a_topic_that_keeps_them_outlive_a_restart() {
    let mut server = Server::start();
    let mut wire = Wire::connect(server.address(0));
    wire.create("kept", 1, &[("retention.ms", "-1")]);
    let mut builder = record::BatchBuilder::default();
    // Older than the seven days that a topic keeps by default.
    builder.push(1_000_000_000_000, Some(b"k"), Some(b"v"), &[]);
    let batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
    assert_eq!(wire.produce("kept", 0, batch).error_code, 0);
    for _ in 0..2 {
        server.restart();
        let mut wire = Wire::connect(server.address(0));
        assert_eq!(read(&mut wire, "kept", 0), ["0 k: v"]);
    }
}
