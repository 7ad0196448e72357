//! A request's return address and the part of its header that answering it needs.

use std::net::IpAddr;
use std::sync::Arc;

use crate::shard::mail::ShardIndex;
use crate::wire::codes::Coded;
use crate::wire::frame::{Answer, RequestHeader};

/// Where the answer to one request goes: a place in the answer queue of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The shard that has the connection.
    pub shard: ShardIndex,
    /// The connection, by a number that is never used again.
    pub connection: u64,
    /// The request, counted on its connection.
    pub sequence: u64,
}

/// One request in flight.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where the answer goes.
    pub slot: Slot,
    /// Numeric API key.
    pub api_key: i16,
    /// Version of the API; between the bounds of the table.
    pub version: i16,
    /// Echoed in the answer.
    pub correlation_id: i32,
    /// What the client calls itself; empty when it does not.
    pub client_id: Arc<str>,
    /// Address of the client.
    pub peer: IpAddr,
}

impl Call {
    /// The call that `header` makes.
    pub fn new(slot: Slot, peer: IpAddr, header: &RequestHeader<'_>) -> Self {
        Self {
            slot,
            api_key: header.api_key,
            version: header.version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.unwrap_or_default().into(),
            peer,
        }
    }

    /// Encodes the response in the call's version.
    pub fn answer<M: Coded>(&self, response: &M) -> Answer {
        Answer::of(self.correlation_id, self.version, response)
    }
}
