//! Offsets that nobody needs any more.

use expect_test::expect;

use super::world::{check_with, limits};
use crate::config::GroupLimits;

/// Two days of retention, a look every day.
pub(super) fn two_days() -> GroupLimits {
    const DAY_MS: i64 = 86_400_000;
    GroupLimits {
        offsets_retention_ms: 2 * DAY_MS,
        offsets_retention_check_interval_ms: DAY_MS,
        session_timeout_max_ms: i32::MAX,
        initial_rebalance_delay_ms: 0,
        ..limits()
    }
}

#[test]
fn a_simple_groups_offsets_expire_each_after_its_commit_and_then_the_group_goes() {
    check_with(
        two_days(),
        "commit g - t/0=1
         at 90000
         commit g - t/1=2
         at 180000
         fetch g
         at 350000
         list",
        &expect![[r#"
            commit g - t/0=1
              log: offset g t/0=1
              commit: ok
            at 90000
            commit g - t/1=2
              log: offset g t/1=2
              commit: ok
            at 180000
              at 172800:
              log: no offset g t/0
            fetch g
              t/1=2
            at 350000
              at 345600:
              log: no offset g t/1
              log: no group g
            list
        "#]],
    );
}

#[test]
fn an_empty_groups_offsets_expire_after_it_became_empty() {
    check_with(
        two_days(),
        "join g a v=3 session=200000
         at 0
         sync g a give=a:A
         commit g a t/0=1
         at 190000
         leave g a
         at 350000
         fetch g
         at 440000
         fetch g
         list",
        &expect![[r#"
            join g a v=3 session=200000
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            commit g a t/0=1
              log: offset g t/0=1
              commit: ok
            at 190000
            leave g a
              log: group g gen 2
              leave: ok
            at 350000
            fetch g
              t/0=1
            at 440000
              at 432000:
              log: no offset g t/0
              log: no group g
            fetch g
              none
            list
        "#]],
    );
}

#[test]
fn a_stable_group_keeps_the_offsets_of_what_it_reads() {
    check_with(
        two_days(),
        "commit g - t/0=1 u/0=1
         join g a v=3 topics=t session=1000000
         at 0
         sync g a give=a:A
         at 300000
         fetch g",
        &expect![[r#"
            commit g - t/0=1 u/0=1
              log: offset g t/0=1
              log: offset g u/0=1
              commit: ok ok
            join g a v=3 topics=t session=1000000
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            at 300000
              at 172800:
              log: no offset g u/0
            fetch g
              t/0=1
        "#]],
    );
}

#[test]
fn a_client_of_old_says_how_long_its_offsets_are_kept() {
    check_with(
        two_days(),
        "commit g - keep=3600 t/0=1
         commit g - keep=400000 t/1=1
         at 87000
         fetch g
         at 300000
         fetch g
         at 500000
         list",
        &expect![[r#"
            commit g - keep=3600 t/0=1
              log: offset g t/0=1
              commit: ok
            commit g - keep=400000 t/1=1
              log: offset g t/1=1
              commit: ok
            at 87000
              at 86400:
              log: no offset g t/0
            fetch g
              t/1=1
            at 300000
            fetch g
              t/1=1
            at 500000
              at 432000:
              log: no offset g t/1
              log: no group g
            list
        "#]],
    );
}

#[test]
fn what_is_committed_deleted_and_expires_is_counted_and_so_are_rebalances() {
    check_with(
        two_days(),
        "join g a v=3
         at 0
         sync g a give=a:A
         leave g a
         commit h - t/0=1 t/1=1 t/2=1
         uncommit h t/2 t/9
         tally
         at 440000
         load
         load-failed
         tally
         unload
         tally",
        &expect![[r#"
            join g a v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            leave g a
              log: group g gen 2
              leave: ok
            commit h - t/0=1 t/1=1 t/2=1
              log: offset h t/0=1
              log: offset h t/1=1
              log: offset h t/2=1
              commit: ok ok ok
            uncommit h t/2 t/9
              log: no offset h t/2
              uncommit: ok ok
            tally
              GroupTally { commits: 3, deletions: 1, expirations: 0, rebalances: 1, failed: 0 }
            at 440000
              at 86400:
              log: no group g
              at 172800:
              log: no offset h t/0
              log: no offset h t/1
              log: no group h
            load
            load-failed
            tally
              GroupTally { commits: 3, deletions: 1, expirations: 2, rebalances: 1, failed: 1 }
            unload
            tally
              GroupTally { commits: 3, deletions: 1, expirations: 2, rebalances: 1, failed: 0 }
        "#]],
    );
}
