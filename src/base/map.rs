//! Hash maps whose iteration order depends on the insertions alone, so that one seed is one trace.

#[allow(clippy::disallowed_types, reason = "the one place that names the std maps")]
mod maps {
    use rustc_hash::FxBuildHasher;

    /// `HashMap` without a random seed. Sort before anything of its order reaches a client.
    pub type DetMap<K, V> = std::collections::HashMap<K, V, FxBuildHasher>;
    /// `HashSet` without a random seed.
    pub type DetSet<K> = std::collections::HashSet<K, FxBuildHasher>;
}

pub use maps::{DetMap, DetSet};
