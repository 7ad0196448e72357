//! Files damaged by hand, one damage at a time, after a clean stop and after a kill: what is served
//! is what was written, up to the damage; damage is named; other logs do not notice.
//!
//! What no broker can tell, since the format has no checksum over it: another leader epoch in the header
//! of a batch, another number in Kafka's own checkpoints of log starts and leader epochs, and a time index
//! with other times or without its last ones, by which records are not found. A journal whose last
//! commit is damaged looks like one whose last commit was torn (`storage::replay`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm::base::{LeaderEpoch, Moment, Offset, TopicId, TopicPartition, WallMs};
use klamm::runtime::disk::{Access, BackJob as _, Disk as _, ServantJob as _};
use klamm::sim::disk::SimDisk;
use klamm::storage::{Append, Find, LogConfig, LogId, Read, Store, StoreEvent};
use klamm::wire::batch::{self, BatchHeader};
use klamm::wire::codec::Codec;
use klamm::wire::record::{BatchBuilder, ProducerStamp};

use crate::small_store;

const NODE: &str = "/node-0";
const BLOCK: usize = 4096;
const BATCHES: usize = 36;
/// When the first of them was made; each further one a millisecond later.
const FIRST_MS: i64 = 1_700_000_000_000;
/// Byte of a batch from which on its checksum covers it.
const CHECKED_FROM: usize = 21;
/// The log that is damaged, and one that is not.
const LOGS: [(TopicPartition, &str); 2] = [
    (TopicPartition { topic: TopicId([7; 16]), partition: 3 }, "t"),
    (TopicPartition { topic: TopicId([8; 16]), partition: 0 }, "u"),
];

type Files = Vec<(PathBuf, Vec<u8>)>;

fn open(disk: &SimDisk, generation: u64) -> Result<Store, String> {
    let disk = Arc::new(disk.clone());
    Store::open(disk, small_store(NODE), generation, WallMs(0)).map_err(|e| e.to_string())
}

/// Runs commits, and jobs when `write`, until none is left.
fn rest(store: &mut Store, disk: &SimDisk, write: bool) -> Vec<StoreEvent> {
    let (mut events, mut jobs) = (Vec::new(), Vec::new());
    loop {
        let commit = store.commit(Moment(0));
        if write {
            store.jobs(&mut jobs);
        }
        if commit.is_none() && jobs.is_empty() {
            store.take_events(&mut events);
            return events;
        }
        if let Some(commit) = commit {
            store.on_commit(commit.run(), Moment(0), &mut events);
        }
        for job in jobs.drain(..) {
            store.on_job(job.run(disk), Moment(0), &mut events);
        }
    }
}

/// What a log knows of its producers and leader epochs, in the form of its files.
type Known = (Vec<u8>, String);

fn known(store: &Store, id: LogId) -> Known {
    let log = store.log(id).unwrap();
    (log.producers().snapshot(), log.epochs().to_text())
}

/// A node with two logs, the batches of each, and what it knows.
struct Built {
    files: Files,
    batches: [Vec<(Offset, Vec<u8>)>; 2],
    known: [Known; 2],
}

impl Built {
    fn new(clean: bool) -> Self {
        let disk = SimDisk::new(1);
        let mut store = open(&disk, 1).unwrap();
        let config =
            LogConfig { segment_bytes: 9_000, index_interval_bytes: 1_000, ..LogConfig::default() };
        let ids = LOGS.map(|(tp, topic)| store.create(tp, topic, config.clone(), Moment(0)));
        let mut batches = [Vec::new(), Vec::new()];
        for i in 0..BATCHES {
            for (id, batches) in ids.into_iter().zip(&mut batches) {
                batches.push(append(&mut store, id, i));
            }
            // What came last is in the journal only.
            if i % 4 == 0 {
                rest(&mut store, &disk, i < 3 * BATCHES / 4);
            }
        }
        rest(&mut store, &disk, clean);
        let known = ids.map(|id| known(&store, id));
        if clean {
            store.close().unwrap();
        }
        drop(store);
        let read = |path: PathBuf| (path.clone(), disk.bytes(&path));
        Self { files: disk.files().into_iter().map(read).collect(), batches, known }
    }

