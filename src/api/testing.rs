//! A few nodes without sockets, for tests of handlers: requests in, answers out, commits at once.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Bytes, BytesMut};

use crate::api::{self, Outcome, change, table};
use crate::base::{Moment, NodeId, TopicId, WallMs};
use crate::config::ServerConfig;
use crate::image::Node;
use crate::msg;
use crate::runtime::disk::ServantJob;
use crate::runtime::files::Files;
use crate::shard::opening::Ended;
use crate::shard::{Mail, Post, Shard, ShardIndex, Slot, Start};
use crate::storage::{Store, StoreConfig};
use crate::wire::ApiVersion;
use crate::wire::frame::{Answer, SIZE_BYTES};
use crate::wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, KafkaMessage, KafkaRequest,
};

/// The nodes of one process.
pub(super) struct World {
    pub(super) shards: Vec<Shard>,
    /// Pieces that were served.
    pub(super) pieces: usize,
    /// Large requests are served as they are, where a handler does that.
    pub(super) whole: bool,
    /// Answers to requests that had to wait.
    pub(super) late: Vec<Bytes>,
    sequence: u64,
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl World {
    /// `count` nodes of a new cluster, started with this properties file.
    pub(super) fn new(count: u16, file: &str) -> Self {
        let config = ServerConfig::load(file, &[]).unwrap();
        let shard = |i| {
            let config = Arc::new(config.for_node(i));
            Shard::new(ShardIndex(i), config, store(), u64::from(i))
        };
        let shards = (0..count).map(shard).collect();
        let mut world = Self { shards, pieces: 0, whole: false, late: Vec::new(), sequence: 0 };
        let nodes = (0..count).map(|i| Node {
            id: NodeId(i.into()),
            host: "127.0.0.1".into(),
            port: 9092 + i,
            rack: None,
        });
        let (nodes, shards) = (nodes.collect(), usize::from(count));
        world.shards[0].start_controller(Start { cluster_id: "c".into(), nodes, shards });
        world.run();
        world
    }

    /// Creates a topic with a partition for each of these leaders.
    pub(super) fn create(&mut self, name: &str, leaders: &[i32]) -> TopicId {
        use crate::wire::messages::create_topics_request as create;
        let assignment = |(partition_index, &leader): (i32, &i32)| {
            msg!(create::CreatableReplicaAssignment { partition_index, broker_ids: vec![leader] })
        };
        let topic = msg!(create::CreatableTopic {
            name: name.into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: (0..).zip(leaders).map(assignment).collect(),
        });
        let request = msg!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000 });
        let answer: CreateTopicsResponse = self.ask(0, 7, &request);
        assert_eq!(answer.topics[0].error_code, 0);
        answer.topics[0].topic_id.into()
    }

    /// Asks the node `at`, and returns what it answers once everything is settled.
    pub(super) fn ask<Q: KafkaRequest, A: KafkaMessage>(
        &mut self,
        at: u16,
        version: i16,
        request: &Q,
    ) -> A {
        let body = encode(request, version);
        let key = Q::API_KEY.value();
        let answer = self.ask_bytes(at, key, version, &body).expect("an answer");
        let flexible = table::is_flexible(key, version);
        crate::wire::frame::decode(answer.slice(4 + usize::from(flexible)..), version).unwrap()
    }

    /// Asks with any bytes as body; the response without its size, or nothing when the connection
    /// would be closed.
    pub(super) fn ask_bytes(
        &mut self,
        at: u16,
        key: i16,
        version: i16,
        body: &[u8],
    ) -> Option<Bytes> {
        let mut frame = Vec::new();
        frame.extend_from_slice(&key.to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&7_i32.to_be_bytes());
        frame.extend_from_slice(&(-1_i16).to_be_bytes());
        if table::is_flexible(key, version) {
            frame.push(0);
        }
        frame.extend_from_slice(body);
        self.sequence += 1;
        let slot = Slot { shard: ShardIndex(at), connection: 1, sequence: self.sequence };
        let dispatch = if self.whole { api::dispatch_piece } else { api::dispatch };
        let outcome = dispatch(&mut self.shards[usize::from(at)], slot, PEER, &frame);
        let answer = self.end(slot, outcome).filter(|answer| !answer.is_lost);
        answer.map(|answer| whole(&answer))
    }

    /// What becomes of a request that was served.
    fn end(&mut self, slot: Slot, outcome: Outcome) -> Option<Answer> {
        match outcome {
            Outcome::Answer(answer) => {
                let answers = self.run();
                self.late.extend(answers.into_iter().map(|(_, answer)| whole(&answer)));
                Some(answer)
            }
            Outcome::Parked => {
                let mut answers = self.run();
                let at = answers.iter().position(|(s, _)| *s == slot);
                let answer = at.map(|at| answers.swap_remove(at).1);
                self.late.extend(answers.into_iter().map(|(_, answer)| whole(&answer)));
                answer
            }
            Outcome::Opening => self.carry_out(slot),
            Outcome::Silent | Outcome::Large | Outcome::Close(_) => None,
        }
    }

    /// Does the opener's work, and what follows from it.
    fn carry_out(&mut self, slot: Slot) -> Option<Answer> {
        let shard = &mut self.shards[usize::from(slot.shard.0)];
        while !shard.surveys.is_empty() {
            shard.survey_slice();
        }
        let chore = shard.openings.next_job(&mut shard.store)?;
        shard.openings.ended();
        let mut pieces = match chore.run() {
            Ended::Opened(opening) => {
                let outcome = api::produce::go_on(shard, opening);
                return self.end(slot, outcome);
            }
            Ended::Cut(cut) => cut.pieces.ok()?,
            Ended::Joined(joined) => return Some(joined.answer),
            Ended::Found(_) | Ended::Changed(_) => panic!("nobody asked for that"),
            Ended::Dropped => return self.carry_out(slot),
        };
        while let Some(frame) = pieces.next_frame() {
            self.pieces += 1;
            let shard = &mut self.shards[usize::from(slot.shard.0)];
            let outcome = api::dispatch_piece(shard, slot, PEER, &frame);
            let silent = matches!(outcome, Outcome::Silent);
            let answer = self.end(slot, outcome);
            pieces.answer(if silent { Answer::default() } else { answer? });
        }
        Some(pieces.join().answer).filter(|answer| !answer.is_empty())
    }

    /// Commits and delivers mail until nothing is left to do; returns what was answered.
    fn run(&mut self) -> Vec<(Slot, Answer)> {
        let mut answers = Vec::new();
        loop {
            let mut idle = true;
            for shard in &mut self.shards {
                change::create_missing(shard);
                idle &= shard.apply_slice() == 0;
                if let Some(commit) = shard.store.commit(Moment(0)) {
                    let mut events = Vec::new();
                    shard.store.on_commit(commit.run(), Moment(0), &mut events);
                    for event in &events {
                        shard.on_store_event(event);
                    }
                    idle = false;
                }
                idle &= !shard.load() && !look_up(shard) && !decide_long(shard);
                shard.fetches.begin_slice();
                shard.answer_fetches();
                idle &= !shard.fetches.has_slices() && shard.missing.is_empty();
                answers.append(&mut shard.outbox);
            }
            let posts: Vec<Post> =
                self.shards.iter_mut().flat_map(|s| std::mem::take(&mut s.post)).collect();
            idle &= posts.is_empty();
            for post in posts {
                self.deliver(post);
            }
            if idle {
                return answers;
            }
        }
    }

    fn deliver(&mut self, post: Post) {
        let shard = &mut self.shards[usize::from(post.to.0)];
        match post.mail {
            Mail::Request { call, frame } => {
                let slot = call.slot;
                let outcome = api::dispatch_piece(shard, slot, call.peer, &frame);
                if let Outcome::Answer(answer) = outcome {
                    shard.send(slot, answer);
                }
            }
            Mail::Answer { slot, answer } => shard.outbox.push((slot, *answer)),
            Mail::CreateMissing { names } => shard.miss(names),
            Mail::Image { image, delta, number } => shard.take_image(image, delta, number),
            Mail::Applied { by, number } => shard.on_applied(by, number),
            Mail::Stop | Mail::Close { .. } | Mail::Observe { .. } => {}
        }
    }
}

