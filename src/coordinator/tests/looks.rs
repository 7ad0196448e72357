//! Looks at all groups, some in a turn.

use super::expiry::two_days;
use super::world::{at_ms, list, replay_member};
use crate::base::TopicId;
use crate::config::GroupLimits;
use crate::coordinator::*;

const EVEN: TopicId = TopicId([2; 16]);
const ODD: TopicId = TopicId([1; 16]);

/// Its log is being read.
fn one_partition() -> Groups<()> {
    let limits = GroupLimits { offsets_topic_partitions: 1, ..two_days() };
    let mut groups = Groups::new(limits, 1);
    groups.load(0, &mut Vec::new());
    groups
}

/// Groups of clients that assign partitions themselves, each with so many offsets, all old.
fn simple_groups(groups: &mut Groups<()>, names: impl Iterator<Item = String>, offsets: i32) {
    for name in names {
        let offset = |partition| CommitOffset {
            topic: if partition % 2 == 0 { "even" } else { "odd" },
            topic_id: if partition % 2 == 0 { EVEN } else { ODD },
            partition,
            offset: 1,
            leader_epoch: -1,
            metadata: "",
        };
        let commit = Commit {
            from: Sender { group: &name, member: "", instance: None, generation: -1 },
            retention_ms: None,
            reports_unknown_group: true,
            offsets: (0..offsets).map(offset).collect(),
        };
        let mut out = Vec::new();
        groups.commit_offsets(&commit, (), at_ms(0), &mut out);
        report(groups, &mut out, 0);
    }
}

/// Tells that all appends are done; how many they were, and records of them.
fn report(groups: &mut Groups<()>, out: &mut Vec<Effect<()>>, ms: u64) -> (usize, usize) {
    let (mut appends, mut count) = (0, 0);
    while let Some(effect) = out.pop() {
        if let Effect::Append { ticket, records, .. } = effect {
            (appends, count) = (appends + 1, count + records.len());
            groups.on_append(ticket, Ok(()), at_ms(ms), out);
        }
    }
    (appends, count)
}

#[test]
fn a_look_takes_as_many_turns_as_there_is_much_and_waits_for_what_it_wrote() {
    const DAY_MS: u64 = 86_400_000;
    let mut groups = one_partition();
    groups.loaded(0, at_ms(0), &mut Vec::new());
    simple_groups(&mut groups, (0..1000).map(|n| format!("many-{n}")), 1);
    simple_groups(&mut groups, ["large".to_owned()].into_iter(), 3000);
    let (mut turns, mut records, mut ms, mut held) = (0, 0, 0, Vec::new());
    while ms < 4 * DAY_MS {
        ms = groups.next_deadline().0.div_ceil(1_000_000);
        let mut out = Vec::new();
        groups.on_time(at_ms(ms), &mut out);
        if turns == 3 && held.is_empty() {
            held = out;
            continue;
        }
        if !held.is_empty() {
            assert!(out.is_empty(), "it goes on before what it wrote is in the log");
            out = std::mem::take(&mut held);
        }
        let (appends, count) = report(&mut groups, &mut out, ms);
        assert!(appends <= 32 && count <= 150, "{appends} appends with {count} records in a turn");
        turns += usize::from(appends > 0);
        records += count;
    }
    // Each group goes too; the large one when it is looked at again.
    assert_eq!(records, 1000 + 3000 + 1001);
    assert!(turns > 60, "{turns}");
    assert_eq!(groups.tally().expirations, 4000);
    assert!(list(&groups, &[], &[]).unwrap().is_empty());
}

#[test]
fn offsets_of_a_deleted_topic_go_a_few_in_a_turn_and_those_of_a_later_one_of_its_name_stay() {
    let mut groups = one_partition();
    groups.loaded(0, at_ms(0), &mut Vec::new());
    simple_groups(&mut groups, (0..1000).map(|n| format!("many-{n}")), 2);
    simple_groups(&mut groups, ["large".to_owned()].into_iter(), 3000);
    let mut out = Vec::new();
    groups.on_topic_deleted("even", TopicId([3; 16]), at_ms(1), &mut out);
    groups.on_topic_deleted("odd", ODD, at_ms(1), &mut out);
    let (mut records, mut turns, mut ms) = (0, 0, 1);
    while ms < 1000 {
        let (appends, count) = report(&mut groups, &mut out, ms);
        assert!(appends <= 32 && count <= 150, "{appends} appends with {count} records in a turn");
        turns += usize::from(appends > 0);
        records += count;
        ms = groups.next_deadline().0.div_ceil(1_000_000);
        groups.on_time(at_ms(ms), &mut out);
    }
    assert_eq!(records, 1000 + 1500);
    assert!(turns > 40, "{turns}");
    assert_eq!(groups.tally().expirations, 0);
    let left: Vec<_> = groups.fetch_offsets("large", None).unwrap();
    assert!(left.len() == 1 && &*left[0].0 == "even");
}

#[test]
fn sessions_of_groups_that_were_read_start_a_few_in_a_turn_but_of_those_that_were_heard_of() {
    let mut groups = one_partition();
    let member = |n| (format!("group-{n:04}"), format!("member-{n:04}"));
    for (group, member) in (0..1000).map(member) {
        replay_member(&mut groups, &group, &member);
    }
    groups.loaded(0, at_ms(0), &mut Vec::new());
    let begun = groups.shared.timers.len();
    assert!(begun < 110, "{begun} at once");
    let (group, member) = member(999);
    let sender = Sender { group: &group, member: &member, instance: None, generation: 1 };
    assert_eq!(groups.heartbeat(&sender, at_ms(0)), Ok(()));
    let mut out = Vec::new();
    while groups.next_deadline() < at_ms(1000).now {
        let ms = groups.next_deadline().0.div_ceil(1_000_000);
        groups.on_time(at_ms(ms), &mut out);
    }
    assert_eq!((out.len(), groups.shared.timers.len()), (0, 1001), "and the next look");
    groups.on_time(at_ms(10_000), &mut out);
    let ended = report(&mut groups, &mut out, 10_000).0;
    assert_eq!(ended, begun, "with the first ones that one whose heartbeat came");
}
