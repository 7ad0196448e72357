//! The requests of the scenarios: a name, a version, and fields as `key=value`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::time::Duration;

use bytes::Bytes;
use klamm::msg;
use klamm::wire::batch::{self, BatchHeader};
use klamm::wire::codec::Codec;
use klamm::wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use klamm::wire::messages::describe_configs_request::DescribeConfigsResource;
use klamm::wire::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::leave_group_request::MemberIdentity;
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::metadata_request::MetadataRequestTopic;
use klamm::wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm::wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use klamm::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm::wire::messages::*;
use klamm::wire::record::{BatchBuilder, ProducerStamp};
use klamm::wire::{ApiVersion, ErrorCode, frame};

use crate::common::wire::produce_request;
use crate::common::{Wire, until};

/// Makes a text of an answer.
pub type Answer = Box<dyn FnOnce(Bytes) -> String>;

/// What a consumer subscribes to, in the words of the assignors: version 0, the topic `t`, no more.
/// Kafka reads it, and a group with bytes that are none of it never gets out of its rebalance there.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";

/// Waits until groups are served and producer ids given: the first question for a coordinator makes
/// Kafka create its topic, and the first id takes it a while.
pub fn wait_for_coordinators(port: u16) {
    let mut wire = Wire::connect(("127.0.0.1", port));
    until(Duration::from_mins(1), "a coordinator", || {
        let find = msg!(FindCoordinatorRequest { coordinator_keys: vec!["first".into()] });
        let found = wire.ask(&find, 4).coordinators[0].error_code;
        let beat = msg!(HeartbeatRequest { group_id: "first".into(), member_id: "nobody".into() });
        let answered = wire.ask(&beat, 4).error_code;
        let init = msg!(InitProducerIdRequest { transactional_id: None });
        let is_given = wire.ask(&init, 4).error_code == 0;
        (found == 0 && is_given && answered == ErrorCode::UNKNOWN_MEMBER_ID.0).then_some(())
    });
}

/// Waits until the groups that a scenario names are loaded, as a client does with its own.
pub fn wait_for_groups(port: u16, text: &str) {
    let names: BTreeSet<_> =
        text.split_whitespace().filter_map(|word| word.strip_prefix("group=")).collect();
    let groups: Vec<_> = names.into_iter().map(Into::into).collect();
    let mut wire = Wire::connect(("127.0.0.1", port));
    until(Duration::from_mins(1), "the groups", || {
        let described = wire.ask(&msg!(DescribeGroupsRequest { groups: groups.clone() }), 5);
        let loading = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0;
        described.groups.iter().all(|group| group.error_code != loading).then_some(())
    });
}

/// The fields of a request.
struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn text(&self, key: &str) -> &'a str {
        self.0.get(key).copied().unwrap_or("")
    }

    fn some(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).copied()
    }

    fn number<N: std::str::FromStr>(&self, key: &str, default: N) -> N
    where
        N::Err: Debug,
    {
        self.0.get(key).map_or(default, |text| text.parse().expect(text))
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text(key).split(',').filter(|word| !word.is_empty())
    }

    /// A name that is given, or as long as it is said to be.
    fn name(&self, key: &str) -> String {
        let long = self.number(&format!("{key}-chars"), 0);
        if long > 0 { "n".repeat(long) } else { self.text(key).to_owned() }
    }
}

