//! kill -9 at random moments under load, and a server that stands still for longer than a session.

use std::thread;
use std::time::Duration;

use crate::bulk::Bulk;
use crate::common::{Chance, Server};
use crate::load::Load;
use crate::number;

/// A round lasts up to this long; some end while the server has only just come back.
const ROUND_MS: u64 = 1_000;

/// The smallest journal, so that it comes around.
fn server() -> Server {
    Server::with(&[
        ("node.count", "2"),
        ("journal.bytes", "50331648"),
        ("log.retention.check.interval.ms", "500"),
    ])
}

#[test]
fn kill_9_at_random_moments_loses_doubles_and_skips_nothing() {
    let mut chance = Chance::of_run();
    let mut server = server();
    let mut load = Load::start(&server, "kill");
    let mut bulk = Bulk::start(&server);
    for round in 0..number("ROUNDS", 20) {
        thread::sleep(Duration::from_millis(chance.below(ROUND_MS)));
        load.down();
        assert!(server.is_running(), "round {round}: {}", server.log());
        server.kill();
        server.start_again();
    }
    bulk.down();
    bulk.up();
    load.finish();
}

#[test]
fn a_server_that_stands_still_for_longer_than_a_session_goes_on_and_loses_nothing() {
    let server = server();
    let mut load = Load::start(&server, "still");
    load.await_acks(100);
    load.down();
    server.pause(Duration::from_secs(8));
    load.await_acks(100);
    load.finish();
}
