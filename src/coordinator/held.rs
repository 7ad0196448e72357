//! Memory that clients make the coordinator hold without a record of it, counted while it is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Its share of the sum of all groups of a node, in bytes; dropping it gives them back.
#[derive(Debug)]
pub(super) struct Held {
    bytes: usize,
    sum: Arc<AtomicUsize>,
}

impl Held {
    /// Adds `bytes` to `sum`.
    pub(super) fn new(bytes: usize, sum: &Arc<AtomicUsize>) -> Self {
        sum.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes, sum: Arc::clone(sum) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
