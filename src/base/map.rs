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

use std::hash::{BuildHasher as _, Hash};

use rustc_hash::FxBuildHasher;

const PARTS: usize = 64;

/// A map in parts, each of which has some of the keys. A table that grows moves all of its entries at once:
/// with thousands of them that takes longer than a turn may, and in a part there are few.
#[derive(Debug)]
pub struct SplitMap<K, V> {
    parts: Box<[DetMap<K, V>]>,
}

impl<K, V> Default for SplitMap<K, V> {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| DetMap::default()).collect() }
    }
}

impl<K, V> SplitMap<K, V> {
    /// The part that has `key`, if any has.
    pub fn of<Q: Hash + ?Sized>(&self, key: &Q) -> &DetMap<K, V> {
        &self.parts[place(key)]
    }

    /// The same, to change it.
    pub fn of_mut<Q: Hash + ?Sized>(&mut self, key: &Q) -> &mut DetMap<K, V> {
        &mut self.parts[place(key)]
    }
}

/// A table goes by the lowest and the highest bits of the same hash.
fn place<Q: Hash + ?Sized>(key: &Q) -> usize {
    (FxBuildHasher.hash_one(key) >> 32) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_split_map_finds_what_was_put_in_and_its_parts_are_about_alike() {
        let mut map = SplitMap::<Arc<str>, usize>::default();
        for n in 0..6400 {
            let name: Arc<str> = format!("topic-{n}").into();
            map.of_mut(&name).insert(name, n);
        }
        assert_eq!(map.of("topic-4711").get("topic-4711"), Some(&4711));
        assert_eq!(map.of("topic").get("topic"), None);
        let sizes: Vec<_> = map.parts.iter().map(DetMap::len).collect();
        assert!(sizes.iter().all(|n| (40..250).contains(n)), "{sizes:?}");
    }
}
