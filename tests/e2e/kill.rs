//! kill -9 at random moments.

use std::thread;
use std::time::Duration;

use crate::common::{Chance, Server};
use crate::traffic::Traffic;

const ROUNDS: u64 = 20;
/// A round lasts up to this long; some end while the server has only just come back.
const ROUND_MS: u64 = 1_000;

#[test]
fn after_kill_9_at_random_moments_everything_acknowledged_is_there_once_and_in_order() {
    let mut chance = Chance::of_run();
    // The smallest journal, so that it comes around.
    let mut server = Server::with(&[("node.count", "2"), ("journal.bytes", "50331648")]);
    let traffic = Traffic::start(&server);
    for round in 0..ROUNDS {
        thread::sleep(Duration::from_millis(chance.below(ROUND_MS)));
        traffic.check();
        assert!(server.is_running(), "round {round}: {}", server.log());
        server.kill();
        server.start_again();
    }
    traffic.finish();
}
