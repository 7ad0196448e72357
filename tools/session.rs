//! From arguments to a connected client: addresses, the properties that a client heeds, its errors.

use std::time::Duration;

use clap::Args;

use klamm::client::blocking::Client;
use klamm::client::{ConnectionOptions, Endpoint};

use crate::tools::cli::{Outcome, ToolError};
use crate::tools::properties::Properties;

/// Where the cluster is, for the tools that administer it.
#[derive(Debug, Clone, Args)]
pub(crate) struct BrokerArgs {
    /// REQUIRED: brokers to begin with
    #[arg(long, value_name = "HOST:PORT,...")]
    pub(crate) bootstrap_server: Option<String>,
    /// Property file for the client (client.id, default.api.timeout.ms)
    #[arg(long, value_name = "FILE")]
    pub(crate) command_config: Option<String>,
}

/// The API time-out that Kafka's admin client has.
const API_TIMEOUT_MS: u64 = 60_000;

impl BrokerArgs {
    /// Connects, with `client_id` where no property says otherwise. `timeout_ms` wins over the file.
    pub(crate) fn connect(&self, client_id: &str, timeout_ms: Option<u64>) -> Outcome<Client> {
        let properties = Properties::read(self.command_config.as_deref(), &[])?;
        refuse_security(&properties)?;
        let bootstrap = Endpoint::parse_list(self.bootstrap_server.as_deref().unwrap_or(""))?;
        let from_file = properties.number("default.api.timeout.ms")?;
        let timeout_ms = timeout_ms.or(from_file).unwrap_or(API_TIMEOUT_MS);
        let options = connection_options(&properties, client_id);
        Ok(Client::connect(bootstrap, options, Duration::from_millis(timeout_ms))?)
    }
}

/// Names and limits of a connection, from the properties.
pub(crate) fn connection_options(properties: &Properties, client_id: &str) -> ConnectionOptions {
    let client_id = properties.get("client.id").unwrap_or(client_id).to_owned();
    ConnectionOptions { client_id, ..ConnectionOptions::default() }
}

/// Refuses what would silently not be done: an encrypted or authenticated connection.
pub(crate) fn refuse_security(properties: &Properties) -> Outcome<()> {
    let key = "security.protocol";
    match properties.get(key).map(str::trim) {
        None | Some("PLAINTEXT") => Ok(()),
        Some(other) => Err(ToolError::Failed(format!(
            "{key}={other} is not supported by this tool; PLAINTEXT is. Kafka's own tool can connect \
             to such a listener"
        ))),
    }
}
