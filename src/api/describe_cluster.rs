//! DescribeCluster (key 60): the nodes.

use kafka_wire::describe_cluster_response::DescribeClusterBroker;

use crate::api::{Outcome, rights};
use crate::image::Node;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::{self as kafka_wire, DescribeClusterRequest, DescribeClusterResponse};

/// Type of this endpoint, and that of a controller's.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: DescribeClusterRequest) -> Outcome {
    let refused = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER".to_owned(),
        )),
        other => Some((
            ErrorCode::UNSUPPORTED_ENDPOINT_TYPE,
            format!("Unsupported endpoint type {other}"),
        )),
    };
    if let Some((code, message)) = refused {
        let (error_code, error_message) = (code.0, Some(message.into()));
        return Outcome::answer(call, &msg!(DescribeClusterResponse { error_code, error_message }));
    }
    let image = &shard.image;
    let mut response = msg!(DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: image.cluster_id().into(),
        controller_id: image.nodes().next().map_or(-1, |n| n.id.0),
        brokers: image.nodes().map(broker).collect(),
    });
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = rights::CLUSTER;
    }
    Outcome::answer(call, &response)
}

fn broker(node: &Node) -> DescribeClusterBroker {
    msg!(DescribeClusterBroker {
        broker_id: node.id.0,
        host: (&*node.host).into(),
        port: i32::from(node.port),
        rack: node.rack.as_deref().map(Into::into),
    })
}
