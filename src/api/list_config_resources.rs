//! ListConfigResources (key 74): which resources there are to describe.

use std::sync::Arc;

use kafka_wire::list_config_resources_response::ConfigResource;

use crate::api::Outcome;
use crate::api::pieces::answer_long;
use crate::api::resources::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::config::Level;
use crate::image::Image;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{
    self as kafka_wire, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use crate::wire::{ErrorCode, StrBytes};

/// First version that lists anything but client-metrics subscriptions.
const TYPES_FROM: i16 = 1;
const TYPES: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: ListConfigResourcesRequest) -> Outcome {
    let mut types = request.resource_types;
    if call.version < TYPES_FROM {
        types = vec![CLIENT_METRICS];
    } else if types.is_empty() {
        types = TYPES.to_vec();
    }
    if types.iter().any(|t| !TYPES.contains(t)) {
        let error_code = ErrorCode::UNSUPPORTED_VERSION.0;
        return Outcome::answer(call, &msg!(ListConfigResourcesResponse { error_code }));
    }
    types.sort_unstable();
    types.dedup();
    let image = Arc::clone(&shard.image);
    answer_long(shard, call, image.topic_count(), move |call| {
        let resources = types.iter().flat_map(|&resource_type| {
            let row = move |resource_name| msg!(ConfigResource { resource_name, resource_type });
            names(&image, resource_type).into_iter().map(row)
        });
        let config_resources = resources.collect();
        call.answer(&msg!(ListConfigResourcesResponse { config_resources }))
    })
}

fn names(image: &Image, resource_type: i8) -> Vec<StrBytes> {
    let configured = |level| {
        let of_level = image.configured().filter(move |r| r.level == level);
        of_level.map(|r| (&*r.name).into()).collect()
    };
    match resource_type {
        TOPIC => image.topics().map(|t| (&*t.name).into()).collect(),
        CLIENT_METRICS => configured(Level::ClientMetrics),
        GROUP => configured(Level::Group),
        _ => image.nodes().map(|n| n.id.to_string().into()).collect(),
    }
}
