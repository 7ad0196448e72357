//! One request on its way to a broker, whatever its API: the currency between the machines of this
//! folder (producer, fetcher, member, cluster), which decide, and a driver, which has the sockets.

use std::fmt::Debug;

use crate::base::NodeId;
use crate::client::connection::{Connection, Sent};
use crate::client::error::ClientError;
use crate::client::versions::api_name;
use crate::wire::messages::RequestResponsePair;

/// Who shall answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    /// Whichever broker is connected or can be.
    Any,
    /// This broker.
    Node(NodeId),
}

/// A request whose version is chosen when a connection takes it.
pub trait Call: Debug + Send {
    /// Name of the API.
    fn api(&self) -> &'static str;

    /// Puts the request on `connection`.
    ///
    /// # Errors
    /// As [`Connection::send`].
    fn write(&self, connection: &mut Connection) -> Result<Sent, ClientError>;
}

/// What a machine wants sent. The answer, or the failure to get one, goes back under the same `id`.
#[derive(Debug)]
pub struct Outgoing {
    /// Who shall answer.
    pub to: To,
    /// The machine's own number of this request.
    pub id: u64,
    /// How long the answer may take.
    pub timeout_ms: u64,
    /// The request.
    pub call: Box<dyn Call>,
}

/// A typed request with what the type does not say.
#[derive(Debug, Clone)]
pub struct Typed<R> {
    request: R,
    version_max: i16,
    answered: bool,
    /// Sent in place of the request when the version is below this.
    before: Option<(i16, R)>,
}

impl<R: RequestResponsePair + Debug + Send + 'static> Typed<R> {
    /// At the highest version that both sides know.
    pub fn new(request: R) -> Self {
        Self { request, version_max: i16::MAX, answered: true, before: None }
    }

    /// At most at `version_max`: the request is filled as that version wants it, and a later one
    /// has other fields.
    pub fn up_to(request: R, version_max: i16) -> Self {
        Self { request, version_max, answered: true, before: None }
    }

    /// The broker sends no answer (Produce with acks=0).
    pub fn unanswered(mut self) -> Self {
        self.answered = false;
        self
    }

    /// A broker that only knows versions below `version` gets `older`, since they cannot say all that
    /// the request does.
    pub fn before(mut self, version: i16, older: R) -> Self {
        self.before = Some((version, older));
        self
    }

    /// For a driver.
    pub fn boxed(self) -> Box<dyn Call> {
        Box::new(self)
    }
}

impl<R: RequestResponsePair + Debug + Send> Call for Typed<R> {
    fn api(&self) -> &'static str {
        api_name::<R>()
    }

    fn write(&self, connection: &mut Connection) -> Result<Sent, ClientError> {
        let picked = connection.versions().and_then(|v| v.pick::<R>(self.version_max).ok());
        let request = match &self.before {
            Some((version, older)) if picked.is_some_and(|p| p < *version) => older,
            _ => &self.request,
        };
        connection.send(request, self.version_max, self.answered)
    }
}
