//! Which connections are taken, when: `max.connections`, `max.connections.per.ip` and
//! `max.connection.creation.rate`.
//!
//! As in Kafka, one too many from an address is closed at once, while one that is over the number of
//! connections or over the rate waits until there is room. Kafka leaves those in the kernel's queue;
//! here they wait in a queue of the same length (`socket.listen.backlog.size`), unread, and what does
//! not fit is closed.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::{DetMap, Moment};
use crate::config::NodeLimits;
use crate::metrics::Refusal;
use crate::runtime::network::ConnectionId;

/// What the rate allows at once after a quiet time: that of a second.
const BURST: Duration = Duration::from_secs(1);

/// The connections of one node, by number only.
#[derive(Debug, Default)]
pub struct Admission {
    open: usize,
    per_ip: DetMap<IpAddr, usize>,
    waiting: VecDeque<(ConnectionId, SocketAddr)>,
    /// When all that was taken would have come, had it come at the rate.
    paid_until: Moment,
}

/// What happens to a connection that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is open, and counts.
    Taken,
    /// It waits; [`Admission::next`] gives it out later.
    Waits(Refusal),
    /// Close it.
    Refused(Refusal),
}

impl Admission {
    /// A connection came; at most `waiting_max` wait.
    pub fn arrive(
        &mut self,
        id: ConnectionId,
        peer: SocketAddr,
        limits: &NodeLimits,
        waiting_max: usize,
        now: Moment,
    ) -> Verdict {
        if self.is_one_too_many(peer.ip(), limits) {
            return Verdict::Refused(Refusal::ConnectionsPerIp);
        }
        let wait = self.wait(limits, now);
        let reason = match (self.waiting.is_empty(), wait) {
            (true, None) => {
                self.take(peer.ip(), limits, now);
                return Verdict::Taken;
            }
            (_, Some((_, reason))) => reason,
            (false, None) => Refusal::ConnectionRate,
        };
        if self.waiting.len() >= waiting_max {
            return Verdict::Refused(reason);
        }
        self.waiting.push_back((id, peer));
        Verdict::Waits(reason)
    }

    /// A connection that has waited and is open now, or that is refused after all.
    pub fn next(
        &mut self,
        limits: &NodeLimits,
        now: Moment,
    ) -> Option<(ConnectionId, SocketAddr, Verdict)> {
        if self.waiting.is_empty() || self.wait(limits, now).is_some() {
            return None;
        }
        let (id, peer) = self.waiting.pop_front()?;
        if self.is_one_too_many(peer.ip(), limits) {
            return Some((id, peer, Verdict::Refused(Refusal::ConnectionsPerIp)));
        }
        self.take(peer.ip(), limits, now);
        Some((id, peer, Verdict::Taken))
    }

    /// All that wait, when the node stops.
    pub fn drain(&mut self) -> impl Iterator<Item = ConnectionId> {
        self.waiting.drain(..).map(|(id, _)| id)
    }

    /// An open connection is gone.
    pub fn left(&mut self, peer: IpAddr) {
        self.open = self.open.saturating_sub(1);
        if let Some(count) = self.per_ip.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&peer);
            }
        }
    }

    /// When [`Self::next`] may have something, apart from when a connection leaves.
    pub fn next_deadline(&self, limits: &NodeLimits, now: Moment) -> Moment {
        match self.wait(limits, now) {
            _ if self.waiting.is_empty() => Moment::NEVER,
            None => now,
            Some((until, _)) => until,
        }
    }

    fn is_one_too_many(&self, peer: IpAddr, limits: &NodeLimits) -> bool {
        let from_there = self.per_ip.get(&peer).copied().unwrap_or(0);
        from_there >= limits.connections_from(&peer.to_canonical().to_string()) as usize
    }

    /// Until when no connection can be taken, and why; `None` when one can.
    fn wait(&self, limits: &NodeLimits, now: Moment) -> Option<(Moment, Refusal)> {
        if self.open >= limits.connections_max as usize {
            return Some((Moment::NEVER, Refusal::Connections));
        }
        let Some(each) = pause(limits.connection_creation_rate) else {
            return Some((Moment::NEVER, Refusal::ConnectionRate));
        };
        let ahead = self.paid_until.since(now) + each;
        let wait = ahead.saturating_sub(BURST.max(each));
        (!wait.is_zero()).then_some((now + wait, Refusal::ConnectionRate))
    }

    fn take(&mut self, peer: IpAddr, limits: &NodeLimits, now: Moment) {
        self.open += 1;
        *self.per_ip.entry(peer).or_default() += 1;
        let each = pause(limits.connection_creation_rate).unwrap_or_default();
        self.paid_until = self.paid_until.max(now) + each;
    }
}

