//! Kafka's own performance and system-test tools by name, flags and output lines.
//!
//! Where Kafka's tool hides the truth, these measure right and print the same line: a record's latency
//! counts from the time that the throughput fixes for it, not from after the wait for its turn, and in
//! nanoseconds until it is printed.

pub(crate) mod consumer;
pub(crate) mod e2e;
mod json;
pub(crate) mod producer;
mod sending;
pub(crate) mod verifiable_consumer;
pub(crate) mod verifiable_producer;

use std::process::ExitCode;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::console_consumer::consumer::Consumer;
use crate::tools::console_consumer::options::Options;
use crate::tools::kafka_text;

/// Reads the arguments, runs, and says what went wrong.
fn run<O: clap::CommandFactory + clap::FromArgMatches>(
    (name, about): (&'static str, &'static str),
    args: &[String],
    act: impl FnOnce(O) -> Outcome<ExitCode>,
) -> ExitCode {
    cli::end_on_closed_pipe();
    let options = match cli::parse::<O>(name, about, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let text = match act(options) {
        Ok(code) => return code,
        Err(ToolError::Usage(what)) => return cli::usage::<O>(name, &what),
        Err(ToolError::Failed(what)) => what,
        Err(ToolError::Client(e)) => kafka_text::message(&e),
    };
    eprintln!("{text}");
    ExitCode::FAILURE
}

/// Of the verifiable tools: refuses both names of the property file, `[old, new]`, and tells of the old.
fn one_config(old: &str, are_given: [bool; 2]) -> Outcome<()> {
    match are_given {
        [true, true] => Err(ToolError::Usage(format!(
            "Options --{old} and --command-config are mutually exclusive."
        ))),
        [true, false] => {
            println!(
                "Option --{old} has been deprecated and will be removed in a future version. Use \
                 --command-config instead."
            );
            Ok(())
        }
        [false, _] => Ok(()),
    }
}

/// A consumer with the arguments of the console consumer, which this is; but the group is that of the
/// flag, whatever properties say.
fn consumer(words: &[String]) -> Outcome<Consumer> {
    let read = cli::read::<Options>("consumer", "", words.iter().map(String::as_str));
    let mut options = read.map_err(|e| ToolError::Failed(e.to_string()))?;
    options.flag_names_group = true;
    Ok(Consumer::new(options.config()?).0)
}
