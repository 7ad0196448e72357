//! Scripts for a member: what it asks, and what its holder is told.

use std::fmt::Write as _;

use bytes::Bytes;
use expect_test::{Expect, expect};

use super::*;
use crate::base::{NodeId, Offset};
use crate::client::assignor::{decode_assignment, encode_assignment, encode_subscription};
use crate::client::testing;
use crate::msg;
use crate::wire::messages::join_group_response::JoinGroupResponseMember;
use crate::wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::wire::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use crate::wire::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitResponse, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};

/// Runs a script, one event a line, for a member of group `g` that wants topic `t` of 3 partitions:
///
/// `poll <ms>` | `found <request> <error code>` | `joined <request> <error code> <leader> <me>` |
/// `synced <request> <error code> <partitions>` | `offsets <request> <partition>=<offset> ...` |
/// `beat <request> <error code>` | `commit <partition>=<offset>` | `committed <request> <error code>` |
/// `rejoin` | `leave` | `left <request>` | `fail <request>`
#[track_caller]
fn check(script: &str, expect: &Expect) {
    let mut cluster = Cluster::new(false, Duration::MAX, Duration::ZERO);
    cluster.apply(&testing::one_broker(&[("t", 3)]));
    let mut member = Member::new(MemberOptions::new("g"), &["t".into()]);
    let mut now = Moment::default();
    let mut trace = String::new();
    for line in script.lines().map(str::trim) {
        let (mut out, mut happened) = (Vec::new(), Vec::new());
        writeln!(trace, "{line}").unwrap();
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["poll", ms] => {
                now = Moment::default().plus_ms(ms.parse().unwrap());
                member.poll(&mut cluster, now, &mut out).unwrap();
            }
            ["rejoin"] => member.rejoin(),
            ["leave"] => drop(member.leave(&mut out)),
            ["commit", offset] => {
                let (partition, offset) = offset.split_once('=').unwrap();
                let name = PartitionName::new("t", partition.parse().unwrap());
                let offset = Offset(offset.parse().unwrap());
                let offsets = BTreeMap::from([(name, Committed { offset, leader_epoch: 0 })]);
                assert!(member.commit(&offsets, &mut out));
            }
            [_, id, ..] => {
                let result =
                    member.on_answer(id.parse().unwrap(), answer(&words), now, &mut happened);
                if let Err(e) = result {
                    writeln!(trace, "    gives up: {e}").unwrap();
                }
            }
            _ => panic!("unknown event: {line}"),
        }
        trace.extend(out.iter().map(sent));
        trace.extend(happened.iter().map(told));
    }
    expect.assert_eq(&trace);
}

fn answer(words: &[&str]) -> Result<Answer, ClientError> {
    let code = || words[2].parse().unwrap();
    Ok(match words[0] {
        "found" => testing::answer::<FindCoordinatorRequest>(
            &msg!(FindCoordinatorResponse { error_code: code(), error_message: None, node_id: 1 }),
            3,
        ),
        "joined" => testing::answer::<JoinGroupRequest>(&joined(code(), words[3], words[4]), 9),
        "synced" => testing::answer::<SyncGroupRequest>(
            &msg!(SyncGroupResponse {
                error_code: code(),
                assignment: encode_assignment(&names(words[3])).unwrap(),
            }),
            5,
        ),
        "offsets" => testing::answer::<OffsetFetchRequest>(&fetched(&words[2..]), 7),
        "beat" => {
            testing::answer::<HeartbeatRequest>(&msg!(HeartbeatResponse { error_code: code() }), 4)
        }
        "committed" => {
            let p = msg!(OffsetCommitResponsePartition { error_code: code() });
            let topic = msg!(OffsetCommitResponseTopic { name: "t".into(), partitions: vec![p] });
            let answer = msg!(OffsetCommitResponse { topics: vec![topic] });
            testing::answer::<OffsetCommitRequest>(&answer, 9)
        }
        "left" => testing::answer::<LeaveGroupRequest>(&LeaveGroupResponse::default(), 5),
        "fail" => {
            return Err(ClientError::Closed { address: "h:9".to_owned(), waiting: 1 });
        }
        other => panic!("unknown answer: {other}"),
    })
}

