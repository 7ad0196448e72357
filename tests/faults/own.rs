//! The server's own files, damaged by hand: the metadata log, the offsets of groups, and the small files that
//! say whose a directory is and which records count. `damage` has the files of users' partitions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use klamm::coordinator::partition_of;
use klamm::msg;
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm::wire::messages::{
    FindCoordinatorRequest, JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
};

use crate::common::server::run;
use crate::common::wire::batch;
use crate::common::{Server, Wire, until};
use crate::damage::flip;

const STORAGE_ERROR: i16 = 56;
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const SETTINGS: &[(&str, &str)] =
    &[("node.count", "1"), ("offsets.topic.num.partitions", "2"), ("journal.bytes", "50331648")];
/// Of partition 0 and 1 of the offsets topic.
const GROUPS: [&str; 2] = ["hurt-0", "well-0"];
/// Offsets that each has committed, one after another: enough for more than one block.
const COMMITS: i64 = 60;
const LIMIT: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST: &str = "00000000000000000000.log";

fn commit(wire: &mut Wire, group: &str, offset: i64) -> i16 {
    let partition = msg!(OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_metadata: Some("as far as this".into()),
    });
    let topic = msg!(OffsetCommitRequestTopic { name: "user".into(), partitions: vec![partition] });
    let request = msg!(OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
    });
    wire.ask(&request, 8).topics[0].partitions[0].error_code
}

/// The error code, or the committed offset, once it is clear which.
fn committed(wire: &mut Wire, group: &str) -> Result<i64, i16> {
    let request = msg!(OffsetFetchRequest { group_id: group.into(), topics: None });
    until(PATIENCE, "the group is read", || {
        let answer = wire.ask(&request, 7);
        let offset = |a: &klamm::wire::messages::OffsetFetchResponse| {
            a.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset)
        };
        match answer.error_code {
            COORDINATOR_LOAD_IN_PROGRESS => None,
            0 => Some(Ok(offset(&answer))),
            code => Some(Err(code)),
        }
    })
}

fn join(wire: &mut Wire, group: &str) -> i16 {
    let metadata = Bytes::from_static(b"topics");
    let protocol = msg!(JoinGroupRequestProtocol { name: "range".into(), metadata });
    let request = msg!(JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
    });
    wire.ask(&request, 4).error_code
}

/// A stopped server whose files can be put back as they were.
struct Stopped {
    server: Server,
    clean: bool,
}

impl Stopped {
    fn new(clean: bool) -> Self {
        let mut server = Server::with(SETTINGS);
        let mut wire = Wire::connect(server.address(0));
        for topic in ["user", "other"] {
            wire.create(topic, 1, &[]);
            assert_eq!(wire.produce(topic, 0, batch(&["kept"])).error_code, 0);
        }
        for (at, group) in GROUPS.into_iter().enumerate() {
            assert_eq!(partition_of(group, 2), at as i32);
            let request = msg!(FindCoordinatorRequest { key: group.into() });
            until(PATIENCE, "a coordinator", || {
                (wire.ask(&request, 3).error_code == 0).then_some(())
            });
            until(PATIENCE, "its log is read", || (commit(&mut wire, group, 1) == 0).then_some(()));
            for offset in 2..=COMMITS {
                assert_eq!(commit(&mut wire, group, offset), 0);
            }
        }
        if clean {
            assert!(server.signal(libc::SIGTERM).0.success());
        } else {
            server.kill();
        }
        let stopped = Self { server, clean };
        copy(&stopped.server.place.data(), &stopped.backup());
        stopped
    }

    fn backup(&self) -> PathBuf {
        self.server.place.dir.join("backup")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.server.place.data().join(name)
    }

    /// Puts the files back, as before the damage.
    fn restore(&self) {
        copy(&self.backup(), &self.server.place.data());
    }

    /// The server does not start and says so in one line, which has all these words.
    fn is_refused(&self, words: &[&str]) {
        let output = run(&self.server.place.arguments(SETTINGS), LIMIT);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = said.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(!output.status.success() && told, "{words:?}: {said}");
    }

