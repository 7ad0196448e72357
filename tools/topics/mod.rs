//! `klamm topics` (kafka-topics.sh): create, list, describe, alter and delete topics.

mod describe;
mod options;

use std::process::ExitCode;

use klamm::client::ClientError;
use klamm::client::admin::{self, NewTopic};
use klamm::client::blocking::{Client, Topics};
use klamm::wire::ErrorCode;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::kafka_text;
use crate::tools::pattern::{TopicPattern, is_internal};
use options::{Action, Options};

/// One line of help.
pub(crate) const ABOUT: &str = "Create, list, describe, alter and delete topics";

/// How long the controller may take for a change.
const CHANGE_TIMEOUT_MS: i32 = 60_000;

/// Runs the tool. A failure goes to standard output, as Kafka's tool has it.
pub(crate) fn run(args: &[String]) -> ExitCode {
    cli::end_on_closed_pipe();
    let options = match cli::parse::<Options>("topics", ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let action = match options.check() {
        Ok(action) => action,
        Err(what) => return cli::usage::<Options>("topics", &what),
    };
    let text = match act(&options, action) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>("topics", &what),
        Err(ToolError::Failed(what)) => what,
        Err(ToolError::Client(e)) => kafka_text::message(&e),
    };
    println!("Error while executing topic command : {text}");
    ExitCode::FAILURE
}

fn act(options: &Options, action: Action) -> Outcome<()> {
    if action == Action::Create {
        let topic = options.new_topic()?;
        if topic.name.contains(['.', '_']) {
            println!(
                "WARNING: Due to limitations in metric names, topics with a period ('.') or \
                 underscore ('_') could collide. To avoid issues it is best to use either, but not \
                 both."
            );
        }
        options.check_numbers()?;
        let mut client = options.broker.connect("adminclient", None)?;
        return create(&mut client, options, &topic);
    }
    let change = if action == Action::Alter { Some(options.new_topic()?) } else { None };
    let mut client = options.broker.connect("adminclient", None)?;
    match (action, change) {
        (Action::List, _) => {
            let topics = matching(&mut client, options)?;
            println!("{}", topics.join("\n"));
            Ok(())
        }
        (Action::Describe, _) => describe::run(&mut client, options),
        (Action::Delete, _) => delete(&mut client, options),
        (_, Some(change)) => alter(&mut client, options, &change),
        (_, None) => Ok(()),
    }
}

/// Names of the topics that `--topic` means, sorted: all without one.
fn matching(client: &mut Client, options: &Options) -> Outcome<Vec<String>> {
    let pattern = options.topic.as_deref().map(TopicPattern::new).transpose()?;
    let cluster = client.refresh(Topics::All)?;
    let names = cluster.topics().iter().filter(|(name, topic)| {
        let hidden = options.exclude_internal && (topic.is_internal || is_internal(name));
        !hidden && pattern.as_ref().is_none_or(|p| p.matches(name))
    });
    Ok(names.map(|(name, _)| name.to_string()).collect())
}

/// As [`matching`]; an error when there is none and `--if-exists` is not given.
fn existing(client: &mut Client, options: &Options) -> Outcome<Vec<String>> {
    let topics = matching(client, options)?;
    match &options.topic {
        Some(topic) if topics.is_empty() && !topic.is_empty() && !options.if_exists => {
            Err(ToolError::Failed(format!("Topic '{topic}' does not exist as expected")))
        }
        _ => Ok(topics),
    }
}

fn create(client: &mut Client, options: &Options, topic: &NewTopic) -> Outcome<()> {
    let to = client.cluster().controller();
    let made = client.retry(|client| {
        let answer = client.ask(to, admin::create_topic(topic, CHANGE_TIMEOUT_MS))?;
        answer.topics.iter().try_for_each(|t| {
            ClientError::check("CreateTopics", t.error_code, t.error_message.as_deref())
        })
    });
    match made {
        Ok(()) => println!("Created topic {}.", topic.name),
        Err(ClientError::Refused { code: ErrorCode::TOPIC_ALREADY_EXISTS, .. })
            if options.if_not_exists => {}
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

fn delete(client: &mut Client, options: &Options) -> Outcome<()> {
    let topics = existing(client, options)?;
    if topics.is_empty() {
        return Ok(());
    }
    let to = client.cluster().controller();
    let answer = client.ask(to, admin::delete_topics(&topics, CHANGE_TIMEOUT_MS))?;
    for topic in &answer.responses {
        let message = topic.error_message.as_deref();
        ClientError::check("DeleteTopics", topic.error_code, message)?;
    }
    Ok(())
}

fn alter(client: &mut Client, options: &Options, change: &NewTopic) -> Outcome<()> {
    let topics = existing(client, options)?;
    let Some(count) = change.partitions.filter(|_| !topics.is_empty()) else { return Ok(()) };
    let cluster = client.cluster();
    let to = cluster.controller();
    let wanted = |name: String| {
        let now = cluster.topic(&name).map_or(0, |t| t.partitions.len());
        let added = change.assignments.iter().skip(now).cloned().collect();
        (name, count, added)
    };
    let changes: Vec<_> = topics.into_iter().map(wanted).collect();
    let answer = client.ask(to, admin::create_partitions(&changes, CHANGE_TIMEOUT_MS))?;
    for topic in &answer.results {
        let message = topic.error_message.as_deref();
        ClientError::check("CreatePartitions", topic.error_code, message)?;
    }
    Ok(())
}
