//! `klamm dump-log` beside Kafka's own tool, on the same files: those that were written here, those of a
//! real Kafka, and damaged ones.
//!
//! What both print must be the same, and so must be how they end. In words the two differ only where
//! Kafka's tool ends with an exception: ours says then where the damage is.

use std::fs;
use std::path::{Path, PathBuf};

use klamm::wire::batch::HEADER_BYTES;
use klamm::wire::codec::Codec;
use klamm::wire::record::{self, ProducerStamp};

use crate::common::server::{Place, Server, klamm};
use crate::common::wire::{Wire, batch_of, stamp};
use crate::java::Java;
use crate::stored::{data, files};
use crate::tools::Ended;

const TOOL: &str = "org.apache.kafka.tools.DumpLogSegments";
const LOG: &str = "00000000000000000000.log";
const INDEX: &str = "00000000000000000000.index";
const TIME_INDEX: &str = "00000000000000000000.timeindex";

/// Files of a directory: name and content.
type Files = Vec<(String, Vec<u8>)>;

fn read(dir: &Path) -> Files {
    let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
    let all = files(dir).into_iter().map(|file| (name(&file), fs::read(file).unwrap()));
    all.filter(|(name, _)| name != "dump.txt.zst").collect()
}

/// The same files, one of them with other bytes.
fn with(files: &Files, name: &str, bytes: Vec<u8>) -> Files {
    let mut files = files.clone();
    files.iter_mut().find(|(n, _)| n == name).expect(name).1 = bytes;
    files
}

/// Has files printed by Kafka's tool and by ours, which must say the same; `None` when that was that
/// they cannot be read to their end.
fn same(java: &mut Java, place: &Path, files: &Files, flags: &[&str]) -> Option<Ended> {
    let scratch = place.join("dump");
    let own = files.iter().map(|(name, _)| scratch.join(name).display().to_string());
    let list = own.collect::<Vec<_>>().join(",");
    let arguments = [flags, &["--files", &list]].concat();
    // Kafka's tool cuts indexes to their size, so each gets files of its own.
    let write = || {
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir(&scratch).unwrap();
        for (name, bytes) in files {
            fs::write(scratch.join(name), bytes).unwrap();
        }
    };
    write();
    let ours = klamm(&[&["dump-log"], &arguments[..]].concat()).output().unwrap();
    let err = String::from_utf8(ours.stderr).unwrap();
    let code = ours.status.code().unwrap().to_string();
    let ours = Ended { out: String::from_utf8(ours.stdout).unwrap(), err, code };
    write();
    let kafkas = java.run(TOOL, &arguments, "", super::PATIENCE);
    let differences = crate::differences(&kafkas.out, &ours.out, &[]);
    assert!(differences.is_empty(), "{flags:?}: {}", differences.join("\n"));
    assert_eq!(kafkas.code, ours.code, "{flags:?}: {}\n{}", kafkas.err, ours.err);
    if ours.code != "0" {
        assert!(ours.err.lines().last().unwrap().starts_with(scratch.to_str().unwrap()));
        return None;
    }
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // Kafka's tool has no order among the files that it complains about.
    assert_eq!(sorted(&kafkas.err), sorted(&ours.err), "{flags:?}");
    Some(ours)
}

#[test]
fn kafkas_tool_reads_what_was_written_here_and_ours_prints_the_same() {
    let Some(mut java) = Java::start() else { return };
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
    let written = read(&server.place.data().join("node-0/dumped-0"));
    sound(&mut java, &server.place.dir, &written);
}

#[test]
fn kafkas_tool_reads_what_a_killed_server_leaves() {
    let Some(mut java) = Java::start() else { return };
    let mut server = Server::start();
    let mut wire = Wire::connect(server.address(0));
    wire.create("killed", 1, &[("segment.bytes", "1048576"), ("index.interval.bytes", "1000")]);
    let value = "v".repeat(5000);
    let mut produce = |at| {
        let batch = batch_of(&[&value], Codec::None, stamp(4711, 0, at));
        assert_eq!(wire.produce("killed", 0, batch).error_code, 0);
    };
    let dir = server.place.data().join("node-0/killed-0");
    (0..500).for_each(&mut produce);
    // Segments are written after they have rolled.
    crate::common::until(super::PATIENCE, "a second segment", || {
        let logs = files(&dir).into_iter().filter(|f| f.extension().is_some_and(|e| e == "log"));
        (logs.count() > 1).then_some(())
    });
    server.kill();
    // The last file may have been cut while it was written.
    let left = read(&dir);
    let [all, ..] = WAYS.map(|flag| same(&mut java, &server.place.dir, &left, &[flag]));
    assert!(all.expect("readable files").out.contains("\nbaseOffset: 100 "));
}

/// Ways to look at files as a whole.
const WAYS: [&str; 4] =
    ["--print-data-log", "--deep-iteration", "--index-sanity-check", "--verify-index-only"];

/// Files in which Kafka's tool finds nothing to complain about.
fn sound(java: &mut Java, place: &Path, files: &Files) {
    for flag in WAYS {
        let Ended { out, err, .. } = same(java, place, files, &[flag]).expect("sound files");
        assert!(!out.contains("isvalid: false") && !out.contains("invalid bytes"), "{out}");
        let complains = |l: &&str| !l.starts_with("Ignoring unknown file");
        let complaints: Vec<_> = err.lines().filter(complains).collect();
        assert!(complaints.is_empty(), "{flag}: {complaints:?}");
    }
}

