//! Requests that wait for several things, each of which arrives once: a produce request for each of
//! its partitions.
//!
//! Nearly all of them end long before their deadline, so there is no timer per request: the whole
//! set is looked through when the earliest deadline that was ever parked since the last look has
//! come. Invariant A1: `look_at` is at or before the earliest deadline in the set.

use slab::Slab;

use crate::base::Moment;

/// Names one parked request; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckId {
    slot: u32,
    serial: u32,
}

/// The parked requests, each with a `T`.
#[derive(Debug)]
pub struct Acks<T> {
    parked: Slab<Parked<T>>,
    serial: u32,
    look_at: Moment,
}

#[derive(Debug)]
struct Parked<T> {
    serial: u32,
    waits: u32,
    deadline: Moment,
    request: T,
}

impl<T> Default for Acks<T> {
    fn default() -> Self {
        Self { parked: Slab::new(), serial: 0, look_at: Moment::NEVER }
    }
}

impl<T> Acks<T> {
    /// Parks `request` until `waits` things (at least one) have arrived.
    pub fn park(&mut self, request: T, waits: u32, deadline: Moment) -> AckId {
        assert!(waits > 0, "A2: what waits for nothing is not parked");
        self.serial = self.serial.wrapping_add(1);
        self.look_at = self.look_at.min(deadline);
        let serial = self.serial;
        let slot = self.parked.insert(Parked { serial, waits, deadline, request });
        AckId { slot: slot as u32, serial }
    }

    /// One thing arrived; `note` takes that down. Returns the request when it was the last one.
    pub fn arrived(&mut self, id: AckId, note: impl FnOnce(&mut T)) -> Option<T> {
        let parked = self.parked.get_mut(id.slot as usize).filter(|p| p.serial == id.serial)?;
        note(&mut parked.request);
        parked.waits -= 1;
        (parked.waits == 0).then(|| self.parked.remove(id.slot as usize).request)
    }

    /// Takes out the requests whose deadline has come.
    pub fn expire(&mut self, now: Moment, out: &mut Vec<T>) {
        if now < self.look_at {
            return;
        }
        let due = |(slot, p): (usize, &Parked<T>)| (p.deadline <= now).then_some(slot);
        let due: Vec<usize> = self.parked.iter().filter_map(due).collect();
        out.extend(due.into_iter().map(|slot| self.parked.remove(slot).request));
        self.look_at = self.parked.iter().map(|(_, p)| p.deadline).min().unwrap_or(Moment::NEVER);
    }

    /// When to call [`Self::expire`]; A1.
    pub fn next_deadline(&self) -> Moment {
        if self.parked.is_empty() { Moment::NEVER } else { self.look_at }
    }

    /// Number of parked requests.
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether none is parked.
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_with_the_last_thing_it_waits_for() {
        let mut acks = Acks::default();
        let id = acks.park(Vec::new(), 2, Moment(100));
        assert_eq!(acks.arrived(id, |seen| seen.push(7)), None);
        assert_eq!(acks.arrived(id, |seen| seen.push(8)), Some(vec![7, 8]));
        let next = acks.park(Vec::new(), 1, Moment(100));
        assert_eq!(acks.arrived(id, |seen| seen.push(9)), None, "the place has a new tenant");
        assert_eq!(acks.arrived(next, |_| ()), Some(vec![]));
    }

    #[test]
    fn each_request_expires_at_its_own_deadline() {
        let mut acks = Acks::default();
        for at in [30, 10, 20] {
            acks.park(at, 1, Moment(at));
        }
        let mut out = Vec::new();
        for (now, expired) in [(9, vec![]), (10, vec![10]), (25, vec![20]), (40, vec![30])] {
            assert!(acks.next_deadline() > Moment(now) || !expired.is_empty());
            acks.expire(Moment(now), &mut out);
            assert_eq!(out, expired, "at {now}");
            out.clear();
        }
        assert_eq!((acks.next_deadline(), acks.is_empty()), (Moment::NEVER, true));
    }
}