    /// It starts, and serves all that was committed and produced.
    fn is_whole(&mut self) {
        self.server.start_again();
        let mut wire = Wire::connect(self.server.address(0));
        for group in GROUPS {
            assert_eq!(committed(&mut wire, group), Ok(COMMITS), "{}", self.server.log());
        }
        for topic in ["user", "other"] {
            assert_eq!(wire.fetch(topic, 0, 0).high_watermark, 1, "{}", self.server.log());
        }
        self.server.kill();
    }
}

/// Makes `to` the same as `from`, but for zeros that are left out.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

fn cut(path: &Path, by: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len().checked_sub(by).unwrap()).unwrap();
}

/// Overwrites the last block with zeros.
fn zero(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let from = (bytes.len() - 1) / 4096 * 4096;
    bytes[from..].fill(0);
    fs::write(path, bytes).unwrap();
}

/// A change of a file, and a word that is told of it.
type Damage = (&'static str, fn(&Path), &'static str);

/// What is done to a log. Its batches are not compressed; the first has 61 bytes of header.
const DAMAGE: &[Damage] = &[
    ("a bit of an offset", |path| flip(path, 7), "base offset"),
    ("a bit of a length", |path| flip(path, 11), " is damaged at byte 0"),
    ("a bit of a checksum", |path| flip(path, 18), "its bytes give 0x"),
    ("a bit of a header", |path| flip(path, 24), "its bytes give 0x"),
    ("a bit of a record", |path| flip(path, 70), "its bytes give 0x"),
    ("cut by 1", |path| cut(path, 1), " is less than the "),
    ("cut by 13", |path| cut(path, 13), " is less than the "),
    ("cut by 64", |path| cut(path, 64), " is less than the "),
    ("a block of zeros", zero, " is damaged at byte "),
    ("empty", |path| fs::write(path, "").unwrap(), "durable"),
    ("missing", |path| fs::remove_file(path).unwrap(), "durable"),
];

/// Groups of a damaged partition are not available, and all else is as it was.
fn is_hurt(stopped: &mut Stopped, what: &str, words: &[&str]) {
    let server = &mut stopped.server;
    fs::write(server.place.dir.join("log"), "").unwrap();
    server.start_again();
    let mut wire = Wire::connect(server.address(0));
    let [hurt, well] = GROUPS;
    for _ in 0..2 {
        let found = committed(&mut wire, hurt);
        assert_eq!(found, Err(COORDINATOR_NOT_AVAILABLE), "{what}: {}", server.log());
        assert_eq!(commit(&mut wire, hurt, 99), COORDINATOR_NOT_AVAILABLE, "{what}");
        assert_eq!(join(&mut wire, hurt), COORDINATOR_NOT_AVAILABLE, "{what}");
    }
    assert_eq!(committed(&mut wire, well), Ok(COMMITS), "{what}: {}", server.log());
    assert_eq!(commit(&mut wire, well, COMMITS), 0, "{what}");
    assert_eq!(wire.produce("user", 0, batch(&["goes on"])).error_code, 0, "{what}");
    let log = server.log();
    let line = |message: &str, words: &[&str]| {
        let mut lines = log.lines().filter(|line| line.contains(message));
        let line = lines.next().unwrap_or_default();
        let missing = words.iter().find(|word| !line.contains(*word));
        assert!(missing.is_none() && lines.next().is_none(), "{what}: {missing:?}: {log}");
    };
    line("storage failed", &[&["__consumer_offsets-0", "remedy"][..], words].concat());
    line("group records cannot be read", &["partition=0"]);
    let mark = server.place.data().join("node-0/__consumer_offsets-0/fenced");
    until(PATIENCE, "the mark of damage", || mark.exists().then_some(()));
    server.kill();
}

#[test]
fn groups_whose_offsets_are_damaged_are_not_available_and_others_go_on() {
    let mut stopped = Stopped::new(true);
    let log = stopped.path("node-0/__consumer_offsets-0").join(FIRST);
    assert!(fs::metadata(&log).unwrap().len() > 8192, "more than two blocks");
    for (what, damage, word) in DAMAGE {
        damage(&log);
        is_hurt(&mut stopped, what, &[word, " is damaged at byte ", "offset "]);
        // It is remembered, with what was found.
        is_hurt(&mut stopped, what, &["is fenced since ", word, " is damaged at byte "]);
        stopped.restore();
    }
    // In the middle, which a start after a clean stop trusts and the reading of it finds.
    flip(&log, 5_000);
    is_hurt(&mut stopped, "in the middle", &["its bytes give 0x", " is damaged at byte "]);
    stopped.restore();
    for index in ["index", "timeindex"] {
        fs::remove_file(log.with_extension(index)).unwrap();
    }
    stopped.is_whole();
}

