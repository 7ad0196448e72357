//! What a node counts, and the text in which it is told: plain values, no lock, no atomic.
//!
//! A node's thread is the only one that counts. Who wants to know sends it mail and gets a copy
//! (`shard::observe`), so counting costs an add, and asking costs the node one turn's copy.
//! Nothing here is done per record: a request or a turn is the smallest thing that is counted.

mod counts;
mod histogram;
mod idle;
pub mod text;
mod turn;

pub use counts::{GroupTally, NodeMetrics, Refusal, Requests, Traffic};
pub use histogram::Histogram;
pub use idle::Idle;
pub use turn::{Step, StepTotals, Steps, Turn};
