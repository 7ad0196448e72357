//! The APIs that this broker has, with Kafka 4.3's versions: what ApiVersions advertises and what
//! [`dispatch`](super::dispatch) serves come from this one table.

use crate::api::{Outcome, decode, pieces};
use crate::shard::pieces::How;
use crate::shard::{Call, Shard};

/// Key of Produce.
pub const PRODUCE: i16 = 0;
/// Key of ApiVersions.
pub const API_VERSIONS: i16 = 18;
const FETCH: i16 = 1;
const JOIN_GROUP: i16 = 11;
const SYNC_GROUP: i16 = 14;
const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;

/// A request that names very many things: hundreds of thousands of partitions.
const LISTS_BYTES_MAX: usize = 8 << 20;
/// Any other.
const PLAIN_BYTES_MAX: usize = 64 << 10;

/// Where a request is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Where it arrives.
    Here,
    /// On the shard that holds the controller.
    Controller,
}

/// One row.
pub struct Api {
    /// Numeric key.
    pub key: i16,
    /// Name of its request.
    pub request: &'static str,
    /// Oldest version served.
    pub min: i16,
    /// Oldest version advertised: `min`, but for Produce, where librdkafka before 2.12 switches
    /// compression off unless it sees 0.
    pub advertised_min: i16,
    /// Newest version.
    pub max: i16,
    /// First version with flexible encoding; above `max` when none has it.
    pub flexible_from: i16,
    /// Where it is served.
    pub on: On,
    /// Serves the body.
    pub handler: fn(&mut Shard, &Call, &[u8]) -> Outcome,
    /// How a request that names very many things is cut.
    pub pieces: Option<How>,
}

impl Api {
    /// Most bytes that the body of a request may have: decoded, it takes several times as many. The
    /// others carry what clients have to tell each other, and are not taken apart.
    pub fn body_bytes_max(&self) -> usize {
        match self.key {
            PRODUCE | FETCH | JOIN_GROUP | SYNC_GROUP => usize::MAX,
            DESCRIBE_TOPIC_PARTITIONS => LISTS_BYTES_MAX,
            _ if self.pieces.is_some() => LISTS_BYTES_MAX,
            _ => PLAIN_BYTES_MAX,
        }
    }
}

macro_rules! apis {
    ($($key:literal $module:ident($request:ident $(, as $bytes:ident)? $(, in $pieces:ident)?) $min:literal..=$max:literal flexible $flexible:tt $on:ident),* $(,)?) => {
        /// All rows, by key.
        pub const APIS: &[Api] = &[$(Api {
            key: $key,
            request: stringify!($request),
            min: $min,
            advertised_min: if $key == PRODUCE { 0 } else { $min },
            max: $max,
            flexible_from: apis!(@flexible $flexible),
            on: On::$on,
            handler: apis!(@handler $module $request $($bytes)?),
            pieces: apis!(@pieces $request $($pieces)?),
        }),*];

        /// The body of a request that holds nothing but defaults, and whether it is flexible.
        #[cfg(test)]
        pub(super) fn defaults(key: i16, version: i16) -> (bytes::BytesMut, bool) {
            match key {
                $($key => tests::encode::<crate::wire::messages::$request>(version),)*
                _ => panic!("no row has the key {key}"),
            }
        }
    };
    (@flexible never) => { i16::MAX };
    (@flexible $from:literal) => { $from };
    (@pieces $request:ident) => { None };
    (@pieces $request:ident pieces) => {
        Some(pieces::how::<crate::wire::messages::$request>())
    };
    (@handler $module:ident $request:ident bytes) => { crate::api::$module::handle };
    (@handler $module:ident $request:ident) => {
        |shard, call, body| match decode::<crate::wire::messages::$request>(call, body) {
            Ok(request) => crate::api::$module::handle(shard, call, request),
            Err(e) => Outcome::Close(e),
        }
    };
}

