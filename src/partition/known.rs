//! Producers by id, in chunks that copies of all of it share until one of them changes.
//!
//! So a snapshot of very many producers costs the turn a count for each chunk, and whoever writes it works
//! on the copy; a chunk that is appended to meanwhile is copied then, which takes about a microsecond.
//!
//! Invariant N1: ids ascend, in a chunk and from chunk to chunk; a chunk's key is at most its first id, and
//! above the last one before it.

use std::sync::Arc;

use super::producers::Producer;

/// Producers of one chunk.
const CHUNK_MAX: usize = 128;

/// The table.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    chunks: Vec<(i64, Arc<Chunk>)>,
    len: usize,
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    ids: Vec<i64>,
    /// In the same order.
    producers: Vec<Producer>,
}

impl Known {
    /// Number of producers.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of them, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.chunks.iter().flat_map(|(_, c)| c.ids.iter().copied().zip(&c.producers))
    }

    /// The chunk that would have `id`.
    fn place(&self, id: i64) -> usize {
        self.chunks.partition_point(|(from, _)| *from <= id).saturating_sub(1)
    }

    /// A producer.
    pub(super) fn find(&self, id: i64) -> Option<&Producer> {
        let (_, chunk) = self.chunks.get(self.place(id))?;
        Some(&chunk.producers[chunk.ids.binary_search(&id).ok()?])
    }

    /// A producer, a `new` one if it is not known.
    pub(super) fn entry(&mut self, id: i64, new: impl FnOnce() -> Producer) -> &mut Producer {
        let at = self.place(id);
        let found = self.chunks.get(at).map_or(Err(0), |(_, c)| c.ids.binary_search(&id));
        let (at, i) = match found {
            Ok(i) => (at, i),
            Err(i) => self.insert((at, i), id, new()),
        };
        &mut Arc::make_mut(&mut self.chunks[at].1).producers[i]
    }

    fn insert(
        &mut self,
        (mut at, mut i): (usize, usize),
        id: i64,
        new: Producer,
    ) -> (usize, usize) {
        let full = self.chunks.get(at).is_none_or(|(_, c)| c.ids.len() == CHUNK_MAX);
        if full && at + 1 >= self.chunks.len() && (i == CHUNK_MAX || self.chunks.is_empty()) {
            // Ids mostly grow: a chunk that is full stays so.
            self.chunks.push((id, Arc::default()));
            (at, i) = (self.chunks.len() - 1, 0);
        } else if full {
            let chunk = Arc::make_mut(&mut self.chunks[at].1);
            let ids = chunk.ids.split_off(CHUNK_MAX / 2);
            let producers = chunk.producers.split_off(CHUNK_MAX / 2);
            self.chunks.insert(at + 1, (ids[0], Arc::new(Chunk { ids, producers })));
            if i > CHUNK_MAX / 2 {
                (at, i) = (at + 1, i - CHUNK_MAX / 2);
            }
        }
        let (from, chunk) = &mut self.chunks[at];
        *from = id.min(*from);
        let chunk = Arc::make_mut(chunk);
        chunk.ids.insert(i, id);
        chunk.producers.insert(i, new);
        self.len += 1;
        (at, i)
    }

    /// Drops those that are `gone`, from the chunk of id `from` on, and takes what it looks at off `room`.
    /// Where to go on when there is no more.
    pub(super) fn sweep(
        &mut self,
        from: i64,
        room: &mut usize,
        gone: impl Fn(&Producer) -> bool,
    ) -> Option<i64> {
        let mut at = self.place(from);
        while let Some((key, chunk)) = self.chunks.get_mut(at) {
            if *room == 0 {
                return Some(*key);
            }
            *room = room.saturating_sub(chunk.ids.len());
            if !chunk.producers.iter().any(&gone) {
                at += 1;
                continue;
            }
            let stay = chunk.ids.iter().zip(&chunk.producers).filter(|(_, p)| !gone(p));
            let (ids, producers): (Vec<_>, Vec<_>) = stay.map(|(id, p)| (*id, *p)).unzip();
            self.len -= chunk.ids.len() - ids.len();
            if ids.is_empty() {
                self.chunks.remove(at);
            } else {
                *chunk = Arc::new(Chunk { ids, producers });
                at += 1;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(epoch: i16) -> Producer {
        Producer::new(epoch, 0)
    }

    fn all(known: &Known) -> Vec<(i64, i16)> {
        known.iter().map(|(id, p)| (id, p.epoch)).collect()
    }

    #[test]
    fn producers_are_found_and_told_by_id_however_they_came() {
        for step in [1, 7, 641, 999] {
            let mut known = Known::default();
            for n in 0..1000 {
                let id = n * step % 1000;
                assert!(known.find(id).is_none());
                known.entry(id, || producer(id as i16));
                assert_eq!(known.entry(id, || producer(-1)).epoch, id as i16);
            }
            assert_eq!(known.len(), 1000);
            assert_eq!(all(&known), (0..1000).map(|id| (id, id as i16)).collect::<Vec<_>>());
            assert!((0..1000).all(|id| known.find(id).is_some_and(|p| p.epoch == id as i16)));
            assert!(known.find(1000).is_none() && known.find(-1).is_none());
            assert!(known.chunks.len() < 2 * 1000 / CHUNK_MAX + 2, "{}", known.chunks.len());
        }
    }

    #[test]
    fn a_copy_shares_what_is_not_changed_and_keeps_what_is() {
        let mut known = Known::default();
        for id in 0..1000 {
            known.entry(id, || producer(0));
        }
        let (copy, before) = (known.clone(), all(&known));
        known.entry(500, || producer(0)).epoch = 1;
        known.entry(1000, || producer(2));
        assert_eq!(all(&copy), before);
        assert_eq!(known.find(500).map(|p| p.epoch), Some(1));
        let shared = known.chunks.iter().zip(&copy.chunks).filter(|(a, b)| Arc::ptr_eq(&a.1, &b.1));
        assert_eq!(shared.count(), copy.chunks.len() - 2, "all but two are as they were");
    }

    #[test]
    fn a_sweep_looks_at_some_and_goes_on_where_it_stopped() {
        let mut known = Known::default();
        for id in 0..1000 {
            known.entry(id, || producer((id % 2) as i16));
        }
        let (mut from, mut steps) = (i64::MIN, 0);
        loop {
            steps += 1;
            let mut room = 2 * CHUNK_MAX;
            match known.sweep(from, &mut room, |p| p.epoch == 1) {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!((known.len(), steps), (500, 4));
        assert_eq!(all(&known), (0..500).map(|n| (2 * n, 0)).collect::<Vec<_>>());
        assert_eq!(known.sweep(i64::MIN, &mut 1000, |_| true), None);
        assert_eq!((known.len(), known.chunks.len()), (0, 0));
    }
}
