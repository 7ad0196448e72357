//! Hostile clients against the real binary, each with another client at work beside it, which is served
//! all the time; the server's memory stays inside `node.memory.bytes`.
//!
//! `make hostile` also measures, with an optimised broker: the p99 of the other client may not move by
//! more than a factor of two. Windows without and with the attack take turns, and the medians of their
//! p99 are compared, so that what else the machine does falls on both. The broker has a core for itself
//! then, and on the other one the attackers yield to the other client, so that what is measured is the
//! broker's. Below a floor nothing is compared: a disk that others share stalls by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "modules of a test binary")]
#![allow(clippy::disallowed_methods, reason = "tests of a real process live in real time")]
#![allow(clippy::disallowed_types, reason = "one test at a time: each measures")]

#[path = "../common/mod.rs"]
mod common;

mod limits;
mod requests;
mod sockets;

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use common::wire::batch;
use common::{Server, Wire, median};
use klamm::runtime::cpu;

const MIB: u64 = 1 << 20;
/// `node.memory.bytes` of the servers here.
const MEMORY: u64 = 128 * MIB;
/// What a server has beside that: its code, rings, metadata, and what the allocator keeps.
const BESIDE: u64 = 96 * MIB;
/// Windows of each kind: when p99s are compared, and when not.
const PAIRS: (usize, usize) = (5, 1);
const WINDOW: Duration = Duration::from_millis(700);
/// How long an attack may take to begin before its window.
const SETTLE: Duration = Duration::from_millis(150);
const FLOOR: Duration = Duration::from_millis(3);
/// Pause between two requests of the measured client.
const PACE: Duration = Duration::from_millis(2);

static ALONE: Mutex<()> = Mutex::new(());

/// Tests here run one after another.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A server with a small budget of memory.
fn server(settings: &[(&str, &str)]) -> Server {
    let memory = MEMORY.to_string();
    let usual = [
        ("node.count", "1"),
        ("admin.listener", "127.0.0.1:0"),
        ("node.memory.bytes", &memory),
        ("cache.bytes", "33554432"),
        ("max.incremental.fetch.session.cache.slots", "1000"),
    ];
    let all: Vec<_> = usual.iter().chain(settings).copied().collect();
    Server::with(&all)
}

fn connect(server: &Server) -> Wire {
    Wire::connect(server.address(0))
}

fn metrics(server: &Server) -> String {
    common::http::get(&common::http::admin(server), "/metrics").1
}

/// A number of the server's metrics.
fn metric(server: &Server, name: &str) -> f64 {
    let page = metrics(server);
    let line = page.lines().find(|l| l.rsplit_once(' ').is_some_and(|(n, _)| n == name));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// The memory that the server counts stays inside its limit.
fn holds_its_limit(server: &Server) {
    let page = metrics(server);
    let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    let sum = |start: &str| page.lines().filter(|l| l.starts_with(start)).map(number).sum::<f64>();
    let (used, limit) = (sum("klamm_memory_bytes{"), sum("klamm_memory_limit_bytes{"));
    assert!(limit >= MEMORY as f64, "{page}");
    assert!(used <= limit, "{used} of {limit} bytes of memory");
}

fn refused(server: &Server, reason: &str) -> f64 {
    metric(server, &format!("klamm_refusals_total{{node=\"0\",reason=\"{reason}\"}}"))
}

/// The measured client: produces and waits for the acknowledgement, over and over.
struct Bystander {
    wire: Wire,
    next: i64,
}

impl Bystander {
    fn new(server: &Server) -> Self {
        let mut wire = connect(server);
        wire.create("bystander", 1, &[]);
        Self { wire, next: 0 }
    }

    /// Works for one window; its 99th percentile.
    fn window(&mut self) -> Duration {
        let value = "x".repeat(1000);
        let (start, mut took) = (Instant::now(), Vec::new());
        while start.elapsed() < WINDOW {
            let sent = Instant::now();
            let produced = self.wire.produce("bystander", 0, batch(&[&value]));
            assert_eq!((produced.error_code, produced.base_offset), (0, self.next));
            took.push(sent.elapsed());
            self.next += 1;
            thread::sleep(PACE);
        }
        took.sort_unstable();
        took[(took.len() - 1) * 99 / 100]
    }
}

/// Whether this is `make hostile`.
fn compares() -> bool {
    std::env::var_os("HOSTILE_COMPARES").is_some()
}

/// Runs `attack` in every second window. It gets the server and a mark that says when to end, and
/// leaves nothing open.
fn endures(server: &Server, attack: impl Fn(&Server, &AtomicBool) + Send + Sync) {
    let mut bystander = Bystander::new(server);
    bystander.window();
    let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
    for _ in 0..if compares() { PAIRS.0 } else { PAIRS.1 } {
        quiet.push(bystander.window());
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let attacker = scope.spawn(|| {
                // Its threads inherit that.
                cpu::be_nice(if compares() { 19 } else { 0 });
                attack(server, &stop);
            });
            thread::sleep(SETTLE);
            attacked.push(bystander.window());
            holds_its_limit(server);
            stop.store(true, Ordering::Relaxed);
            attacker.join().expect("the attack does what it is to do");
        });
        thread::sleep(SETTLE);
    }
    let (quiet, attacked) = (median(quiet), median(attacked));
    let resident = server.resident_peak_bytes();
    println!("p99 {quiet:?} in quiet, {attacked:?} attacked; {} MiB at most", resident / MIB);
    if compares() {
        assert!(attacked <= FLOOR.max(2 * quiet), "p99 {quiet:?} in quiet, {attacked:?} attacked");
    }
    assert!(resident < MEMORY + BESIDE, "{} MiB resident at most", resident / MIB);
}

/// The same, and then the server must be as good as new.
fn survives(mut server: Server, attack: impl Fn(&Server, &AtomicBool) + Send + Sync) {
    // A thread of its own: the next server must not inherit its core.
    thread::scope(|scope| {
        let measures = scope.spawn(|| {
            // A server of one node takes the first core.
            if let Some(core) = cpu::allowed().get(1).filter(|_| compares()) {
                cpu::pin_to(*core);
            }
            endures(&server, attack);
        });
        measures.join().unwrap_or_else(|panic| resume_unwind(panic));
    });
    assert!(server.is_running(), "{}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let (status, _) = server.signal(libc::SIGTERM);
    assert!(status.success(), "{status}: {}", server.log());
}

/// Waits for the end of the window.
fn until_told(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(5));
    }
}

/// As many file descriptors as the system allows, for this process and the servers it starts.
fn raise_descriptors(wanted: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place for the answer, and a limit below the hard one.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max.min(wanted).max(limit.rlim_cur);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    assert!(limit.rlim_cur >= wanted, "the test needs {wanted} file descriptors: raise ulimit -Hn");
}

/// Many threads that each do something until told to stop.
fn crowd(stop: &AtomicBool, count: usize, each: impl Fn(usize) + Send + Sync) {
    let each = Arc::new(each);
    thread::scope(|scope| {
        for i in 0..count {
            let each = &each;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    each(i);
                }
            });
        }
    });
}
