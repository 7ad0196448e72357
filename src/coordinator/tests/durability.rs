//! What outlives a restart, and what happens while a partition comes and goes.

use expect_test::expect;

use super::world::{check_with, limits};
use crate::config::GroupLimits;

#[track_caller]
fn check(script: &str, expect: &expect_test::Expect) {
    check_with(GroupLimits { initial_rebalance_delay_ms: 0, ..limits() }, script, expect);
}

#[test]
fn a_stable_group_goes_on_after_a_restart() {
    check(
        "join g a v=3
         join g b static=i
         at 0
         sync g a give=a:A,b:B
         sync g b
         commit g a t/0=5
         restart
         describe g
         fetch g
         heartbeat g a
         sync g b
         join g c static=i
         at 9
         heartbeat g c static=i
         at 12
         describe g",
        &expect![[r#"
            join g a v=3
            join g b static=i
            at 0
              at 0:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            sync g a give=a:A,b:B
              log: group g gen 1 [a b"A"] [b b"B"]
              a: synced b"A"
            sync g b
              b: synced b"B"
            commit g a t/0=5
              log: offset g t/0=5
              commit: ok
            restart
            describe g
              Stable "consumer" "range" [a b"A"+metadata] [b b"B"+metadata]
            fetch g
              t/0=5
            heartbeat g a
              ok
            sync g b
              b: synced b"B"
            join g c static=i
              log: group g gen 1 [a b"A"] [i-975835de-1c97-46ce-bfc8-46100bfc1e42 b"B"]
              c: joined gen 1 leader a range
            at 9
            heartbeat g c static=i
              ok
            at 12
            describe g
              PreparingRebalance "consumer" "" [c b"B"]
        "#]],
    );
}

#[test]
fn a_group_that_was_rebalancing_is_its_last_generation_after_a_restart() {
    check(
        "join g a v=3
         at 0
         sync g a give=a:A
         join g b v=3
         join g a
         restart
         describe g
         heartbeat g a gen=2
         join g a",
        &expect![[r#"
            join g a v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            join g b v=3
            join g a
              a: joined gen 2 leader a range [a] [b]
              b: joined gen 2 leader a range
            restart
            describe g
              Stable "consumer" "range" [a b"A"+metadata]
            heartbeat g a gen=2
              IllegalGeneration { asked: 2, current: 1 }
            join g a
              a: joined gen 2 leader a range [a]
        "#]],
    );
}

#[test]
fn a_deleted_group_stays_deleted_after_a_restart() {
    check(
        "commit g - t/0=1
         hold
         commit g - t/1=1
         delete g
         release
         restart
         list
         fetch g",
        &expect![[r#"
            commit g - t/0=1
              log: offset g t/0=1
              commit: ok
            hold
            commit g - t/1=1
              log: offset g t/1=1
            delete g
              log: no offset g t/0
              log: no offset g t/1
              log: no group g
            release
              commit: ok
              delete: ok
            restart
            list
            fetch g
              none
        "#]],
    );
}

#[test]
fn a_record_that_comes_after_its_offsets_keeps_them() {
    check(
        "commit g - t/0=1
         join g a v=3
         at 0
         sync g a give=a:A
         restart
         fetch g",
        &expect![[r#"
            commit g - t/0=1
              log: offset g t/0=1
              commit: ok
            join g a v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            restart
            fetch g
              t/0=1
        "#]],
    );
}

#[test]
fn while_a_partition_loads_clients_are_put_off_and_heartbeats_are_taken_as_good() {
    check(
        "load
         join g a
         heartbeat g a
         commit g - t/0=1
         leave g a
         delete g
         uncommit g t/0
         fetch g
         describe g",
        &expect![[r#"
            load
            join g a
              a: join LoadInProgress
            heartbeat g a
              ok
            commit g - t/0=1
              commit: LoadInProgress
            leave g a
              leave: LoadInProgress
            delete g
              delete: LoadInProgress
            uncommit g t/0
              uncommit: LoadInProgress
            fetch g
              LoadInProgress
            describe g
              LoadInProgress
        "#]],
    );
}

#[test]
fn groups_of_a_partition_that_cannot_be_read_are_not_available_and_not_listed() {
    check(
        "commit g - t/0=1
         load
         load-failed
         join g a
         heartbeat g a
         commit g - t/0=2
         fetch g
         describe g
         list",
        &expect![[r#"
            commit g - t/0=1
              log: offset g t/0=1
              commit: ok
            load
            load-failed
            join g a
              a: join NotAvailable
            heartbeat g a
              NotAvailable
            commit g - t/0=2
              commit: NotAvailable
            fetch g
              NotAvailable
            describe g
              NotAvailable
            list
        "#]],
    );
}

#[test]
fn a_lost_partition_answers_everyone_that_waits() {
    check(
        "join g a v=3
         join g b v=3
         at 0
         sync g b
         join h c v=3
         commit i - t/0=1
         hold
         commit i - t/0=2
         delete i
         unload
         release
         join g d
         heartbeat g a
         at 1000",
        &expect![[r#"
            join g a v=3
            join g b v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            sync g b
            join h c v=3
            commit i - t/0=1
              log: offset i t/0=1
              commit: ok
            hold
            commit i - t/0=2
              log: offset i t/0=2
            delete i
              log: no offset i t/0
              log: no group i
            unload
              b: sync NotCoordinator
              c: join NotCoordinator
              commit: NotCoordinator
              delete: NotCoordinator
            release
            join g d
              d: join NotCoordinator
            heartbeat g a
              NotCoordinator
            at 1000
        "#]],
    );
}

#[test]
fn a_partition_that_is_led_anew_answers_everyone_that_waited_before() {
    check(
        "join g a v=3
         load
         heartbeat g a",
        &expect![[r#"
            join g a v=3
            load
              a: join NotCoordinator
            heartbeat g a
              ok
        "#]],
    );
}

#[test]
fn an_assignment_that_cannot_be_written_rebalances() {
    check(
        "join g a v=3
         join g b v=3
         at 0
         sync g b
         hold
         sync g a give=a:A,b:B
         fail TooLarge
         heartbeat g b
         join g a
         join g b",
        &expect![[r#"
            join g a v=3
            join g b v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            sync g b
            hold
            sync g a give=a:A,b:B
              log: group g gen 1 [a b"A"] [b b"B"]
            fail TooLarge
              a: sync RecordTooLarge
              b: sync RecordTooLarge
            heartbeat g b
              RebalanceInProgress
            join g a
            join g b
              a: joined gen 2 leader a range [a] [b]
              b: joined gen 2 leader a range
        "#]],
    );
}

#[test]
fn an_assignment_that_is_written_too_late_changes_nothing() {
    check(
        "join g a v=3
         join g b v=3
         at 0
         sync g b
         hold
         sync g a give=a:A,b:B
         join g c v=3
         release
         describe g",
        &expect![[r#"
            join g a v=3
            join g b v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            sync g b
            hold
            sync g a give=a:A,b:B
              log: group g gen 1 [a b"A"] [b b"B"]
            join g c v=3
              a: sync RebalanceInProgress
              b: sync RebalanceInProgress
            release
            describe g
              PreparingRebalance "consumer" "" [app-71bb54d8-d101-45b9-834d-0bff90150280 b""] [a b""] [b b""]
        "#]],
    );
}

#[test]
fn an_assignment_that_takes_too_long_rebalances() {
    check(
        "join g a v=3 session=60
         at 0
         hold
         sync g a give=a:A
         at 6
         join g a session=60
         release
         describe g",
        &expect![[r#"
            join g a v=3 session=60
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            hold
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
            at 6
              at 5:
              a: sync NotAvailable
            join g a session=60
              a: joined gen 2 leader a range [a]
            release
            describe g
              CompletingRebalance "consumer" "" [a b""]
        "#]],
    );
}

#[test]
fn a_group_over_its_size_after_a_restart_drops_whoever_comes_last() {
    check(
        "join g a v=3
         join g b v=3
         at 0
         sync g a give=a:A,b:B
         sync g b
         members-max 1
         restart
         heartbeat g a
         join g b
         join g a
         at 60
         sync g b give=b:B",
        &expect![[r#"
            join g a v=3
            join g b v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            sync g a give=a:A,b:B
              log: group g gen 1 [a b"A"] [b b"B"]
              a: synced b"A"
            sync g b
              b: synced b"B"
            members-max 1
            restart
            heartbeat g a
              RebalanceInProgress
            join g b
            join g a
              b: joined gen 2 leader b range [b]
              a: join GroupMaxSizeReached { limit: 1 }
            at 60
              at 10:
              log: group g gen 3
            sync g b give=b:B
              b: sync UnknownMemberId
        "#]],
    );
}
