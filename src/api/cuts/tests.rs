//! Each request is asked whole and in pieces, and the answers compared.

use crate::api::offset_fetch::GROUPS_FROM;
use crate::api::pieces::InPieces;
use crate::api::resources;
use crate::api::table;
use crate::api::testing::{World, encode};
use crate::msg;
use crate::wire::StrBytes;
use crate::wire::codec::Codec;
use crate::wire::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use crate::wire::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use crate::wire::messages::create_acls_request::AclCreation;
use crate::wire::messages::create_topics_request::CreatableTopic;
use crate::wire::messages::delete_acls_request::DeleteAclsFilter;
use crate::wire::messages::delete_topics_request::DeleteTopicState;
use crate::wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use crate::wire::messages::describe_producers_request::TopicRequest;
use crate::wire::messages::elect_leaders_request::TopicPartitions;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::list_offsets_request::ListOffsetsPartition;
use crate::wire::messages::list_offsets_request::ListOffsetsTopic;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::wire::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest,
    ConsumerGroupDescribeRequest, CreateAclsRequest, CreatePartitionsRequest, CreateTopicsRequest,
    CreateTopicsResponse, DeleteAclsRequest, DeleteGroupsRequest, DeleteGroupsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeConfigsRequest, DescribeGroupsRequest,
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeProducersRequest,
    DescribeTransactionsRequest, ElectLeadersRequest, FindCoordinatorRequest,
    FindCoordinatorResponse, IncrementalAlterConfigsRequest, LeaveGroupRequest, ListOffsetsRequest,
    MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, ProduceRequest, ProduceResponse,
};
use crate::wire::record::{BatchBuilder, ProducerStamp};

/// Two nodes with topics of 700 partitions, of which every second is led by the first.
fn world() -> World {
    let mut world = World::new(2, "auto.create.topics.enable=false");
    let leaders: Vec<i32> = (0..700).map(|i| i % 2).collect();
    for topic in ["a", "b"] {
        world.create(topic, &leaders);
    }
    world
}

/// Asks the first node; the request is cut, and answered as it is when it is served whole.
fn check<Q: InPieces>(world: &mut World, version: i16, request: &Q) -> Q::Response
where
    Q::Response: PartialEq + std::fmt::Debug,
{
    world.pieces = 0;
    let cut: Q::Response = world.ask(0, version, request);
    assert!(world.pieces > 1, "v{version}: {} pieces", world.pieces);
    world.whole = true;
    let whole: Q::Response = world.ask(0, version, request);
    world.whole = false;
    assert_eq!(cut, whole, "v{version}");
    cut
}

fn versions<Q: InPieces>() -> impl Iterator<Item = i16> {
    let api = table::find(Q::API_KEY.value()).unwrap();
    api.min..=api.max
}

#[test]
fn list_offsets_in_pieces_answers_as_if_it_were_whole() {
    let mut world = world();
    let topic = |name: &str, indexes: Vec<i32>| {
        let asked = |partition_index| msg!(ListOffsetsPartition { partition_index, timestamp: -1 });
        let partitions = indexes.into_iter().map(asked).collect();
        msg!(ListOffsetsTopic { name: name.into(), partitions })
    };
    let twice = (0..800).chain([5, 5]).chain(600..720).collect();
    let topics = vec![
        topic("a", twice),
        topic("none", vec![]),
        topic("no", (0..513).collect()),
        topic("a", vec![1, 1]),
        topic("b", (-1..1600).collect()),
        topic("b", vec![3]),
    ];
    let request = msg!(ListOffsetsRequest { topics });
    for version in versions::<ListOffsetsRequest>() {
        check(&mut world, version, &request);
    }
}

