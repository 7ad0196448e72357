//! What can go wrong between a client and its brokers. Each text says what was asked of whom.

use std::io;
use std::sync::Arc;

use crate::base::NodeId;
use crate::wire::ErrorCode;

/// A failed exchange with a broker.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An address is not `HOST:PORT`.
    #[error("'{0}' is not HOST:PORT (an IPv6 address goes in brackets: [::1]:9092)")]
    Address(String),
    /// The socket failed.
    #[error("{doing} {address}: {source}; is a broker running there?")]
    Io {
        /// The broker.
        address: String,
        /// Gerund phrase, such as "connecting to".
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The broker closed the connection, which is how Kafka refuses what it cannot answer.
    #[error("{address} closed the connection with {waiting} requests unanswered; see its log")]
    Closed {
        /// The broker.
        address: String,
        /// Requests that had no answer.
        waiting: usize,
    },
    /// No answer in time.
    #[error("{address} did not answer {api} within {limit_ms} ms")]
    TimedOut {
        /// The broker.
        address: String,
        /// Name of the API.
        api: &'static str,
        /// The time given.
        limit_ms: u64,
    },
    /// A broker that the metadata names no address for.
    #[error("broker {0} is not in the cluster's metadata; refresh it and ask again")]
    UnknownNode(NodeId),
    /// The two sides share no version of an API.
    #[error("{api}: this client speaks versions {ours_min} to {ours_max}, the broker {theirs}")]
    Unsupported {
        /// Name of the API.
        api: &'static str,
        /// Lowest version this client speaks.
        ours_min: i16,
        /// Highest version this client speaks.
        ours_max: i16,
        /// "offers A to B" or "does not offer it".
        theirs: String,
    },
    /// A request before the versions are known.
    #[error("{0} was asked before the broker said which versions it speaks; wait for Ready")]
    NotReady(&'static str),
    /// Too many requests wait for an answer on one connection.
    #[error("{waiting} requests wait for an answer, the limit is {limit}; read answers first")]
    InFlight {
        /// Requests without an answer.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// The request does not fit its version or the size limit.
    #[error("the {api} request cannot be encoded: {what}")]
    Request {
        /// Name of the API.
        api: &'static str,
        /// What the encoder said.
        what: String,
    },
    /// The bytes are not the answer that was expected; the connection is of no more use.
    #[error("the answer to {api} cannot be read: {what}")]
    Answer {
        /// Name of the API.
        api: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// A batch could not be delivered in time.
    #[error("records for {partition} were not acknowledged within {limit_ms} ms")]
    Undelivered {
        /// Where they were to go.
        partition: String,
        /// `delivery.timeout.ms`.
        limit_ms: u64,
    },
    /// The broker answered with an error for the request as a whole.
    #[error("{asked} was refused: {}", message.as_deref().unwrap_or(code.name()))]
    Refused {
        /// What was asked, such as "InitProducerId".
        asked: &'static str,
        /// The broker's error code.
        code: ErrorCode,
        /// The broker's own words.
        message: Option<String>,
    },
}

impl ClientError {
    /// Whether the same request may succeed a little later, perhaps at another broker.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Io { .. }
            | Self::Closed { .. }
            | Self::TimedOut { .. }
            | Self::UnknownNode(_)
            | Self::InFlight { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            Self::Address(_)
            | Self::Unsupported { .. }
            | Self::NotReady(_)
            | Self::Request { .. }
            | Self::Answer { .. }
            | Self::Undelivered { .. } => false,
        }
    }

    /// `Ok` for no error, else [`Self::Refused`].
    ///
    /// # Errors
    /// The code as an error.
    pub fn check(asked: &'static str, code: i16, message: Option<&str>) -> Result<(), Self> {
        match ErrorCode(code) {
            ErrorCode::NONE => Ok(()),
            code => Err(Self::Refused { asked, code, message: message.map(str::to_owned) }),
        }
    }
}
