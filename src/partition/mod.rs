//! What one partition decides: may this batch be appended, who has what, how far is it safe to read.
//!
//! Everything here is synchronous and does no I/O; `storage` keeps the bytes, `shard` does the
//! waiting. [`append`] checks a produced batch, [`open`] its records, [`producers`] recognises retries, [`epochs`] knows
//! which leader wrote what, [`leader`] holds the in-sync set and the high watermark.

pub mod append;
pub mod epochs;
mod known;
pub mod leader;
pub mod open;
pub mod producers;