/// Sends the request of a line; `None` when nothing will be answered.
pub fn send(wire: &mut Wire, line: &str) -> Option<Answer> {
    let mut words = line.split_whitespace();
    let (verb, version) = (words.next().unwrap(), words.next().unwrap());
    let version: i16 = version.strip_prefix('v').unwrap().parse().unwrap();
    let f = &Fields(words.map(|word| word.split_once('=').expect(word)).collect());
    let plain = match verb {
        "create" => ask(wire, version, &create(f)),
        "delete" => {
            let topic_names = f.list("topics").map(Into::into).collect();
            ask(wire, version, &msg!(DeleteTopicsRequest { topic_names, timeout_ms: 10_000 }))
        }
        "metadata" => {
            let topic = |name: &str| msg!(MetadataRequestTopic { name: Some(name.into()) });
            let topics = Some(f.list("topics").map(topic).collect());
            ask(wire, version, &msg!(MetadataRequest { topics, allow_auto_topic_creation: false }))
        }
        "partitions" => ask(wire, version, &partitions(f)),
        "produce" => {
            let request = produce(f);
            let answer = ask(wire, version, &request);
            return (request.acks != 0).then_some(answer);
        }
        "fetch" => ask_with(wire, version, &fetch(f), show_fetch),
        "list-offsets" => ask(wire, version, &list_offsets(f)),
        "delete-records" => ask(wire, version, &delete_records(f)),
        "coordinator" => {
            let coordinator_keys = vec![f.text("group").into()];
            ask(wire, version, &msg!(FindCoordinatorRequest { coordinator_keys }))
        }
        "init" => ask(wire, version, &msg!(InitProducerIdRequest { transactional_id: None })),
        "configs" => ask_with(wire, version, &configs(f), show_configs),
        _ => return Some(group(wire, verb, version, f)),
    };
    Some(plain)
}

/// The requests of groups.
fn group(wire: &mut Wire, verb: &str, version: i16, f: &Fields<'_>) -> Answer {
    let group_id = f.name("group").into();
    let member_id = f.text("member").into();
    let group_instance_id = f.some("instance").map(Into::into);
    let generation_id = f.number("generation", 1);
    match verb {
        "join" => {
            let protocol = |name: &str| {
                let metadata = Bytes::from_static(SUBSCRIPTION);
                msg!(JoinGroupRequestProtocol { name: name.into(), metadata })
            };
            let request = msg!(JoinGroupRequest {
                group_id,
                session_timeout_ms: f.number("session", 10_000),
                rebalance_timeout_ms: f.number("rebalance", 10_000),
                member_id,
                group_instance_id,
                protocol_type: "consumer".into(),
                protocols: f.list("protocols").map(protocol).collect(),
            });
            ask_with(wire, version, &request, show_join)
        }
        "sync" => {
            let assignment = |pair: &str| {
                let (member, bytes) = pair.split_once(':').unwrap();
                let assignment = Bytes::copy_from_slice(bytes.as_bytes());
                msg!(SyncGroupRequestAssignment { member_id: member.into(), assignment })
            };
            let assignments = f.list("assign").map(assignment).collect();
            let (protocol_type, protocol_name) = (Some("consumer".into()), Some("range".into()));
            ask(
                wire,
                version,
                &msg!(SyncGroupRequest {
                    group_id,
                    generation_id,
                    member_id,
                    group_instance_id,
                    protocol_type,
                    protocol_name,
                    assignments,
                }),
            )
        }
        "heartbeat" => {
            let request =
                msg!(HeartbeatRequest { group_id, generation_id, member_id, group_instance_id });
            ask(wire, version, &request)
        }
        "leave" => {
            let member = |id: &str| msg!(MemberIdentity { member_id: id.into() });
            let members = f.list("members").map(member).collect();
            ask(wire, version, &msg!(LeaveGroupRequest { group_id, members }))
        }
        "commit" => ask(wire, version, &commit(f)),
        "committed" => {
            let topics = Some(vec![msg!(OffsetFetchRequestTopics {
                name: f.text("topic").into(),
                partition_indexes: vec![f.number("partition", 0)],
            })]);
            let groups = vec![msg!(OffsetFetchRequestGroup { group_id, topics })];
            ask(wire, version, &msg!(OffsetFetchRequest { groups }))
        }
        "describe" => ask(wire, version, &msg!(DescribeGroupsRequest { groups: vec![group_id] })),
        _ => panic!("there is no request {verb}"),
    }
}

