//! Damaged files under the real server: what its clients and whoever reads its log see of it. The
//! table of every file and every damage is in `tests/sim/damage.rs`.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use klamm::wire::batch::{self, BatchHeader};
use klamm::wire::codec::Codec;
use klamm::wire::record::ProducerStamp;

use crate::common::http::{admin, get};
use crate::common::server::run;
use crate::common::wire::batch_of;
use crate::common::{Server, Wire, until};

const STORAGE_ERROR: i16 = 56;
const SETTINGS: &[(&str, &str)] = &[("node.count", "1")];
/// Batches of one record of [`VALUE`] bytes; about ten fill a segment.
const BATCHES: i64 = 35;
const VALUE: usize = 100_000;
const LIMIT: Duration = Duration::from_mins(1);

fn sent(i: i64) -> Bytes {
    let value: String =
        (0..VALUE).map(|k| char::from(b'a' + (k as i64 * (i + 3) % 26) as u8)).collect();
    batch_of(&[&value], Codec::None, ProducerStamp::NONE)
}

/// A server with two topics, stopped cleanly or killed.
fn stopped(clean: bool) -> Server {
    stopped_with(SETTINGS, clean)
}

fn stopped_with(settings: &[(&str, &str)], clean: bool) -> Server {
    let mut server = Server::with(settings);
    let mut wire = Wire::connect(server.address(0));
    wire.create("hurt", 1, &[("segment.bytes", "1048576")]);
    wire.create("well", 1, &[]);
    for i in 0..BATCHES {
        assert_eq!(wire.produce("hurt", 0, sent(i)).error_code, 0);
    }
    assert_eq!(wire.produce("well", 0, sent(0)).error_code, 0);
    if clean {
        assert!(server.signal(libc::SIGTERM).0.success());
    } else {
        server.kill();
    }
    server
}

impl Server {
    fn file(&self, name: &str) -> PathBuf {
        self.place.data().join("node-0").join(name)
    }

    /// Commits of the journal that count, in order: sequence, chunk, first byte.
    fn commits(&self) -> Vec<(u64, PathBuf, usize)> {
        let text = fs::read_to_string(self.file("journal/generation")).unwrap();
        let words: Vec<_> = text.split_whitespace().collect();
        let generation = u64::from_str_radix(words[1], 16).unwrap();
        let first: u64 = words[2].parse().unwrap();
        let mut found = Vec::new();
        for entry in fs::read_dir(self.file("journal")).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            for (at, block) in (0..).step_by(4096).zip(bytes.chunks_exact(4096)) {
                let number = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
                let counts = number(16) == generation && number(24) >= first;
                if block.starts_with(b"klammjnl") && counts {
                    found.push((number(24), path.clone(), at));
                }
            }
        }
        found.sort();
        found
    }

    /// Segments of the topic, oldest first: base offset, file.
    fn segments(&self) -> Vec<(i64, PathBuf)> {
        let files = fs::read_dir(self.file("hurt-0")).unwrap().map(|e| e.unwrap().path());
        let base = |path: &PathBuf| path.file_stem()?.to_str()?.parse().ok();
        let logs = files.filter(|path| path.extension().is_some_and(|e| e == "log"));
        let mut found: Vec<_> = logs.filter_map(|path| Some((base(&path)?, path))).collect();
        found.sort();
        found
    }
}

/// Flips a bit.
pub fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

/// Fetches from `from` on until an error or the end; offset and error code there.
fn served(wire: &mut Wire, mut from: i64) -> (i64, i16) {
    loop {
        let data = wire.fetch("hurt", 0, from);
        let bytes = data.records.unwrap_or_default();
        if data.error_code != 0 || bytes.is_empty() && from == data.high_watermark {
            return (from, data.error_code);
        }
        for (header, batch) in batch::iter(&bytes) {
            header.check_crc(batch).unwrap();
            let same = batch.len() == sent(from).len()
                && batch[batch.len() - VALUE..] == sent(from)[batch.len() - VALUE..];
            assert!(header.base_offset.0 == from && same, "{from} is not what was sent");
            from += 1;
        }
    }
}

/// What clients see when records from `damaged` on cannot be served.
fn check(server: &mut Server, damaged: i64, words: &[&str]) {
    server.start_again();
    check_running(server, damaged, words);
}

fn check_running(server: &mut Server, damaged: i64, words: &[&str]) {
    let mut wire = Wire::connect(server.address(0));
    assert_eq!(served(&mut wire, 0), (damaged, STORAGE_ERROR), "{}", server.log());
    assert_eq!(wire.produce("hurt", 0, sent(0)).error_code, STORAGE_ERROR);
    assert_eq!(wire.produce("well", 0, sent(1)).error_code, 0);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("storage failed")).unwrap_or_default();
    let offset = format!("offset {damaged}");
    for word in words.iter().chain(&["hurt-0", ".log", &offset, "remedy"]) {
        assert!(line.contains(word), "{word} is not in the line: {log}");
    }
    // It is remembered.
    server.restart();
    let mut wire = Wire::connect(server.address(0));
    assert_eq!(served(&mut wire, 0), (damaged, STORAGE_ERROR));
    assert_eq!(wire.fetch("well", 0, 0).high_watermark, 2);
}

