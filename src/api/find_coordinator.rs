//! FindCoordinator (key 10): which node keeps a group or a transactional id.
//!
//! A group belongs to the leader of one partition of `__consumer_offsets`; the first question makes
//! that topic. Transactions do not exist yet: their ids are spread over the nodes, so that whoever
//! asks is told where InitProducerId will answer.

use kafka_wire::find_coordinator_response::Coordinator;

use crate::api::Outcome;
use crate::api::change::auto_create;
use crate::coordinator::partition_of;
use crate::image::{CONSUMER_OFFSETS, Node};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{self as kafka_wire, FindCoordinatorRequest, FindCoordinatorResponse};
use crate::wire::{ErrorCode, StrBytes};

/// First version that asks for several keys at once.
const BATCH_FROM: i16 = 4;
const GROUP: i8 = 0;
pub(super) const TRANSACTION: i8 = 1;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: FindCoordinatorRequest) -> Outcome {
    let kind = request.key_type;
    if kind == GROUP && shard.image.topic(CONSUMER_OFFSETS).is_none() {
        auto_create(shard, vec![CONSUMER_OFFSETS.to_owned()]);
    }
    if call.version < BATCH_FROM {
        let found = find(shard, kind, &request.key);
        return Outcome::answer(call, &single(&found));
    }
    let keys = request.coordinator_keys.into_iter();
    let coordinators = keys.map(|key| row(find(shard, kind, &key), key)).collect();
    Outcome::answer(call, &msg!(FindCoordinatorResponse { coordinators }))
}

pub(super) fn find<'a>(shard: &'a Shard, kind: i8, key: &str) -> Result<&'a Node, ErrorCode> {
    let image = &shard.image;
    let node = match kind {
        GROUP => image.topic(CONSUMER_OFFSETS).and_then(|topic| {
            let partition = partition_of(key, topic.partitions.len() as i32);
            image.node(image.partition(topic.id, partition)?.leader)
        }),
        TRANSACTION => {
            let place = partition_of(key, image.nodes().len() as i32);
            image.nodes().nth(usize::try_from(place).unwrap_or(0))
        }
        _ => return Err(ErrorCode::INVALID_REQUEST),
    };
    node.ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)
}

fn single(found: &Result<&Node, ErrorCode>) -> FindCoordinatorResponse {
    match found {
        Ok(node) => msg!(FindCoordinatorResponse {
            error_message: Some(ErrorCode::NONE.name().into()),
            node_id: node.id.0,
            host: (&*node.host).into(),
            port: i32::from(node.port),
        }),
        Err(code) => msg!(FindCoordinatorResponse {
            error_code: code.0,
            error_message: Some(code.name().into()),
            node_id: -1,
            port: -1,
        }),
    }
}

fn row(found: Result<&Node, ErrorCode>, key: StrBytes) -> Coordinator {
    let error_message = Some(StrBytes::default());
    match found {
        Ok(node) => msg!(Coordinator {
            key,
            node_id: node.id.0,
            host: (&*node.host).into(),
            port: i32::from(node.port),
            error_message,
        }),
        Err(code) => {
            msg!(Coordinator { key, node_id: -1, port: -1, error_code: code.0, error_message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    #[test]
    fn groups_are_spread_over_the_nodes_once_their_topic_is_there() {
        let mut world = World::new(2, "");
        let mut ask = |keys: &[&str]| -> FindCoordinatorResponse {
            let keys = keys.iter().map(|k| (*k).into()).collect();
            world.ask(1, 4, &msg!(FindCoordinatorRequest { coordinator_keys: keys }))
        };
        let first = ask(&["a"]).coordinators[0].clone();
        assert_eq!(first.error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE.0);
        let nodes = ask(&["a", "b", "c"]).coordinators;
        let nodes: Vec<_> = nodes.iter().map(|c| (c.error_code, c.node_id)).collect();
        assert_eq!(nodes, [(0, 1), (0, 0), (0, 1)]);
        let topic = world.shards[0].image.topic(CONSUMER_OFFSETS).unwrap();
        assert_eq!(topic.partitions.len(), 50);
    }
}
