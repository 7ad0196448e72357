//! `klamm broker-api-versions` (kafka-broker-api-versions.sh): which versions of each API each broker
//! offers, and which of them a client of this build would use.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Parser;

use klamm::client::blocking::Topics;
use klamm::client::versions::Versions;
use klamm::client::{To, Typed};
use klamm::msg;
use klamm::wire::ApiVersion;
use klamm::wire::messages::{API_DESCRIPTORS, ApiVersionsRequest};

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::kafka_text;
use crate::tools::session::BrokerArgs;

/// One line of help.
pub(crate) const ABOUT: &str = "Show the API versions of brokers";

/// Keys of APIs that brokers and controllers have among themselves.
const NOT_FOR_CLIENTS: [i16; 16] = [4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82];
/// The last key of Kafka 4.3.
const LAST_KEY: i16 = 92;
/// The newest version of ApiVersions that asks any broker.
const API_VERSIONS_MAX: i16 = 4;

#[derive(Debug, Clone, Parser)]
struct Options {
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    cli::end_on_closed_pipe();
    let options = match cli::parse::<Options>("broker-api-versions", ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match act(&options) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>("broker-api-versions", &what),
        Err(ToolError::Failed(what)) => eprintln!("{what}"),
        Err(ToolError::Client(e)) => eprintln!("{}", kafka_text::message(&e)),
    }
    ExitCode::FAILURE
}

fn act(options: &Options) -> Outcome<()> {
    cli::required(options.broker.bootstrap_server.as_ref(), "bootstrap-server")?;
    let mut client = options.broker.connect("admin", None)?;
    let cluster = client.refresh(Topics::Named(&[]))?;
    let brokers: Vec<_> = cluster.brokers().iter().map(|(&id, b)| (id, b.clone())).collect();
    for (id, broker) in brokers {
        let request = msg!(ApiVersionsRequest {
            client_software_name: "klamm".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        });
        let answer = client.ask(To::Node(id), Typed::up_to(request, API_VERSIONS_MAX))?;
        let rack = broker.rack.as_deref().unwrap_or("null");
        let versions = table(&Versions::of(&answer));
        println!("{} (id: {id} rack: {rack} isFenced: false) -> {versions}", broker.endpoint);
    }
    Ok(())
}

/// The lines of one broker: every API that this build knows.
fn table(offered: &Versions) -> String {
    let is_known = |key: i16| key <= LAST_KEY && !NOT_FOR_CLIENTS.contains(&key);
    let mut rows: Vec<_> = API_DESCRIPTORS
        .iter()
        .filter(|d| is_known(d.api_key.value()))
        .map(|d| {
            let name = d.request.name;
            let oldest = d.supported_versions.min().value();
            let newest = d.latest_stable_version().map_or(oldest, ApiVersion::value);
            (d.api_key.value(), name.strip_suffix("Request").unwrap_or(name), oldest, newest)
        })
        .collect();
    rows.sort_unstable();
    let mut out = String::from("(");
    for (at, (key, name, oldest, newest)) in rows.into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\n\t{name}({key}): ");
        let Some((min, max)) = offered.offered(key) else {
            out.push_str("UNSUPPORTED");
            continue;
        };
        let _ = if min == max { write!(out, "{min}") } else { write!(out, "{min} to {max}") };
        let _ = if min > newest {
            write!(out, " [unusable: node too new]")
        } else if max < oldest {
            write!(out, " [unusable: node too old]")
        } else {
            write!(out, " [usable: {}]", max.min(newest))
        };
    }
    out.push_str("\n)");
    out
}

#[cfg(test)]
mod tests {
    use klamm::wire::messages::ApiVersionsResponse;
    use klamm::wire::messages::api_versions_response::ApiVersion as Offer;

    use super::*;

    #[test]
    fn every_api_of_a_client_has_a_line() {
        let offer =
            |api_key, min_version, max_version| msg!(Offer { api_key, min_version, max_version });
        let api_keys = vec![offer(0, 0, 99), offer(1, 0, 2), offer(46, 0, 0), offer(3, 50, 60)];
        let text = table(&Versions::of(&msg!(ApiVersionsResponse { api_keys })));
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        assert_eq!(lines[0], "(");
        for line in [
            "Produce(0): 0 to 99 [usable: 13],",
            "Fetch(1): 0 to 2 [unusable: node too old],",
            "ListOffsets(2): UNSUPPORTED,",
            "Metadata(3): 50 to 60 [unusable: node too new],",
            "ListPartitionReassignments(46): 0 [usable: 0],",
        ] {
            assert!(lines.contains(&line), "{line} is missing in {text}");
        }
        assert!(!text.contains("BrokerRegistration"));
    }
}
