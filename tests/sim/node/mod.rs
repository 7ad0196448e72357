//! The whole node: a server of one to three nodes with seeded clients that speak real frames, on a
//! disk and a network that do their worst, and a clock that is set.

mod admin;
mod consumer;
mod facts;
mod link;
mod member;
mod producer;
mod server;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::seeds::{number, said};
use world::World;

#[test]
fn what_a_client_was_told_stays_true_through_crashes_and_restarts() {
    let (first, count) = (number("SEED", 0), number("SEEDS", 2400) / 12);
    let (mut acks, mut seen, mut commits, mut openings, mut errors) = (0, 0, 0, 0, 0);
    for seed in first..first + count.max(1) {
        let outcome = catch_unwind(AssertUnwindSafe(|| World::new(seed).run()));
        match outcome {
            Ok((_, facts)) => {
                acks += facts.acks;
                seen += facts.seen;
                commits += facts.commits;
                openings += facts.openings;
                errors += facts.storage_errors;
            }
            Err(panic) => panic!("the node failed: SEED={seed} SEEDS=1: {}", said(&*panic)),
        }
    }
    println!(
        "{count} worlds: {acks} acks, {seen} batches seen, {commits} commits, {openings} openings, \
         {errors} storage errors"
    );
    assert!(count < 50 || errors > 0 && openings > count as usize);
    assert!(count < 50 || acks > count as usize && seen > acks && commits > count as usize);
}

#[test]
fn one_seed_of_the_whole_node_is_one_trace() {
    for seed in [3, 8, 21] {
        let traces = [World::new(seed).run().0, World::new(seed).run().0];
        assert_eq!(traces[0], traces[1], "{seed}");
    }
}
