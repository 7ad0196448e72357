//! A disk that is full, and has room again: clients get clear answers, the partitions that need no
//! room go on, and a restart serves all that was acknowledged.

use std::fs;
use std::time::Duration;

use klamm::wire::record::ProducerStamp;

use crate::common::wire::{batch, batch_of};
use crate::common::{Server, Wire, until};
use crate::volume::{EXT4, Volume, XFS};

const STORAGE_ERROR: i16 = 56;
const PATIENCE: Duration = Duration::from_mins(1);
const MIB: usize = 1 << 20;

fn large(i: usize) -> bytes::Bytes {
    // Not to be compressed by anything, and told apart.
    let value: String =
        (0..MIB - 10_000).map(|k| char::from(b'a' + ((k * 7 + i) % 26) as u8)).collect();
    batch_of(&[&value], klamm::wire::codec::Codec::None, ProducerStamp::NONE)
}

fn fill_and_free(kind: crate::volume::Kind) {
    let place = crate::common::server::Place::take();
    let Some(volume) = Volume::make(kind, &place.dir, 400) else { return };
    let dirs = volume.dir.join("data").display().to_string();
    let settings =
        [("node.count", "1"), ("journal.bytes", "50331648"), ("log.dirs", dirs.as_str())];
    let mut server = Server::with(&settings);
    let mut wire = Wire::connect(server.address(0));
    wire.create("grows", 1, &[]);
    wire.create("small", 1, &[]);
    wire.create("idle", 1, &[]);
    let mut sent = Vec::new();
    for i in 0..4 {
        assert_eq!(wire.produce("grows", 0, large(i)).error_code, 0);
        assert_eq!(wire.produce("small", 0, large(i)).error_code, 0);
        sent.push(large(i));
    }
    assert_eq!(wire.produce("idle", 0, batch(&["before"])).error_code, 0);
    let filler = volume.fill();
    let refused = (4..200).find_map(|i| {
        let produced = wire.produce("grows", 0, large(i));
        if produced.error_code == 0 {
            sent.push(large(i));
        }
        (produced.error_code != 0).then_some(produced.error_code)
    });
    assert_eq!(refused, Some(STORAGE_ERROR), "{}", server.log());
    assert_eq!(wire.fetch("grows", 0, 0).error_code, STORAGE_ERROR);
    // What goes through the journal needs no room.
    let small = wire.produce("small", 0, batch(&["still here"]));
    assert_eq!((small.error_code, small.base_offset), (0, 4), "{}", server.log());
    assert_eq!(wire.fetch("small", 0, 0).high_watermark, 5);
    // Until it has more than can wait: that partition ends, the others do not.
    let mut in_journal = 5;
    let refused = (0..400).find_map(|_| {
        let code = wire.produce("small", 0, batch(&[&"x".repeat(100_000)])).error_code;
        in_journal += i64::from(code == 0);
        (code != 0).then_some(code)
    });
    assert_eq!(refused, Some(STORAGE_ERROR), "{}", server.log());
    assert_eq!(wire.produce("idle", 0, batch(&["after"])).error_code, 0, "{}", server.log());
    assert_eq!(wire.fetch("idle", 0, 0).high_watermark, 2);
    let log = server.log();
    let told: Vec<_> = log.lines().filter(|l| l.contains("storage failed")).collect();
    assert_eq!(told.len(), 2, "{log}");
    for (line, topic) in told.iter().zip(["/grows-0/", "/small-0/"]) {
        let words = [topic, "No space left", "free space"];
        assert!(words.iter().all(|word| line.contains(word)), "{log}");
    }

    fs::remove_file(filler).unwrap();
    server.restart();
    let mut wire = Wire::connect(server.address(0));
    for (offset, batch) in sent.iter().enumerate() {
        let fetched = wire.fetch("grows", 0, offset as i64);
        assert_eq!((fetched.error_code, fetched.high_watermark), (0, sent.len() as i64));
        let records = fetched.records.unwrap();
        assert!(
            records.len() >= batch.len() && records[61..batch.len()] == batch[61..],
            "{offset}"
        );
    }
    let next = wire.produce("grows", 0, large(0));
    assert_eq!((next.error_code, next.base_offset), (0, sent.len() as i64));
    // The refused one may be there as well.
    let there = wire.fetch("small", 0, 0).high_watermark;
    assert!((in_journal..=in_journal + 1).contains(&there), "{there} of {in_journal}");
    assert_eq!(wire.fetch("idle", 0, 0).high_watermark, 2);
    until(PATIENCE, "a clean stop", || server.signal(libc::SIGTERM).0.success().then_some(()));
    drop(server);
}

#[test]
fn a_full_ext4_refuses_clearly_and_serves_everything_once_there_is_room() {
    fill_and_free(EXT4);
}

#[test]
fn a_full_xfs_refuses_clearly_and_serves_everything_once_there_is_room() {
    fill_and_free(XFS);
}
