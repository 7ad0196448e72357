//! The range assignor, and the payloads in which the members of a classic group speak of topics.
//!
//! Range: each topic by itself is cut into as many runs as there are members that want it; the first
//! members get one more where it does not come out even. Members are taken in the order of their
//! instance id or, without one, of their member id, so all leaders come to the same result.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_wire_core::DecodeLimits;

use crate::client::cluster::PartitionName;
use crate::client::error::ClientError;
use crate::msg;
use crate::wire::ApiVersion;
use crate::wire::messages::consumer_protocol_assignment::TopicPartition;
use crate::wire::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, decode_consumer_protocol_assignment,
    decode_consumer_protocol_subscription, encode_consumer_protocol_assignment,
    encode_consumer_protocol_subscription,
};

/// Name of the protocol.
pub const RANGE: &str = "range";
/// Version of both payloads: the first is enough for an assignor that takes everything away first.
const VERSION: ApiVersion = ApiVersion::new(0);

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Member id.
    pub member_id: String,
    /// `group.instance.id`, when it is a static member.
    pub instance_id: Option<String>,
    /// Topics it wants.
    pub topics: Vec<Arc<str>>,
}

/// Deals out the partitions: for each member id, its own. `partitions` says how many a topic has;
/// a topic that does not exist has none.
pub fn assign_range(
    mut members: Vec<Candidate>,
    partitions: impl Fn(&str) -> usize,
) -> BTreeMap<String, Vec<PartitionName>> {
    members.sort_by(|a, b| {
        let key =
            |m: &Candidate| (m.instance_id.is_none(), m.instance_id.clone(), m.member_id.clone());
        key(a).cmp(&key(b))
    });
    let mut dealt: BTreeMap<_, Vec<_>> =
        members.iter().map(|m| (m.member_id.clone(), Vec::new())).collect();
    let mut wanted_by = BTreeMap::<&Arc<str>, Vec<&str>>::new();
    for member in &members {
        for topic in &member.topics {
            wanted_by.entry(topic).or_default().push(&member.member_id);
        }
    }
    for (topic, wanting) in wanted_by {
        let count = partitions(topic);
        let (each, more) = (count / wanting.len(), count % wanting.len());
        let mut next = 0;
        for (i, member) in wanting.into_iter().enumerate() {
            let run = each + usize::from(i < more);
            if let Some(own) = dealt.get_mut(member) {
                let named = |p| PartitionName { topic: Arc::clone(topic), partition: p as i32 };
                own.extend((next..next + run).map(named));
            }
            next += run;
        }
    }
    dealt
}

/// What a member wants, for JoinGroup.
///
/// # Errors
/// [`ClientError::Request`] when the names do not fit.
pub fn encode_subscription(topics: &[Arc<str>]) -> Result<Bytes, ClientError> {
    let topics = topics.iter().map(|t| (&**t).into()).collect();
    let subscription = msg!(ConsumerProtocolSubscription { topics });
    let mut out = BytesMut::new();
    encode_consumer_protocol_subscription(&mut out, &subscription, VERSION)
        .map_err(|e| ClientError::Request { api: "JoinGroup", what: format!("{e}") })?;
    Ok(out.freeze())
}

/// Topics that another member wants.
///
/// # Errors
/// [`ClientError::Answer`] when the payload is malformed.
pub fn decode_subscription(payload: &Bytes) -> Result<Vec<Arc<str>>, ClientError> {
    let (_, read) = decode_consumer_protocol_subscription(payload.clone(), DecodeLimits::default())
        .map_err(|e| ClientError::Answer { api: "JoinGroup", what: format!("{e}") })?;
    Ok(read.topics.iter().map(|t| Arc::from(t.as_str())).collect())
}

