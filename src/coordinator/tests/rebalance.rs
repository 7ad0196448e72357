//! The join phase and the sync phase.

use expect_test::expect;

use super::world::{check, check_with, limits};
use crate::config::GroupLimits;

fn no_delay() -> GroupLimits {
    GroupLimits { initial_rebalance_delay_ms: 0, ..limits() }
}

#[test]
fn the_initial_delay_is_extended_by_newcomers_up_to_the_rebalance_timeout() {
    check(
        "join g a v=3 rebalance=7
         at 2
         join g b v=3 rebalance=7
         at 5
         join g c v=3 rebalance=7
         at 60",
        &expect![[r#"
            join g a v=3 rebalance=7
            at 2
            join g b v=3 rebalance=7
            at 5
            join g c v=3 rebalance=7
            at 60
              at 7:
              c: joined gen 1 leader a range
              a: joined gen 1 leader a range [c] [a] [b]
              b: joined gen 1 leader a range
              at 14:
              log: group g gen 2
        "#]],
    );
}

#[test]
fn a_join_phase_ends_when_all_have_joined() {
    check_with(
        no_delay(),
        "join g a v=3
         at 0
         sync g a give=a:A
         join g b v=3
         heartbeat g a
         join g a
         sync g b
         sync g a give=a:A2,b:B
         describe g",
        &expect![[r#"
            join g a v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            join g b v=3
            heartbeat g a
              RebalanceInProgress
            join g a
              a: joined gen 2 leader a range [a] [b]
              b: joined gen 2 leader a range
            sync g b
            sync g a give=a:A2,b:B
              log: group g gen 2 [a b"A2"] [b b"B"]
              a: synced b"A2"
              b: synced b"B"
            describe g
              Stable "consumer" "range" [a b"A2"+metadata] [b b"B"+metadata]
        "#]],
    );
}

#[test]
fn a_join_phase_ends_without_the_dynamic_members_that_do_not_come() {
    check_with(
        no_delay(),
        "join g a v=3 session=60
         at 0
         sync g a give=a:A
         at 1
         join g b v=3 rebalance=20
         at 50
         heartbeat g a
         at 61
         heartbeat g a",
        &expect![[r#"
            join g a v=3 session=60
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            at 1
            join g b v=3 rebalance=20
            at 50
            heartbeat g a
              RebalanceInProgress
            at 61
              at 61:
              b: joined gen 2 leader b range [b]
            heartbeat g a
              UnknownMemberId
        "#]],
    );
}

#[test]
fn a_join_phase_waits_for_promised_members() {
    check_with(
        no_delay(),
        "join g a v=3
         at 0
         sync g a give=a:A
         join g b
         join g a
         join g b",
        &expect![[r#"
            join g a v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            join g b
              b: join MemberIdRequired
            join g a
            join g b
              a: joined gen 2 leader a range [a] [b]
              b: joined gen 2 leader a range
        "#]],
    );
}

#[test]
fn members_that_never_sync_are_removed_and_the_rest_rebalances() {
    check_with(
        no_delay(),
        "join g a v=3 session=100 rebalance=20
         at 0
         sync g a give=a:A
         join g b v=3 session=100 rebalance=20
         join g a session=100 rebalance=20
         sync g a give=a:A,b:B
         at 15
         heartbeat g b
         at 20
         heartbeat g a
         heartbeat g b
         join g a",
        &expect![[r#"
            join g a v=3 session=100 rebalance=20
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            join g b v=3 session=100 rebalance=20
            join g a session=100 rebalance=20
              a: joined gen 2 leader a range [a] [b]
              b: joined gen 2 leader a range
            sync g a give=a:A,b:B
              log: group g gen 2 [a b"A"] [b b"B"]
              a: synced b"A"
            at 15
            heartbeat g b
              ok
            at 20
            heartbeat g a
              RebalanceInProgress
            heartbeat g b
              UnknownMemberId
            join g a
              a: joined gen 3 leader a range [a]
        "#]],
    );
}

#[test]
fn a_member_with_rebalance_timeout_zero_is_gone_before_its_sync() {
    check_with(
        no_delay(),
        "join g a v=3 rebalance=0
         at 0
         at 0.001
         sync g a give=a:A",
        &expect![[r#"
            join g a v=3 rebalance=0
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
              at 0:
              log: group g gen 2
            at 0.001
            sync g a give=a:A
              a: sync UnknownMemberId
        "#]],
    );
}

#[test]
fn a_repeated_join_gets_the_current_generation_but_the_leader_of_a_stable_group_rebalances() {
    check_with(
        no_delay(),
        "join g a v=3
         at 0
         sync g a give=a:A
         join g b v=3
         join g a
         join g b
         join g a
         sync g a give=a:A,b:B
         sync g b
         join g b
         join g b topics=u
         join g a
         sync g a
         sync g b
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
            join g b
              b: joined gen 2 leader a range
            join g a
              a: joined gen 2 leader a range [a] [b]
            sync g a give=a:A,b:B
              log: group g gen 2 [a b"A"] [b b"B"]
              a: synced b"A"
            sync g b
              b: synced b"B"
            join g b
              b: joined gen 2 leader a range
            join g b topics=u
            join g a
              a: joined gen 3 leader a range [a] [b]
              b: joined gen 3 leader a range
            sync g a
              log: group g gen 3 [a b""] [b b""]
              a: synced b""
            sync g b
              b: synced b""
            join g a
        "#]],
    );
}

#[test]
fn the_protocol_with_most_votes_among_those_all_have_is_chosen() {
    check(
        "join g a v=3 protos=range,sticky,rr
         join g b v=3 protos=rr,sticky
         join g c v=3 protos=x,sticky,rr
         join g d v=3 protos=zz
         join g d v=3 protos=rr type=connect
         at 10",
        &expect![[r#"
            join g a v=3 protos=range,sticky,rr
            join g b v=3 protos=rr,sticky
            join g c v=3 protos=x,sticky,rr
            join g d v=3 protos=zz
              d: join InconsistentProtocol
            join g d v=3 protos=rr type=connect
              d: join InconsistentProtocol
            at 10
              at 6:
              c: joined gen 1 leader a sticky
              a: joined gen 1 leader a sticky [c] [a] [b]
              b: joined gen 1 leader a sticky
        "#]],
    );
}

#[test]
fn silence_ends_a_session_and_the_others_rebalance() {
    check_with(
        no_delay(),
        "join g a v=3 session=10
         at 0
         sync g a give=a:A
         join g b v=3 session=30
         join g a
         sync g a give=a:A,b:B
         sync g b
         at 9
         heartbeat g b
         at 11
         heartbeat g b
         join g b
         sync g b give=b:B2
         at 100
         describe g",
        &expect![[r#"
            join g a v=3 session=10
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            join g b v=3 session=30
            join g a
              a: joined gen 2 leader a range [a] [b]
              b: joined gen 2 leader a range
            sync g a give=a:A,b:B
              log: group g gen 2 [a b"A"] [b b"B"]
              a: synced b"A"
            sync g b
              b: synced b"B"
            at 9
            heartbeat g b
              ok
            at 11
            heartbeat g b
              RebalanceInProgress
            join g b
              b: joined gen 3 leader b range [b]
            sync g b give=b:B2
              log: group g gen 3 [b b"B2"]
              b: synced b"B2"
            at 100
              at 21:
              log: group g gen 4
            describe g
              Empty "consumer" ""
        "#]],
    );
}

#[test]
fn a_new_join_phase_cancels_the_syncs_that_wait() {
    check_with(
        no_delay(),
        "join g a v=3
         join g b v=3
         at 0
         sync g b
         join g c v=3
         sync g a give=a:A",
        &expect![[r#"
            join g a v=3
            join g b v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            sync g b
            join g c v=3
              b: sync RebalanceInProgress
            sync g a give=a:A
              a: sync RebalanceInProgress
        "#]],
    );
}