    /// The segments of the first log, in order: base offset, content.
    fn segments(&self) -> Vec<(i64, &[u8])> {
        let of = |(path, bytes): &(PathBuf, Vec<u8>)| {
            let name = path.strip_prefix("/node-0/t-3").ok()?.to_str()?.strip_suffix(".log")?;
            Some((name.parse().ok()?, bytes.clone().leak() as &[u8]))
        };
        self.files.iter().filter_map(of).collect()
    }

    fn file(&self, name: &str) -> Vec<u8> {
        let path = Path::new(NODE).join(name);
        self.files.iter().find(|f| f.0 == path).unwrap().1.clone()
    }
}

fn append(store: &mut Store, id: LogId, i: usize) -> (Offset, Vec<u8>) {
    let mut builder = BatchBuilder::default();
    for k in 0..=i % 3 {
        let value: Vec<u8> = (0..200 + 40 * (i % 7)).map(|b| (b * 31 + i * 7 + k) as u8).collect();
        builder.push(FIRST_MS + i as i64, Some(b"k"), Some(&value), &[]);
    }
    let producer = ProducerStamp { id: 5, epoch: 0, sequence: 0, transactional: false };
    let producer = ProducerStamp { sequence: (0..i).map(|i| i as i32 % 3 + 1).sum(), ..producer };
    let mut bytes = builder.build(Codec::None, producer).unwrap().to_vec();
    let header = BatchHeader::parse(&bytes).unwrap();
    let how = Append { leader_epoch: LeaderEpoch(i as i32 / 10), append_time: None };
    let base = store.append(id, &bytes, &header, how, (Moment(0), WallMs(0))).unwrap().base_offset;
    batch::set_base_offset(&mut bytes, base);
    batch::set_leader_epoch(&mut bytes, how.leader_epoch);
    (base, bytes)
}

/// What came of a node whose files are these.
#[derive(Default)]
struct Outcome {
    /// Why it did not start.
    refused: Option<String>,
    /// Failures that were reported.
    failures: Vec<String>,
    /// Of each log: batches served from the start, and whether the reader was told of an error.
    served: Vec<(usize, bool)>,
    /// Of each log that is not fenced.
    known: Vec<Option<Known>>,
    /// Batches are found by their times.
    times: bool,
}

/// Opens the node twice: the second time sees the same, or less of what was still in memory.
fn try_open(built: &Built, files: &Files, what: &str) -> Outcome {
    let disk = SimDisk::new(2);
    for (path, bytes) in files {
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        let file = disk.open(path, Access::Buffered).unwrap();
        file.write_at(bytes, 0).unwrap();
    }
    let first = look(built, &disk, 2, what);
    let mut second = look(built, &disk, 3, what);
    assert_eq!(first.refused, second.refused, "{what}: another answer the second time");
    for (a, b) in first.served.iter().zip(&second.served) {
        let less = b.0 <= a.0 && b.1 == a.1;
        assert!(less, "{what}: {a:?} is served, then {b:?} ({:?})", first.failures);
    }
    second.failures.extend(first.failures);
    second
}

fn look(built: &Built, disk: &SimDisk, generation: u64, what: &str) -> Outcome {
    let mut outcome = Outcome { times: true, ..Outcome::default() };
    let mut store = match open(disk, generation) {
        Ok(store) => store,
        Err(refused) => return Outcome { refused: Some(refused), ..outcome },
    };
    let mut events = Vec::new();
    store.take_events(&mut events);
    for ((tp, _), batches) in LOGS.iter().zip(&built.batches) {
        let Some(id) = store.find(*tp) else { panic!("{what}: the log is gone") };
        let served = read_all(&mut store, disk, (id, batches), &mut events, what);
        outcome.served.push(served);
        let failed = store.log(id).unwrap().is_failed();
        outcome.known.push((!failed).then(|| known(&store, id)));
        // The second time, as it may find damage that readers did not come by.
        if served == (BATCHES, false) && generation == 3 {
            outcome.times &= finds_times(&mut store, disk, (id, batches), &mut events);
        }
    }
    let told = |event: &StoreEvent| match event {
        StoreEvent::Failed { error, .. } => Some(error.to_string()),
        _ => None,
    };
    outcome.failures = events.iter().filter_map(told).collect();
    rest(&mut store, disk, true);
    store.close().unwrap();
    outcome
}

