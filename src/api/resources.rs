//! Kafka's numbers for the resources that settings are set on, and changes of them.

use crate::api::Outcome;
use crate::api::change::{Refused, Result, decide, settle};
use crate::config::Level;
use crate::controller::{Alteration, AlterationKind};
use crate::image::Resource;
use crate::shard::{Call, Shard};
use crate::wire::codes::Coded;
use crate::wire::{ErrorCode, StrBytes};

/// A topic.
pub(super) const TOPIC: i8 = 2;
/// A broker; without a name, all brokers.
pub(super) const BROKER: i8 = 4;
/// The log levels of a broker.
pub(super) const BROKER_LOGGER: i8 = 8;
/// A client-metrics subscription.
pub(super) const CLIENT_METRICS: i8 = 16;
/// A group.
pub(super) const GROUP: i8 = 32;

/// A resource as a request has it.
pub(super) type Named = (i8, StrBytes);

/// The resource of a number and a name.
pub(super) fn resource(kind: i8, name: &str) -> Result<Resource> {
    let level = match kind {
        TOPIC => Level::Topic,
        BROKER if name.is_empty() => Level::Cluster,
        BROKER => Level::Node,
        CLIENT_METRICS => Level::ClientMetrics,
        GROUP => Level::Group,
        BROKER_LOGGER => {
            let message = "Log levels cannot be changed while the server runs.";
            return Err(Refused::new(ErrorCode::INVALID_CONFIG, message));
        }
        other => {
            let message = format!("Unknown resource type {other}");
            return Err(Refused::new(ErrorCode::INVALID_REQUEST, &message));
        }
    };
    // `+1` and `01` are the same broker as `1`.
    let id = name.parse::<i32>().ok().filter(|_| level == Level::Node);
    let name = id.map_or_else(|| name.into(), |id| id.to_string().into());
    Ok(Resource { level, name })
}

/// Changes settings: those that the request gets wrong are refused, the rest is the controller's.
pub(super) fn alter<M: Coded>(
    shard: &mut Shard,
    call: &Call,
    items: Vec<(Named, Result<AlterationKind>)>,
    validate_only: bool,
    respond: impl Fn(&[(Named, Result<()>)]) -> M,
) -> Outcome {
    let (mut alterations, mut results) = (Vec::new(), Vec::new());
    for ((kind, name), changes) in items {
        let read = resource(kind, &name).and_then(|resource| Ok((resource, changes?)));
        results.push((
            (kind, name),
            read.map(|(resource, kind)| {
                alterations.push(Alteration { resource, kind });
            }),
        ));
    }
    let (records, decided) = decide(shard, |c| c.alter_configs(&alterations, validate_only));
    let passed = results.iter_mut().filter(|(_, r)| r.is_ok());
    for ((_, result), decided) in passed.zip(decided) {
        *result = decided.map_err(Refused::from);
    }
    settle(shard, call, &records, results, respond)
}
