//! Boots the nodes of a process and runs them.
//!
//! [`turn`] is the loop that every shard runs, over [`turn::Outside`]: the sockets, the servants,
//! the siblings and the clock. `outside` is the real one; the simulator brings its own, so that what
//! it tests is the turn as it stands.

pub mod boot;
pub mod catalogue;
mod clients;
pub mod command;
pub mod data_dir;
pub mod outside;
mod pieces;
pub mod turn;