/// Reads a log from its start: whatever comes has to be what was written.
fn read_all(
    store: &mut Store,
    disk: &SimDisk,
    (id, batches): (LogId, &[(Offset, Vec<u8>)]),
    events: &mut Vec<StoreEvent>,
    what: &str,
) -> (usize, bool) {
    let (mut next, mut tries) = (0, 0);
    while next < batches.len() {
        match store.read(id, batches[next].0, Offset(i64::MAX), 1 << 20, true) {
            Err(_) => return (next, true),
            Ok(Read::Ready(read)) if read.bytes == 0 => return (next, false),
            Ok(Read::Ready(read)) => {
                let bytes = read.parts.concat();
                for (_, served) in batch::iter(&bytes) {
                    let wanted = batches.get(next).map(|b| &b.1[..]);
                    let same = wanted.is_some_and(|wanted| {
                        wanted[..12] == served[..12] && wanted[16..] == served[16..]
                    });
                    assert!(same, "{what}: batch {next} is not what was written");
                    next += 1;
                }
                tries = 0;
            }
            Ok(Read::Pending) => {
                tries += 1;
                assert!(tries < 20, "{what}: a reader waits for ever at batch {next}");
                events.extend(rest(store, disk, true));
            }
        }
    }
    (next, false)
}

/// Whether batches of a log are found by their times, and nothing by a time after them all; a log that
/// turns out damaged refuses.
fn finds_times(
    store: &mut Store,
    disk: &SimDisk,
    (id, batches): (LogId, &[(Offset, Vec<u8>)]),
    events: &mut Vec<StoreEvent>,
) -> bool {
    (0..BATCHES).step_by(7).chain([BATCHES]).all(|i| {
        loop {
            match store.find_timestamp(id, FIRST_MS + i as i64, Offset(i64::MAX)) {
                Ok(Find::Ready(found)) => break found.map(|f| f.0) == batches.get(i).map(|b| b.0),
                Ok(Find::Pending) => events.extend(rest(store, disk, true)),
                Err(_) => break true,
            }
        }
    })
}

/// One damage.
enum Damage {
    Cut(usize),
    ZeroLastBlock,
    Flip(usize, u8),
    Append(Vec<u8>),
    Missing,
    CopiedTo(PathBuf),
}

impl Damage {
    /// The files with it; `None` when it changes nothing.
    fn done_to(&self, files: &Files, path: &Path) -> Option<Files> {
        let mut files = files.clone();
        let i = files.iter().position(|f| f.0 == path)?;
        let bytes = &mut files[i].1;
        let before = bytes.clone();
        match self {
            Self::Cut(by) => bytes.truncate(bytes.len().checked_sub(*by)?),
            Self::ZeroLastBlock => {
                let from = bytes.len().saturating_sub(1) / BLOCK * BLOCK;
                bytes[from..].fill(0);
            }
            Self::Flip(at, bit) => *bytes.get_mut(*at)? ^= 1 << bit,
            Self::Append(more) => bytes.extend_from_slice(more),
            Self::Missing => drop(files.remove(i)),
            Self::CopiedTo(to) => files.push((to.clone(), before.clone())),
        }
        let same = files.get(i).is_some_and(|f| f.0 == path && f.1 == before);
        (!same || matches!(self, Self::CopiedTo(_))).then_some(files)
    }
}

fn table(built: &Built, path: &Path) -> Vec<(String, Damage)> {
    let bytes = &built.files.iter().find(|f| f.0 == path).unwrap().1;
    let mut table: Vec<_> = (1..=64).map(|n| (format!("cut by {n}"), Damage::Cut(n))).collect();
    table.push(("zeroed in its last block".into(), Damage::ZeroLastBlock));
    // Dense at the start, where headers are, then here and there.
    let step = (bytes.len() / 97).max(1);
    for at in (0..bytes.len().min(90)).chain((90..bytes.len()).step_by(step)) {
        let bit = (at % 8) as u8;
        table.push((format!("bit {bit} of byte {at} flipped"), Damage::Flip(at, bit)));
    }
    table
}