#[test]
fn metadata_in_pieces_answers_as_if_it_were_whole() {
    let mut world = world();
    let named = |name: String| msg!(MetadataRequestTopic { name: Some(name.into()) });
    let names = (0..3000).map(|i| format!("no-{}", i % 2000));
    let names = names.chain(["b".into(), "a".into(), "a b".into(), "b".into()]);
    let mut topics: Vec<_> = names.map(named).collect();
    for version in versions::<MetadataRequest>() {
        let request = msg!(MetadataRequest { topics: Some(topics.clone()) });
        assert_eq!(check(&mut world, version, &request).topics.len(), 2003);
    }
    let known = world.shards[0].image.topic("a").unwrap().id.into();
    for topic_id in [known, crate::wire::Uuid::from_bytes([9; 16])] {
        topics.push(msg!(MetadataRequestTopic { topic_id, name: None }));
    }
    let request = msg!(MetadataRequest { topics: Some(topics.clone()) });
    assert_eq!(check(&mut world, 12, &request).topics.len(), 2005);
    topics.push(msg!(MetadataRequestTopic { name: None }));
    let request = msg!(MetadataRequest { topics: Some(topics) });
    let refused: MetadataResponse = world.ask(0, 12, &request);
    assert_eq!((refused.topics.len(), refused.brokers.len()), (3007, 0));
    assert!(refused.topics.iter().all(|t| t.error_code == 42));
}

#[test]
fn a_produce_request_in_pieces_goes_to_each_of_its_partitions_in_order() {
    let mut world = world();
    let mut builder = BatchBuilder::default();
    builder.push(0, None, Some(b"x"), &[]);
    let batch = builder.build(Codec::None, ProducerStamp::NONE).unwrap();
    let topic = |name: &str, indexes: Vec<i32>| {
        let data = |index| msg!(PartitionProduceData { index, records: Some(batch.clone()) });
        let partition_data = indexes.into_iter().map(data).collect();
        msg!(TopicProduceData { name: name.into(), partition_data })
    };
    let topics = vec![
        topic("a", (0..1300).collect()),
        topic("no", (0..600).collect()),
        topic("b", vec![]),
        topic("a", vec![0, 1, 2, 2]),
    ];
    let request = msg!(ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: topics });
    world.pieces = 0;
    let answer: ProduceResponse = world.ask(0, 12, &request);
    assert_eq!(world.pieces, 4);
    let topics = &answer.responses;
    let shape: Vec<_> = topics.iter().map(|t| (&*t.name, t.partition_responses.len())).collect();
    assert_eq!(shape, [("a", 1300), ("no", 600), ("b", 0), ("a", 4)]);
    for (row, index) in topics[0].partition_responses.iter().zip(0..) {
        let code = if index >= 700 { 3 } else { [0, 6][index as usize % 2] };
        let offset = if code == 0 { 0 } else { -1 };
        assert_eq!((row.index, row.error_code, row.base_offset), (index, code, offset));
    }
    assert!(topics[1].partition_responses.iter().all(|row| row.error_code == 3));
    let again = &topics[3].partition_responses;
    let again: Vec<_> = again.iter().map(|row| (row.index, row.base_offset)).collect();
    assert_eq!(again, [(0, 1), (1, -1), (2, 1), (2, 2)]);
    assert_eq!(answer.node_endpoints.len(), 1, "where the others are led, once");
    let mut silent = request;
    silent.acks = 0;
    silent.topic_data = vec![topic("b", (0..1400).map(|i| i % 350 * 2).collect())];
    assert_eq!(world.ask_bytes(0, 0, 12, &encode(&silent, 12)), None);
    let log = world.shards[0].partitions.find("b", 698).unwrap();
    assert_eq!(world.shards[0].store.log(log).unwrap().log_end().0, 4);
}

/// The answers of two new clusters, the first of which cuts, and the number of pieces.
fn both<Q: InPieces>(request: &Q, version: i16) -> [(Q::Response, usize); 2] {
    [false, true].map(|whole| {
        let mut world = World::new(2, "auto.create.topics.enable=false");
        world.create("known", &[0, 1]);
        world.whole = whole;
        (world.ask(1, version, request), world.pieces)
    })
}

