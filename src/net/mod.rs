//! Connections: frames out of bytes, and answers in the order of their requests.
//!
//! [`connection::Connection`] is one client's side of the broker and does no I/O; the node's turn
//! (`server::node`) moves bytes between it and the sockets.

pub mod admission;
pub mod budget;
pub mod connection;
