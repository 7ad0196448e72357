//! Classic groups and committed offsets.

use bytes::Bytes;
use klamm::msg;
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm::wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use klamm::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm::wire::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};

use super::{broker, name};
use crate::PATIENCE;
use crate::common::{Server, Wire, until};

/// As [`broker`], where the coordinator of `g` is ready.
fn coordinator() -> (Server, Wire) {
    let (server, mut wire) = broker();
    let request = msg!(FindCoordinatorRequest { key: "g".into() });
    until(PATIENCE, "a coordinator", || (wire.ask(&request, 3).error_code == 0).then_some(()));
    until(PATIENCE, "its log is read", || {
        (committed(&mut wire, "g").0 != "COORDINATOR_LOAD_IN_PROGRESS").then_some(())
    });
    (server, wire)
}

fn joining(member: &str) -> JoinGroupRequest {
    let protocol = msg!(JoinGroupRequestProtocol {
        name: "range".into(),
        metadata: Bytes::from_static(b"topics"),
    });
    msg!(JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
    })
}

/// Joins as the only member, and is its leader.
fn join(wire: &mut Wire) -> JoinGroupResponse {
    let required = wire.ask(&joining(""), 4);
    assert_eq!(name(required.error_code), "MEMBER_ID_REQUIRED");
    let joined = wire.ask(&joining(required.member_id.as_str()), 4);
    assert_eq!((joined.error_code, &joined.leader), (0, &joined.member_id));
    joined
}

fn sync(wire: &mut Wire, joined: &JoinGroupResponse) -> Bytes {
    let member_id = joined.member_id.clone();
    let assignment = Bytes::from_static(b"partitions");
    let mine = msg!(SyncGroupRequestAssignment { member_id: member_id.clone(), assignment });
    let request = msg!(SyncGroupRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id,
        assignments: vec![mine],
    });
    let answer = wire.ask(&request, 3);
    assert_eq!(answer.error_code, 0);
    answer.assignment
}

fn heartbeat(wire: &mut Wire, member: &str, generation_id: i32) -> &'static str {
    let request =
        msg!(HeartbeatRequest { group_id: "g".into(), generation_id, member_id: member.into() });
    name(wire.ask(&request, 3).error_code)
}

fn commit(wire: &mut Wire, member: &str, generation: i32, metadata: &str) -> &'static str {
    commit_at(8, wire, (member, generation), metadata)
}

fn commit_at(at: i16, wire: &mut Wire, by: (&str, i32), metadata: &str) -> &'static str {
    let partition = msg!(OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: 7,
        committed_leader_epoch: 3,
        committed_metadata: Some(metadata.into()),
    });
    let topic = msg!(OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] });
    let request = msg!(OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: by.1,
        member_id: by.0.into(),
        topics: vec![topic],
    });
    name(wire.ask(&request, at).topics[0].partitions[0].error_code)
}

/// (error, offset, leader epoch, metadata)
fn committed(wire: &mut Wire, group: &str) -> (&'static str, i64, i32, String) {
    let topic = msg!(OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] });
    let request = msg!(OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]) });
    let answer = wire.ask(&request, 7);
    if answer.error_code != 0 {
        return (name(answer.error_code), -1, -1, String::new());
    }
    let p = &answer.topics[0].partitions[0];
    let metadata = p.metadata.as_ref().map_or("", |m| m.as_str()).to_owned();
    (name(p.error_code), p.committed_offset, p.committed_leader_epoch, metadata)
}

#[test]
fn a_join_without_a_group_or_with_a_bad_session_timeout_is_refused() {
    let (_server, mut wire) = coordinator();
    let mut nameless = joining("");
    nameless.group_id = "".into();
    assert_eq!(name(wire.ask(&nameless, 4).error_code), "INVALID_GROUP_ID");
    for timeout in [5_999, 1_800_001] {
        let mut hasty = joining("");
        hasty.session_timeout_ms = timeout;
        assert_eq!(name(wire.ask(&hasty, 4).error_code), "INVALID_SESSION_TIMEOUT");
    }
}

#[test]
fn a_member_without_an_id_is_given_one_first() {
    let (_server, mut wire) = coordinator();
    let required = wire.ask(&joining(""), 4);
    assert_eq!(name(required.error_code), "MEMBER_ID_REQUIRED");
    assert!(required.member_id.as_str().starts_with("wire-"), "client id, then a UUID");
    let made_up = wire.ask(&joining("made-up"), 4);
    assert_eq!(name(made_up.error_code), "UNKNOWN_MEMBER_ID");
}