#[test]
fn topics_are_created_in_pieces_as_if_all_were_at_once() {
    let topic = |name: &str| {
        msg!(CreatableTopic { name: name.into(), num_partitions: 2, replication_factor: 1 })
    };
    let names = (0..100).map(|i| format!("t-{}", i % 90));
    let odd = ["known", "a b", "x.y", "t-0"].map(String::from);
    let late = ["x_y", "z"].map(String::from);
    let names = odd.into_iter().chain(names).chain(late);
    let topics: Vec<_> = names.map(|name| topic(&name)).collect();
    for validate_only in [false, true] {
        let mut request = msg!(CreateTopicsRequest { topics: topics.clone(), validate_only });
        if validate_only {
            // Only what is created is in the way of the next piece.
            request.topics.retain(|t| &*t.name != "x_y");
        }
        for version in versions::<CreateTopicsRequest>() {
            let [(cut, pieces), (whole, _)] = both(&request, version);
            assert_eq!(cut, whole, "v{version}");
            // 10 names twice, 8 of them in a piece; 85 or 84 once, 4 of them in a piece.
            assert_eq!(pieces, 2 + if validate_only { 21 } else { 22 }, "v{version}");
        }
    }
    let mut large = topic("large");
    large.num_partitions = 9_999;
    let topics = vec![large, topic("a"), topic("a"), topic(&"b".repeat(600))];
    let [(cut, pieces), (whole, _)] = both(&msg!(CreateTopicsRequest { topics }), 7);
    let codes = |of: &CreateTopicsResponse| -> Vec<i16> {
        of.topics.iter().map(|t| t.error_code).collect()
    };
    assert_eq!(codes(&whole), [42, 44, 44]);
    assert_eq!((codes(&cut), pieces), (vec![44, 44, 44], 0), "the limit comes first");
}

#[test]
fn topics_are_deleted_in_pieces_as_if_all_were_at_once() {
    let names = |of: std::ops::Range<i32>| of.map(|i| StrBytes::from(format!("t-{i}")));
    let mut world = World::new(2, "");
    let topic = |name| msg!(CreatableTopic { name, num_partitions: 1, replication_factor: 1 });
    let create = msg!(CreateTopicsRequest { topics: names(0..200).map(topic).collect() });
    let created: CreateTopicsResponse = world.ask(1, 7, &create);
    assert!(created.topics.iter().all(|t| t.error_code == 0));
    let topic_names = names(0..120).chain(names(0..3)).chain(names(500..540)).collect();
    let deleted: DeleteTopicsResponse = world.ask(1, 5, &msg!(DeleteTopicsRequest { topic_names }));
    let codes = |of: &DeleteTopicsResponse, code| -> Vec<String> {
        let of = of.responses.iter().filter(|r| r.error_code == code);
        of.map(|r| r.name.as_deref().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(codes(&deleted, 42), ["t-0", "t-1", "t-2"], "named twice");
    assert_eq!((codes(&deleted, 3).len(), codes(&deleted, 0).len()), (40, 117));
    assert_eq!(deleted.responses.len(), 160);
    let id = |i: i32| world.shards[0].image.topic(&format!("t-{i}")).unwrap().id.into();
    let state = |topic_id| msg!(DeleteTopicState { topic_id, name: None });
    let topics = (120..200).chain([150]).map(|i| state(id(i))).collect();
    let deleted: DeleteTopicsResponse = world.ask(1, 6, &msg!(DeleteTopicsRequest { topics }));
    assert_eq!((codes(&deleted, 42).len(), codes(&deleted, 0).len()), (1, 79));
    for shard in &world.shards {
        assert_eq!(shard.image.topic_count(), 4);
        assert!(shard.partitions.topic("t-9").is_err());
    }
    assert!(world.pieces >= 7 + 5 + 3);
}

#[test]
fn offsets_are_committed_and_fetched_in_pieces() {
    use crate::wire::messages::offset_commit_request as commit;
    use crate::wire::messages::offset_fetch_request as fetch;
    let mut world = World::new(1, "offsets.topic.num.partitions=1");
    for topic in ["a", "b"] {
        world.create(topic, &[0; 700]);
    }
    let ask = msg!(FindCoordinatorRequest { key: "g".into() });
    let _: FindCoordinatorResponse = world.ask(0, 0, &ask);
    let row = |i: i32| {
        let committed_offset = i64::from(i) + 1;
        msg!(commit::OffsetCommitRequestPartition { partition_index: i, committed_offset })
    };
    let topic = |name: &str, to: i32| {
        let partitions = (0..to).map(row).collect();
        msg!(commit::OffsetCommitRequestTopic { name: name.into(), partitions })
    };
    let request = msg!(OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic("a", 900), topic("no", 0), topic("b", 600)],
    });
    let answer = check(&mut world, 8, &request);
    let failed = |t: &crate::wire::messages::offset_commit_response::OffsetCommitResponseTopic| {
        t.partitions.iter().filter(|p| p.error_code != 0).count()
    };
    assert_eq!(answer.topics.iter().map(failed).collect::<Vec<_>>(), [200, 0]);
    let id = |name: &str| world.shards[0].image.topic(name).map(|t| t.id.into());
    let ids = ["a", "b", "no"].map(|name| id(name).unwrap_or_default());
    let indexes = |at: usize| -> Vec<i32> { (0..[2000, 0, 3000][at]).collect() };
    for version in versions::<OffsetFetchRequest>() {
        let topics = ["a", "b", "no"].into_iter().enumerate().map(|(at, name)| {
            let (name, partition_indexes) = (name.into(), indexes(at));
            msg!(fetch::OffsetFetchRequestTopic { name, partition_indexes })
        });
        let group = ["a", "b", "no"].into_iter().enumerate().map(|(at, name)| {
            let mut topic = fetch::OffsetFetchRequestTopics::default();
            if version >= 10 {
                topic.topic_id = ids[at];
            } else {
                topic.name = name.into();
            }
            topic.partition_indexes = indexes(at);
            topic
        });
        let group = msg!(fetch::OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: Some(group.collect()),
        });
        let request = if version < GROUPS_FROM {
            msg!(OffsetFetchRequest { group_id: "g".into(), topics: Some(topics.collect()) })
        } else {
            let all = msg!(fetch::OffsetFetchRequestGroup { group_id: "g".into(), topics: None });
            msg!(OffsetFetchRequest { groups: vec![group.clone(), all, group] })
        };
        check(&mut world, version, &request);
    }
    delete_offsets(&mut world);
}