#[test]
fn damage_to_the_metadata_stops_the_server_instead_of_a_part_of_the_topics() {
    let mut stopped = Stopped::new(true);
    let log = stopped.path("node-0/__cluster_metadata-0").join(FIRST);
    for (what, damage, word) in DAMAGE {
        println!("{what}");
        damage(&log);
        let damaged = ["storage failed", FIRST, " is damaged at byte ", word, "remedy"];
        stopped.is_refused(&damaged);
        stopped.is_refused(&[&damaged[..], &["is fenced since "]].concat());
        stopped.is_refused(&["the metadata log cannot be read"]);
        stopped.restore();
    }
    for index in ["index", "timeindex"] {
        fs::remove_file(log.with_extension(index)).unwrap();
    }
    stopped.is_whole();
    stopped.restore();
    fs::remove_dir_all(log.parent().unwrap()).unwrap();
    let gone = "it is not there, and other partitions are";
    stopped.is_refused(&["the metadata log cannot be read", gone]);
    stopped.restore();
    let id = log.with_file_name("partition.metadata");
    fs::remove_file(&id).unwrap();
    stopped.is_refused(&["left alone: no partition.metadata", "__cluster_metadata-0"]);
    stopped.is_refused(&["the metadata log cannot be read", gone]);
    stopped.restore();
    flip(&id, 24);
    stopped.is_refused(&["__cluster_metadata-0/partition.metadata", "has checksum", "is stored"]);
}

#[test]
fn logs_of_the_server_that_are_damaged_after_a_kill_are_healed_by_the_journal_or_told() {
    let mut stopped = Stopped::new(false);
    // What was there goes into the segments, what comes now is in the journal.
    stopped.server.start_again();
    let mut wire = Wire::connect(stopped.server.address(0));
    for group in GROUPS.repeat(5) {
        until(PATIENCE, "its log is read", || {
            (commit(&mut wire, group, COMMITS) == 0).then_some(())
        });
    }
    stopped.server.kill();
    copy(&stopped.server.place.data(), &stopped.backup());
    let [metadata, offsets] = ["__cluster_metadata-0", "__consumer_offsets-0"]
        .map(|log| stopped.path("node-0").join(log).join(FIRST));
    for (what, damage, _) in DAMAGE {
        println!("{what}");
        damage(&metadata);
        stopped.is_refused(&["storage failed", FIRST, " is damaged at byte ", "remedy"]);
        stopped.restore();
        damage(&offsets);
        let server = &mut stopped.server;
        fs::write(server.place.dir.join("log"), "").unwrap();
        server.start_again();
        let mut wire = Wire::connect(server.address(0));
        let told = Err(COORDINATOR_NOT_AVAILABLE);
        let found = committed(&mut wire, GROUPS[0]);
        let log = server.log();
        let is_told = found == told && log.contains(" is damaged at byte ");
        assert!(is_told || found == Ok(COMMITS), "{what}: {found:?}: {log}");
        assert_eq!(committed(&mut wire, GROUPS[1]), Ok(COMMITS), "{what}: {log}");
        server.kill();
        stopped.restore();
    }
    stopped.is_whole();
}

