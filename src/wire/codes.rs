//! The error codes in a response, for whoever counts them.
//!
//! Every response says where its codes are (the table below), so that no handler has to count. The two of
//! the hot path, Produce and Fetch, count theirs while they are written.

#[allow(clippy::wildcard_imports, reason = "the table names most of them")]
use crate::wire::messages::*;

/// Error codes of one answer, and how often each is in it. Without errors, which is nearly always, it is
/// a word that goes along with the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::box_collection, reason = "answers are moved often, errors are rare")]
pub struct Codes(Option<Box<Vec<(i16, u32)>>>);

impl Codes {
    /// Counts a code, unless it is `NONE`.
    #[inline]
    pub fn add(&mut self, code: i16) {
        if code != 0 {
            self.add_error(code);
        }
    }

    #[cold]
    fn add_error(&mut self, code: i16) {
        let all = self.0.get_or_insert_default();
        match all.iter_mut().find(|(known, _)| *known == code) {
            Some((_, n)) => *n += 1,
            None => all.push((code, 1)),
        }
    }

    /// Each code, and how often it is there.
    pub fn all(&self) -> &[(i16, u32)] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// A response that tells its error codes.
pub trait Coded: KafkaMessage {
    /// Counts all of them.
    fn count(&self, codes: &mut Codes);
}

macro_rules! coded {
    ($($response:ident { $($fields:tt)* })*) => {$(
        impl Coded for $response {
            fn count(&self, codes: &mut Codes) {
                coded!(@ self codes $($fields)*);
            }
        }
    )*};
    (@ $of:ident $codes:ident) => {};
    (@ $of:ident $codes:ident $list:ident { $($fields:tt)* } $($rest:tt)*) => {
        for item in &$of.$list {
            coded!(@ item $codes $($fields)*);
        }
        coded!(@ $of $codes $($rest)*);
    };
    (@ $of:ident $codes:ident $code:ident $($rest:tt)*) => {
        $codes.add($of.$code);
        coded!(@ $of $codes $($rest)*);
    };
}

// Lists, what is in their items in braces, and codes. What tells of a setting that is not shown is none.
coded! {
    ProduceResponse { responses { partition_responses { error_code } } }
    FetchResponse { error_code responses { partitions { error_code } } }
    ListOffsetsResponse { topics { partitions { error_code } } }
    MetadataResponse { topics { error_code partitions { error_code } } error_code }
    OffsetCommitResponse { topics { partitions { error_code } } }
    OffsetFetchResponse { topics { partitions { error_code } } error_code groups { topics { partitions { error_code } } error_code } }
    FindCoordinatorResponse { error_code coordinators { error_code } }
    JoinGroupResponse { error_code }
    HeartbeatResponse { error_code }
    LeaveGroupResponse { error_code members { error_code } }
    SyncGroupResponse { error_code }
    DescribeGroupsResponse { groups { error_code } }
    ListGroupsResponse { error_code }
    SaslHandshakeResponse { error_code }
    ApiVersionsResponse { error_code }
    CreateTopicsResponse { topics { error_code } }
    DeleteTopicsResponse { responses { error_code } }
    DeleteRecordsResponse { topics { partitions { error_code } } }
    InitProducerIdResponse { error_code }
    OffsetForLeaderEpochResponse { topics { partitions { error_code } } }
    DescribeAclsResponse { error_code }
    CreateAclsResponse { results { error_code } }
    DeleteAclsResponse { filter_results { error_code matching_acls { error_code } } }
    DescribeConfigsResponse { results { error_code } }
    AlterConfigsResponse { responses { error_code } }
    AlterReplicaLogDirsResponse { results { partitions { error_code } } }
    DescribeLogDirsResponse { error_code results { error_code } }
    SaslAuthenticateResponse { error_code }
    CreatePartitionsResponse { results { error_code } }
    CreateDelegationTokenResponse { error_code }
    RenewDelegationTokenResponse { error_code }
    ExpireDelegationTokenResponse { error_code }
    DescribeDelegationTokenResponse { error_code }
    DeleteGroupsResponse { results { error_code } }
    ElectLeadersResponse { error_code replica_election_results { partition_result { error_code } } }
    IncrementalAlterConfigsResponse { responses { error_code } }
    AlterPartitionReassignmentsResponse { error_code responses { partitions { error_code } } }
    ListPartitionReassignmentsResponse { error_code }
    OffsetDeleteResponse { error_code topics { partitions { error_code } } }
    DescribeClientQuotasResponse { error_code }
    DescribeUserScramCredentialsResponse { error_code results { error_code } }
    DescribeQuorumResponse { error_code topics { partitions { error_code } } }
    DescribeClusterResponse { error_code }
    DescribeProducersResponse { topics { partitions { error_code } } }
    DescribeTransactionsResponse { transaction_states { error_code } }
    ListTransactionsResponse { error_code }
    ConsumerGroupDescribeResponse { groups { error_code } }
    ListConfigResourcesResponse { error_code }
    DescribeTopicPartitionsResponse { topics { error_code partitions { error_code } } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg;
    use crate::wire::messages::metadata_response::{
        MetadataResponsePartition, MetadataResponseTopic,
    };

    #[test]
    fn codes_are_found_at_every_depth_and_none_is_not_one() {
        let partition = |error_code| msg!(MetadataResponsePartition { error_code });
        let topic = |error_code, codes: &[i16]| {
            let partitions = codes.iter().map(|&code| partition(code)).collect();
            msg!(MetadataResponseTopic { error_code, partitions })
        };
        let topics = vec![topic(0, &[5, 0, 5]), topic(3, &[])];
        let mut codes = Codes::default();
        msg!(MetadataResponse { topics, error_code: 29 }).count(&mut codes);
        assert_eq!(codes.all(), [(5, 2), (3, 1), (29, 1)]);
        let mut codes = Codes::default();
        msg!(MetadataResponse { topics: vec![topic(0, &[0])] }).count(&mut codes);
        assert_eq!(codes.all(), []);
    }
}
