//! `klamm configs` (kafka-configs.sh): show and change the configs of topics, brokers, their loggers,
//! groups and client metrics, and the quotas of users, clients and addresses.

mod options;
mod quotas;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use klamm::base::NodeId;
use klamm::client::admin;
use klamm::client::blocking::{Client, Topics};
use klamm::client::{ClientError, To};
use klamm::controller::check_topic_name;
use klamm::wire::messages::describe_configs_response::DescribeConfigsResourceResult as Entry;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::{consumer_groups, kafka_text};
use options::{BROKER_LOGGERS, BROKERS, CLIENT_METRICS, GROUPS, Kind, Options, TOPICS, Task};

/// One line of help.
pub(crate) const ABOUT: &str = "Show and change configs of topics, brokers and groups";

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    cli::end_on_closed_pipe();
    let options = match cli::parse::<Options>("configs", ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match act(&options) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>("configs", &what),
        Err(ToolError::Failed(what)) => eprintln!("{what}"),
        Err(ToolError::Client(e)) => {
            let args = args.join(" ");
            eprintln!("Error while executing config command with args '{args}'");
            eprintln!("{}", kafka_text::execution_exception(&e));
        }
    }
    ExitCode::FAILURE
}

fn act(options: &Options) -> Outcome<()> {
    let task = options.task()?;
    let mut client = options.broker.connect("adminclient", None)?;
    let (kind, has_quotas) = (task.kind, task.kind.has_quotas());
    let (Some(change), Some(name)) = (&task.change, &task.name) else {
        if has_quotas {
            return quotas::describe(&mut client, &task);
        }
        return describe(&mut client, &task, options.all);
    };
    if has_quotas {
        quotas::alter(&mut client, &task, change)?;
    } else {
        alter(&mut client, kind, name, change)?;
    }
    if name.is_empty() {
        println!("Completed updating default config for {} in the cluster.", kind.name);
    } else {
        println!("Completed updating config for {} {name}.", kind.singular());
    }
    Ok(())
}

fn describe(client: &mut Client, task: &Task, all: bool) -> Outcome<()> {
    let kind = task.kind;
    let names = match &task.name {
        None => every(client, kind)?,
        Some(name) if all || name.is_empty() || exists(client, kind, name)? => vec![name.clone()],
        Some(name) => {
            let what = kind.singular();
            println!("The {what} '{name}' doesn't exist and doesn't have dynamic config.");
            return Ok(());
        }
    };
    for name in names {
        if kind == BROKERS && name.is_empty() {
            println!("Default configs for {} in the cluster are:", kind.name);
        } else {
            let which = if all { "All" } else { "Dynamic" };
            println!("{which} configs for {} {name} are:", kind.singular());
        }
        let source = if all { None } else { kind.source_of(&name) };
        let mut entries = entries(client, kind, &name)?;
        entries.retain(|entry| source.is_none_or(|s| s == entry.config_source));
        entries.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        for entry in &entries {
            println!("{}", line(entry));
        }
    }
    Ok(())
}

/// Every entity of a kind, as Kafka's tool goes through them.
fn every(client: &mut Client, kind: Kind) -> Outcome<Vec<String>> {
    if kind == TOPICS {
        let topics = client.refresh(Topics::All)?.topics();
        return Ok(topics.keys().map(ToString::to_string).collect());
    }
    if kind == BROKERS || kind == BROKER_LOGGERS {
        let ids = client.refresh(Topics::Named(&[]))?.brokers().keys().map(ToString::to_string);
        let defaults = (kind == BROKERS).then(String::new);
        return Ok(ids.chain(defaults).collect());
    }
    Ok(resources(client, kind)?.into_iter().collect())
}

/// Names with configs of their own; for groups also those that have members or offsets.
fn resources(client: &mut Client, kind: Kind) -> Outcome<BTreeSet<String>> {
    let answer = client.ask(To::Any, admin::list_config_resources(vec![kind.resource_type]))?;
    ClientError::check("ListConfigResources", answer.error_code, None)?;
    let of_kind = answer.config_resources.iter().filter(|r| r.resource_type == kind.resource_type);
    let mut names: BTreeSet<_> = of_kind.map(|r| r.resource_name.as_str().to_owned()).collect();
    if kind == GROUPS {
        names.extend(consumer_groups::ids(client)?);
    }
    Ok(names)
}

fn exists(client: &mut Client, kind: Kind, name: &str) -> Outcome<bool> {
    if kind == TOPICS {
        check_topic_name(name).map_err(|e| ToolError::Failed(e.to_string()))?;
    }
    match kind {
        GROUPS | CLIENT_METRICS => Ok(resources(client, kind)?.contains(name)),
        kind => Ok(every(client, kind)?.iter().any(|n| n == name)),
    }
}

/// The broker that knows the configs of an entity.
fn knows(kind: Kind, name: &str) -> To {
    let id = name.parse().ok().filter(|_| kind == BROKERS || kind == BROKER_LOGGERS);
    id.map_or(To::Any, |id| To::Node(NodeId(id)))
}

fn entries(client: &mut Client, kind: Kind, name: &str) -> Outcome<Vec<Entry>> {
    let call = admin::describe_configs(kind.resource_type, name);
    let answer = client.ask(knows(kind, name), call)?;
    let mut all = Vec::new();
    for result in answer.results {
        // The broker's words are shown as they are, even when there are none.
        let message = Some(result.error_message.as_deref().unwrap_or_default());
        ClientError::check("DescribeConfigs", result.error_code, message)?;
        all.extend(result.configs);
    }
    Ok(all)
}

/// A config with where its value comes from.
fn line(entry: &Entry) -> String {
    let value = |v: Option<&str>| v.unwrap_or("null").to_owned();
    let synonym = |s: &klamm::wire::messages::describe_configs_response::DescribeConfigsSynonym| {
        format!("{}:{}={}", source_name(s.source), s.name.as_str(), value(s.value.as_deref()))
    };
    let synonyms = entry.synonyms.iter().map(synonym).collect::<Vec<_>>().join(", ");
    let (name, is) = (entry.name.as_str(), value(entry.value.as_deref()));
    format!("  {name}={is} sensitive={} synonyms={{{synonyms}}}", entry.is_sensitive)
}

fn source_name(source: i8) -> &'static str {
    match source {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        5 => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
        8 => "DYNAMIC_GROUP_CONFIG",
        _ => "UNKNOWN",
    }
}

fn alter(
    client: &mut Client,
    kind: Kind,
    name: &str,
    change: &BTreeMap<String, Option<String>>,
) -> Outcome<()> {
    let to = if kind == BROKER_LOGGERS {
        let known: BTreeSet<_> = entries(client, kind, name)?.into_iter().map(|e| e.name).collect();
        let is_known = |logger: &&str| known.iter().any(|k| k.as_str() == *logger);
        let unknown: Vec<_> = change.keys().map(String::as_str).filter(|l| !is_known(l)).collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(",");
            return Err(ToolError::Failed(format!("Invalid broker logger(s): {unknown}")));
        }
        knows(kind, name)
    } else {
        To::Any
    };
    let call = admin::alter_configs(kind.resource_type, name, change);
    let answer = client.ask(to, call)?;
    for result in &answer.responses {
        let message = result.error_message.as_deref();
        ClientError::check("IncrementalAlterConfigs", result.error_code, message)?;
    }
    Ok(())
}