#[test]
fn a_damaged_meta_properties_is_told_and_no_other_cluster_is_made_in_its_place() {
    let stopped = Stopped::new(true);
    let path = stopped.path("meta.properties");
    let text = fs::read_to_string(&path).unwrap();
    let refused = |words: &[&str]| {
        stopped.is_refused(&[&["meta.properties"][..], words].concat());
        fs::write(&path, &text).unwrap();
    };
    fs::remove_file(&path).unwrap();
    refused(&["is not valid: it is not there, but node-0 is", "restore it"]);
    for by in [2, 20, text.len() as u64 - 20, text.len() as u64] {
        cut(&path, by);
        refused(&["is not valid: "]);
    }
    for key in ["cluster.id=", "node.id=", "klamm.node.count=", "klamm.crc="] {
        flip(&path, (text.find(key).unwrap() + key.len()) as u64);
        refused(&["it has checksum ", "is stored"]);
    }
    let node = stopped.path("node-0");
    fs::rename(&node, node.with_extension("lost")).unwrap();
    stopped.is_refused(&["node-0 is not there, though its server has run", "put it back"]);
    fs::rename(node.with_extension("lost"), &node).unwrap();
    // As somebody would write it, without a checksum.
    let change = |from: &str, to: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("klamm.crc"));
        let other =
            |line: &str| if line.starts_with(from) { to.to_owned() } else { line.to_owned() };
        fs::write(&path, lines.map(other).collect::<Vec<_>>().join("\n")).unwrap();
    };
    change("node.id", "node.id=5");
    refused(&["was made with node.id=5, but the server is started with 0"]);
    change("klamm.node.count", "klamm.node.count=2");
    refused(&["was made with node.count=2, but the server is started with 1"]);
    change("klamm.node.count", "klamm.node.count=0");
    refused(&["is not valid: klamm.node.count=0"]);
    change("cluster.id", "cluster.id=another");
    let cluster = text.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap();
    let why = format!("it is of the cluster {cluster}, and meta.properties says another");
    refused(&["the metadata log cannot be read", &why]);
}

#[test]
fn each_small_file_of_a_node_is_made_anew_or_told_when_it_is_damaged() {
    for clean in [true, false] {
        let mut stopped = Stopped::new(clean);
        let refused = |stopped: &Stopped, name: &str, damage: fn(&Path), words: &[&str]| {
            damage(&stopped.path("node-0").join(name));
            stopped.is_refused(&[&[name, "restore the file from a backup"][..], words].concat());
            stopped.restore();
        };
        for name in ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint"] {
            if stopped.path("node-0").join(name).exists() {
                let is_cut: fn(&Path) = |path| fs::write(path, "0\n").unwrap();
                refused(&stopped, name, is_cut, &["line 2 is not the count"]);
                refused(&stopped, name, |path| flip(path, 0), &["line 1 is not version 0"]);
            }
        }
        if stopped.path("node-0/user-0/partition.metadata").exists() {
            let name = "user-0/partition.metadata";
            refused(&stopped, name, |path| cut(path, 3), &["has checksum", "is stored"]);
            refused(&stopped, name, |path| flip(path, 24), &["is not valid: "]);
        }
        if !stopped.clean {
            let name = "journal/generation";
            refused(&stopped, name, |path| flip(path, 5), &["has checksum", "is stored"]);
            let gone = "it is not there, but 0000.chunk has commits";
            refused(&stopped, name, |path| fs::remove_file(path).unwrap(), &[gone]);
        }
        // Not read, or made anew.
        let files = ["replication-offset-checkpoint", "user-0/leader-epoch-checkpoint"];
        let files = files.into_iter().map(|name| stopped.path("node-0").join(name));
        for path in files.filter(|path| path.exists()).collect::<Vec<_>>() {
            flip(&path, 0);
            stopped.is_whole();
            stopped.restore();
        }
        if stopped.clean {
            fs::remove_file(stopped.path("node-0/recovery-point-offset-checkpoint")).unwrap();
            stopped.is_whole();
        }
    }
}

#[test]
fn no_partition_is_made_over_segments_that_nobody_knows() {
    let mut stopped = Stopped::new(true);
    let id = stopped.path("node-0/user-0/partition.metadata");
    fs::remove_file(&id).unwrap();
    for _ in 0..2 {
        stopped.server.start_again();
        let mut wire = Wire::connect(stopped.server.address(0));
        assert_eq!(wire.produce("user", 0, batch(&["lost"])).error_code, STORAGE_ERROR);
        assert_eq!(wire.fetch("user", 0, 0).error_code, STORAGE_ERROR);
        assert_eq!(committed(&mut wire, GROUPS[0]), Ok(COMMITS));
        assert!(stopped.server.signal(libc::SIGTERM).0.success());
        let log = stopped.server.log();
        assert!(log.contains("it is not there, but segments are"), "{log}");
        assert!(!id.exists(), "{log}");
    }
    fs::copy(stopped.backup().join("node-0/user-0/partition.metadata"), &id).unwrap();
    stopped.is_whole();
}