fn commit(f: &Fields<'_>) -> OffsetCommitRequest {
    let partition = msg!(OffsetCommitRequestPartition {
        partition_index: f.number("partition", 0),
        committed_offset: f.number("offset", 0),
        committed_metadata: Some("m".repeat(f.number("metadata-chars", 0)).as_str().into()),
    });
    let topic = msg!(OffsetCommitRequestTopic {
        name: f.text("topic").into(),
        partitions: vec![partition],
    });
    msg!(OffsetCommitRequest {
        group_id: f.name("group").as_str().into(),
        generation_id_or_member_epoch: f.number("generation", 1),
        member_id: f.text("member").into(),
        group_instance_id: f.some("instance").map(Into::into),
        topics: vec![topic],
    })
}

fn create(f: &Fields<'_>) -> CreateTopicsRequest {
    let config = |(key, value): (&&str, &&str)| {
        let name = key.strip_prefix("config.")?;
        Some(msg!(CreatableTopicConfig { name: name.into(), value: Some((*value).into()) }))
    };
    let topic = msg!(CreatableTopic {
        name: f.name("topic").as_str().into(),
        num_partitions: f.number("partitions", 1),
        replication_factor: 1,
        configs: f.0.iter().filter_map(config).collect(),
    });
    msg!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000 })
}

/// The partitions of topics, from the one named `from=TOPIC:PARTITION` on.
fn partitions(f: &Fields<'_>) -> DescribeTopicPartitionsRequest {
    let cursor = f.some("from").and_then(|from| from.split_once(':')).map(|(topic, partition)| {
        msg!(Cursor { topic_name: topic.into(), partition_index: partition.parse().unwrap() })
    });
    let topics = f.list("topics").map(|name| msg!(TopicRequest { name: name.into() })).collect();
    let response_partition_limit = f.number("limit", 2000);
    msg!(DescribeTopicPartitionsRequest { topics, response_partition_limit, cursor })
}

/// A batch of `count` records, or one that is `bytes` long as a whole. They are of now; the last of
/// them was created `ago` milliseconds before.
fn produce(f: &Fields<'_>) -> ProduceRequest {
    let producer = ProducerStamp {
        id: f.number("producer", -1),
        epoch: f.number("epoch", -1),
        sequence: f.number("sequence", -1),
        transactional: false,
    };
    // Old records would be those of a producer that is long gone.
    let now = klamm::client::blocking::Clock::wall().0;
    let batch = |value_bytes: usize| {
        let mut builder = BatchBuilder::default();
        let count = f.number("count", 1);
        for at in 1..=count {
            let created = if at == count { now - f.number("ago", 0) } else { now };
            builder.push(created, None, Some(&vec![b'v'; value_bytes]), &[]);
        }
        builder.build(Codec::None, producer).unwrap()
    };
    let records = match f.number("bytes", 0) {
        0 => batch(5),
        bytes => {
            let less = batch(bytes - 100).len() - (bytes - 100);
            let batch = batch(bytes - less);
            assert_eq!(batch.len(), bytes);
            batch
        }
    };
    produce_request(f.text("topic"), f.number("partition", 0), f.number("acks", -1), records)
}

fn fetch(f: &Fields<'_>) -> FetchRequest {
    let partition = |partition: &str| {
        msg!(FetchPartition {
            partition: partition.parse().unwrap(),
            fetch_offset: f.number("offset", 0),
            partition_max_bytes: f.number("partition-max", 1 << 20),
            current_leader_epoch: f.number("leader-epoch", -1),
        })
    };
    let partitions = f.some("partition").unwrap_or("0").split(',').map(partition).collect();
    let topic = msg!(FetchTopic { topic: f.text("topic").into(), partitions });
    msg!(FetchRequest {
        max_wait_ms: f.number("wait", 0),
        min_bytes: f.number("min", 1),
        max_bytes: f.number("max", 50 << 20),
        topics: vec![topic],
    })
}

