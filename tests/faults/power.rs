//! Power cuts: the file system is shut down without a flush of its log while clients are at work,
//! mounted again and served.
//!
//! What the device below has taken stays (the loop device is a file of the machine's own file
//! system), so this stages lost names, sizes and extents; what a device loses is staged in `tests/sim`.

use std::thread;
use std::time::Duration;

use crate::bulk::Bulk;
use crate::common::http;
use crate::common::server::Place;
use crate::common::wire::{batch, produce_request};
use crate::common::{Chance, Server, Wire, until};
use crate::load::Load;
use crate::number;
use crate::volume::{EXT4, Kind, Volume, XFS};

const STORAGE_ERROR: i16 = 56;
const PATIENCE: Duration = Duration::from_mins(1);

/// How many checkpoints of the journal it has begun.
fn checkpoints_of(server: &Server) -> u64 {
    let (_, page) = http::get(&http::admin(server), "/metrics");
    let counts = page.lines().filter(|l| l.starts_with("klamm_checkpoints_total{"));
    counts.map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

fn cut_under_load(kind: Kind) {
    let mut chance = Chance::of_run();
    let place = Place::take();
    let Some(volume) = Volume::make(kind, &place.dir, 4096) else { return };
    let dirs = volume.dir.join("data").display().to_string();
    let settings = [
        ("node.count", "2"),
        ("journal.bytes", "50331648"),
        ("log.retention.check.interval.ms", "500"),
        ("admin.listener", "127.0.0.1:0"),
        ("log.dirs", dirs.as_str()),
    ];
    let mut server = Server::with(&settings);
    let mut load = Load::start(&server, &format!("power-{}", kind.name));
    let mut bulk = Bulk::start(&server);
    for round in 0..number("ROUNDS", 20).div_ceil(4) {
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(300 + chance.below(1_500)));
        } else {
            until(PATIENCE, "a checkpoint", || (checkpoints_of(&server) > 0).then_some(()));
            thread::sleep(Duration::from_millis(chance.below(50)));
        }
        load.down();
        // Without power nothing is acknowledged any more. XFS, shut down while a sync of new extents is
        // under way, may drop them and yet say that the sync went well (`xfs`).
        server.send(libc::SIGSTOP);
        volume.cut();
        server.kill();
        volume.unmount();
        volume.mount();
        bulk.down();
        server.start_again();
        bulk.up();
    }
    load.finish();
    drop(server);
}

#[test]
fn a_power_cut_on_ext4_under_load_loses_nothing_acknowledged() {
    cut_under_load(EXT4);
}

#[test]
fn a_power_cut_on_xfs_under_load_loses_nothing_acknowledged() {
    cut_under_load(XFS);
}

#[test]
fn a_disk_that_is_gone_is_told_to_readers_and_stops_the_server_at_the_next_write() {
    let place = Place::take();
    let Some(volume) = Volume::make(EXT4, &place.dir, 200) else { return };
    let dirs = volume.dir.join("data").display().to_string();
    let settings = [("node.count", "1"), ("journal.bytes", "50331648"), ("log.dirs", &*dirs)];
    let mut server = Server::with(&settings);
    let mut wire = Wire::connect(server.address(0));
    wire.create("there", 1, &[]);
    wire.create("other", 1, &[]);
    let value = "x".repeat(20_000);
    for _ in 0..5 {
        assert_eq!(wire.produce("there", 0, batch(&[&value])).error_code, 0);
    }
    server.restart();
    volume.cut();
    let mut wire = Wire::connect(server.address(0));
    let mut read = || wire.fetch("there", 0, 0);
    let code = until(PATIENCE, "the error", || {
        let data = read();
        assert!(data.records.is_none_or(|r| r.is_empty()), "read from a disk that is gone");
        (data.error_code != 0).then_some(data.error_code)
    });
    assert_eq!(code, STORAGE_ERROR, "{}", server.log());
    wire.send(&produce_request("other", 0, -1, batch(&["lost"])), 9);
    until(PATIENCE, "the end of the server", || (!server.is_running()).then_some(()));
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|l| l.contains("storage failed")).collect();
    assert!(lines.len() == 2 && lines.iter().all(|l| l.contains("repair the disk")), "{log}");
    assert!(log.contains("klamm server: node 0: "), "{log}");
    server.kill();
    volume.unmount();
    volume.mount();
    server.start_again();
    let mut wire = Wire::connect(server.address(0));
    let data = wire.fetch("there", 0, 0);
    assert_eq!((data.error_code, data.high_watermark), (0, 5));
    drop(server);
}