#[test]
fn our_tool_has_the_options_of_kafkas() {
    let Some(mut java) = Java::start() else { return };
    let place = Place::take();
    let options: [&[&str]; 13] = [
        &[],
        &["--print-data-log"],
        &["--deep-iteration"],
        &["--skip-record-metadata"],
        &["--skip-record-metadata", "--deep-iteration"],
        &["--skip-record-metadata", "--print-data-log"],
        &["--index-sanity-check"],
        &["--verify-index-only"],
        &["--max-message-size", "1000"],
        &["--max-bytes", "0"],
        &["--max-bytes", "396"],
        &["--max-bytes", "397", "--deep-iteration"],
        &["--max-bytes", "2147483647"],
    ];
    for dir in ["copied-0", "compacted-0", "__transaction_state-0"] {
        let files = read(&data().join(dir));
        for flags in options {
            assert!(same(&mut java, &place.dir, &files, flags).is_some(), "{dir} {flags:?}");
        }
    }
    let log = data().join("copied-0").join(LOG).display().to_string();
    for wrong in ["-1", "2147483648", "x"] {
        let arguments = ["--files", &log, "--max-bytes", wrong];
        let kafkas = java.run(TOOL, &arguments, "", super::PATIENCE);
        let ours = klamm(&[&["dump-log"], &arguments[..]].concat()).output().unwrap();
        assert_eq!((&*kafkas.code, ours.status.code()), ("1", Some(1)), "{wrong}: {ours:?}");
    }
}

/// The first segment of a directory.
fn first_segment(dir: &str) -> Files {
    let mut files = read(&data().join(dir));
    files.retain(|(name, _)| name.starts_with("00000000000000000000."));
    files
}

fn bytes<'a>(files: &'a Files, name: &str) -> &'a [u8] {
    &files.iter().find(|(n, _)| n == name).expect(name).1
}

#[test]
fn a_damaged_log_is_printed_as_far_as_kafkas_tool_prints_it() {
    let Some(mut java) = Java::start() else { return };
    let place = Place::take();
    let files = first_segment("copied-0");
    let one = bytes(&files, LOG);
    let two = [one, one].concat();
    for size in [0, 1, 17, 18, 61, 396, 398, 414, 415, 458, 793] {
        let cut = with(&files, LOG, two[..size].to_vec());
        assert!(same(&mut java, &place.dir, &cut, &["--print-data-log"]).is_some(), "{size}");
    }
    // Byte 16 is the format and the low bits of 22 are the codec, neither of which may be another.
    let mut unreadable = 0;
    let header = (0..HEADER_BYTES).filter(|at| ![16, 22].contains(at));
    for at in header.chain([61, 62, 65, 70, 100, 396]) {
        let mut damaged = one.to_vec();
        damaged[at] ^= if at % 2 == 0 { 1 } else { 0x80 };
        let files = with(&files, LOG, damaged);
        let ended = same(&mut java, &place.dir, &files, &["--print-data-log"]);
        unreadable += usize::from(ended.is_none());
    }
    assert!((4..30).contains(&unreadable), "{unreadable}");
}

#[test]
fn what_is_wrong_with_an_index_is_told_as_kafkas_tool_tells_it() {
    let Some(mut java) = Java::start() else { return };
    let place = Place::take();
    for dir in ["copied-0", "compacted-0"] {
        let files = first_segment(dir);
        let times = bytes(&files, TIME_INDEX);
        let mut changed = vec![
            with(&files, INDEX, vec![0, 0, 0, 7, 0, 0, 0, 0, 1, 2, 3]),
            with(&files, INDEX, vec![0, 0, 0, 6, 0, 0, 0, 0]),
            with(&files, INDEX, vec![0xff, 0, 0, 7, 0, 0, 0, 0]),
            with(&files, INDEX, vec![0; 24]),
            with(&files, TIME_INDEX, [times, &[1, 2]].concat()),
            with(&files, TIME_INDEX, [times, times].concat()),
            with(&files, TIME_INDEX, [times, &[0; 11], &[7]].concat()),
            with(&files, TIME_INDEX, vec![0; 24]),
        ];
        for (at, byte) in [(7, 1), (8, 0xff), (11, 5)] {
            let mut other = times.to_vec();
            other[at] = byte;
            changed.push(with(&files, TIME_INDEX, other));
        }
        // The times of the records count, not that of the batch's header.
        for at in [27, 35] {
            let mut other = bytes(&files, LOG).to_vec();
            let last = if dir == "copied-0" { 0 } else { 400 };
            other[last + at] ^= 1;
            changed.push(with(&files, LOG, other));
        }
        for files in changed {
            for flags in [&[][..], &["--verify-index-only"], &["--index-sanity-check"]] {
                same(&mut java, &place.dir, &files, flags);
            }
        }
    }
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
        let ended = same(&mut java, &server.place.dir, &read(&dir), &["--offsets-decoder"]);
        let out = ended.expect("sound files").out;
        assert!(out.contains(r#" key: {"type":"2","data":{"group":""#), "{out}");
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
