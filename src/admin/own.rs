//! Klamm's own metrics: what Kafka has no name for, the journal and the turn above all.

use super::{Reply, Seen};
use crate::api::table;
use crate::metrics::Step;
use crate::metrics::text::{Kind, Labels, Page};
use crate::runtime::cpu;

/// One number of each node: name, kind, help, value.
type Family = (&'static str, Kind, &'static str, fn(&Seen<'_>) -> f64);

const SINGLE: &[Family] = &[
    ("klamm_node_ready", Kind::Gauge, "Whether the node accepts connections.", |n| {
        f64::from(u8::from(n.node.ready))
    }),
    ("klamm_journal_commits_total", Kind::Counter, "Commits: one write and one sync each.", |n| {
        n.counts.store.commits as f64
    }),
    ("klamm_journal_batches_total", Kind::Counter, "Batches that were appended.", |n| {
        n.counts.store.commit_batches as f64
    }),
    ("klamm_journal_committed_bytes_total", Kind::Counter, "Bytes of batches made durable.", |n| {
        n.counts.store.commit_bytes as f64
    }),
    ("klamm_journal_written_bytes_total", Kind::Counter, "Bytes written to the journal.", |n| {
        n.counts.store.journal_bytes as f64
    }),
    ("klamm_journal_commit_age_seconds", Kind::Gauge, "Age of the commit in flight.", |n| {
        n.counts.commit_age_s
    }),
    ("klamm_journal_pending_bytes", Kind::Gauge, "Bytes appended and not yet durable.", |n| {
        n.counts.dirty_bytes as f64
    }),
    ("klamm_checkpoints_total", Kind::Counter, "Checkpoints of the journal.", |n| {
        n.counts.store.checkpoints as f64
    }),
    ("klamm_scrubbed_bytes_total", Kind::Counter, "Bytes of old segments read back.", |n| {
        n.counts.store.scrubbed_bytes as f64
    }),
    (
        "klamm_scrub_damages_total",
        Kind::Counter,
        "How often what was read back was damaged; the log says where.",
        |n| n.counts.store.scrub_damages as f64,
    ),
    ("klamm_cache_hits_total", Kind::Counter, "Reads served from memory.", |n| {
        n.counts.store.cache_hits as f64
    }),
    ("klamm_cache_misses_total", Kind::Counter, "Reads that waited for the disk.", |n| {
        n.counts.store.cache_misses as f64
    }),
    ("klamm_connections", Kind::Gauge, "Open connections.", |n| n.counts.connections as f64),
    ("klamm_connections_accepted_total", Kind::Counter, "Connections that came.", |n| {
        n.counts.metrics.accepted as f64
    }),
    ("klamm_received_bytes_total", Kind::Counter, "Bytes of the requests served.", |n| {
        n.counts.metrics.received_bytes as f64
    }),
    ("klamm_sent_bytes_total", Kind::Counter, "Bytes given to sockets.", |n| {
        n.counts.metrics.sent_bytes as f64
    }),
    ("klamm_memory_limit_bytes", Kind::Gauge, "node.memory.bytes.", |n| {
        n.counts.memory.limit as f64
    }),
    (
        "klamm_memory_pauses_total",
        Kind::Counter,
        "How often the node stopped reading from sockets for want of memory.",
        |n| n.counts.metrics.pauses as f64,
    ),
    (
        "klamm_run_queue_delay_seconds_total",
        Kind::Counter,
        "Time that the node's thread was ready to run and waited for its core.",
        |n| cpu::run_queue_delay_ns(n.node.thread).unwrap_or(0) as f64 / 1e9,
    ),
];

/// Which nodes answered, and what concerns the whole process.
pub(super) fn up(page: &mut Page, replies: &[Reply]) {
    page.family("klamm_build_info", Kind::Gauge, "The version.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.family("klamm_node_up", Kind::Gauge, "Whether the node at this place answered.");
    for (place, reply) in replies.iter().enumerate() {
        page.sample(&[("place", &place.to_string())], f64::from(u8::from(reply.is_some())));
    }
    if let Some(bytes) = resident_bytes() {
        page.family("process_resident_memory_bytes", Kind::Gauge, "Memory in RAM.");
        page.sample(&[], bytes as f64);
    }
}

fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: a library call without memory.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page_bytes).ok()?)
}

