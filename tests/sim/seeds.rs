//! Seeds: what kinds of worlds are run, and that one seed is one trace.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::world::{Kind, World};

pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}

/// Runs seeds of one kind of world; panics with the first that fails.
fn run(kind: Kind, share: u64) {
    let (first, count) = (number("SEED", 0), number("SEEDS", 400) / share);
    for seed in first..first + count.max(1) {
        let outcome = catch_unwind(AssertUnwindSafe(|| World::new(kind, seed).run()));
        if let Err(panic) = outcome {
            panic!("{kind:?} failed: SEED={seed} SEEDS=1: {}", said(&*panic));
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_crashes_at_any_disk_operation() {
    run(Kind::Crashes, 1);
}

#[test]
fn a_failed_write_or_sync_fences_and_loses_nothing_acknowledged() {
    run(Kind::Faults, 2);
}

#[test]
fn rot_below_the_durable_point_is_named_and_never_cut_or_served() {
    run(Kind::Rot, 4);
}

#[test]
fn one_seed_is_one_trace() {
    for seed in [1, 7, 42] {
        for kind in [Kind::Crashes, Kind::Faults, Kind::Rot] {
            let traces = [World::new(kind, seed).run(), World::new(kind, seed).run()];
            assert_eq!(traces[0], traces[1], "{kind:?} {seed}");
        }
    }
}
