//! The command-line tools: Kafka's own by name, flags and output, on the client of `klamm::client`.
//!
//! Each tool reads its arguments, asks the brokers, and prints. What it prints is made by pure
//! functions that are tested beside it; `tests/tools` runs the built binary against a broker.

mod broker_api_versions;
mod cli;
mod configs;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod delete_records;
mod dump_log;
mod get_offsets;
mod kafka_text;
mod load;
mod log_dirs;
mod offsets;
mod pattern;
mod perf;
mod properties;
mod session;
mod signals;
mod time;
mod topics;

use std::path::Path;
use std::process::ExitCode;

/// One tool of the binary.
pub(crate) struct Tool {
    /// Name of the sub-command; Kafka's script is `kafka-NAME.sh`.
    pub(crate) name: &'static str,
    /// One line of help.
    pub(crate) about: &'static str,
    /// Runs it with what follows its name.
    pub(crate) run: fn(&[String]) -> ExitCode,
}

/// All tools, in the order of the help.
pub(crate) const TOOLS: &[Tool] = &[
    Tool { name: "topics", about: topics::ABOUT, run: topics::run },
    Tool { name: "configs", about: configs::ABOUT, run: configs::run },
    Tool { name: "console-producer", about: console_producer::ABOUT, run: console_producer::run },
    Tool { name: "console-consumer", about: console_consumer::ABOUT, run: console_consumer::run },
    Tool { name: "consumer-groups", about: consumer_groups::ABOUT, run: consumer_groups::run },
    Tool { name: "get-offsets", about: get_offsets::ABOUT, run: get_offsets::run },
    Tool { name: "producer-perf-test", about: perf::producer::ABOUT, run: perf::producer::run },
    Tool { name: "consumer-perf-test", about: perf::consumer::ABOUT, run: perf::consumer::run },
    Tool { name: "e2e-latency", about: perf::e2e::ABOUT, run: perf::e2e::run },
    Tool {
        name: "verifiable-producer",
        about: perf::verifiable_producer::ABOUT,
        run: perf::verifiable_producer::run,
    },
    Tool {
        name: "verifiable-consumer",
        about: perf::verifiable_consumer::ABOUT,
        run: perf::verifiable_consumer::run,
    },
    Tool { name: "load", about: load::ABOUT, run: load::run },
    Tool { name: "delete-records", about: delete_records::ABOUT, run: delete_records::run },
    Tool { name: "dump-log", about: dump_log::ABOUT, run: dump_log::run },
    Tool { name: "log-dirs", about: log_dirs::ABOUT, run: log_dirs::run },
    Tool {
        name: "broker-api-versions",
        about: broker_api_versions::ABOUT,
        run: broker_api_versions::run,
    },
];

/// The tool that a program or sub-command is named after: `topics`, `kafka-topics`,
/// `/usr/bin/kafka-topics.sh`.
pub(crate) fn named(program: &str) -> Option<&'static Tool> {
    let name = Path::new(program).file_name()?.to_str()?;
    let name = name.strip_suffix(".sh").unwrap_or(name);
    let name = name.strip_prefix("kafka-").unwrap_or(name);
    TOOLS.iter().find(|tool| tool.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_named_like_kafkas_script_is_that_tool() {
        for name in ["topics", "kafka-topics", "kafka-topics.sh", "/usr/bin/kafka-topics.sh"] {
            assert_eq!(named(name).map(|t| t.name), Some("topics"), "{name}");
        }
        for name in ["klamm", "/usr/bin/klamm", "kafka-acls.sh", ""] {
            assert!(named(name).is_none(), "{name}");
        }
    }
}