/// Carries out a lookup by time, if one is asked for.
fn look_up(shard: &mut Shard) -> bool {
    let Some(lookup) = shard.store.next_lookup() else { return false };
    let mut events = Vec::new();
    shard.store.on_lookup(lookup.run(), &mut events);
    for event in &events {
        shard.on_store_event(event);
    }
    true
}

/// Lets the opener decide on a large change, if there is one.
fn decide_long(shard: &mut Shard) -> bool {
    let Some(change) = shard.openings.next_change() else { return false };
    shard.on_decided(change.run());
    true
}

/// The body of a request.
pub(super) fn encode<Q: KafkaRequest>(request: &Q, version: i16) -> BytesMut {
    let mut body = BytesMut::new();
    request.encode_into(&mut body, ApiVersion::new(version)).unwrap();
    body
}

fn whole(answer: &Answer) -> Bytes {
    let bytes: BytesMut = answer.parts.iter().flat_map(|p| p.iter().copied()).collect();
    bytes.freeze().slice(SIZE_BYTES..)
}

/// A store in a directory of its own; small, and never synced for long.
fn store() -> Store {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join("klamm-api-tests").join(name);
    let config = StoreConfig {
        journal_bytes: 4 << 20,
        journal_chunk_bytes: 1 << 20,
        commit_bytes_max: 256 << 10,
        ..StoreConfig::new(dir)
    };
    Store::open(Arc::new(Files), config, 7, WallMs(0)).unwrap()
}

