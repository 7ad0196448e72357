//! Whose time is over: a set of keys ordered by their deadlines.

use std::collections::BTreeSet;

use crate::base::Moment;

/// Keys with deadlines; a key may be in it once.
#[derive(Debug)]
pub struct Deadlines<K> {
    ordered: BTreeSet<(Moment, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { ordered: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds a key.
    pub fn insert(&mut self, deadline: Moment, key: K) {
        self.ordered.insert((deadline, key));
    }

    /// Removes a key, whose deadline the caller remembers.
    pub fn remove(&mut self, deadline: Moment, key: K) {
        self.ordered.remove(&(deadline, key));
    }

    /// Takes the next key whose deadline has come.
    pub fn pop_due(&mut self, now: Moment) -> Option<K> {
        self.ordered.first().filter(|(deadline, _)| *deadline <= now)?;
        self.ordered.pop_first().map(|(_, key)| key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Moment {
        self.ordered.first().map_or(Moment::NEVER, |(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_when_due_and_in_order() {
        let mut deadlines = Deadlines::default();
        for (at, key) in [(30, 'c'), (10, 'a'), (20, 'b')] {
            deadlines.insert(Moment(at), key);
        }
        assert_eq!(deadlines.next(), Moment(10));
        deadlines.remove(Moment(10), 'a');
        assert_eq!(deadlines.pop_due(Moment(19)), None);
        assert_eq!(deadlines.pop_due(Moment(40)), Some('b'));
        assert_eq!(deadlines.pop_due(Moment(40)), Some('c'));
        assert_eq!(deadlines.next(), Moment::NEVER);
    }
}
