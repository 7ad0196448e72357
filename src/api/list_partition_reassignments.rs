//! ListPartitionReassignments (key 46): partitions whose replicas are being moved. None ever is,
//! see `alter_partition_reassignments`; of topics that do not exist Kafka says nothing either.

use crate::api::Outcome;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

/// Serves the request.
pub fn handle(_: &mut Shard, call: &Call, _: ListPartitionReassignmentsRequest) -> Outcome {
    Outcome::answer(call, &msg!(ListPartitionReassignmentsResponse { error_message: None }))
}