/// Of the group of which offsets of `a` and `b` are kept.
fn delete_offsets(world: &mut World) {
    use crate::wire::messages::offset_delete_request as delete;
    let row = |partition_index| msg!(delete::OffsetDeleteRequestPartition { partition_index });
    let topic = |name: &str| {
        let partitions = (0..1600).map(row).collect();
        msg!(delete::OffsetDeleteRequestTopic { name: name.into(), partitions })
    };
    let topics = vec![topic("a"), topic("no"), topic("b")];
    let request =
        |group: &str| msg!(OffsetDeleteRequest { group_id: group.into(), topics: topics.clone() });
    let deleted = check(world, 0, &request("g"));
    let known = |t: &crate::wire::messages::offset_delete_response::OffsetDeleteResponseTopic| {
        t.partitions.iter().filter(|p| p.error_code == 0).count()
    };
    assert_eq!(deleted.topics.iter().map(known).collect::<Vec<_>>(), [700, 0, 700]);
    let refused = check(world, 0, &request("none"));
    assert_eq!((refused.error_code, refused.topics.len()), (69, 0));
    let names = (0..90).map(|i| format!("no-{}", i % 80).into());
    let groups_names = names.chain(["g".into()]).collect();
    let request = msg!(DeleteGroupsRequest { groups_names });
    world.pieces = 0;
    let deleted: DeleteGroupsResponse = world.ask(0, 2, &request);
    let codes: Vec<i16> = deleted.results.iter().map(|r| r.error_code).collect();
    assert_eq!((codes.len(), codes[0], codes[79], world.pieces), (81, 69, 69, 3));
}