/// All families of all nodes.
pub(super) fn write(page: &mut Page, nodes: &[Seen<'_>]) {
    for (name, kind, help, value) in SINGLE {
        page.family(name, *kind, help);
        for node in nodes {
            page.sample(&[("node", &node.id)], value(node));
        }
    }
    longest_turns(page, nodes);
    page.family("klamm_memory_bytes", Kind::Gauge, "Memory in use, by what uses it.");
    for node in nodes {
        let memory = &node.counts.memory;
        let uses = [
            ("requests", memory.requests),
            ("answers", memory.answers),
            ("cache", memory.cache),
            ("sessions", memory.sessions),
        ];
        for (of, bytes) in uses {
            page.sample(&[("node", &node.id), ("of", of)], bytes as f64);
        }
    }
    page.family("klamm_refusals_total", Kind::Counter, "What was refused or closed, by reason.");
    for node in nodes {
        for (reason, n) in node.counts.metrics.refusals() {
            page.sample(&[("node", &node.id), ("reason", reason)], n as f64);
        }
    }
    histograms(page, nodes);
}

fn histograms(page: &mut Page, nodes: &[Seen<'_>]) {
    let help = "A commit of the journal: its write, its sync, and the way there and back.";
    page.family("klamm_journal_commit_seconds", Kind::Histogram, help);
    for node in nodes {
        page.histogram(&[("node", &node.id)], &node.counts.store.commit_time);
    }
    page.family("klamm_journal_sync_seconds", Kind::Histogram, "Of that, the sync alone.");
    for node in nodes {
        page.histogram(&[("node", &node.id)], &node.counts.store.sync_time);
    }
    page.family("klamm_turn_seconds", Kind::Histogram, "Turns of a node, their waits left out.");
    for node in nodes {
        page.histogram(&[("node", &node.id)], &node.counts.metrics.turns);
    }
    page.family(
        "klamm_turn_cpu_seconds",
        Kind::Histogram,
        "Processor time of the turns of a node.",
    );
    for node in nodes {
        page.histogram(&[("node", &node.id)], &node.counts.metrics.turns_cpu);
    }
    let help = "Requests, from their arrival to their answer; long polls wait in between.";
    page.family("klamm_request_seconds", Kind::Histogram, help);
    for node in nodes {
        for (key, requests) in node.counts.metrics.requests() {
            let name = table::find(key).map_or("", table::Api::name);
            page.histogram(&[("node", &node.id), ("request", name)], &requests.total);
        }
    }
    page.family("klamm_request_bytes_total", Kind::Counter, "Bytes of requests.");
    for node in nodes {
        for (key, requests) in node.counts.metrics.requests() {
            let name = table::find(key).map_or("", table::Api::name);
            page.sample(&[("node", &node.id), ("request", name)], requests.bytes as f64);
        }
    }
}

fn each_step(nodes: &[Seen<'_>], mut write: impl FnMut(Labels<'_>, (f64, u64))) {
    for node in nodes {
        for &step in Step::ALL {
            write(&[("node", &node.id), ("step", step.name())], node.counts.metrics.steps.of(step));
        }
    }
}

/// What took longest, and all that was done in that turn.
fn longest_turns(page: &mut Page, nodes: &[Seen<'_>]) {
    let help = "Processor time of the longest turn since the last scrape, the step that took most of it, and \
                of requests the heaviest.";
    page.family("klamm_longest_turn_seconds", Kind::Gauge, help);
    for node in nodes {
        let turn = &node.counts.metrics.longest;
        let (step, key) = turn.longest_step();
        let request = key.and_then(table::find).map_or("", table::Api::name);
        let labels = [("node", &*node.id), ("step", step.name()), ("request", request)];
        page.sample(&labels, turn.cpu.as_secs_f64());
    }
    let help =
        "Time of the steps of turns, on the clock; servants that took the core meanwhile left out.";
    page.family("klamm_step_seconds_total", Kind::Counter, help);
    each_step(nodes, |labels, (seconds, _)| page.sample(labels, seconds));
    let help = "Turns in which a step took more than 100 us, pauses of the machine among it.";
    page.family("klamm_step_slow_total", Kind::Counter, help);
    each_step(nodes, |labels, (_, slow)| page.sample(labels, slow as f64));
    page.family("klamm_longest_turn", Kind::Gauge, "What the longest turn did, by kind of work.");
    for node in nodes {
        let turn = &node.counts.metrics.longest;
        let did = [
            ("events", f64::from(turn.events)),
            ("results", f64::from(turn.results)),
            ("mail", f64::from(turn.mail)),
            ("applied", f64::from(turn.applied)),
            ("committed_bytes", turn.committed_bytes as f64),
            ("requests", f64::from(turn.requests)),
            ("request_bytes", turn.request_bytes as f64),
            ("answers", f64::from(turn.answers)),
        ];
        for (kind, n) in did {
            page.sample(&[("node", &node.id), ("did", kind)], n);
        }
    }
}