#[cfg(test)]
pub(super) use tests::samples;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages as m;
    use m::alter_configs_request as alter;
    use m::alter_partition_reassignments_request as moves;
    use m::create_partitions_request as grow;
    use m::create_topics_request as create;
    use m::describe_configs_request as describe;
    use m::describe_topic_partitions_request as pages;
    use m::incremental_alter_configs_request as incremental;

    pub(in crate::api) type Sample = (i16, Box<dyn Fn(ApiVersion) -> Option<BytesMut>>);

    /// A request by version; none where it has fields that the version lacks.
    fn sample<Q: KafkaRequest + 'static>(request: Q) -> Sample {
        let encode = move |version| {
            let mut body = BytesMut::new();
            request.encode_into(&mut body, version).ok().map(|_| body)
        };
        (Q::API_KEY.value(), Box::new(encode))
    }

    /// A request with something in every list, for each API that is about metadata.
    pub(in crate::api) fn samples() -> Vec<Sample> {
        let topic = msg!(m::metadata_request::MetadataRequestTopic { name: Some("a".into()) });
        let assignment = msg!(create::CreatableReplicaAssignment { broker_ids: vec![0] });
        let config = msg!(create::CreatableTopicConfig {
            name: "retention.ms".into(),
            value: Some("5".into()),
        });
        let new_topic = msg!(create::CreatableTopic {
            name: "b".into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            configs: vec![config],
        });
        let brokers = msg!(grow::CreatePartitionsAssignment { broker_ids: vec![1] });
        let more = msg!(grow::CreatePartitionsTopic {
            name: "a".into(),
            count: 2,
            assignments: Some(vec![brokers]),
        });
        let described = msg!(describe::DescribeConfigsResource {
            resource_type: 2,
            resource_name: "a".into(),
            configuration_keys: Some(vec!["retention.ms".into()]),
        });
        let setting = msg!(alter::AlterableConfig {
            name: "cleanup.policy".into(),
            value: Some("compact".into()),
        });
        let replaced = msg!(alter::AlterConfigsResource {
            resource_type: 2,
            resource_name: "a".into(),
            configs: vec![setting],
        });
        let change = msg!(incremental::AlterableConfig {
            name: "cleanup.policy".into(),
            config_operation: 2,
            value: Some("compact".into()),
        });
        let changed = msg!(incremental::AlterConfigsResource {
            resource_type: 2,
            resource_name: "a".into(),
            configs: vec![change],
        });
        let page = msg!(pages::TopicRequest { name: "a".into() });
        let cursor = msg!(pages::Cursor { topic_name: "a".into() });
        let doomed = msg!(m::delete_topics_request::DeleteTopicState { name: Some("c".into()) });
        vec![
            sample(msg!(m::MetadataRequest { topics: Some(vec![topic]) })),
            sample(msg!(m::FindCoordinatorRequest { key: "g".into() })),
            sample(msg!(m::FindCoordinatorRequest { coordinator_keys: vec!["g".into()] })),
            sample(msg!(CreateTopicsRequest { topics: vec![new_topic] })),
            sample(msg!(m::DeleteTopicsRequest { topic_names: vec!["c".into()] })),
            sample(msg!(m::DeleteTopicsRequest { topics: vec![doomed] })),
            sample(msg!(m::InitProducerIdRequest { transactional_id: Some("t".into()) })),
            sample(msg!(m::DescribeConfigsRequest {
                resources: vec![described],
                include_synonyms: true,
            })),
            sample(msg!(m::AlterConfigsRequest { resources: vec![replaced] })),
            sample(msg!(m::CreatePartitionsRequest { topics: vec![more] })),
            sample(msg!(m::IncrementalAlterConfigsRequest { resources: vec![changed] })),
            sample(msg!(m::DescribeClusterRequest {})),
            sample(msg!(m::ListConfigResourcesRequest { resource_types: vec![2] })),
            sample(msg!(m::DescribeTopicPartitionsRequest {
                topics: vec![page],
                cursor: Some(cursor),
            })),
        ]
    }

    /// The same for APIs of what is switched off, where a handler looks into the request.
    fn samples_of_absent_features() -> Vec<Sample> {
        let mut elected = m::elect_leaders_request::TopicPartitions::default();
        (elected.topic, elected.partitions) = ("a".into(), vec![0]);
        let moved = msg!(moves::ReassignablePartition { replicas: Some(vec![0]) });
        let moved = msg!(moves::ReassignableTopic { name: "a".into(), partitions: vec![moved] });
        let mut dir = m::alter_replica_log_dirs_request::AlterReplicaLogDirTopic::default();
        (dir.name, dir.partitions) = ("a".into(), vec![0]);
        let mut dirs = m::alter_replica_log_dirs_request::AlterReplicaLogDir::default();
        (dirs.path, dirs.topics) = ("/d".into(), vec![dir]);
        let quota = msg!(m::describe_client_quotas_request::ComponentData {
            entity_type: "user".into(),
            match_: Some("a".into()),
        });
        let user = msg!(m::describe_user_scram_credentials_request::UserName { name: "a".into() });
        let mut log = m::describe_quorum_request::TopicData::default();
        log.topic_name = "__cluster_metadata".into();
        log.partitions = vec![m::describe_quorum_request::PartitionData::default()];
        vec![
            sample(msg!(m::ElectLeadersRequest { topic_partitions: Some(vec![elected]) })),
            sample(msg!(m::AlterPartitionReassignmentsRequest { topics: vec![moved] })),
            sample(msg!(m::AlterReplicaLogDirsRequest { dirs: vec![dirs] })),
            sample(msg!(m::DescribeClientQuotasRequest { components: vec![quota] })),
            sample(msg!(m::DescribeUserScramCredentialsRequest { users: Some(vec![user]) })),
            sample(msg!(m::DescribeQuorumRequest { topics: vec![log] })),
            sample(msg!(m::DescribeTransactionsRequest { transactional_ids: vec!["a".into()] })),
            sample(msg!(m::ConsumerGroupDescribeRequest { group_ids: vec!["a".into()] })),
            sample(msg!(m::ListTransactionsRequest {
                state_filters: vec!["Dead".into()],
                transactional_id_pattern: Some("a.*".into()),
            })),
            sample(msg!(m::CreateDelegationTokenRequest {
                owner_principal_type: Some("User".into()),
                owner_principal_name: Some("a".into()),
            })),
        ]
    }

    #[test]
    fn a_damaged_request_is_answered_or_closes_the_connection_and_never_more() {
        let mut world = World::new(2, "");
        world.shards[0].miss(vec!["a".to_owned()]);
        change::create_missing(&mut world.shards[0]);
        let (mut answered, mut closed) = (0, 0);
        for (key, encode) in samples().into_iter().chain(samples_of_absent_features()) {
            let api = table::find(key).unwrap();
            for version in api.min..=api.max {
                let Some(body) = encode(ApiVersion::new(version)) else { continue };
                assert!(world.ask_bytes(1, key, version, &body).is_some(), "{key} v{version}");
                for at in 0..body.len() {
                    for value in [0, 1, 0x7f, 0x80, 0xff, body[at] ^ 2] {
                        let mut damaged = body.to_vec();
                        damaged[at] = value;
                        match world.ask_bytes(at as u16 % 2, key, version, &damaged) {
                            Some(_) => answered += 1,
                            None => closed += 1,
                        }
                    }
                    assert!(world.ask_bytes(0, key, version, &body[..at]).is_none());
                }
            }
        }
        assert!(answered > 1000 && closed > 1000, "{answered} answered, {closed} closed");
    }
}
