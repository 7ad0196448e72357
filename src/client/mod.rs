//! A small Kafka client, sans I/O: what replication, the tools and the load generators share.
//!
//! ```text
//!   producer   fetcher   group::Member   cluster      decide: poll -> Outgoing, on_answer -> what happened
//!        \        |         |            /
//!                 call::Outgoing                      one request, to a node or to any
//!                       |
//!                  connection                         frames, correlation ids, versions: bytes in, bytes out
//!                       |
//!             a driver with sockets                   `blocking` here; a shard's ring elsewhere
//! ```
//!
//! Everything but `blocking` is synchronous and pure: time is an argument, bytes come and go as
//! slices. A machine sends by pushing [`call::Outgoing`] with a number of its own; the answer, or the
//! failure to get one, comes back under that number. The version of a request is chosen by the
//! connection that takes it, from what that broker offers.
//!
//! `admin` holds the requests of the command-line tools as plain functions, `records` opens what a
//! Fetch brought, `assignor` and `partitioner` decide as every Kafka client does.
//!
//! Limits: each connection bounds its answers and its requests in flight, the producer its buffer,
//! the fetcher what it asks for.

pub mod admin;
pub mod assignor;
pub mod blocking;
pub mod call;
pub mod cluster;
pub mod connection;
pub mod error;
pub mod fetcher;
pub mod group;
pub mod partitioner;
pub mod producer;
pub mod records;
pub mod versions;

#[cfg(test)]
mod testing;

pub use call::{Outgoing, To, Typed};
pub use cluster::{Cluster, Endpoint, PartitionName};
pub use connection::{Answer, Connection, ConnectionOptions};
pub use error::ClientError;
