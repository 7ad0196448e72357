//! A blocking driver for tools and tests: the one place of this folder that has sockets and a clock.
//!
//! [`Net`] moves bytes between many connections and the machines, in one thread, with poll(2).
//! [`Client`] asks one thing at a time and waits for the answer. A shard uses neither.

mod net;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::{Moment, NodeId, WallMs};
use crate::client::call::{Outgoing, To, Typed};
use crate::client::cluster::{Cluster, Endpoint};
use crate::client::connection::ConnectionOptions;
use crate::client::error::ClientError;
use crate::client::group;
use crate::wire::messages::RequestResponsePair;

pub use net::{Done, Net, Woken};

/// Time, for a process that is not a shard.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[allow(clippy::disallowed_methods, reason = "the driver of a tool, not of a shard")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Time since the start.
    pub fn now(&self) -> Moment {
        Moment::default() + self.start.elapsed()
    }

    /// Wall-clock time.
    #[allow(clippy::disallowed_methods, reason = "the driver of a tool, not of a shard")]
    pub fn wall() -> WallMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Which topics a metadata refresh asks for.
#[derive(Debug, Clone, Copy)]
pub enum Topics<'a> {
    /// All of them.
    All,
    /// These.
    Named(&'a [&'a str]),
}

/// Asks brokers one thing at a time.
#[derive(Debug)]
pub struct Client {
    net: Net<()>,
    cluster: Cluster,
    next_id: u64,
    timeout: Duration,
}

/// Between two attempts.
const BACKOFF_MS: i64 = 100;

impl Client {
    /// Connects to one of the `bootstrap` brokers and learns of the others. A request may take
    /// `timeout`, its retries included.
    ///
    /// # Errors
    /// Why the last of them could not be reached.
    pub fn connect(
        bootstrap: Vec<Endpoint>,
        options: ConnectionOptions,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let net = Net::new(bootstrap, options);
        let cluster = Cluster::new(false, Duration::MAX, Duration::ZERO);
        let mut client = Self { net, cluster, next_id: 0, timeout };
        client.refresh(Topics::Named(&[]))?;
        Ok(client)
    }

    /// What the last [`Self::refresh`] found.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Asks for metadata.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn refresh(&mut self, topics: Topics<'_>) -> Result<&Cluster, ClientError> {
        let request = match topics {
            Topics::All => Cluster::request(None, false),
            Topics::Named(names) => Cluster::request(Some(names), false),
        };
        let metadata = self.ask(To::Any, request)?;
        ClientError::check("Metadata", metadata.error_code, None)?;
        self.cluster.apply(&metadata);
        for (&id, broker) in self.cluster.brokers() {
            self.net.learn(id, &broker.endpoint);
        }
        Ok(&self.cluster)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// Why there is none.
    pub fn ask<R>(&mut self, to: To, call: Typed<R>) -> Result<R::Response, ClientError>
    where
        R: RequestResponsePair + std::fmt::Debug + Send + 'static,
    {
        self.next_id += 1;
        let id = self.next_id;
        let timeout_ms = self.timeout.as_millis() as u64;
        self.net.submit(0, (), Outgoing { to, id, timeout_ms, call: call.boxed() });
        loop {
            let woken = self.net.wait(Moment::NEVER, &[]);
            // An answer to an earlier request, which was given up, has another number.
            if let Some(done) = woken.done.into_iter().find(|d| d.id == id) {
                return done.result?.decode::<R>();
            }
        }
    }

    /// Runs `attempt` again as long as it fails for a reason that passes, within the time-out.
    ///
    /// # Errors
    /// The failure that does not pass, or the last one.
    pub fn retry<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let until = self.net.clock().now() + self.timeout;
        loop {
            match attempt(self) {
                // A broker that cannot be reached is reported at once: nobody waits a minute to
                // learn of a wrong port.
                Err(e @ ClientError::Refused { .. }) if e.is_retriable() => {
                    let next = self.net.clock().now().plus_ms(BACKOFF_MS);
                    if next >= until {
                        return Err(e);
                    }
                    self.net.wait(next, &[]);
                }
                result => return result,
            }
        }
    }

    /// The coordinator of a group.
    ///
    /// # Errors
    /// As [`Self::retry`].
    pub fn coordinator(&mut self, group_id: &str) -> Result<NodeId, ClientError> {
        self.retry(|client| {
            let request = group::find(group_id);
            let call = Typed::up_to(request, group::FIND_COORDINATOR_VERSION_MAX);
            group::found(&client.ask(To::Any, call)?)
        })
    }
}
