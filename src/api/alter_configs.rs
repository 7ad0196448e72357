//! AlterConfigs (key 33): settings take the place of all that is set on a resource.

use kafka_wire::alter_configs_request::AlterConfigsResource;
use kafka_wire::alter_configs_response::AlterConfigsResourceResponse;

use crate::api::change::{Result, error_of};
use crate::api::{Outcome, resources};
use crate::controller::AlterationKind;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{self as kafka_wire, AlterConfigsRequest, AlterConfigsResponse};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: AlterConfigsRequest) -> Outcome {
    let item = |r: AlterConfigsResource| {
        let settings = r.configs.into_iter();
        let settings = settings.map(|c| (c.name.to_string(), c.value.map(|v| v.to_string())));
        ((r.resource_type, r.resource_name), Ok(AlterationKind::Replace(settings.collect())))
    };
    let items = request.resources.into_iter().map(item).collect();
    resources::alter(shard, call, items, request.validate_only, |results| {
        msg!(AlterConfigsResponse { responses: results.iter().map(row).collect() })
    })
}

fn row((resource, result): &(resources::Named, Result<()>)) -> AlterConfigsResourceResponse {
    let (error_code, error_message) = error_of(result);
    let (resource_type, resource_name) = resource.clone();
    msg!(AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name })
}
