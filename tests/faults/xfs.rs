//! What XFS itself does in a power cut, without Klamm: `power` may not ask for more than that.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Chance;
use crate::common::server::Place;
use crate::number;
use crate::volume::{Volume, XFS};

const BLOCK: usize = 4096;
/// A cut comes after up to this long.
const ROUND_MS: u64 = 60;

fn block(i: usize) -> Vec<u8> {
    (i as u64 + 1).to_le_bytes().repeat(BLOCK / 8)
}

/// Appends block after block, each synced, until that fails; when each sync had ended.
fn write(path: &Path) -> Vec<Instant> {
    let file = File::create(path).unwrap();
    let synced = |i: &usize| {
        let written = file.write_all_at(&block(*i), (i * BLOCK) as u64);
        written.and_then(|()| file.sync_data()).ok().map(|()| Instant::now())
    };
    (0..).map_while(|i| synced(&i)).collect()
}

#[test]
#[ignore = "a proof about the file system; needs root and mkfs.xfs"]
fn xfs_loses_no_write_whose_sync_ended_before_a_shutdown_but_may_lose_the_one_under_way() {
    let (place, mut chance) = (Place::take(), Chance::of_run());
    let Some(volume) = Volume::make(XFS, &place.dir, 400) else { return };
    let (rounds, mut rounds_lost) = (number("ROUNDS", 100), 0);
    for round in 0..rounds {
        let path = volume.dir.join("written");
        let of = path.clone();
        let writer = thread::spawn(move || write(&of));
        thread::sleep(Duration::from_millis(5 + chance.below(ROUND_MS)));
        let began = Instant::now();
        volume.cut();
        let acknowledged = writer.join().unwrap();
        volume.unmount();
        volume.mount();
        let there = fs::read(&path).unwrap_or_default();
        let is_lost = |i: &usize| there.get(i * BLOCK..(i + 1) * BLOCK) != Some(&block(*i));
        let lost: Vec<_> = (0..acknowledged.len()).filter(is_lost).collect();
        rounds_lost += u64::from(!lost.is_empty());
        let before: Vec<_> = lost.iter().filter(|i| acknowledged[**i] < began).collect();
        assert!(before.is_empty(), "round {round}: {before:?} of {}", acknowledged.len());
        let _ = fs::remove_file(&path);
    }
    println!("{rounds_lost} of {rounds} shutdowns lost a write whose sync said that it went well");
}
