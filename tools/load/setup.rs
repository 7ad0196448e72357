//! Before and after a run: its topics.

use std::sync::Arc;
use std::time::Duration;

use klamm::client::admin::{self, NewTopic};
use klamm::client::blocking::{Client, Topics};
use klamm::client::{ClientError, ConnectionOptions, Endpoint, To};
use klamm::wire::ErrorCode;

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::load::workload::Workload;

const TIMEOUT: Duration = Duration::from_mins(1);
const CHANGE_TIMEOUT_MS: i32 = 60_000;

/// The topics of a run.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Their names.
    pub(crate) topics: Vec<Arc<str>>,
    /// Partitions of each.
    pub(crate) partitions: u32,
    /// Whether they were there before.
    pub(crate) is_foreign: bool,
}

/// Connects to the cluster.
pub(crate) fn connect(bootstrap: &[Endpoint]) -> Outcome<Client> {
    let options =
        ConnectionOptions { client_id: "klamm-load".to_owned(), ..ConnectionOptions::default() };
    Ok(Client::connect(bootstrap.to_vec(), options, TIMEOUT)?)
}

/// Makes the topics of a run, or looks the one up that is named, and waits for their leaders.
pub(crate) fn prepare(
    client: &mut Client,
    workload: &Workload,
    named: Option<&str>,
    run: u32,
) -> Outcome<Prepared> {
    let base = topic_base(&workload.name);
    let own = || (0..workload.topics).map(|at| format!("{base}-{run:08x}-{at}")).collect();
    let topics: Vec<String> = named.map_or_else(own, |name| vec![name.to_owned()]);
    match named {
        // A topic that nobody makes will not come to be.
        Some(name) if !exists(client, name)? => {
            return Err(ToolError::Failed(format!("topic {name} does not exist")));
        }
        Some(_) => {}
        None => topics.iter().try_for_each(|name| create(client, &new_topic(workload, name)))?,
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let partitions = client.retry(|client| described(client, &names))?;
    Ok(Prepared {
        topics: names.iter().map(|&n| Arc::from(n)).collect(),
        partitions,
        is_foreign: named.is_some(),
    })
}

/// Whether there is a topic of that name.
pub(crate) fn exists(client: &mut Client, name: &str) -> Result<bool, ClientError> {
    let topics = client.refresh(Topics::Named(&[name]))?.topics();
    let missing = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    Ok(topics.get(name).is_some_and(|t| t.error != missing))
}

/// Partitions of each of the topics, which all have a leader; else an error that may pass.
fn described(client: &mut Client, names: &[&str]) -> Result<u32, ClientError> {
    let cluster = client.refresh(Topics::Named(names))?;
    let mut fewest = u32::MAX;
    for &name in names {
        let refused = |code: ErrorCode| ClientError::Refused {
            asked: "Metadata",
            code,
            message: Some(format!("topic {name}: {}", code.name())),
        };
        let code =
            cluster.topics().get(name).map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |t| t.error);
        let topic = cluster.topic(name).ok_or_else(|| refused(code))?;
        if topic.partitions.iter().any(|p| p.leader.is_none()) {
            return Err(refused(ErrorCode::LEADER_NOT_AVAILABLE));
        }
        fewest = fewest.min(topic.partitions.len() as u32);
    }
    Ok(fewest)
}

fn new_topic(workload: &Workload, name: &str) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions: Some(workload.partitions as i32),
        replication_factor: Some(workload.replication_factor),
        configs: workload.topic_configs.clone().into_iter().collect(),
        ..NewTopic::default()
    }
}

/// Makes a topic.
pub(crate) fn create(client: &mut Client, topic: &NewTopic) -> Outcome<()> {
    let call = admin::create_topic(topic, CHANGE_TIMEOUT_MS);
    let controller = client.cluster().controller();
    let answer = client.ask(controller, call)?;
    for made in &answer.topics {
        let message = made.error_message.as_deref();
        ClientError::check("CreateTopics", made.error_code, message)?;
    }
    Ok(())
}

/// Deletes the topics of a run. Best effort: a broker that is gone has been reported.
pub(crate) fn clean_up(client: &mut Client, prepared: &Prepared) -> Result<(), ClientError> {
    let names: Vec<String> = prepared.topics.iter().map(ToString::to_string).collect();
    client.ask(To::Any, admin::delete_topics(&names, CHANGE_TIMEOUT_MS)).map(|_| ())
}

/// A name that a topic may have: other letters than Kafka's become hyphens.
fn topic_base(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.chars().map(legal).take(100).collect()
}

impl From<String> for ToolError {
    fn from(what: String) -> Self {
        Self::Failed(what)
    }
}
