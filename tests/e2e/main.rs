//! The real binary end to end: restarts, real input, bad input, and Kafka's rules seen from
//! the socket. `SEED=n` repeats the choices of a run that failed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "modules of a test binary")]
#![allow(clippy::disallowed_methods, reason = "tests of a real process live in real time")]

#[path = "../common/mod.rs"]
mod common;

mod admin;
mod bad_input;
mod flights;
mod kdiff;
mod large;
mod metrics;
mod restart;
mod rules;
mod start;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::config::ClientConfig;

/// How long something may take that is not there at once.
const PATIENCE: Duration = Duration::from_mins(1);

/// Inputs that are too large for the repository lie here, beside the clone, or nowhere.
fn shared(path: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared");
    let root = std::env::var_os("SHARED").map_or_else(|| beside.into(), PathBuf::from);
    Some(root.join(path)).filter(|path| path.exists())
}

/// A librdkafka client that comes back soon after its broker does.
fn client(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "100");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}