fn joined(error_code: i16, leader: &str, me: &str) -> JoinGroupResponse {
    let member = |id: &str| {
        msg!(JoinGroupResponseMember {
            member_id: id.into(),
            group_instance_id: None,
            metadata: encode_subscription(&["t".into()]).unwrap(),
        })
    };
    msg!(JoinGroupResponse {
        error_code,
        generation_id: 5,
        leader: leader.into(),
        member_id: me.into(),
        members: if leader == me { vec![member("a"), member("b")] } else { Vec::new() },
    })
}

fn fetched(offsets: &[&str]) -> OffsetFetchResponse {
    let partition = |text: &&str| {
        let (partition, offset) = text.split_once('=').unwrap();
        msg!(OffsetFetchResponsePartition {
            partition_index: partition.parse().unwrap(),
            committed_offset: offset.parse().unwrap(),
        })
    };
    let partitions = offsets.iter().map(partition).collect();
    let topic = msg!(OffsetFetchResponseTopic { name: "t".into(), partitions });
    msg!(OffsetFetchResponse { topics: vec![topic] })
}

fn names(list: &str) -> Vec<PartitionName> {
    let ids = list.split(',').filter(|id| *id != "-");
    ids.map(|id| PartitionName::new("t", id.parse().unwrap())).collect()
}