#[test]
fn a_flipped_bit_in_an_old_segment_is_found_by_a_reader_and_only_what_is_before_it_is_served() {
    let mut server = stopped(true);
    let (base, path) = server.segments()[1].clone();
    let bytes = fs::read(&path).unwrap();
    let first = BatchHeader::parse(&bytes).unwrap().size_bytes as u64;
    flip(&path, first + 5_000);
    check(&mut server, base + 1, &["checksum is 0x", "its bytes give 0x"]);
}

/// At half a mebibyte a second the third segment is read some four seconds after the start.
#[test]
fn a_bit_that_rots_where_nobody_reads_is_found_by_the_scrub() {
    let settings = [
        ("node.count", "1"),
        ("admin.listener", "127.0.0.1:0"),
        ("scrub.bytes.per.second", "524288"),
    ];
    let mut server = stopped_with(&settings, true);
    server.start_again();
    let (base, path) = server.segments()[2].clone();
    let bytes = fs::read(&path).unwrap();
    let first = BatchHeader::parse(&bytes).unwrap().size_bytes as u64;
    flip(&path, first + 5_000);
    assert!(!server.log().contains("storage failed"), "{}", server.log());
    until(LIMIT, "the scrub", || server.log().contains("storage failed").then_some(()));
    let page = get(&admin(&server), "/metrics").1;
    assert!(page.contains("klamm_scrub_damages_total{node=\"0\"} 1\n"), "{page}");
    check_running(&mut server, base + 1, &["checksum is 0x", "its bytes give 0x"]);
}

#[test]
fn a_log_that_was_cut_after_a_clean_stop_is_served_up_to_there() {
    let mut server = stopped(true);
    let (_, path) = server.segments().pop().unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 13).unwrap();
    check(&mut server, BATCHES - 1, &[]);
}

#[test]
fn a_flipped_bit_after_a_kill_is_found_by_recovery_when_the_journal_does_not_heal_it() {
    let mut server = stopped(false);
    let (base, path) = server.segments()[0].clone();
    flip(&path, 5_000);
    server.start_again();
    let mut wire = Wire::connect(server.address(0));
    let (end, code) = served(&mut wire, base);
    let found = (end, code) == (0, STORAGE_ERROR);
    assert!(found || (end, code) == (BATCHES, 0), "{end} {code}: {}", server.log());
}

#[test]
fn an_index_that_is_wrong_or_missing_is_made_anew() {
    let mut server = stopped(true);
    for (i, (base, path)) in server.segments().into_iter().enumerate() {
        let index = path.with_extension("index");
        if i == 0 {
            fs::remove_file(&index).unwrap();
        } else if fs::metadata(&index).unwrap().len() > 8 {
            flip(&index, 15);
            flip(&index, 3);
        }
        assert!(base < BATCHES);
    }
    server.start_again();
    let mut wire = Wire::connect(server.address(0));
    for from in (0..BATCHES).rev() {
        assert_eq!(served(&mut wire, from), (BATCHES, 0), "{}", server.log());
    }
}

#[test]
fn a_checkpoint_or_a_journal_that_is_not_valid_stops_the_start_and_is_named() {
    let server = stopped(false);
    let arguments = server.place.arguments(SETTINGS);
    let generation = server.file("journal/generation");
    let checkpoint = server.file("recovery-point-offset-checkpoint");
    fs::write(&checkpoint, "0\nmany\n").unwrap();
    let output = run(&arguments, LIMIT);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("recovery-point-offset-checkpoint"),
        "{said}"
    );
    assert!(said.contains("restore the file from a backup"), "{said}");
    fs::remove_file(&checkpoint).unwrap();

    let good = fs::read(&generation).unwrap();
    flip(&generation, 5);
    let output = run(&arguments, LIMIT);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("journal/generation"), "{said}");
    fs::write(&generation, good).unwrap();
}

#[test]
fn a_flipped_bit_in_the_journal_is_told_with_its_place_and_both_checksums() {
    let mut server = stopped(false);
    let commits = server.commits();
    let [.., (sequence, chunk, at), (newest, ..)] = &commits[..] else { panic!("{commits:?}") };
    flip(chunk, *at as u64 + 50);
    let bytes = fs::read(chunk).unwrap();
    let number = |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().unwrap());
    let (stored, length) = (number(at + 8), number(at + 32) as usize);
    let computed = crc32c::crc32c(&bytes[at + 12..at + length]);
    let output = run(&server.place.arguments(SETTINGS), LIMIT);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expect = format!(
        "{} is damaged at byte {at}: commit {sequence} has checksum {computed:#010x} where \
         {stored:#010x} is stored, and commit {newest} is there",
        chunk.display()
    );
    let line = said.lines().find(|line| line.contains(&expect));
    assert!(!output.status.success() && line.is_some(), "{expect}: {said}");
    assert!(line.is_some_and(|line| line.contains("restore the node's directory")), "{said}");
    // It is all that is wrong.
    flip(chunk, *at as u64 + 50);
    server.start_again();
    let mut wire = Wire::connect(server.address(0));
    assert_eq!(served(&mut wire, 0), (BATCHES, 0), "{}", server.log());
}
