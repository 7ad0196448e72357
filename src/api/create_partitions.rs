//! CreatePartitions (key 37): topics grow, each by itself.

use kafka_wire::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::create_partitions_response::CreatePartitionsTopicResult;

use crate::api::Outcome;
use crate::api::change::{Refused, Result, change, error_of};
use crate::base::NodeId;
use crate::controller::{Controller, ControllerError, MorePartitions};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{
    self as kafka_wire, CreatePartitionsRequest, CreatePartitionsResponse,
};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: CreatePartitionsRequest) -> Outcome {
    let count = |t: &CreatePartitionsTopic| usize::try_from(t.count).unwrap_or(0);
    let size = request.topics.iter().map(count).sum();
    let topics: Vec<_> = request.topics.into_iter().map(more_partitions).collect();
    let validate_only = request.validate_only;
    let decide = move |c: &mut Controller<'_>| {
        let (records, results) = c.create_partitions(topics.clone(), validate_only);
        (records, results.into_iter().map(|(name, r)| (name, r.map_err(refused))).collect())
    };
    change(shard, call, size, decide, |_, results: &[(String, Result<()>)]| {
        msg!(CreatePartitionsResponse { results: results.iter().map(row).collect() })
    })
}

fn more_partitions(topic: CreatePartitionsTopic) -> MorePartitions {
    let nodes = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect();
    MorePartitions {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: topic
            .assignments
            .map(|list| list.into_iter().map(|a| nodes(a.broker_ids)).collect()),
    }
}

/// Kafka says nothing more of a topic that it does not have.
fn refused(e: ControllerError) -> Refused {
    let unknown = e == ControllerError::UnknownTopic;
    let mut refused = Refused::from(e);
    if unknown {
        refused.message = None;
    }
    refused
}

fn row((name, result): &(String, Result<()>)) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = error_of(result);
    msg!(CreatePartitionsTopicResult { name: name.as_str().into(), error_code, error_message })
}