fn sent(outgoing: &Outgoing) -> String {
    let api = outgoing.call.api();
    let what = match api {
        "JoinGroup" => {
            let request: JoinGroupRequest = testing::request(outgoing);
            format!("as '{}'", request.member_id)
        }
        "SyncGroup" => {
            let request: SyncGroupRequest = testing::request(outgoing);
            let assigned = |a: &Bytes| decode_assignment(a).unwrap();
            let text = |a: &Bytes| {
                assigned(a).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            let dealt = request.assignments.iter();
            let dealt: Vec<_> =
                dealt.map(|a| format!("{} gets {}", a.member_id, text(&a.assignment))).collect();
            format!("in generation {}; {}", request.generation_id, dealt.join(", "))
        }
        "OffsetCommit" => {
            let request: OffsetCommitRequest = testing::request(outgoing);
            format!("in generation {}", request.generation_id_or_member_epoch)
        }
        _ => String::new(),
    };
    let to = if outgoing.to == To::Node(NodeId(1)) { "node 1" } else { "any" };
    format!("    {api} #{} to {to} {what}", outgoing.id).trim_end().to_owned() + "\n"
}

fn told(happened: &Happened) -> String {
    match happened {
        Happened::Assigned(partitions) => {
            let text = |(name, at): &(PartitionName, Option<Committed>)| {
                format!(" {name}@{}", at.map_or("none".to_owned(), |c| c.offset.to_string()))
            };
            format!("    assigned{}\n", partitions.iter().map(text).collect::<String>())
        }
        Happened::Committed(Err(e)) => format!("    not committed: {e}\n"),
        other => format!("    {other:?}\n"),
    }
}

#[test]
fn a_follower_joins_with_the_id_it_was_given_and_takes_its_partitions() {
    check(
        "poll 0
         found 1 15
         poll 99
         poll 100
         found 2 0
         poll 100
         joined 3 79 z a
         poll 100
         joined 4 0 b a
         poll 101
         synced 5 0 0,2
         poll 102
         offsets 6 0=9 2=-1
         poll 3101
         poll 3102",
        &expect![[r"
            poll 0
                FindCoordinator #1 to any
            found 1 15
            poll 99
            poll 100
                FindCoordinator #2 to any
            found 2 0
            poll 100
                JoinGroup #3 to node 1 as ''
            joined 3 79 z a
            poll 100
                JoinGroup #4 to node 1 as 'a'
            joined 4 0 b a
            poll 101
                SyncGroup #5 to node 1 in generation 5;
            synced 5 0 0,2
            poll 102
                OffsetFetch #6 to node 1
            offsets 6 0=9 2=-1
                assigned t-0@9 t-2@none
            poll 3101
                Heartbeat #7 to node 1
            poll 3102
        "]],
    );
}

#[test]
fn a_leader_deals_out_the_partitions_and_a_rebalance_takes_them_away_first() {
    check(
        "poll 0
         found 1 0
         poll 0
         joined 2 0 a a
         poll 0
         synced 3 0 0,1
         poll 0
         offsets 4 0=1 1=1
         poll 3000
         beat 5 27
         commit 0=7
         rejoin
         poll 3001
         committed 6 0
         joined 7 0 a a
         poll 3002
         synced 8 27 -
         poll 3003",
        &expect![[r"
            poll 0
                FindCoordinator #1 to any
            found 1 0
            poll 0
                JoinGroup #2 to node 1 as ''
            joined 2 0 a a
            poll 0
                SyncGroup #3 to node 1 in generation 5; a gets t-0 t-1, b gets t-2
            synced 3 0 0,1
            poll 0
                OffsetFetch #4 to node 1
            offsets 4 0=1 1=1
                assigned t-0@1 t-1@1
            poll 3000
                Heartbeat #5 to node 1
            beat 5 27
                Revoked
            commit 0=7
                OffsetCommit #6 to node 1 in generation 5
            rejoin
            poll 3001
                JoinGroup #7 to node 1 as 'a'
            committed 6 0
                Committed(Ok(()))
            joined 7 0 a a
            poll 3002
                SyncGroup #8 to node 1 in generation 5; a gets t-0 t-1, b gets t-2
            synced 8 27 -
            poll 3003
                JoinGroup #9 to node 1 as 'a'
        "]],
    );
}

#[test]
fn a_member_outlives_its_coordinator_and_is_told_when_it_was_thrown_out() {
    check(
        "poll 0
         found 1 0
         poll 0
         joined 2 0 b a
         poll 0
         synced 3 0 0
         poll 0
         offsets 4 0=1
         poll 3000
         fail 5
         poll 3100
         found 6 0
         poll 6000
         beat 7 25
         rejoin
         poll 6001",
        &expect![[r"
            poll 0
                FindCoordinator #1 to any
            found 1 0
            poll 0
                JoinGroup #2 to node 1 as ''
            joined 2 0 b a
            poll 0
                SyncGroup #3 to node 1 in generation 5;
            synced 3 0 0
            poll 0
                OffsetFetch #4 to node 1
            offsets 4 0=1
                assigned t-0@1
            poll 3000
                Heartbeat #5 to node 1
            fail 5
            poll 3100
                FindCoordinator #6 to any
            found 6 0
            poll 6000
                Heartbeat #7 to node 1
            beat 7 25
                Revoked
            rejoin
            poll 6001
                JoinGroup #8 to node 1 as ''
        "]],
    );
}

#[test]
fn leaving_and_refusals() {
    check(
        "poll 0
         found 1 0
         poll 0
         joined 2 0 b a
         poll 0
         synced 3 0 -
         leave
         left 4
         poll 9000",
        &expect![[r"
            poll 0
                FindCoordinator #1 to any
            found 1 0
            poll 0
                JoinGroup #2 to node 1 as ''
            joined 2 0 b a
            poll 0
                SyncGroup #3 to node 1 in generation 5;
            synced 3 0 -
                assigned
            leave
                LeaveGroup #4 to node 1
            left 4
                Left
            poll 9000
        "]],
    );
    check(
        "poll 0
         found 1 0
         poll 0
         joined 2 30 b a",
        &expect![[r"
            poll 0
                FindCoordinator #1 to any
            found 1 0
            poll 0
                JoinGroup #2 to node 1 as ''
            joined 2 30 b a
                gives up: JoinGroup was refused: GROUP_AUTHORIZATION_FAILED
        "]],
    );
}