#[test]
fn topics_grow_in_pieces_as_if_all_did_at_once() {
    use crate::wire::messages::create_partitions_request::CreatePartitionsTopic;
    let names = (0..100).map(|i| format!("no-{}", i % 80));
    let names = names.chain(["known".into(), "a b".into()]);
    let topic = |name: String| {
        msg!(CreatePartitionsTopic { name: name.into(), count: 9, assignments: None })
    };
    let request = msg!(CreatePartitionsRequest { topics: names.map(topic).collect() });
    for version in versions::<CreatePartitionsRequest>() {
        let [(cut, pieces), (whole, _)] = both(&request, version);
        assert_eq!((&cut, cut.results.len(), pieces), (&whole, 82, 1 + 8), "v{version}");
        assert_eq!(cut.results.iter().filter(|r| r.error_code == 0).count(), 1);
    }
}

#[test]
fn settings_are_changed_in_pieces_as_if_all_were_at_once() {
    use crate::wire::messages::alter_configs_request as replace;
    use crate::wire::messages::incremental_alter_configs_request as change;
    let names = || {
        let names = (0..90).map(|i| (resources::TOPIC, format!("no-{}", i % 80)));
        let nodes = ["1", "+1", "0"].map(|name| (resources::BROKER, name.to_owned()));
        names.chain(nodes).chain([(resources::TOPIC, "known".to_owned()), (99, "x".to_owned())])
    };
    let (name, value) = ("retention.ms", Some("600000".into()));
    let config = msg!(replace::AlterableConfig { name: name.into(), value: value.clone() });
    let resource = |(resource_type, name): (i8, String)| {
        let (resource_name, configs) = (name.into(), vec![config.clone()]);
        msg!(replace::AlterConfigsResource { resource_type, resource_name, configs })
    };
    let request = msg!(AlterConfigsRequest { resources: names().map(resource).collect() });
    for version in versions::<AlterConfigsRequest>() {
        let [(mut cut, pieces), (mut whole, _)] = both(&request, version);
        for all in [&mut cut, &mut whole] {
            all.responses.sort_by_key(|r| (r.resource_type, r.resource_name.clone()));
        }
        // 73 are named once, 16 of them in a piece; 10 topics and a node are named twice.
        assert_eq!((&cut, cut.responses.len(), pieces), (&whole, 95, 5 + 11), "v{version}");
    }
    let config = msg!(change::AlterableConfig { name: name.into(), value });
    let resource = |(resource_type, name): (i8, String)| {
        let (resource_name, configs) = (name.into(), vec![config.clone()]);
        msg!(change::AlterConfigsResource { resource_type, resource_name, configs })
    };
    let resources = names().map(resource).collect();
    let request = msg!(IncrementalAlterConfigsRequest { resources });
    let [(mut cut, pieces), (mut whole, _)] = both(&request, 1);
    for all in [&mut cut, &mut whole] {
        all.responses.sort_by_key(|r| (r.resource_type, r.resource_name.clone()));
    }
    assert_eq!((&cut, pieces), (&whole, 5 + 11));
}

#[test]
fn lists_of_groups_and_resources_are_answered_in_pieces() {
    use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
    let mut world = world();
    // The first question makes the topic of all groups.
    let ask = msg!(FindCoordinatorRequest { key: "g".into() });
    let _: FindCoordinatorResponse = world.ask(0, 0, &ask);
    let names = || (0..3000).map(|i| StrBytes::from(format!("group-{i}")));
    for version in versions::<DescribeGroupsRequest>() {
        let request = msg!(DescribeGroupsRequest { groups: names().collect() });
        check(&mut world, version, &request);
    }
    let request = msg!(FindCoordinatorRequest { coordinator_keys: names().collect() });
    check(&mut world, 4, &request);
    let resource =
        |name: &str| msg!(DescribeConfigsResource { resource_type: 2, resource_name: name.into() });
    let resources = ["a", "no", "b"].into_iter().cycle().take(100).map(resource).collect();
    check(&mut world, 4, &msg!(DescribeConfigsRequest { resources }));
}

