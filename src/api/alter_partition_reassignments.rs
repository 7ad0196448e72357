//! AlterPartitionReassignments (key 45): partitions move to other nodes, or stop moving; see
//! `controller::reassign` for what becomes of that.

use crate::api::Outcome;
use crate::api::change::{Refused, decide};
use crate::base::NodeId;
use crate::controller::{ControllerError, Reassignment};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::alter_partition_reassignments_request::ReassignablePartition;
use crate::wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse as Row, ReassignableTopicResponse as Topic,
};
use crate::wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};

/// Serves the request. One that names nothing is answered with the defaults of the response.
pub fn handle(
    shard: &mut Shard,
    call: &Call,
    request: AlterPartitionReassignmentsRequest,
) -> Outcome {
    if request.topics.is_empty() {
        return Outcome::answer(call, &AlterPartitionReassignmentsResponse::default());
    }
    let may_resize = request.allow_replication_factor_change;
    let late = request.timeout_ms <= 0;
    let topics = request.topics.into_iter().map(|topic| {
        let row = |partition: ReassignablePartition| {
            let result = if late {
                Err(Refused { code: ErrorCode::REQUEST_TIMED_OUT, message: None })
            } else {
                reassign(shard, &topic.name, &partition, may_resize)
            };
            let refused = result.err();
            msg!(Row {
                partition_index: partition.partition_index,
                error_code: refused.as_ref().map_or(ErrorCode::NONE, |r| r.code).0,
                error_message: refused.and_then(|r| r.message),
            })
        };
        let partitions = topic.partitions.into_iter().map(row).collect();
        msg!(Topic { name: topic.name.clone(), partitions })
    });
    let responses = topics.collect();
    let error_code = if late { ErrorCode::REQUEST_TIMED_OUT } else { ErrorCode::NONE }.0;
    let response = msg!(AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_resize,
        error_code,
        error_message: None,
        responses,
    });
    Outcome::answer(call, &response)
}

fn reassign(
    shard: &mut Shard,
    topic: &str,
    partition: &ReassignablePartition,
    may_resize: bool,
) -> Result<(), Refused> {
    let index = partition.partition_index;
    let replicas: Option<Vec<NodeId>> =
        partition.replicas.as_ref().map(|ids| ids.iter().copied().map(NodeId).collect());
    let wanted = Reassignment { topic, index, replicas: replicas.as_deref(), may_resize };
    decide(shard, |c| c.reassign(&wanted)).map_err(|e| {
        let told = e != ControllerError::NotReassigning;
        let refused = Refused::from(e);
        Refused { message: refused.message.filter(|_| told), ..refused }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;
    use crate::wire::messages::alter_partition_reassignments_request::ReassignableTopic;

    #[test]
    fn a_partition_stays_where_it_is_whichever_node_is_asked() {
        let mut world = World::new(2, "");
        world.create("t", &[0, 1]);
        let mut ask = |timeout_ms, partitions: &[(i32, Option<&[i32]>)]| {
            let partition = |&(partition_index, replicas): &(i32, Option<&[i32]>)| {
                msg!(ReassignablePartition {
                    partition_index,
                    replicas: replicas.map(<[i32]>::to_vec),
                })
            };
            let partitions = partitions.iter().map(partition).collect();
            let topics = vec![msg!(ReassignableTopic { name: "t".into(), partitions })];
            let request = msg!(AlterPartitionReassignmentsRequest { timeout_ms, topics });
            let answer: AlterPartitionReassignmentsResponse = world.ask(1, 0, &request);
            let rows = answer.responses[0].partitions.iter();
            let rows = rows.map(|p| (p.error_code, p.error_message.is_some()));
            (answer.error_code, rows.collect::<Vec<_>>())
        };
        let all: &[(i32, Option<&[i32]>)] =
            &[(0, Some(&[0])), (1, Some(&[0])), (1, None), (2, None)];
        assert_eq!(ask(1, all), (0, vec![(0, false), (39, true), (85, false), (3, true)]));
        assert_eq!(ask(0, &all[..2]), (7, vec![(7, false), (7, false)]));
    }
}
