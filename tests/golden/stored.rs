//! The stored form, both ways: directories of a real Kafka are opened and served, and Kafka's own
//! tool reads what was written here, as does `klamm dump-log`.
//!
//! `tests/data/kafka` says where its directories come from.

use std::fs;
use std::path::{Path, PathBuf};

use klamm::base::Offset;
use klamm::client::blocking::Clock;
use klamm::wire::batch::{self, HEADER_BYTES};
use klamm::wire::codec::Codec;
use klamm::wire::record::{self, ProducerStamp};

use crate::common::server::{Server, klamm};
use crate::common::wire::{Wire, batch_of, stamp};
use crate::java::Java;
use crate::tools::Ended;

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
    as_of_now(&dir);
    // The topic's id here is another.
    fs::write(dir.join("partition.metadata"), metadata).unwrap();
    change(&dir);
    server.start_again();
    let wire = Wire::connect(server.address(0));
    (server, wire)
}

/// Moves all times of a directory, so that its last record is of now: a broker forgets a producer that
/// was silent for a day.
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

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kafka")
}

fn files(dir: &Path) -> Vec<PathBuf> {
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
fn a_partition_directory_of_kafka_is_served() {
    let (_server, mut wire) = server_with("copied", |_| {});
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let wants: Vec<_> = (0..40)
        .map(|at| {
            let (k, codec) = (at % 8 + 1, codecs[at / 8]);
            format!("{at} k{k}: value {k} of key {k} with {codec}")
        })
        .collect();
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

#[test]
fn kafkas_tool_reads_what_was_written_here_and_ours_prints_the_same() {
    let mut server = Server::start();
    let mut wire = Wire::connect(server.address(0));
    wire.create("dumped", 1, &[("index.interval.bytes", "100")]);
    for (at, codec) in Codec::ALL.into_iter().enumerate() {
        let value = format!("value {at}");
        let batch = batch_of(&[&value, "second", ""], codec, ProducerStamp::NONE);
        assert_eq!(wire.produce("dumped", 0, batch).error_code, 0);
        let batch = batch_of(&[&value], codec, stamp(4711, 0, at as i32));
        assert_eq!(wire.produce("dumped", 0, batch).error_code, 0);
    }
    let (status, _) = server.signal(libc::SIGTERM);
    assert!(status.success());
    let written = server.place.data().join("node-0/dumped-0");
    let dirs = [written, data().join("copied-0"), data().join("compacted-0")];
    let Some(mut java) = Java::start() else { return };
    for dir in dirs {
        let (out, err) = same_dump(&mut java, &dir, &server.place.dir, "--print-data-log");
        if dir.ends_with("dumped-0") {
            let unknown = |line: &&str| line.starts_with("Ignoring unknown file");
            let complaints: Vec<_> = err.lines().filter(|l| !unknown(l)).collect();
            assert!(complaints.is_empty(), "{complaints:?}");
            assert!(!out.contains("isvalid: false") && !out.contains("invalid bytes"), "{out}");
        }
    }
}

/// Has the files of a directory printed by Kafka's tool and by ours, which must say the same.
fn same_dump(java: &mut Java, dir: &Path, place: &Path, flag: &str) -> (String, String) {
    let scratch = place.join("dump");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir(&scratch).unwrap();
    // Kafka's tool cuts indexes to their size, so it gets files of its own.
    let own = files(dir).into_iter().map(|file| {
        let copy = scratch.join(file.file_name().unwrap());
        fs::copy(&file, &copy).unwrap();
        copy.to_str().unwrap().to_owned()
    });
    let arguments = [flag, "--files", &own.collect::<Vec<_>>().join(",")];
    let ours = klamm(&[&["dump-log"], &arguments[..]].concat()).output().unwrap();
    let class = "org.apache.kafka.tools.DumpLogSegments";
    let Ended { out, err, code } = java.run(class, &arguments, "", super::PATIENCE);
    assert_eq!((&*String::from_utf8(ours.stdout).unwrap(), &*code), (&*out, "0"));
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // Kafka's tool has no order among the files that it complains about.
    assert_eq!(sorted(&String::from_utf8(ours.stderr).unwrap()), sorted(&err));
    (out, err)
}

#[test]
fn the_records_of_groups_have_the_words_that_kafkas_tool_has_for_them() {
    let Some(mut java) = Java::start() else { return };
    let mut server = Server::start();
    let mut wire = Wire::connect(server.address(0));
    wire.create("words", 1, &[]);
    for name in ["consumer_offsets.txt", "consumer_groups.txt", "group_records.txt"] {
        let text = fs::read_to_string(crate::folder().join("../data").join(name)).unwrap();
        let mut builder = record::BatchBuilder::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (key, value) = line.split_once(' ').unwrap();
            let value = (value != "-").then(|| unhex(value));
            builder.push(1, Some(&unhex(key)), value.as_deref(), &[]);
        }
        let batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
        assert_eq!(wire.produce("words", 0, batch).error_code, 0);
    }
    // And what is written here of a group.
    drop(crate::tools::join(&server.bootstrap(), "dumped", "words"));
    let (status, _) = server.signal(libc::SIGTERM);
    assert!(status.success());
    let node = server.place.data().join("node-0");
    let own = fs::read_dir(&node).unwrap().map(|entry| entry.unwrap().path());
    let is_used = |dir: &PathBuf| {
        dir.to_string_lossy().contains("__consumer_offsets-")
            && files(dir)
                .iter()
                .any(|f| f.ends_with("00000000000000000000.log") && f.metadata().unwrap().len() > 0)
    };
    let mut dirs: Vec<_> = own.filter(is_used).collect();
    assert_eq!(dirs.len(), 1, "{dirs:?}");
    dirs.push(node.join("words-0"));
    for dir in dirs {
        let (out, _) = same_dump(&mut java, &dir, &server.place.dir, "--offsets-decoder");
        assert!(out.contains(r#" key: {"type":"2","data":{"group":""#), "{out}");
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