// Key, module, its request, whether the handler reads that itself and whether it can be cut, versions, first flexible version, where it is served.
apis! {
    0 produce(ProduceRequest, as bytes, in pieces) 3..=13 flexible 9 Here,
    1 fetch(FetchRequest, as bytes) 4..=18 flexible 12 Here,
    2 list_offsets(ListOffsetsRequest, in pieces) 1..=11 flexible 6 Here,
    3 metadata(MetadataRequest, in pieces) 0..=13 flexible 9 Here,
    8 offset_commit(OffsetCommitRequest, in pieces) 2..=10 flexible 8 Here,
    9 offset_fetch(OffsetFetchRequest, in pieces) 1..=10 flexible 6 Here,
    10 find_coordinator(FindCoordinatorRequest, in pieces) 0..=6 flexible 3 Here,
    11 join_group(JoinGroupRequest) 0..=9 flexible 6 Here,
    12 heartbeat(HeartbeatRequest) 0..=4 flexible 4 Here,
    13 leave_group(LeaveGroupRequest, in pieces) 0..=5 flexible 4 Here,
    14 sync_group(SyncGroupRequest) 0..=5 flexible 4 Here,
    15 describe_groups(DescribeGroupsRequest, in pieces) 0..=6 flexible 5 Here,
    16 list_groups(ListGroupsRequest) 0..=5 flexible 3 Here,
    17 sasl_handshake(SaslHandshakeRequest) 0..=1 flexible never Here,
    18 api_versions(ApiVersionsRequest) 0..=4 flexible 3 Here,
    19 create_topics(CreateTopicsRequest, in pieces) 2..=7 flexible 5 Controller,
    20 delete_topics(DeleteTopicsRequest, in pieces) 1..=6 flexible 4 Controller,
    21 delete_records(DeleteRecordsRequest, in pieces) 0..=2 flexible 2 Here,
    22 init_producer_id(InitProducerIdRequest) 0..=5 flexible 2 Controller,
    23 offset_for_leader_epoch(OffsetForLeaderEpochRequest, in pieces) 2..=4 flexible 4 Here,
    29 describe_acls(DescribeAclsRequest) 1..=3 flexible 2 Here,
    30 create_acls(CreateAclsRequest, in pieces) 1..=3 flexible 2 Here,
    31 delete_acls(DeleteAclsRequest, in pieces) 1..=3 flexible 2 Here,
    32 describe_configs(DescribeConfigsRequest, in pieces) 1..=4 flexible 4 Here,
    33 alter_configs(AlterConfigsRequest, in pieces) 0..=2 flexible 2 Controller,
    34 alter_replica_log_dirs(AlterReplicaLogDirsRequest, in pieces) 1..=2 flexible 2 Here,
    35 describe_log_dirs(DescribeLogDirsRequest, in pieces) 1..=5 flexible 2 Here,
    36 sasl_authenticate(SaslAuthenticateRequest) 0..=2 flexible 2 Here,
    37 create_partitions(CreatePartitionsRequest, in pieces) 0..=3 flexible 2 Controller,
    38 create_delegation_token(CreateDelegationTokenRequest) 1..=3 flexible 2 Here,
    39 renew_delegation_token(RenewDelegationTokenRequest) 1..=2 flexible 2 Here,
    40 expire_delegation_token(ExpireDelegationTokenRequest) 1..=2 flexible 2 Here,
    41 describe_delegation_token(DescribeDelegationTokenRequest) 1..=3 flexible 2 Here,
    42 delete_groups(DeleteGroupsRequest, in pieces) 0..=2 flexible 2 Here,
    43 elect_leaders(ElectLeadersRequest, in pieces) 0..=2 flexible 2 Here,
    44 incremental_alter_configs(IncrementalAlterConfigsRequest, in pieces) 0..=1 flexible 1 Controller,
    45 alter_partition_reassignments(AlterPartitionReassignmentsRequest, in pieces) 0..=1 flexible 0 Controller,
    46 list_partition_reassignments(ListPartitionReassignmentsRequest, in pieces) 0..=0 flexible 0 Here,
    47 offset_delete(OffsetDeleteRequest, in pieces) 0..=0 flexible never Here,
    48 describe_client_quotas(DescribeClientQuotasRequest) 0..=1 flexible 1 Here,
    50 describe_user_scram_credentials(DescribeUserScramCredentialsRequest) 0..=0 flexible 0 Here,
    55 describe_quorum(DescribeQuorumRequest) 0..=2 flexible 0 Controller,
    60 describe_cluster(DescribeClusterRequest) 0..=2 flexible 0 Here,
    61 describe_producers(DescribeProducersRequest, in pieces) 0..=0 flexible 0 Here,
    65 describe_transactions(DescribeTransactionsRequest, in pieces) 0..=0 flexible 0 Here,
    66 list_transactions(ListTransactionsRequest) 0..=2 flexible 0 Here,
    69 consumer_group_describe(ConsumerGroupDescribeRequest, in pieces) 0..=1 flexible 0 Here,
    74 list_config_resources(ListConfigResourcesRequest) 0..=1 flexible 0 Here,
    75 describe_topic_partitions(DescribeTopicPartitionsRequest, as bytes) 0..=0 flexible 0 Here,
}

impl Api {
    /// Kafka's name of the API.
    pub fn name(&self) -> &'static str {
        self.request.trim_end_matches("Request")
    }
}

/// The row of a key.
pub fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

/// Whether the request header of this version has tags. A version that is not served is taken for
/// a flexible one, as Kafka takes an unknown version of ApiVersions.
pub fn is_flexible(key: i16, version: i16) -> bool {
    find(key).is_none_or(|api| version >= api.flexible_from)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::api::testing::World;
    use crate::wire::ApiVersion;
    use crate::wire::messages::KafkaRequest;

    pub(super) fn encode<Q: KafkaRequest + Default>(version: i16) -> (BytesMut, bool) {
        let (mut body, version) = (BytesMut::new(), ApiVersion::new(version));
        Q::default().encode_into(&mut body, version).unwrap();
        (body, Q::is_flexible(version))
    }

    #[test]
    fn each_version_of_each_api_answers_a_request_of_defaults() {
        let mut world = World::new(2, "");
        for api in APIS {
            for version in api.min..=api.max {
                let (body, flexible) = defaults(api.key, version);
                assert_eq!(is_flexible(api.key, version), flexible, "{} v{version}", api.key);
                let answer = world.ask_bytes(1, api.key, version, &body);
                // With acks=0, the default, a producer wants no answer.
                assert_eq!(answer.is_some(), api.key != PRODUCE, "{} v{version}", api.key);
            }
        }
    }
}
