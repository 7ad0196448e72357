//! Power cuts: the file system is shut down without a flush of its log while clients are at work,
//! mounted again and served.
//!
//! What the device below has taken stays (the loop device is a file of the machine's own file
//! system), so this stages lost names, sizes and extents; what a device loses is staged in `tests/sim`.

use std::thread;
use std::time::Duration;

use crate::common::{Chance, Server};
use crate::load::Load;
use crate::number;
use crate::volume::{EXT4, Kind, Volume, XFS};

fn cut_under_load(kind: Kind) {
    let mut chance = Chance::of_run();
    let place = crate::common::server::Place::take();
    let Some(volume) = Volume::make(kind, &place.dir, 600) else { return };
    let dirs = volume.dir.join("data").display().to_string();
    let settings =
        [("node.count", "2"), ("journal.bytes", "50331648"), ("log.dirs", dirs.as_str())];
    let mut server = Server::with(&settings);
    let mut load = Load::start(&server, &format!("power-{}", kind.name));
    for _ in 0..number("ROUNDS", 20).div_ceil(4) {
        thread::sleep(Duration::from_millis(300 + chance.below(1_500)));
        load.down();
        volume.cut();
        server.kill();
        volume.unmount();
        volume.mount();
        server.start_again();
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