/// Time between connections at this rate; `None` when there are none.
fn pause(per_second: u32) -> Option<Duration> {
    match per_second {
        0 => None,
        // Kafka's "no limit".
        0x7fff_ffff => Some(Duration::ZERO),
        rate => Some(Duration::from_secs(1) / rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, ServerConfig};

    fn limits(file: &str) -> NodeLimits {
        NodeLimits::of(&Layers::of_server(&ServerConfig::load(file, &[]).unwrap()))
    }

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1000))
    }

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    /// Comes at `ms`; at most two wait.
    fn comes(a: &mut Admission, l: &NodeLimits, id: u64, from: u8, ms: u64) -> Verdict {
        a.arrive(ConnectionId(id), peer(from), l, 2, at(ms))
    }

    fn gets(a: &mut Admission, l: &NodeLimits, ms: u64) -> Option<u64> {
        a.next(l, at(ms)).map(|(id, _, verdict)| {
            assert_eq!(verdict, Verdict::Taken);
            id.0
        })
    }

    #[test]
    fn over_the_number_of_connections_new_ones_wait_and_then_are_closed() {
        let (mut a, l) = (Admission::default(), limits("max.connections=1"));
        assert_eq!(comes(&mut a, &l, 1, 1, 0), Verdict::Taken);
        assert_eq!(comes(&mut a, &l, 2, 1, 0), Verdict::Waits(Refusal::Connections));
        assert_eq!(comes(&mut a, &l, 3, 1, 0), Verdict::Waits(Refusal::Connections));
        assert_eq!(comes(&mut a, &l, 4, 1, 0), Verdict::Refused(Refusal::Connections));
        assert_eq!((gets(&mut a, &l, 0), a.next_deadline(&l, at(0))), (None, Moment::NEVER));
        a.left(peer(1).ip());
        assert_eq!((gets(&mut a, &l, 0), gets(&mut a, &l, 0)), (Some(2), None));
        a.left(peer(1).ip());
        assert_eq!(a.next_deadline(&l, at(7)), at(7));
        assert_eq!(gets(&mut a, &l, 7), Some(3));
        a.left(peer(1).ip());
        assert!(a.per_ip.is_empty(), "nothing is kept of addresses that are gone");
    }

    #[test]
    fn one_too_many_from_an_address_is_closed_at_once_and_others_come_in() {
        let file = "max.connections.per.ip=1\nmax.connections.per.ip.overrides=10.0.0.2:2";
        let (mut a, l) = (Admission::default(), limits(file));
        assert_eq!(comes(&mut a, &l, 1, 1, 0), Verdict::Taken);
        assert_eq!(comes(&mut a, &l, 2, 1, 0), Verdict::Refused(Refusal::ConnectionsPerIp));
        assert_eq!(comes(&mut a, &l, 3, 2, 0), Verdict::Taken);
        assert_eq!(comes(&mut a, &l, 4, 2, 0), Verdict::Taken);
        assert_eq!(comes(&mut a, &l, 5, 2, 0), Verdict::Refused(Refusal::ConnectionsPerIp));
        a.left(peer(1).ip());
        assert_eq!(comes(&mut a, &l, 6, 1, 0), Verdict::Taken);
    }

    #[test]
    fn over_the_rate_connections_wait_their_turn() {
        let (mut a, l) = (Admission::default(), limits("max.connection.creation.rate=2"));
        let verdicts: Vec<_> = (0..5).map(|id| comes(&mut a, &l, id, 1, 0)).collect();
        let (waits, refused) =
            (Verdict::Waits(Refusal::ConnectionRate), Verdict::Refused(Refusal::ConnectionRate));
        assert_eq!(verdicts, [Verdict::Taken, Verdict::Taken, waits, waits, refused]);
        assert_eq!((gets(&mut a, &l, 499), a.next_deadline(&l, at(499))), (None, at(500)));
        assert_eq!((gets(&mut a, &l, 500), gets(&mut a, &l, 500)), (Some(2), None));
        assert_eq!(comes(&mut a, &l, 9, 1, 900), waits, "nobody passes those who wait");
        assert_eq!(gets(&mut a, &l, 5000), Some(3));
        let none = limits("max.connection.creation.rate=0");
        assert_eq!(gets(&mut a, &none, 9_000_000), None);
    }
}