/// How many batches of the first log lie before the first changed byte of its files.
fn intact(built: &Built, files: &Files) -> usize {
    let mut whole = 0;
    for (base, bytes) in built.segments() {
        let path = PathBuf::from(format!("{NODE}/t-3/{base:020}.log"));
        let now = files.iter().find(|f| f.0 == path).map_or(&[][..], |f| &f.1);
        let mut at = 0;
        for (_, batch) in batch::iter(bytes) {
            let here = at..at + batch.len();
            if now.get(here.clone()) != Some(&bytes[here]) {
                return whole;
            }
            (at, whole) = (at + batch.len(), whole + 1);
        }
    }
    whole
}

/// Whether byte `at` of a segment is in the checked part of a batch.
fn is_checked(built: &Built, path: &Path, at: usize) -> bool {
    let bytes = &built.files.iter().find(|f| f.0 == path).unwrap().1;
    let mut from = 0;
    for (_, batch) in batch::iter(bytes) {
        if at < from + batch.len() {
            return at >= from + CHECKED_FROM;
        }
        from += batch.len();
    }
    false
}

/// Damage to byte `at` of the journal is told with where the commit begins, and with both checksums if it
/// is not to the head.
fn check_place(built: &Built, path: &Path, at: usize, refused: &str) {
    let bytes = &built.files.iter().find(|f| f.0 == path).unwrap().1;
    let begins = |from: &usize| bytes[*from..].starts_with(b"klammjnl");
    let from = (0..=at / BLOCK).rev().map(|block| block * BLOCK).find(begins).unwrap();
    assert!(refused.contains(&format!("is damaged at byte {from}: commit ")), "{at}: {refused}");
    let sums = refused.contains("has checksum 0x") && refused.contains(" where 0x");
    assert!(sums || at < from + 36, "{at}: {refused}");
}

fn check(built: &Built, path: &Path, name: &str, damage: &Damage, clean: bool) {
    let Some(files) = damage.done_to(&built.files, path) else { return };
    let what = format!("{} {name}, {}", path.display(), if clean { "clean" } else { "killed" });
    let outcome = try_open(built, &files, &what);
    let file = path.file_name().unwrap().to_str().unwrap();
    let is = |suffix: &str| file.ends_with(suffix);
    // Without a checksum, what is left of a file may look like a whole one.
    let part = !matches!(damage, Damage::Append(_) | Damage::Missing);
    let unseen = |suffix: &str| is(suffix) && part && clean;
    if let Some(refused) = &outcome.refused {
        let may = is(".chunk") && !clean || is("checkpoint") || is("generation") || is("metadata");
        assert!(may, "{what}: the node did not start: {refused}");
        assert!(refused.contains(file), "{what}: the file is not named: {refused}");
        if let (true, Damage::Flip(at, _)) = (is(".chunk"), damage) {
            check_place(built, path, *at, refused);
        }
        return;
    }
    let (served, told) = outcome.served[0];
    if is(".chunk") && !clean {
        // The last commit, or nothing.
        let torn = outcome.served.iter().all(|(served, told)| served + 4 >= BATCHES && !told);
        assert!(torn, "{what}: only {:?} is served", outcome.served);
        return;
    }
    assert_eq!(outcome.served[1], (BATCHES, false), "{what}: another log suffers");
    for (i, (known, before)) in outcome.known.iter().zip(&built.known).enumerate() {
        // A recovery point has no checksum: one past the end of a log looks like records that are lost.
        let may_fail = is("recovery-point-offset-checkpoint") || i == 0 && is(".log");
        assert!(known.is_some() || may_fail, "{what}: log {i} is fenced: {:?}", outcome.failures);
        let same = known.as_ref().is_none_or(|known| known == before);
        assert!(
            same || i == 0 && (is(".log") || unseen("leader-epoch-checkpoint")),
            "{what}: log {i}: {known:?}, not {before:?}"
        );
    }
    assert!(outcome.times || unseen(".timeindex"), "{what}: batches are not found by their times");
    let lost = served < BATCHES;
    if lost {
        assert!(is(".log"), "{what}: only {served} batches are served: {:?}", outcome.failures);
        assert!(told, "{what}: nobody is told that {served} batches are not all");
        let offset = format!("offset {}", built.batches[0][served].0);
        let named = outcome.failures.iter().any(|f| f.contains(".log") && f.contains(&offset));
        assert!(named, "{what}: {offset} is not named: {:?}", outcome.failures);
        if matches!(damage, Damage::Flip(at, _) if is_checked(built, path, *at)) {
            let sums = outcome.failures.iter().any(|f| f.contains("checksum is 0x"));
            assert!(sums, "{what}: no checksums: {:?}", outcome.failures);
        }
    }
    if is(".log") {
        let mut intact = intact(built, &files);
        if let Damage::CopiedTo(to) = damage {
            let base = to.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            intact = built.batches[0].partition_point(|b| b.0 < Offset(base));
        }
        assert!(served >= intact, "{what}: {served} of {intact} good batches are served");
    }
}

