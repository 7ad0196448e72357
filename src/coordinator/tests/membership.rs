//! Coming and going: joining, sessions, leaving, and what is refused.

use expect_test::expect;

use super::world::{at_ms, check, check_with, limits, replay_member};
use crate::config::GroupLimits;
use crate::coordinator::{Answer, Effect, GroupError, Groups, Join, Leaver, Sender};

fn no_delay() -> GroupLimits {
    GroupLimits { initial_rebalance_delay_ms: 0, ..limits() }
}

#[test]
fn a_new_member_is_told_its_id_first_and_joins_with_it() {
    check(
        "join g a
         list
         join g a
         at 3
         sync g a give=a:A
         describe g
         heartbeat g a",
        &expect![[r#"
            join g a
              a: join MemberIdRequired
            list
              g "" Empty
            join g a
            at 3
              at 3:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            describe g
              Stable "consumer" "range" [a b"A"+metadata]
            heartbeat g a
              ok
        "#]],
    );
}

#[test]
fn an_old_client_joins_at_once() {
    check(
        "join g a v=3
         at 3",
        &expect![[r#"
            join g a v=3
            at 3
              at 3:
              a: joined gen 1 leader a range [a]
        "#]],
    );
}

#[test]
fn a_promised_id_that_is_not_used_expires_with_its_session_and_leaves_nothing() {
    check(
        "join g a session=6
         list
         at 6
         list
         join g a",
        &expect![[r#"
            join g a session=6
              a: join MemberIdRequired
            list
              g "" Empty
            at 6
            list
            join g a
              a: join UnknownMemberId
        "#]],
    );
}

#[test]
fn a_newcomer_that_is_gone_for_five_minutes_is_out() {
    check_with(
        no_delay(),
        "join g a v=3 session=1000 rebalance=1000
         at 0
         sync g a give=a:A
         join g b v=3
         at 400",
        &expect![[r#"
            join g a v=3 session=1000 rebalance=1000
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            join g b v=3
            at 400
              at 300:
              b: join UnknownMemberId
        "#]],
    );
}

#[test]
fn a_join_that_is_sent_again_answers_the_one_that_is_parked() {
    check(
        "join g a
         join g a
         join g a
         at 10",
        &expect![[r#"
            join g a
              a: join MemberIdRequired
            join g a
            join g a
              a: join RebalanceInProgress
            at 10
              at 3:
              a: joined gen 1 leader a range [a]
        "#]],
    );
}

#[test]
fn joins_are_checked() {
    check(
        "join g a session=5
         join g a session=1801
         join g a type=
         join g a protos=
         join g a
         join g a
         join h a",
        &expect![[r#"
            join g a session=5
              a: join InvalidSessionTimeout { asked_ms: 5000, min_ms: 6000, max_ms: 1800000 }
            join g a session=1801
              a: join InvalidSessionTimeout { asked_ms: 1801000, min_ms: 6000, max_ms: 1800000 }
            join g a type=
              a: join InconsistentProtocol
            join g a protos=
              a: join InconsistentProtocol
            join g a
              a: join MemberIdRequired
            join g a
            join h a
              a: join UnknownMemberId
        "#]],
    );
}

#[test]
fn syncs_and_heartbeats_are_checked() {
    check_with(
        no_delay(),
        "join g a v=3
         sync g a gen=0
         at 0
         sync h a
         sync g nobody
         sync g a gen=7
         sync g a type=connect
         sync g a proto=sticky
         sync g a type=consumer proto=range give=a:A
         heartbeat g nobody
         heartbeat h a
         heartbeat g a gen=2
         heartbeat g a",
        &expect![[r#"
            join g a v=3
            sync g a gen=0
              a: sync UnknownMemberId
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync h a
              a: sync UnknownMemberId
            sync g nobody
              nobody: sync UnknownMemberId
            sync g a gen=7
              a: sync IllegalGeneration { asked: 7, current: 1 }
            sync g a type=connect
              a: sync InconsistentProtocol
            sync g a proto=sticky
              a: sync InconsistentProtocol
            sync g a type=consumer proto=range give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            heartbeat g nobody
              UnknownMemberId
            heartbeat h a
              UnknownMemberId
            heartbeat g a gen=2
              IllegalGeneration { asked: 2, current: 1 }
            heartbeat g a
              ok
        "#]],
    );
}

#[test]
fn members_leave_and_the_last_one_leaves_an_empty_generation() {
    check_with(
        no_delay(),
        "join g a v=3
         at 0
         sync g a give=a:A
         join g b v=3
         join g a
         leave g b nobody
         sync g a give=a:A
         hold
         leave g a
         describe g
         release
         leave g a
         leave h a",
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
            leave g b nobody
              leave: ok UnknownMemberId
            sync g a give=a:A
              a: sync RebalanceInProgress
            hold
            leave g a
              log: group g gen 3
            describe g
              Empty "consumer" ""
            release
              leave: ok
            leave g a
              leave: UnknownMemberId
            leave h a
              leave: UnknownMemberId
        "#]],
    );
}

#[test]
fn a_leader_that_leaves_is_replaced() {
    check_with(
        no_delay(),
        "join g a v=3
         at 0
         join g b v=3
         join g c v=3
         join g a
         sync g b
         leave g a
         join g c
         join g b",
        &expect![[r#"
            join g a v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            join g b v=3
            join g c v=3
            join g a
              c: joined gen 2 leader a range
              a: joined gen 2 leader a range [c] [a] [b]
              b: joined gen 2 leader a range
            sync g b
            leave g a
              b: sync RebalanceInProgress
              leave: ok
            join g c
            join g b
              c: joined gen 3 leader c range [c] [b]
              b: joined gen 3 leader c range
        "#]],
    );
}

#[test]
fn leaving_takes_back_a_promise_and_ends_a_join_phase_that_waited_for_it() {
    check_with(
        no_delay(),
        "join g a v=3
         at 0
         sync g a give=a:A
         join g b
         join g a
         leave g b
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
            leave g b
              a: joined gen 2 leader a range [a]
              leave: ok
            join g b
              b: join UnknownMemberId
        "#]],
    );
}

#[test]
fn ids_are_promised_while_there_is_memory_and_given_back_when_used_or_over() {
    // Two fit.
    check_with(
        GroupLimits { metadata_bytes_max: 3_000, ..limits() },
        "join g a
         join h b
         join i c
         join g a
         join i c
         join j d
         leave i c
         join j d
         at 20
         join k e
         join l f",
        &expect![[r#"
            join g a
              a: join MemberIdRequired
            join h b
              b: join MemberIdRequired
            join i c
              c: join NotAvailable
            join g a
            join i c
              c: join MemberIdRequired
            join j d
              d: join NotAvailable
            leave i c
              leave: ok
            join j d
              d: join MemberIdRequired
            at 20
              at 3:
              a: joined gen 1 leader a range [a]
              at 13:
              log: group g gen 2
            join k e
              e: join MemberIdRequired
            join l f
              f: join MemberIdRequired
        "#]],
    );
}

#[test]
fn deadlines_of_members_that_leave_at_once_count_until_they_come_up() {
    const LIMIT: usize = 100_000;
    let limits = GroupLimits { metadata_bytes_max: LIMIT, offsets_topic_partitions: 1, ..limits() };
    let (mut groups, mut out) = (Groups::<()>::new(limits, 1), Vec::new());
    groups.load(0, &mut out);
    groups.loaded(0, at_ms(0), &mut out);
    let (empty, mut refused) = (groups.size_bytes(), 0);
    let join = Join {
        group: "g",
        member: "",
        instance: None,
        client_id: "app",
        client_host: "/127.0.0.1",
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer",
        protocols: vec![("range", b"topics")],
        member_id_required: true,
        can_skip_assignment: true,
    };
    for _ in 0..2_000 {
        groups.join(&join, (), at_ms(0), &mut out);
        let Some(Effect::Reply { answer: Answer::Join(member, Err(error)), .. }) = out.pop() else {
            panic!("no answer")
        };
        refused += u32::from(error == GroupError::NotAvailable);
        let leaver = Leaver { member: &member, instance: None };
        groups.leave("g", &[leaver], (), at_ms(0), &mut out);
        assert!(groups.size_bytes() <= LIMIT);
    }
    assert!((900..1_100).contains(&refused), "{refused}");
    groups.on_time(at_ms(11_000), &mut out);
    assert_eq!(groups.size_bytes(), empty);
}

#[test]
fn members_are_refused_while_what_others_said_of_themselves_takes_all_memory() {
    // What two of them say fits.
    check_with(
        GroupLimits { metadata_bytes_max: 25_000, ..limits() },
        "join g a v=3 says=10000
         join h b v=3 says=10000
         join i c v=3 says=10000
         at 10
         leave h b
         join i c v=3 says=10000
         at 20",
        &expect![[r#"
            join g a v=3 says=10000
            join h b v=3 says=10000
            join i c v=3 says=10000
              c: join NotAvailable
            at 10
              at 3:
              a: joined gen 1 leader a range [a]
              b: joined gen 1 leader b range [b]
            leave h b
              log: group h gen 2
              leave: ok
            join i c v=3 says=10000
            at 20
              at 13:
              log: group g gen 2
              c: joined gen 1 leader c range [c]
        "#]],
    );
}

#[test]
fn a_group_has_at_most_group_max_size_members() {
    check_with(
        GroupLimits { size_max: 2, ..limits() },
        "join g a v=3
         join g b v=3
         join g c v=3
         at 10
         join g c v=3
         sync g a give=a:A
         join g a
         join g b",
        &expect![[r#"
            join g a v=3
            join g b v=3
            join g c v=3
              c: join GroupMaxSizeReached { limit: 2 }
            at 10
              at 6:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            join g c v=3
              c: join GroupMaxSizeReached { limit: 2 }
            sync g a give=a:A
              log: group g gen 1 [a b"A"] [b b""]
              a: synced b"A"
            join g a
            join g b
              a: joined gen 2 leader a range [a] [b]
              b: joined gen 2 leader a range
        "#]],
    );
}

#[test]
fn members_without_an_assignment_get_an_empty_one() {
    check_with(
        no_delay(),
        "join g a v=3
         join g b v=3
         at 0
         sync g b
         sync g a give=a:A,stranger:X
         sync g b",
        &expect![[r#"
            join g a v=3
            join g b v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a] [b]
              b: joined gen 1 leader a range
            sync g b
            sync g a give=a:A,stranger:X
              log: group g gen 1 [a b"A"] [b b""]
              a: synced b"A"
              b: synced b""
            sync g b
              b: synced b""
        "#]],
    );
}

#[test]
fn ten_thousand_groups_that_send_heartbeats_have_one_deadline_each() {
    let mut groups = Groups::new(GroupLimits { offsets_topic_partitions: 1, ..limits() }, 1);
    groups.load(0, &mut Vec::new());
    let member = |i: i32| (format!("g{i}"), format!("m{i}"));
    for (group, member) in (0..10_000).map(member) {
        replay_member(&mut groups, &group, &member);
    }
    groups.loaded(0, at_ms(0), &mut Vec::new());
    for second in 1..9 {
        for (group, member) in (0..10_000).map(member) {
            let (group, member) = (&*group, &*member);
            let sender = Sender { group, member, instance: None, generation: 1 };
            assert_eq!(groups.heartbeat(&sender, at_ms(second * 1000)), Ok(()));
        }
    }
    // One per member, and the look for expired offsets.
    assert_eq!(groups.shared.timers.len(), 10_001);
    let mut out: Vec<Effect<()>> = Vec::new();
    groups.on_time(at_ms(17_999), &mut out);
    assert_eq!((out.len(), groups.shared.timers.len()), (0, 10_001));
    groups.on_time(at_ms(18_000), &mut out);
    assert_eq!(out.len(), 10_000, "each group has an empty generation");
}
