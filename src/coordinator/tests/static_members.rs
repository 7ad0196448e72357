//! Static members (KIP-345): their place outlives their process.

use expect_test::expect;

use super::world::{check_with, limits};
use crate::config::GroupLimits;

#[track_caller]
fn check(script: &str, expect: &expect_test::Expect) {
    check_with(GroupLimits { initial_rebalance_delay_ms: 0, ..limits() }, script, expect);
}

#[test]
fn a_static_member_comes_back_to_a_stable_group_without_a_rebalance() {
    check(
        "join g a static=i
         at 0
         sync g a give=a:A
         join g b static=i
         heartbeat g a static=i
         sync g b static=i
         heartbeat g b static=i
         heartbeat g b static=other
         commit g a static=i gen=1 t/0=1
         describe g",
        &expect![[r#"
            join g a static=i
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            join g b static=i
              log: group g gen 1 [i-f893a2ee-fb32-455e-b1c1-8690ee42c90b b"A"]
              b: joined gen 1 leader b range skip [b]
            heartbeat g a static=i
              FencedInstanceId
            sync g b static=i
              b: synced b"A"
            heartbeat g b static=i
              ok
            heartbeat g b static=other
              UnknownMemberId
            commit g a static=i gen=1 t/0=1
              commit: FencedInstanceId
            describe g
              Stable "consumer" "range" [b b"A"+metadata]
        "#]],
    );
}

#[test]
fn before_version_9_a_leader_that_comes_back_is_told_that_its_old_id_leads() {
    check(
        "join g a static=i
         at 0
         sync g a give=a:A
         join g b static=i v=8
         sync g b static=i",
        &expect![[r#"
            join g a static=i
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            join g b static=i v=8
              log: group g gen 1 [i-f893a2ee-fb32-455e-b1c1-8690ee42c90b b"A"]
              b: joined gen 1 leader a range
            sync g b static=i
              b: synced b"A"
        "#]],
    );
}

#[test]
fn a_follower_that_comes_back_gets_its_assignment_and_no_list() {
    check(
        "join g a static=i
         join g b static=j
         at 0
         sync g a give=a:A,b:B
         sync g b
         join g c static=j
         sync g c
         describe g",
        &expect![[r#"
            join g a static=i
            join g b static=j
            at 0
              at 0:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            sync g a give=a:A,b:B
              log: group g gen 1 [a b"A"] [b b"B"]
              a: synced b"A"
            sync g b
              b: synced b"B"
            join g c static=j
              log: group g gen 1 [a b"A"] [j-71bb54d8-d101-45b9-834d-0bff90150280 b"B"]
              c: joined gen 1 leader a range
            sync g c
              c: synced b"B"
            describe g
              Stable "consumer" "range" [a b"A"+metadata] [c b"B"+metadata]
        "#]],
    );
}

#[test]
fn a_static_member_with_other_protocols_rebalances_only_if_the_choice_changes() {
    check(
        "join g a static=i protos=range,sticky
         at 0
         sync g a give=a:A
         join g b static=i protos=range
         join g c static=i protos=sticky
         join g c static=i protos=range,other
         join g d static=i new protos=other,range
         at 0",
        &expect![[r#"
            join g a static=i protos=range,sticky
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            join g b static=i protos=range
              log: group g gen 1 [i-f893a2ee-fb32-455e-b1c1-8690ee42c90b b"A"]
              b: joined gen 1 leader b range skip [b]
            join g c static=i protos=sticky
              c: join InconsistentProtocol
            join g c static=i protos=range,other
              log: group g gen 1 [i-71bb54d8-d101-45b9-834d-0bff90150280 b"A"]
              c: joined gen 1 leader c range skip [c]
            join g d static=i new protos=other,range
              d: joined gen 2 leader d other [d]
            at 0
        "#]],
    );
}

#[test]
fn a_takeover_during_a_rebalance_fences_the_parked_requests_of_the_old_process() {
    check(
        "join g a v=3
         join g b static=i
         at 0
         sync g b
         join g c static=i
         join g d static=i
         join g a
         describe g",
        &expect![[r#"
            join g a v=3
            join g b static=i
            at 0
              at 0:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            sync g b
            join g c static=i
              b: sync FencedInstanceId
            join g d static=i
              c: join FencedInstanceId
            join g a
              a: joined gen 2 leader a range [a] [d]
              d: joined gen 2 leader a range
            describe g
              CompletingRebalance "consumer" "" [a b""] [d b""]
        "#]],
    );
}

#[test]
fn a_failed_takeover_gives_the_place_back() {
    check(
        "join g a static=i
         at 0
         sync g a give=a:A
         hold
         join g b static=i
         heartbeat g a static=i
         fail NotEnoughReplicas
         heartbeat g a static=i
         describe g",
        &expect![[r#"
            join g a static=i
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            hold
            join g b static=i
              log: group g gen 1 [i-f893a2ee-fb32-455e-b1c1-8690ee42c90b b"A"]
            heartbeat g a static=i
              FencedInstanceId
            fail NotEnoughReplicas
              log: group g gen 1 [a b"A"]
              b: join NotAvailable
            heartbeat g a static=i
              ok
            describe g
              Stable "consumer" "range" [a b"A"+metadata]
        "#]],
    );
}

#[test]
fn a_rebalance_during_a_takeover_answers_it() {
    check(
        "join g a static=i
         at 0
         sync g a give=a:A
         hold
         join g b static=i
         join g c v=3
         release
         describe g",
        &expect![[r#"
            join g a static=i
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            hold
            join g b static=i
              log: group g gen 1 [i-f893a2ee-fb32-455e-b1c1-8690ee42c90b b"A"]
            join g c v=3
              c: joined gen 2 leader b range
              b: joined gen 2 leader b range [c] [b]
            release
            describe g
              CompletingRebalance "consumer" "" [c b""] [b b"A"]
        "#]],
    );
}

#[test]
fn static_members_survive_a_join_phase_that_they_miss() {
    check(
        "join g a static=i session=1000 rebalance=20
         at 0
         sync g a give=a:A
         join g b v=3 session=1000 rebalance=20
         at 21
         describe g
         sync g b give=a:A2,b:B
         join g a static=i
         sync g a static=i",
        &expect![[r#"
            join g a static=i session=1000 rebalance=20
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            join g b v=3 session=1000 rebalance=20
            at 21
              at 20:
              b: joined gen 2 leader b range [b] [a]
            describe g
              CompletingRebalance "consumer" "" [b b""] [a b"A"]
            sync g b give=a:A2,b:B
              log: group g gen 2 [b b"B"] [a b"A2"]
              b: synced b"B"
            join g a static=i
              a: joined gen 2 leader b range
            sync g a static=i
              a: synced b"A2"
        "#]],
    );
}

#[test]
fn a_join_phase_that_nobody_joins_waits_for_the_sessions_to_end() {
    check(
        "join g a static=i session=30 rebalance=7
         join g b static=j session=30 rebalance=7
         at 0
         sync g a give=a:A,b:B
         sync g b
         leave g j=j
         describe g
         at 25
         describe g
         at 60
         describe g",
        &expect![[r#"
            join g a static=i session=30 rebalance=7
            join g b static=j session=30 rebalance=7
            at 0
              at 0:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            sync g a give=a:A,b:B
              log: group g gen 1 [a b"A"] [b b"B"]
              a: synced b"A"
            sync g b
              b: synced b"B"
            leave g j=j
              leave: ok
            describe g
              PreparingRebalance "consumer" "" [a b"A"]
            at 25
            describe g
              PreparingRebalance "consumer" "" [a b"A"]
            at 60
              at 30:
              log: group g gen 2
            describe g
              Empty "consumer" ""
        "#]],
    );
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance_id() {
    check(
        "join g a static=i
         at 0
         sync g a give=a:A
         leave g x=i x=unknown
         describe g",
        &expect![[r#"
            join g a static=i
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            leave g x=i x=unknown
              log: group g gen 2
              leave: ok UnknownMemberId
            describe g
              Empty "consumer" ""
        "#]],
    );
}
