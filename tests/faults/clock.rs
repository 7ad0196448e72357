//! A wall clock that is set back by an hour and forward by a day under load.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::wire::batch;
use crate::common::{Server, Wire};
use crate::eio::preloaded;
use crate::load::Load;

const HOUR: i64 = 3600;

/// The clock of the server is wrong by so many seconds from now on.
fn set(server: &Server, seconds: i64) {
    // It is mapped, so it may not be cut.
    let clock = File::options().write(true).open(server.place.dir.join("clock")).unwrap();
    clock.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
}

/// By how many seconds the time is wrong that the server gives to records.
fn ahead_by(server: &Server) -> i64 {
    let mut nodes = (0..2).map(|node| Wire::connect(server.address(node)));
    let mut produced = nodes.by_ref().map(|mut wire| wire.produce("stamped", 0, batch(&["x"])));
    let ms = produced.find(|p| p.error_code == 0).unwrap().log_append_time_ms;
    ms / 1000 - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

#[test]
fn a_clock_that_jumps_back_an_hour_and_forward_a_day_loses_and_doubles_nothing() {
    // Records carry the clients' time, which is the right one.
    let mut server = preloaded(&[
        ("node.count", "2"),
        ("journal.bytes", "50331648"),
        ("log.message.timestamp.after.max.ms", "9223372036854775807"),
        ("log.retention.check.interval.ms", "500"),
    ]);
    let stamped = [("message.timestamp.type", "LogAppendTime")];
    Wire::connect(server.address(0)).create("stamped", 1, &stamped);
    let mut load = Load::start(&server, "clock");
    for wrong_by in [0, -HOUR, 24 * HOUR, -HOUR, 0] {
        set(&server, wrong_by);
        assert_eq!((ahead_by(&server) + HOUR / 2).div_euclid(HOUR) * HOUR, wrong_by);
        load.await_acks(100);
        assert!(server.is_running(), "{wrong_by} s: {}", server.log());
    }
    // What was kept for a day longer than it is old is still there after a restart at either time.
    for wrong_by in [24 * HOUR, -HOUR] {
        load.down();
        server.kill();
        set(&server, wrong_by);
        server.start_again();
        load.await_acks(100);
    }
    load.finish();
    drop(server);
}
