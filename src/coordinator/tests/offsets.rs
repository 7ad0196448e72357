//! Offsets: who may commit, what is shown, what is deleted.

use expect_test::expect;

use super::world::{at_ms, check, check_with, limits};
use crate::base::TopicId;
use crate::config::GroupLimits;
use crate::coordinator::{Commit, CommitOffset, Effect, FetchTopic, Groups, Sender};

fn no_delay() -> GroupLimits {
    GroupLimits { initial_rebalance_delay_ms: 0, ..limits() }
}

#[test]
fn a_group_without_members_keeps_offsets_for_anyone() {
    check(
        "fetch g
         commit g - t/0=5 t/1=-1 u/0=7
         fetch g
         commit g - t/0=6
         fetch g
         commit g nobody gen=3 t/0=9
         list
         describe g",
        &expect![[r#"
            fetch g
              none
            commit g - t/0=5 t/1=-1 u/0=7
              log: offset g t/0=5
              log: offset g t/1=-1
              log: offset g u/0=7
              commit: ok ok ok
            fetch g
              t/0=5 t/1=-1 u/0=7
            commit g - t/0=6
              log: offset g t/0=6
              commit: ok
            fetch g
              t/0=6 t/1=-1 u/0=7
            commit g nobody gen=3 t/0=9
              commit: UnknownMemberId
            list
              g "" Empty
            describe g
              Empty "" ""
        "#]],
    );
}

#[test]
fn an_unknown_group_takes_no_generation_and_says_so_by_version() {
    check(
        "commit g nobody gen=3 v=8 t/0=1
         commit g nobody gen=3 v=9 t/0=1
         list",
        &expect![[r#"
            commit g nobody gen=3 v=8 t/0=1
              commit: IllegalGeneration { asked: 3, current: -1 }
            commit g nobody gen=3 v=9 t/0=1
              commit: GroupIdNotFound
            list
        "#]],
    );
}

#[test]
fn commits_are_those_of_members_in_their_generation() {
    check_with(
        no_delay(),
        "join g a v=3
         commit g a gen=0 t/0=1
         at 0
         commit g a t/0=1
         commit g - t/0=1
         sync g a give=a:A
         commit g a t/0=1
         commit g - t/0=2
         commit g a gen=-1 t/0=2
         commit g a gen=2 t/0=2
         commit g nobody gen=1 t/0=2
         join g b v=3
         commit g a t/0=3
         fetch g",
        &expect![[r#"
            join g a v=3
            commit g a gen=0 t/0=1
              commit: UnknownMemberId
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            commit g a t/0=1
              commit: RebalanceInProgress
            commit g - t/0=1
              commit: UnknownMemberId
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            commit g a t/0=1
              log: offset g t/0=1
              commit: ok
            commit g - t/0=2
              commit: UnknownMemberId
            commit g a gen=-1 t/0=2
              commit: IllegalGeneration { asked: -1, current: 1 }
            commit g a gen=2 t/0=2
              commit: IllegalGeneration { asked: 2, current: 1 }
            commit g nobody gen=1 t/0=2
              commit: UnknownMemberId
            join g b v=3
            commit g a t/0=3
              log: offset g t/0=3
              commit: ok
            fetch g
              t/0=3
        "#]],
    );
}

#[test]
fn a_commit_keeps_the_session_alive() {
    check_with(
        no_delay(),
        "join g a v=3 session=10
         at 0
         sync g a give=a:A
         at 9
         commit g a t/0=1
         at 18
         heartbeat g a
         at 29",
        &expect![[r#"
            join g a v=3 session=10
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            at 9
            commit g a t/0=1
              log: offset g t/0=1
              commit: ok
            at 18
            heartbeat g a
              ok
            at 29
              at 28:
              log: group g gen 2
        "#]],
    );
}

#[test]
fn metadata_that_is_too_long_refuses_its_partition_alone() {
    check(
        "commit g - meta=4096 t/0=1
         commit g - meta=4097 t/0=2
         fetch g",
        &expect![[r#"
            commit g - meta=4096 t/0=1
              log: offset g t/0=1
              commit: ok
            commit g - meta=4097 t/0=2
              commit: OffsetMetadataTooLarge { chars: 4097, limit: 4096 }
            fetch g
              t/0=1
        "#]],
    );
}

#[test]
fn an_offset_is_shown_when_it_is_committed_and_not_before() {
    check(
        "hold
         commit g - t/0=5
         fetch g
         release
         fetch g
         hold
         commit g - t/0=6
         fail TooLarge
         fetch g
         hold
         commit g - t/0=7
         fail NotLeader
         fetch g",
        &expect![[r#"
            hold
            commit g - t/0=5
              log: offset g t/0=5
            fetch g
              none
            release
              commit: ok
            fetch g
              t/0=5
            hold
            commit g - t/0=6
              log: offset g t/0=6
            fail TooLarge
              commit: RecordTooLarge
            fetch g
              t/0=5
            hold
            commit g - t/0=7
              log: offset g t/0=7
            fail NotLeader
              commit: NotCoordinator
            fetch g
              t/0=5
        "#]],
    );
}

#[test]
fn a_commit_that_takes_too_long_is_answered_and_still_counts() {
    check(
        "hold
         commit g - t/0=5
         at 10
         fetch g
         release
         fetch g",
        &expect![[r#"
            hold
            commit g - t/0=5
              log: offset g t/0=5
            at 10
              at 5:
              commit: NotAvailable
            fetch g
              none
            release
            fetch g
              t/0=5
        "#]],
    );
}

#[test]
fn offsets_of_topics_that_are_read_are_not_deleted() {
    check_with(
        no_delay(),
        "uncommit g t/0
         commit g - t/0=1 t/1=1 u/0=1 u/1=1
         join g a v=3 topics=t
         at 0
         sync g a give=a:A
         uncommit g t/0 u/0 u/9 nosuch/0
         fetch g
         leave g a
         uncommit g t/0
         fetch g
         join h a v=3 type=connect new
         at 0
         uncommit h t/0",
        &expect![[r#"
            uncommit g t/0
              uncommit: GroupIdNotFound
            commit g - t/0=1 t/1=1 u/0=1 u/1=1
              log: offset g t/0=1
              log: offset g t/1=1
              log: offset g u/0=1
              log: offset g u/1=1
              commit: ok ok ok ok
            join g a v=3 topics=t
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync g a give=a:A
              log: group g gen 1 [a b"A"]
              a: synced b"A"
            uncommit g t/0 u/0 u/9 nosuch/0
              log: no offset g u/0
              uncommit: SubscribedToTopic ok ok ok
            fetch g
              t/0=1 t/1=1 u/1=1
            leave g a
              log: group g gen 2
              leave: ok
            uncommit g t/0
              log: no offset g t/0
              uncommit: ok
            fetch g
              t/1=1 u/1=1
            join h a v=3 type=connect new
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            uncommit h t/0
              uncommit: NonEmptyGroup
        "#]],
    );
}

#[test]
fn a_group_is_deleted_with_its_offsets_when_it_has_no_members() {
    check_with(
        no_delay(),
        "delete g h
         commit g - t/0=1 t/1=2
         join h a v=3
         at 0
         delete g h g
         list
         fetch g",
        &expect![[r#"
            delete g h
              delete: GroupIdNotFound GroupIdNotFound
            commit g - t/0=1 t/1=2
              log: offset g t/0=1
              log: offset g t/1=2
              commit: ok ok
            join h a v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            delete g h g
              log: no offset g t/0
              log: no offset g t/1
              log: no group g
              delete: ok NonEmptyGroup GroupIdNotFound
            list
              h "consumer" CompletingRebalance
            fetch g
              none
        "#]],
    );
}

#[test]
fn a_group_on_its_way_out_takes_no_requests_and_comes_back_if_the_deletion_fails() {
    check(
        "commit g - t/0=1
         hold
         commit g - t/1=1
         delete g
         commit g - t/0=2
         join g a
         describe g
         fetch g
         fail NotLeader
         fetch g
         hold
         commit g - t/2=1
         delete g
         release
         fetch g
         list",
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
            commit g - t/0=2
              commit: NotAvailable
            join g a
              a: join NotAvailable
            describe g
              GroupIdNotFound
            fetch g
              none
            fail NotLeader
              commit: NotCoordinator
              delete: NotCoordinator
            fetch g
              t/0=1
            hold
            commit g - t/2=1
              log: offset g t/2=1
            delete g
              log: no offset g t/0
              log: no offset g t/2
              log: no group g
            release
              commit: ok
              delete: ok
            fetch g
              none
            list
        "#]],
    );
}

#[test]
fn offsets_of_deleted_topics_go() {
    check(
        "commit g - t/0=1 u/0=1
         commit h - t/0=1
         hold
         commit h - t/1=1
         drop-topic t
         release
         fetch g
         fetch h",
        &expect![[r#"
            commit g - t/0=1 u/0=1
              log: offset g t/0=1
              log: offset g u/0=1
              commit: ok ok
            commit h - t/0=1
              log: offset h t/0=1
              commit: ok
            hold
            commit h - t/1=1
              log: offset h t/1=1
            drop-topic t
              log: no offset h t/1
              log: no offset g t/0
              log: no offset h t/0
            release
              commit: ok
            fetch g
              u/0=1
            fetch h
              none
        "#]],
    );
}

#[test]
fn groups_are_listed_by_state_and_type_whatever_the_case() {
    check_with(
        no_delay(),
        "commit g - t/0=1
         join h a v=3
         at 0
         sync h a give=a:A
         list
         list sTaBle
         list nonsense
         list Empty Stable type=CLASSIC
         list type=consumer",
        &expect![[r#"
            commit g - t/0=1
              log: offset g t/0=1
              commit: ok
            join h a v=3
            at 0
              at 0:
              a: joined gen 1 leader a range [a]
            sync h a give=a:A
              log: group h gen 1 [a b"A"]
              a: synced b"A"
            list
              g "" Empty
              h "consumer" Stable
            list sTaBle
              h "consumer" Stable
            list nonsense
            list Empty Stable type=CLASSIC
              g "" Empty
              h "consumer" Stable
            list type=consumer
        "#]],
    );
}

#[test]
fn an_offset_of_an_older_topic_of_the_same_name_is_not_shown() {
    let mut groups = Groups::new(GroupLimits { offsets_topic_partitions: 1, ..limits() }, 1);
    let mut out: Vec<Effect<()>> = Vec::new();
    groups.load(0, &mut out);
    groups.loaded(0, at_ms(0), &mut out);
    let (topic_id, metadata) = (TopicId([1; 16]), "");
    let (partition, offset, leader_epoch) = (0, 5, -1);
    let offset = CommitOffset { topic: "t", topic_id, partition, offset, leader_epoch, metadata };
    let commit = Commit {
        from: Sender { group: "g", member: "", instance: None, generation: -1 },
        retention_ms: None,
        reports_unknown_group: true,
        offsets: vec![offset],
    };
    groups.commit_offsets(&commit, (), at_ms(0), &mut out);
    let Some(Effect::Append { ticket, .. }) = out.pop() else { panic!("{out:?}") };
    groups.on_append(ticket, Ok(()), at_ms(0), &mut out);
    for (topic_id, shown) in [(TopicId::ZERO, true), (topic_id, true), (TopicId([2; 16]), false)] {
        let asked = FetchTopic { topic: "t", topic_id, partitions: &[0] };
        let found = groups.fetch_offsets("g", Some(&[asked])).unwrap();
        assert_eq!(found[0].1[0].1.is_some(), shown, "{topic_id}");
    }
}
