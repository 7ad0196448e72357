//! DescribeConfigs (key 32): every setting of a resource with where it comes from.

use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};

use crate::api::Outcome;
use crate::api::change::{Refused, Result};
use crate::api::resources::{self, BROKER_LOGGER};
use crate::base::NodeId;
use crate::config::describe::{self, Entry};
use crate::config::{Level, Overrides};
use crate::controller::check_topic_name;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{self as kafka_wire, DescribeConfigsRequest, DescribeConfigsResponse};
use crate::wire::{ErrorCode, StrBytes};

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: DescribeConfigsRequest) -> Outcome {
    let style =
        Style { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let describe = |resource: DescribeConfigsResource| {
        let entries = entries(shard, &resource);
        style.row(resource, entries)
    };
    let results = request.resources.into_iter().map(describe).collect();
    Outcome::answer(call, &msg!(DescribeConfigsResponse { results }))
}

fn entries(shard: &Shard, asked: &DescribeConfigsResource) -> Result<Vec<Entry>> {
    let name = asked.resource_name.as_str();
    if asked.resource_type == BROKER_LOGGER {
        check_own(shard, name, "Broker id")?;
        return Ok(Vec::new());
    }
    let resource = resources::resource(asked.resource_type, name)?;
    let layers = shard.image.layers(shard.node, &shard.config);
    let none = Overrides::new();
    let set = shard.image.config(&resource).map_or(&none, |set| set);
    match resource.level {
        Level::Topic => {
            check_topic_name(name)?;
            if shard.image.topic(name).is_none() {
                let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                return Err(Refused::new(code, ""));
            }
            Ok(describe::topic(set, &layers))
        }
        Level::Node => {
            check_own(shard, name, "Node id")?;
            Ok(describe::node(&layers))
        }
        Level::Cluster => Ok(describe::cluster(set)),
        Level::Group | Level::ClientMetrics if name.is_empty() => {
            let what = if resource.level == Level::Group { "Group" } else { "Subscription" };
            let message = format!("{what} name must not be empty");
            Err(Refused::new(ErrorCode::INVALID_REQUEST, &message))
        }
        Level::Group => Ok(describe::group(set, &layers)),
        Level::ClientMetrics => Ok(describe::client_metrics(set, &layers)),
    }
}

/// A broker describes itself alone.
fn check_own(shard: &Shard, name: &str, what: &str) -> Result<()> {
    let message = match name.parse().map(NodeId) {
        Ok(id) if id == shard.node => return Ok(()),
        Ok(id) => format!(
            "Unexpected broker id, expected {} or empty string, but received {id}",
            shard.node
        ),
        Err(_) => format!("{what} must be an integer, but it is: {name}"),
    };
    Err(Refused::new(ErrorCode::INVALID_REQUEST, &message))
}

/// What a client wants to know of each setting.
struct Style {
    synonyms: bool,
    documentation: bool,
}

impl Style {
    fn row(
        &self,
        asked: DescribeConfigsResource,
        entries: Result<Vec<Entry>>,
    ) -> DescribeConfigsResult {
        let keys = asked.configuration_keys.filter(|keys| !keys.is_empty());
        let wanted =
            |e: &Entry| keys.as_ref().is_none_or(|keys| keys.iter().any(|k| k.as_str() == e.name));
        let (error_code, error_message, entries) = match entries {
            Ok(entries) => (ErrorCode::NONE, Some(StrBytes::default()), entries),
            Err(refused) => (refused.code, refused.message, Vec::new()),
        };
        msg!(DescribeConfigsResult {
            error_code: error_code.0,
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
            configs: entries.into_iter().filter(wanted).map(|e| self.config(e)).collect(),
        })
    }

    fn config(&self, entry: Entry) -> DescribeConfigsResourceResult {
        let synonyms = if self.synonyms { entry.synonyms } else { Vec::new() };
        let synonym = |s: describe::Synonym| {
            let (name, value) = (s.name.into(), s.value.map(Into::into));
            msg!(DescribeConfigsSynonym { name, value, source: s.source as i8 })
        };
        msg!(DescribeConfigsResourceResult {
            name: entry.name.into(),
            value: entry.value.map(Into::into),
            read_only: entry.read_only,
            config_source: entry.source as i8,
            is_sensitive: entry.sensitive,
            synonyms: synonyms.into_iter().map(synonym).collect(),
            config_type: entry.kind.map_or(0, |kind| kind as i8),
            documentation: entry.doc.filter(|_| self.documentation).map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    fn ask(world: &mut World, at: u16, kind: i8, name: &str) -> (i16, usize) {
        let resource =
            msg!(DescribeConfigsResource { resource_type: kind, resource_name: name.into() });
        let request = msg!(DescribeConfigsRequest { resources: vec![resource] });
        let response: DescribeConfigsResponse = world.ask(at, 4, &request);
        (response.results[0].error_code, response.results[0].configs.len())
    }

    #[test]
    fn a_broker_describes_itself_and_refuses_to_speak_for_others() {
        let mut world = World::new(2, "node.id=5");
        let invalid = (ErrorCode::INVALID_REQUEST.0, 0);
        assert_eq!(ask(&mut world, 1, resources::BROKER, "5"), invalid);
        assert_eq!(ask(&mut world, 1, resources::BROKER, "x"), invalid);
        let (code, count) = ask(&mut world, 1, resources::BROKER, "6");
        assert!(code == 0 && count > 328, "{code} {count}");
        assert_eq!(ask(&mut world, 1, resources::BROKER, ""), (0, 1));
        assert_eq!(ask(&mut world, 1, resources::GROUP, "g"), (0, 17));
        assert_eq!(ask(&mut world, 1, 77, "g"), invalid);
    }

    #[test]
    fn a_request_for_more_resources_than_anybody_has_closes_the_connection() {
        let mut world = World::new(1, "");
        let resource = msg!(DescribeConfigsResource { resource_type: resources::GROUP });
        let mut request =
            msg!(DescribeConfigsRequest { resources: vec![resource.clone(); 10_000] });
        let response: DescribeConfigsResponse = world.ask(0, 1, &request);
        assert_eq!(response.results.len(), 10_000);
        request.resources.push(resource);
        assert_eq!(world.ask_bytes(0, 32, 1, &crate::api::testing::encode(&request, 1)), None);
    }
}