fn damage_everything(clean: bool) {
    let built = Built::new(clean);
    let mut done = 0;
    for (path, _) in &built.files {
        let other_log = path.starts_with("/node-0/u-0");
        let no_checksum = path.ends_with("log-start-offset-checkpoint");
        if other_log || path.ends_with(".kafka_cleanshutdown") {
            continue;
        }
        for (name, damage) in table(&built, path) {
            if !no_checksum || !matches!(damage, Damage::Flip(..)) {
                check(&built, path, &name, &damage, clean);
                done += 1;
            }
        }
    }
    for (name, path, damage) in special(&built) {
        check(&built, &path, name, &damage, clean);
    }
    assert!(done > 1_000, "{done}");
}

/// Damage that is not to every file.
fn special(built: &Built) -> Vec<(&'static str, PathBuf, Damage)> {
    let segments = built.segments();
    let old = batch::iter(segments[0].1).next().unwrap().1.to_vec();
    let path = |base: i64, suffix: &str| PathBuf::from(format!("{NODE}/t-3/{base:020}{suffix}"));
    let last = segments.last().unwrap().0;
    let mut special = Vec::new();
    for &(base, bytes) in &segments {
        let log = path(base, ".log");
        special.push(("with an old batch appended", log.clone(), Damage::Append(old.clone())));
        special.push(("with zeros appended", log.clone(), Damage::Append(vec![0; 5_000])));
        let inside = BatchHeader::parse(bytes).unwrap().next_offset();
        let copy = Damage::CopiedTo(path(inside.0, ".log"));
        special.push(("there twice, once under another name", log.clone(), copy));
        special.push(("missing", log, Damage::Missing));
        if base != last {
            let longer: Vec<u8> = [[0, 0, 0x10, 0, 0, 0, 0x7f, 0]; 3].concat();
            special.push(("longer than its log", path(base, ".index"), Damage::Append(longer)));
            // Times that rise, at offsets that the segment does not have.
            let time = |i: u8| [0x10, 0, 0, 0, 0, 0, 0, i, 0, 0, 0x10, i];
            let longer = [0, 1, 2].map(time).concat();
            special.push(("longer than its log", path(base, ".timeindex"), Damage::Append(longer)));
            special.push(("missing", path(base, ".index"), Damage::Missing));
            special.push(("missing", path(base, ".timeindex"), Damage::Missing));
        }
    }
    let checkpoints = ["recovery-point-offset-checkpoint", "t-3/leader-epoch-checkpoint"];
    for name in checkpoints.into_iter().chain(["journal/generation", "journal/0000.chunk"]) {
        special.push(("missing", PathBuf::from(NODE).join(name), Damage::Missing));
    }
    special
}

#[test]
fn files_damaged_after_a_clean_stop_are_named_and_what_is_before_the_damage_is_served() {
    damage_everything(true);
}

#[test]
fn files_damaged_after_a_kill_are_named_and_what_is_before_the_damage_is_served() {
    damage_everything(false);
}

#[test]
fn damage_that_is_done_shows_in_the_numbers_of_this_test() {
    let built = Built::new(true);
    let path = PathBuf::from(NODE).join("t-3/00000000000000000000.log");
    assert_eq!(intact(&built, &built.files), BATCHES);
    let at = built.file("t-3/00000000000000000000.log").len() - 1;
    let files = Damage::Flip(at, 0).done_to(&built.files, &path).unwrap();
    let whole = intact(&built, &files);
    assert!(whole > 0 && whole < BATCHES);
    assert_eq!(try_open(&built, &files, "flipped").served[0], (whole, true));
}