/// What a member gets, for SyncGroup; `partitions` is sorted.
///
/// # Errors
/// [`ClientError::Request`] when it does not fit.
pub fn encode_assignment(partitions: &[PartitionName]) -> Result<Bytes, ClientError> {
    let mut assigned_partitions = Vec::<TopicPartition>::new();
    for name in partitions {
        match assigned_partitions.last_mut().filter(|t| *t.topic == *name.topic) {
            Some(topic) => topic.partitions.push(name.partition),
            None => assigned_partitions.push(msg!(TopicPartition {
                topic: (&*name.topic).into(),
                partitions: vec![name.partition],
            })),
        }
    }
    let assignment = msg!(ConsumerProtocolAssignment { assigned_partitions });
    let mut out = BytesMut::new();
    encode_consumer_protocol_assignment(&mut out, &assignment, VERSION)
        .map_err(|e| ClientError::Request { api: "SyncGroup", what: format!("{e}") })?;
    Ok(out.freeze())
}

/// The partitions that a member got. An empty payload is none.
///
/// # Errors
/// [`ClientError::Answer`] when the payload is malformed.
pub fn decode_assignment(payload: &Bytes) -> Result<Vec<PartitionName>, ClientError> {
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    let (_, read) = decode_consumer_protocol_assignment(payload.clone(), DecodeLimits::default())
        .map_err(|e| ClientError::Answer { api: "SyncGroup", what: format!("{e}") })?;
    let mut partitions: Vec<_> = read
        .assigned_partitions
        .iter()
        .flat_map(|t| t.partitions.iter().map(|&p| PartitionName::new(&t.topic, p)))
        .collect();
    partitions.sort_unstable();
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;

    /// `members` is one `id[/instance]: topics` a line; topic t has 3 partitions, u 2, none other any.
    #[track_caller]
    fn check(members: &str, expect: &Expect) {
        let member = |line: &str| {
            let (id, topics) = line.split_once(": ").unwrap();
            let (id, instance) = id.split_once('/').map_or((id, None), |(a, b)| (a, Some(b)));
            Candidate {
                member_id: id.to_owned(),
                instance_id: instance.map(str::to_owned),
                topics: topics.split(' ').map(Arc::from).collect(),
            }
        };
        let members = members.lines().map(str::trim).map(member).collect();
        let count = |topic: &str| match topic {
            "t" => 3,
            "u" => 2,
            _ => 0,
        };
        let mut text = String::new();
        for (id, partitions) in assign_range(members, count) {
            let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
            writeln!(text, "{id}: {}", names.join(" ")).unwrap();
        }
        expect.assert_eq(&text);
    }

    #[test]
    fn each_topic_is_cut_into_runs_and_the_first_members_get_more() {
        check(
            "b: t u
             a: t u none",
            &expect![[r"
                a: t-0 t-1 u-0
                b: t-2 u-1
            "]],
        );
    }

    #[test]
    fn more_members_than_partitions_leaves_some_without() {
        check(
            "a: u
             b: u
             c: u",
            &expect![[r"
                a: u-0
                b: u-1
                c: 
            "]],
        );
    }

    #[test]
    fn static_members_come_first_in_the_order_of_their_instance() {
        check(
            "a: t
             z/1: t",
            &expect![[r"
                a: t-2
                z: t-0 t-1
            "]],
        );
    }

    #[test]
    fn payloads_read_back() {
        let topics = [Arc::from("t"), Arc::from("u")];
        let payload = encode_subscription(&topics).unwrap();
        assert_eq!(decode_subscription(&payload).unwrap(), topics);
        let partitions = ["t", "t", "u"].iter().zip([0, 2, 1]);
        let partitions: Vec<_> = partitions.map(|(t, p)| PartitionName::new(t, p)).collect();
        let payload = encode_assignment(&partitions).unwrap();
        assert_eq!(decode_assignment(&payload).unwrap(), partitions);
        assert_eq!(decode_assignment(&Bytes::new()).unwrap(), []);
        assert!(decode_assignment(&Bytes::from_static(&[0, 0, 9])).is_err());
    }
}