#[test]
fn requests_about_partitions_in_pieces_answer_as_if_they_were_whole() {
    let mut world = world();
    let topics =
        || [("b", 0..900), ("a", -1..300), ("none", 0..0), ("no", 0..600), ("a", 200..400)];
    let indexes = |of: std::ops::Range<i32>| of.collect::<Vec<i32>>();
    let all = topics().map(|(topic, of)| {
        let partitions = indexes(of);
        msg!(DescribableLogDirTopic { topic: topic.into(), partitions })
    });
    let request = msg!(DescribeLogDirsRequest { topics: Some(all.to_vec()) });
    for version in versions::<DescribeLogDirsRequest>() {
        let found = check(&mut world, version, &request);
        let rows: Vec<_> = found.results[0].topics.iter().map(|t| t.partitions.len()).collect();
        assert_eq!(rows, [200, 350], "each once, those that are led here");
    }
    let all: DescribeLogDirsResponse =
        world.ask(0, 5, &msg!(DescribeLogDirsRequest { topics: None }));
    let rows: Vec<_> = all.results[0].topics.iter().map(|t| t.partitions.len()).collect();
    assert_eq!(rows, [350, 350], "a look at all of them takes several turns");
    let all = topics().map(|(topic, of)| {
        let partitions = indexes(of);
        msg!(TopicPartitions { topic: topic.into(), partitions })
    });
    let request =
        msg!(ElectLeadersRequest { topic_partitions: Some(all.to_vec()), timeout_ms: 1000 });
    for version in versions::<ElectLeadersRequest>() {
        check(&mut world, version, &request);
    }
    let all = topics().map(|(name, of)| {
        let partition_indexes = indexes(of);
        msg!(TopicRequest { name: name.into(), partition_indexes })
    });
    let request = msg!(DescribeProducersRequest { topics: all.to_vec() });
    check(&mut world, 0, &request);
    let all = topics().map(|(name, of)| {
        let partition = |partition_index| msg!(ReassignablePartition { partition_index });
        let partitions = of.map(partition).collect();
        msg!(ReassignableTopic { name: name.into(), partitions })
    });
    let request =
        msg!(AlterPartitionReassignmentsRequest { topics: all.to_vec(), timeout_ms: 1000 });
    for version in versions::<AlterPartitionReassignmentsRequest>() {
        check(&mut world, version, &request);
    }
    let dir = |path: &str, of: &[(&str, std::ops::Range<i32>)]| {
        let topics = of.iter().map(|(name, of)| {
            let partitions = indexes(of.clone());
            msg!(AlterReplicaLogDirTopic { name: (*name).into(), partitions })
        });
        msg!(AlterReplicaLogDir { path: path.into(), topics: topics.collect() })
    };
    world.shards[0].dir = "/here".into();
    let dirs = vec![dir("/here", &topics()), dir("/else", &topics()[1..2])];
    let request = msg!(AlterReplicaLogDirsRequest { dirs });
    for version in versions::<AlterReplicaLogDirsRequest>() {
        check(&mut world, version, &request);
    }
}

#[test]
fn lists_in_pieces_answer_as_if_they_were_whole() {
    let mut world = world();
    let names = || (0..2000).map(|i| StrBytes::from(format!("number {i:08}")));
    let request = msg!(ConsumerGroupDescribeRequest { group_ids: names().collect() });
    check(&mut world, 0, &request);
    let request = msg!(DescribeTransactionsRequest { transactional_ids: names().collect() });
    check(&mut world, 0, &request);
    let creation = |name| msg!(AclCreation { resource_name: name, resource_type: 2 });
    let request = msg!(CreateAclsRequest { creations: names().map(creation).collect() });
    check(&mut world, 1, &request);
    let filter = |name| msg!(DeleteAclsFilter { resource_name_filter: Some(name) });
    let request = msg!(DeleteAclsRequest { filters: names().map(filter).collect() });
    check(&mut world, 1, &request);
    let member = |member_id| msg!(MemberIdentity { member_id });
    let members = names().map(member).collect();
    let request = msg!(LeaveGroupRequest { group_id: "g".into(), members });
    for version in 3..=5 {
        check(&mut world, version, &request);
    }
}
