//! The readers of files and records against damaged bytes: lines, or what is wrong, never a panic.

#[path = "../../src/base/fuzzing.rs"]
mod fuzzing;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use fuzzing::{corpus, fuzz};

use super::schema::Table;
use super::words::Kind;
use super::{Findings, Options, index, log, state};

const KINDS: [(Kind, &str); 4] = [
    (Kind::Offsets, "--offsets-decoder"),
    (Kind::Transactions, "--transaction-log-decoder"),
    (Kind::Shares, "--share-group-state-decoder"),
    (Kind::Metadata, "--cluster-metadata-decoder"),
];

fn options(flag: &str) -> Options {
    Options::parse_from(["dump-log", flag])
}

/// What a list of one byte each may become: the names of the fields of a structure.
fn longest(bytes: &[u8]) -> usize {
    1_000 * (bytes.len() + 1)
}

/// A directory of this process.
fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("klamm-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The records that Kafka wrote to its internal logs, in hex: keys and values.
fn records(file: &str) -> Vec<[Vec<u8>; 2]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
    let text = fs::read_to_string(path).unwrap();
    let unhex = |text: &str| {
        let pairs = text.trim_matches('-').as_bytes().chunks(2);
        pairs.map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap()).collect()
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(k, v)| [unhex(k), unhex(v)]).collect()
}

#[test]
fn records_of_internal_logs_have_words_or_are_refused() {
    let table = Table::read().unwrap();
    let mut valid = Vec::new();
    for file in ["consumer_offsets.txt", "consumer_groups.txt", "group_records.txt"] {
        for [key, value] in records(file) {
            valid.push(((Kind::Offsets, key.clone()), value));
        }
    }
    // Of every kind and version of record, one of empty lists and texts.
    for (kind, _) in KINDS {
        for (number, version, fill) in
            (0..30_u8).flat_map(|n| (0..6_u8).flat_map(move |v| [(n, v, 0), (n, v, 1)]))
        {
            let key = [vec![0, number], vec![fill; 40]].concat();
            let head =
                if kind == Kind::Metadata { vec![1, number, version] } else { vec![0, version] };
            valid.push(((kind, key), [head, vec![fill; 120]].concat()));
        }
    }
    fuzz(&valid, |(kind, key), bytes| {
        for (key, value) in
            [(Some(&key[..]), Some(bytes)), (Some(bytes), None), (None, Some(bytes))]
        {
            if let Ok((key, payload)) = table.words(*kind, 7, key, value) {
                let size = key.map_or(0, |k| k.len()) + payload.map_or(0, |p| p.len());
                assert!(size <= longest(bytes) + longest(&[0; 100]), "{size}");
            }
        }
        for number in 0..8 {
            let words = table.control(number, bytes);
            assert!(words.and_then(Result::ok).is_none_or(|w| w.len() <= longest(bytes)));
        }
    });
}

#[test]
fn logs_of_any_bytes_are_walked_to_their_damage() {
    let (table, dir) = (Table::read().unwrap(), scratch("fuzz-logs"));
    let path = dir.join("00000000000000000000.log");
    let options = KINDS.map(|(_, flag)| options(flag));
    fuzz(&corpus("batches.txt"), |_, bytes| {
        fs::write(&path, bytes).unwrap();
        let mut batches = log::Batches::open(&path, 0, u64::MAX).unwrap();
        while let Ok(Some((at, header, batch))) = batches.next() {
            let _ = log::newest(&header, &batch);
            for options in &options {
                let mut lines = log::batch_line(at, &header, &batch).unwrap_or_default();
                let _ = log::record_lines(&mut lines, &header, &batch, (options, &table), |_| ());
            }
        }
    });
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn indexes_and_snapshots_of_any_bytes_are_printed_or_refused() {
    let dir = scratch("fuzz-files");
    let name = |kind: &str| match kind {
        "offsets" => Some("index"),
        "times" => Some("timeindex"),
        "snapshot" => Some("snapshot"),
        _ => None,
    };
    let files = corpus("files.txt").into_iter();
    let mut valid: Vec<_> = files.filter_map(|(kind, bytes)| Some((name(&kind)?, bytes))).collect();
    valid.push(("txnindex", vec![0; 68]));
    let logs: Vec<_> = corpus("batches.txt").into_iter().map(|(_, bytes)| bytes).collect();
    fs::write(dir.join("0.log"), logs.concat()).unwrap();
    let indexes = ["--print-data-log", "--index-sanity-check", "--verify-index-only"].map(options);
    fuzz(&valid, |extension, bytes| {
        let file = dir.join("0").with_extension(extension);
        fs::write(&file, bytes).unwrap();
        for options in &indexes {
            let mut findings = Findings::default();
            let _ = match *extension {
                "index" => index::dump_offsets(&file, options, &mut findings),
                "timeindex" => index::dump_times(&file, options, &mut findings),
                "snapshot" => state::dump_producers(&file),
                _ => state::dump_aborted(&file),
            };
        }
    });
    fs::remove_dir_all(dir).unwrap();
}
