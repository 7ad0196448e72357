//! `--verify`: whether each acknowledged record is read once, whole and in order.
//!
//! A producer numbers the records of each partition from 0 and puts into each a hash of its bytes and of
//! the hash before it; a consumer follows. After the head ([`payload`](super::payload)) a value has
//!
//! ```text
//! sequence | chain | bytes
//! 16       24      28
//! ```
//!
//! A number that is left out is missing until it comes: then it was reordered. What is still missing at
//! the end is lost, but for records that the producer gave up, whose fate nobody knows.

use std::collections::BTreeSet;
use std::ops::Range;

use klamm::base::map::DetMap;

use crate::tools::load::payload::HEADER_BYTES;

/// Bytes of a value up to the end of the chain.
pub(crate) const PROVEN_BYTES: usize = HEADER_BYTES + 12;

/// What the consumers found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub(crate) fn is_good(self) -> bool {
        self == Self::default()
    }
}

/// What a producer sent to one partition.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    next: u64,
    hash: u32,
    /// Records below this number have a delivery.
    settled: u64,
    failed: Vec<Range<u64>>,
}

impl Chain {
    /// Numbers the next record, and binds it to the one before it.
    pub(crate) fn seal(&mut self, key: Option<&[u8]>, value: &mut [u8]) {
        value[HEADER_BYTES..HEADER_BYTES + 8].copy_from_slice(&self.next.to_be_bytes());
        self.hash = hash(self.hash, key, value);
        value[HEADER_BYTES + 8..PROVEN_BYTES].copy_from_slice(&self.hash.to_be_bytes());
        self.next += 1;
    }

    /// The next `count` records are delivered, or given up.
    pub(crate) fn settle(&mut self, count: u64, is_ok: bool) {
        let range = self.settled..self.settled + count;
        self.settled = range.end;
        if !is_ok {
            self.failed.push(range);
        }
    }

    fn has_failed(&self, number: u64) -> bool {
        self.failed.iter().any(|range| range.contains(&number))
    }
}

/// CRC-32C over the hash before, the key, and all of the value but the chain.
fn hash(before: u32, key: Option<&[u8]>, value: &[u8]) -> u32 {
    let hash = crc32c::crc32c_append(before, key.unwrap_or_default());
    let hash = crc32c::crc32c_append(hash, &value[..HEADER_BYTES + 8]);
    crc32c::crc32c_append(hash, &value[PROVEN_BYTES..])
}

#[derive(Debug, Default)]
struct Seen {
    next: u64,
    /// The chain of the record before `next`, when that one came.
    hash: Option<u32>,
    missing: BTreeSet<u64>,
}

/// Follows the chains of all producers, for each group of consumers.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    seen: DetMap<(u32, u32, i32), Seen>,
    verdict: Verdict,
}

impl Checker {
    /// A group read a record.
    pub(crate) fn read(
        &mut self,
        (group, producer, partition): (u32, u32, i32),
        key: Option<&[u8]>,
        value: &[u8],
    ) {
        let Some((sequence, chain)) = proof(value) else {
            self.verdict.corrupted += 1;
            return;
        };
        let first = || Seen { hash: Some(0), ..Seen::default() };
        let seen = self.seen.entry((group, producer, partition)).or_insert_with(first);
        if sequence < seen.next {
            if seen.missing.remove(&sequence) {
                self.verdict.reordered += 1;
            } else {
                self.verdict.duplicated += 1;
            }
            return;
        }
        let before = if sequence == seen.next { seen.hash } else { None };
        if before.is_some_and(|before| hash(before, key, value) != chain) {
            self.verdict.corrupted += 1;
        }
        seen.missing.extend(seen.next..sequence);
        (seen.next, seen.hash) = (sequence + 1, Some(chain));
    }

    /// The verdict, once everything is over, given what each producer sent where.
    pub(crate) fn verdict<'a>(
        &self,
        groups: u32,
        chains: impl Iterator<Item = (u32, i32, &'a Chain)>,
    ) -> Verdict {
        let mut verdict = self.verdict;
        let none = Seen::default();
        for (producer, partition, chain) in chains {
            for group in 0..groups {
                let seen = self.seen.get(&(group, producer, partition)).unwrap_or(&none);
                let missing = seen.missing.iter().copied().filter(|n| *n < chain.settled);
                let unread = seen.next.min(chain.settled)..chain.settled;
                let lost = missing.chain(unread).filter(|&n| !chain.has_failed(n)).count();
                verdict.lost += lost as u64;
            }
        }
        verdict
    }
}

fn proof(value: &[u8]) -> Option<(u64, u32)> {
    let (sequence, rest) = value.get(HEADER_BYTES..)?.split_first_chunk::<8>()?;
    let (chain, _) = rest.split_first_chunk::<4>()?;
    Some((u64::from_be_bytes(*sequence), u32::from_be_bytes(*chain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `sent` records, reads those at the positions of `read`, in that order.
    fn check(sent: u64, failed: Range<u64>, read: &[usize]) -> Verdict {
        let mut chain = Chain::default();
        let records: Vec<_> = (0..sent)
            .map(|n| {
                let mut value = vec![n as u8; 40];
                chain.seal(Some(b"k"), &mut value);
                value
            })
            .collect();
        chain.settle(failed.start, true);
        chain.settle(failed.end - failed.start, false);
        chain.settle(sent - failed.end, true);
        let mut checker = Checker::default();
        for &at in read {
            checker.read((0, 7, 3), Some(b"k"), &records[at]);
        }
        checker.verdict(1, [(7, 3, &chain)].into_iter())
    }

    #[test]
    fn records_that_come_once_and_in_order_are_good() {
        assert!(check(4, 4..4, &[0, 1, 2, 3]).is_good());
    }

    #[test]
    fn what_is_left_out_is_lost_also_at_both_ends() {
        assert_eq!(check(5, 5..5, &[1, 3]), Verdict { lost: 3, ..Verdict::default() });
        assert_eq!(check(5, 5..5, &[]), Verdict { lost: 5, ..Verdict::default() });
    }

    #[test]
    fn what_comes_late_is_reordered_and_what_comes_twice_duplicated() {
        assert_eq!(check(3, 3..3, &[0, 2, 1]), Verdict { reordered: 1, ..Verdict::default() });
        assert_eq!(check(3, 3..3, &[0, 1, 1, 2]), Verdict { duplicated: 1, ..Verdict::default() });
    }

    #[test]
    fn what_the_producer_gave_up_may_be_there_or_not() {
        assert!(check(5, 2..4, &[0, 1, 4]).is_good());
        assert!(check(5, 2..4, &[0, 1, 2, 3, 4]).is_good());
    }

    #[test]
    fn another_byte_or_another_key_is_corruption() {
        let mut chain = Chain::default();
        let mut value = vec![9; 40];
        chain.seal(None, &mut value);
        for (key, flip) in [(None, 39), (None, 3), (None, 25), (Some(&b"k"[..]), 0)] {
            let mut bad = value.clone();
            bad[flip] ^= u8::from(key.is_none());
            let mut checker = Checker::default();
            checker.read((0, 0, 0), key, &bad);
            assert_eq!(checker.verdict(0, std::iter::empty()).corrupted, 1, "{flip}");
        }
    }
}
