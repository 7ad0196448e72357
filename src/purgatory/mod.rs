//! Parked requests: until what they wrote is safe, until there is enough to read, or the deadline.
//!
//! Both machines are synchronous and know nothing of Kafka's messages: [`acks`] counts what a
//! request still waits for, [`deadlines`] says whose time is over.

pub mod acks;
pub mod deadlines;