#[test]
fn a_member_of_another_protocol_is_refused() {
    let (_server, mut wire) = coordinator();
    join(&mut wire);
    let mut other = joining("");
    other.protocols[0].name = "roundrobin".into();
    let id = wire.ask(&other, 4).member_id;
    other.member_id = id;
    assert_eq!(name(wire.ask(&other, 4).error_code), "INCONSISTENT_GROUP_PROTOCOL");
    let mut connector = joining("");
    connector.protocol_type = "connect".into();
    let answer = wire.ask(&connector, 3);
    assert_eq!(name(answer.error_code), "INCONSISTENT_GROUP_PROTOCOL");
}

#[test]
fn heartbeats_tell_the_state_of_the_group() {
    let (server, mut wire) = coordinator();
    assert_eq!(heartbeat(&mut wire, "nobody", 1), "UNKNOWN_MEMBER_ID");
    let joined = join(&mut wire);
    let (member, generation) = (joined.member_id.as_str(), joined.generation_id);
    assert_eq!(heartbeat(&mut wire, member, generation), "NONE", "while it is to sync");
    assert_eq!(sync(&mut wire, &joined), Bytes::from_static(b"partitions"));
    assert_eq!(sync(&mut wire, &joined), Bytes::from_static(b"partitions"), "stored");
    assert_eq!(heartbeat(&mut wire, member, generation), "NONE");
    assert_eq!(heartbeat(&mut wire, member, generation + 1), "ILLEGAL_GENERATION");
    assert_eq!(heartbeat(&mut wire, "nobody", generation), "UNKNOWN_MEMBER_ID");
    let mut second = Wire::connect(server.address(0));
    let id = second.ask(&joining(""), 4).member_id;
    second.send(&joining(id.as_str()), 4);
    until(PATIENCE, "the first member hears of the second", || {
        (heartbeat(&mut wire, member, generation) == "REBALANCE_IN_PROGRESS").then_some(())
    });
    let again = wire.ask(&joining(member), 4);
    let other = second.answer::<JoinGroupRequest>(4);
    assert_eq!((again.generation_id, other.generation_id), (generation + 1, generation + 1));
    assert_eq!((again.members.len(), other.members.len()), (2, 0), "only the leader sees all");
}

#[test]
fn a_commit_keeps_offset_leader_epoch_and_metadata() {
    let (_server, mut wire) = coordinator();
    assert_eq!(committed(&mut wire, "g"), ("NONE", -1, -1, String::new()), "no group is no error");
    assert_eq!(commit(&mut wire, "", -1, "a note"), "NONE", "a simple group is made");
    assert_eq!(committed(&mut wire, "g"), ("NONE", 7, 3, "a note".to_owned()));
    assert_eq!(commit(&mut wire, "", -1, &"x".repeat(4097)), "OFFSET_METADATA_TOO_LARGE");
    let wide = "\u{e9}".repeat(4096);
    assert_eq!(commit(&mut wire, "", -1, &wide), "NONE", "characters count, not bytes");
    assert_eq!(committed(&mut wire, "g").3, wide);
}

#[test]
fn only_members_of_the_generation_commit_while_a_group_has_members() {
    let (_server, mut wire) = coordinator();
    assert_eq!(commit(&mut wire, "nobody", 1, ""), "ILLEGAL_GENERATION");
    let unknown = commit_at(9, &mut wire, ("nobody", 1), "");
    assert_eq!(unknown, "GROUP_ID_NOT_FOUND");
    let joined = join(&mut wire);
    let (member, generation) = (joined.member_id.as_str(), joined.generation_id);
    assert_eq!(commit(&mut wire, member, generation, ""), "REBALANCE_IN_PROGRESS");
    sync(&mut wire, &joined);
    assert_eq!(commit(&mut wire, member, generation, ""), "NONE");
    assert_eq!(commit(&mut wire, member, generation + 1, ""), "ILLEGAL_GENERATION");
    assert_eq!(commit(&mut wire, "nobody", generation, ""), "UNKNOWN_MEMBER_ID");
    assert_eq!(commit(&mut wire, "", -1, ""), "UNKNOWN_MEMBER_ID");
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_its_old_id_is_fenced() {
    let (_server, mut wire) = coordinator();
    let mut request = joining("");
    request.group_instance_id = Some("instance".into());
    let first = wire.ask(&request, 9);
    assert_eq!((first.error_code, first.skip_assignment), (0, false));
    sync(&mut wire, &first);
    let again = wire.ask(&request, 9);
    assert_eq!((again.error_code, again.generation_id), (0, first.generation_id));
    assert!(again.skip_assignment);
    assert_ne!(again.member_id, first.member_id);
    let old = msg!(HeartbeatRequest {
        group_id: "g".into(),
        generation_id: first.generation_id,
        member_id: first.member_id.clone(),
        group_instance_id: Some("instance".into()),
    });
    assert_eq!(name(wire.ask(&old, 3).error_code), "FENCED_INSTANCE_ID");
}