fn list_offsets(f: &Fields<'_>) -> ListOffsetsRequest {
    let partition = msg!(ListOffsetsPartition {
        partition_index: f.number("partition", 0),
        timestamp: f.number("at", -1),
    });
    let topic =
        msg!(ListOffsetsTopic { name: f.text("topic").into(), partitions: vec![partition] });
    msg!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] })
}

fn delete_records(f: &Fields<'_>) -> DeleteRecordsRequest {
    let (partition_index, offset) = (f.number("partition", 0), f.number("offset", -1));
    let partitions = vec![msg!(DeleteRecordsPartition { partition_index, offset })];
    let topic = msg!(DeleteRecordsTopic { name: f.text("topic").into(), partitions });
    msg!(DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000 })
}

fn configs(f: &Fields<'_>) -> DescribeConfigsRequest {
    let resource = msg!(DescribeConfigsResource {
        resource_type: f.number("type", 2),
        resource_name: f.text("name").into(),
        configuration_keys: None,
    });
    msg!(DescribeConfigsRequest { resources: vec![resource], include_synonyms: true })
}

fn ask<R>(wire: &mut Wire, version: i16, request: &R) -> Answer
where
    R: RequestResponsePair + 'static,
    R::Response: Debug,
{
    ask_with(wire, version, request, |answer| format!("{answer:?}"))
}

fn ask_with<R: RequestResponsePair + 'static>(
    wire: &mut Wire,
    version: i16,
    request: &R,
    show: fn(R::Response) -> String,
) -> Answer {
    wire.send(request, version);
    Box::new(move |frame: Bytes| {
        let tags = response_header_version_for::<R>(ApiVersion::new(version)).unwrap() > 0;
        show(frame::decode(frame.slice(4 + usize::from(tags)..), version).unwrap())
    })
}

/// Kafka has no order among members; here the leader comes first.
fn show_join(mut answer: JoinGroupResponse) -> String {
    let leader = answer.leader.clone();
    answer.members.sort_by_key(|m| m.member_id != leader);
    format!("{answer:?}")
}

/// Batches go by their headers and checksums, and by their partition where there are several.
fn show_fetch(mut answer: FetchResponse) -> String {
    let mut stored = String::new();
    let is_one = answer.responses.iter().map(|t| t.partitions.len()).sum::<usize>() < 2;
    for partition in answer.responses.iter_mut().flat_map(|t| &mut t.partitions) {
        let index = partition.partition_index;
        let of = if is_one { String::new() } else { format!("partition {index} ") };
        for (header, batch) in batch::iter(&partition.records.take().unwrap_or_default()) {
            let BatchHeader { base_offset, count, size_bytes, leader_epoch, producer_id, .. } =
                header;
            let crc = if header.check_crc(batch).is_ok() { "sound" } else { "damaged" };
            let _ = write!(
                stored,
                "\n  {of}base {base_offset} count {count} bytes {size_bytes} leader_epoch {leader_epoch} \
                 producer_id: {producer_id} {crc}"
            );
        }
    }
    format!("{answer:?}{stored}")
}

/// A config a line.
fn show_configs(answer: DescribeConfigsResponse) -> String {
    let mut text = String::new();
    for result in answer.results {
        let _ = write!(text, "{} {:?}", result.error_code, result.error_message.as_deref());
        let mut configs = result.configs;
        configs.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        for c in configs {
            let value = c.value.as_deref().unwrap_or("null");
            let _ = write!(
                text,
                "\n  {}={value} type {} source {} read_only {} sensitive {}",
                c.name.as_str(),
                c.config_type,
                c.config_source,
                c.read_only,
                c.is_sensitive
            );
            for s in c.synonyms {
                let value = s.value.as_deref().unwrap_or("null");
                let _ = write!(text, " | {} {}={value}", s.source, s.name.as_str());
            }
        }
    }
    text
}
