//! IncrementalAlterConfigs (key 44): settings change key by key.

use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire::incremental_alter_configs_response::AlterConfigsResourceResponse;

use crate::api::change::{Refused, Result, error_of};
use crate::api::{Outcome, resources};
use crate::config::{Change, Op};
use crate::controller::AlterationKind;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::{
    self as kafka_wire, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: IncrementalAlterConfigsRequest) -> Outcome {
    let item = |r: AlterConfigsResource| {
        let changes = r.configs.into_iter().map(change).collect::<Result<_>>();
        ((r.resource_type, r.resource_name), changes.map(AlterationKind::Changes))
    };
    let items = request.resources.into_iter().map(item).collect();
    resources::alter(shard, call, items, request.validate_only, |results| {
        msg!(IncrementalAlterConfigsResponse { responses: results.iter().map(row).collect() })
    })
}

fn change(config: AlterableConfig) -> Result<Change> {
    let op = match config.config_operation {
        0 => Op::Set,
        1 => Op::Delete,
        2 => Op::Append,
        3 => Op::Subtract,
        // What Kafka answers to an operation that it does not have.
        _ => return Err(Refused { code: ErrorCode::UNKNOWN_SERVER_ERROR, message: None }),
    };
    Ok(Change { name: config.name.to_string(), op, value: config.value.map(|v| v.to_string()) })
}

fn row((resource, result): &(resources::Named, Result<()>)) -> AlterConfigsResourceResponse {
    let (error_code, error_message) = error_of(result);
    let (resource_type, resource_name) = resource.clone();
    msg!(AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    #[test]
    fn a_setting_is_seen_on_every_node_when_the_answer_comes() {
        let mut world = World::new(2, "");
        let alter = |world: &mut World, kind: i8, name: &str, key: &str, operation: i8| -> i16 {
            let config = msg!(AlterableConfig {
                name: key.into(),
                config_operation: operation,
                value: Some("600000000".into()),
            });
            let resource = msg!(AlterConfigsResource {
                resource_type: kind,
                resource_name: name.into(),
                configs: vec![config],
            });
            let request = msg!(IncrementalAlterConfigsRequest { resources: vec![resource] });
            let response: IncrementalAlterConfigsResponse = world.ask(1, 1, &request);
            response.responses[0].error_code
        };
        assert_eq!(alter(&mut world, resources::BROKER, "", "log.retention.ms", 0), 0);
        for shard in &world.shards {
            let layers = shard.image.layers(shard.node, &shard.config);
            assert_eq!(layers.int("log.retention.ms"), 600_000_000);
        }
        let codes: Vec<_> = [
            (resources::TOPIC, "nope", "retention.ms", 0),
            (resources::TOPIC, "nope", "retention.ms", 9),
            (resources::BROKER_LOGGER, "0", "root", 0),
            (77, "x", "y", 0),
        ]
        .into_iter()
        .map(|(kind, name, key, op)| ErrorCode(alter(&mut world, kind, name, key, op)).name())
        .collect();
        assert_eq!(
            codes,
            [
                "UNKNOWN_TOPIC_OR_PARTITION",
                "UNKNOWN_SERVER_ERROR",
                "INVALID_CONFIG",
                "INVALID_REQUEST"
            ]
        );
    }
}
