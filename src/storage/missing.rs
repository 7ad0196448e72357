//! Where the journal is damaged: the place of the first commit that is missing.
//!
//! That is where something begins which says that it is this commit; failing that, where the commit has to
//! begin: behind the one before it, or in the first byte of a chunk.

use super::error::CommitFault;
use super::journal::Broken;

/// A valid commit, by where it is: its chunk, its first byte, and the one after its padding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) slot: usize,
    pub(super) at: usize,
    pub(super) end: usize,
}

/// A chunk and a byte of it.
type Place = (usize, usize);

/// A sequence that is missing between two valid commits, or before the first of all.
#[derive(Debug)]
pub(super) struct Hole<'a> {
    pub(super) missing: u64,
    pub(super) newest: u64,
    commits: &'a [Found],
    /// The one after it.
    after: usize,
}

impl<'a> Hole<'a> {
    /// The first sequence from `first` on that `commits`, which are in order, lack below their newest.
    pub(super) fn find(commits: &'a [Found], first: u64) -> Option<Self> {
        let mut expected = commits.iter().zip(first..);
        let after = expected.position(|(commit, expected)| commit.sequence != expected)?;
        let (missing, newest) = (first + after as u64, commits.last()?.sequence);
        Some(Self { missing, newest, commits, after })
    }

    /// The place, and what is wrong there: `broken` is what begins like a commit and is none, in all of the
    /// chunks.
    pub(super) fn explain(
        &self,
        broken: &[(Place, Broken)],
        slots: &[usize],
    ) -> (Place, CommitFault) {
        let (place, begins_chunk) = self.place(slots);
        let find = |is_it: &dyn Fn(&(Place, Broken)) -> bool| broken.iter().find(|b| is_it(b));
        find(&|(_, of)| of.sequence == self.missing)
            .or_else(|| find(&|(at, _)| *at == place))
            .or_else(|| find(&|(at, _)| begins_chunk && at.1 == 0))
            .map_or((place, CommitFault::Absent), |(at, of)| (*at, of.fault))
    }

    /// Where the commit has to begin, and whether it may as well be the only one of a chunk.
    fn place(&self, slots: &[usize]) -> (Place, bool) {
        let after = self.commits[self.after];
        let begins_chunk = after.at == 0;
        match self.after.checked_sub(1).map(|before| self.commits[before]) {
            Some(before) if before.slot == after.slot || begins_chunk => {
                ((before.slot, before.end), begins_chunk)
            }
            None if begins_chunk => {
                let is_used = |slot: &usize| self.commits.iter().any(|c| c.slot == *slot);
                let unused = slots.iter().find(|slot| !is_used(slot));
                ((unused.copied().unwrap_or(after.slot), 0), true)
            }
            _ => ((after.slot, 0), false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: CommitFault = CommitFault::Checksum { stored: 1, computed: 2 };

    /// Commits of one block, by sequence, chunk and block.
    fn check(commits: &[(u64, usize, usize)], broken: &[(u64, usize, usize)], expect: &str) {
        let found = |&(sequence, slot, block): &(u64, usize, usize)| Found {
            sequence,
            slot,
            at: block * 4096,
            end: block * 4096 + 4096,
        };
        let found: Vec<_> = commits.iter().map(found).collect();
        let noted = |&(sequence, slot, block): &(u64, usize, usize)| {
            ((slot, block * 4096), Broken { sequence, fault: FAULT })
        };
        let noted: Vec<_> = broken.iter().map(noted).collect();
        let said = Hole::find(&found, 5).map_or("whole".to_owned(), |hole| {
            let ((slot, at), fault) = hole.explain(&noted, &[0, 1, 2]);
            format!("{} at {slot}:{}, {}", hole.missing, at / 4096, fault == FAULT)
        });
        assert_eq!(said, expect, "{commits:?} {broken:?}");
    }

    #[test]
    fn the_place_of_a_commit_that_is_missing_is_found() {
        let torn = [(9, 0, 3)];
        check(&[], &torn, "whole");
        check(&[(5, 0, 0), (6, 0, 1)], &torn, "whole");
        // It is still there, though elsewhere than it has to be.
        check(&[(5, 0, 0), (7, 0, 2)], &[(9, 0, 3), (6, 1, 4)], "6 at 1:4, true");
        check(&[(5, 0, 0), (8, 1, 2)], &[(6, 0, 1), (7, 1, 0)], "6 at 0:1, true");
        // Its header says something else, or nothing.
        check(&[(5, 0, 0), (7, 0, 2)], &[(99, 0, 1)], "6 at 0:1, true");
        check(&[(5, 0, 0), (7, 0, 2)], &torn, "6 at 0:1, false");
        // The last of its chunk, the first, the only one.
        check(&[(5, 0, 0), (7, 1, 0)], &[], "6 at 0:1, false");
        check(&[(5, 0, 0), (7, 1, 1)], &[], "6 at 1:0, false");
        check(&[(5, 0, 0), (7, 1, 0)], &[(99, 2, 0)], "6 at 2:0, true");
        // The first of all.
        check(&[(6, 0, 1)], &[], "5 at 0:0, false");
        check(&[(6, 0, 0)], &[], "5 at 1:0, false");
        check(&[(6, 0, 0)], &[(5, 2, 0)], "5 at 2:0, true");
    }
}
