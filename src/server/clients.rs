//! The connections of a node: which are taken, which may read on, and which are closed.
//!
//! The rules are those of `net::admission` and `net::budget`; here they meet the sockets.

use std::net::SocketAddr;

use crate::api::CloseReason;
use crate::base::{DetSet, Moment};
use crate::metrics::Refusal;
use crate::net::admission::Verdict;
use crate::net::budget::{Held, RELIEF_PERIOD, SMALL, patience};
use crate::net::connection::Connection;
use crate::runtime::cpu;
use crate::runtime::network::{ConnectionId, Network};
use crate::server::turn::{Node, Outside};
use crate::shard::observe::{Counts, Observed};

/// A connection that may not read until memory is given back.
pub(super) struct Paused {
    id: ConnectionId,
    /// Its buffer would grow beyond [`SMALL`].
    is_large: bool,
}

impl Node {
    /// A client connected.
    pub(super) fn accept(
        &mut self,
        id: ConnectionId,
        peer: SocketAddr,
        outside: &mut impl Outside,
    ) {
        self.shard.metrics.accepted += 1;
        let (now, waiting_max) = (self.shard.now, self.limits.waiting_max);
        let verdict = if self.stopping_until.is_some() {
            Verdict::Refused(Refusal::Stopping)
        } else if self.budget.takes_connection() {
            self.admission.arrive(id, peer, &self.shard.limits, waiting_max, now)
        } else {
            Verdict::Refused(Refusal::Memory)
        };
        self.settle(id, peer, verdict, outside);
    }

    /// Takes connections that have waited and may come now.
    pub(super) fn admit_waiting(&mut self, outside: &mut impl Outside) {
        let now = self.shard.now;
        while let Some((id, peer, verdict)) = self.admission.next(&self.shard.limits, now) {
            self.settle(id, peer, verdict, outside);
        }
    }

    fn settle(
        &mut self,
        id: ConnectionId,
        peer: SocketAddr,
        verdict: Verdict,
        outside: &mut impl Outside,
    ) {
        let now = self.shard.now;
        match verdict {
            Verdict::Taken => {
                self.idle_look_at = self.idle_look_at.min(now + self.limits.idle_max);
                self.connections.insert(id, Connection::new(peer.ip(), now));
                self.read_on(id, 0, outside);
            }
            Verdict::Waits(reason) => {
                tracing::debug!(%peer, reason = reason.name(), "connection waits");
                self.shard.metrics.refuse(reason);
            }
            Verdict::Refused(reason) => {
                tracing::debug!(%peer, reason = reason.name(), "connection refused");
                self.shard.metrics.refuse(reason);
                outside.net().close(id);
            }
        }
    }

    /// Receives more of a frame that has `frame_bytes`, unless memory does not allow it now.
    pub(super) fn read_on(
        &mut self,
        id: ConnectionId,
        frame_bytes: usize,
        outside: &mut impl Outside,
    ) {
        let now = self.shard.now;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let net = outside.net();
        if frame_bytes > 0 {
            connection.unfinished_since.get_or_insert(now);
        }
        let (size, growth) = net.buffer(id, frame_bytes);
        let is_large = growth > 0 && size + growth > SMALL;
        let waits = is_large && self.paused.iter().any(|p| p.is_large);
        if !waits && self.budget.may_read(size, growth) {
            net.receive(id, frame_bytes);
        } else {
            if self.paused.is_empty() {
                self.shard.metrics.pauses += 1;
            }
            self.paused.push(Paused { id, is_large });
            self.budget.paused();
            self.relief_at = self.relief_at.min(now + RELIEF_PERIOD);
        }
        self.hold(id, outside);
    }

    /// Counts the memory of a connection.
    pub(super) fn hold(&mut self, id: ConnectionId, outside: &mut impl Outside) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let pieces = connection.pieces.as_ref().map_or(0, |pieces| pieces.size_bytes());
        let request = outside.net().buffer(id, 0).0 + pieces;
        let held = Held { request, answers: connection.out.len() };
        self.budget.count(&mut connection.held, held);
    }

    /// Works out what is left, lets the paused read when there is more than before, in the order in
    /// which they came, and otherwise closes who has held much for long.
    pub(super) fn mind_memory(&mut self, outside: &mut impl Outside) {
        let now = self.shard.now;
        if now >= self.session_bytes.1 {
            self.session_bytes = (self.shard.session_bytes(), now + RELIEF_PERIOD);
        }
        self.budget.set_shard(self.shard.memory_bytes() + self.session_bytes.0);
        self.shard.answer_room = self.budget.room();
        if now >= self.relief_at {
            self.relief_at = Moment::NEVER;
            if !self.paused.is_empty() {
                self.relief_at = now + RELIEF_PERIOD;
                self.relieve(outside);
            }
        }
        if !self.paused.is_empty() && self.budget.has_eased() {
            // Before all others.
            self.ready.splice(..0, self.paused.drain(..).map(|paused| paused.id));
        }
    }

    /// B2 of the budget.
    fn relieve(&mut self, outside: &mut impl Outside) {
        let now = self.shard.now;
        let total = |c: &Connection| c.held.request + c.held.answers;
        let is_late = |since, c: &Connection| now.since(since) >= patience(total(c));
        let is_stuck =
            |c: &Connection| total(c) > SMALL && c.stuck_since().is_some_and(|s| is_late(s, c));
        let paused: DetSet<_> = self.paused.iter().map(|p| p.id).collect();
        let stuck = self.connections.iter().filter(|(_, c)| is_stuck(c));
        // Those first that keep us waiting, then those that wait for us.
        let rank = |id: ConnectionId, c| (!paused.contains(&id), total(c), id);
        let Some((&id, _)) = stuck.max_by_key(|(id, c)| rank(**id, c)) else { return };
        tracing::debug!(connection = id.0, "connection closed: it holds much memory for long");
        self.shard.metrics.refuse(Refusal::Memory);
        self.close(id, outside);
        self.relief_at = now;
    }

    /// Ends a connection that makes no sense.
    pub(super) fn close_for(
        &mut self,
        id: ConnectionId,
        reason: &CloseReason,
        outside: &mut impl Outside,
    ) {
        tracing::debug!(connection = id.0, %reason, "connection closed");
        self.shard.metrics.refuse(reason.refusal());
        self.close(id, outside);
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, id: ConnectionId, outside: &mut impl Outside) {
        outside.net().close(id);
        self.forget(id);
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        self.budget.count(&mut connection.held, Held::default());
        self.admission.left(connection.peer);
        self.shard.on_closed(id);
    }

    /// `connections.max.idle.ms`.
    pub(super) fn close_idle(&mut self, outside: &mut impl Outside) {
        let (now, idle_max) = (self.shard.now, self.limits.idle_max);
        if now < self.idle_look_at {
            return;
        }
        let is_idle = |c: &Connection| c.is_quiet() && now.since(c.active_at) >= idle_max;
        let idle: Vec<_> =
            self.connections.iter().filter(|(_, c)| is_idle(c)).map(|(id, _)| *id).collect();
        for id in idle {
            self.shard.metrics.refuse(Refusal::Idle);
            self.close(id, outside);
        }
        // A parked request keeps its connection; it is looked at again a whole period later.
        let next = self.connections.values().map(|c| c.active_at + idle_max).min();
        self.idle_look_at = next.map_or(Moment::NEVER, |at| at.max(now + idle_max / 2));
    }

    /// What only the turn knows of this node.
    pub(super) fn add_counts(&mut self, counts: &mut Counts) {
        let metrics = &mut self.shard.metrics;
        metrics.idle.look(self.shard.now, metrics.turns_cpu.sum_s());
        (counts.metrics.idle, counts.metrics.groups) = (metrics.idle, self.shard.groups.tally());
        counts.connections = self.connections.len();
        let held = self.budget.held();
        (counts.memory.requests, counts.memory.answers) = (held.request, held.answers);
        counts.memory.limit = self.budget.limit();
    }

    /// Tells whoever asked how this node is.
    pub(super) fn tell(&self, to: &async_channel::Sender<Observed>, counts: Option<Box<Counts>>) {
        let mut observed = self.shard.observed(cpu::thread_id(), counts);
        observed.ready &= self.stopping_until.is_none();
        // Whoever asked has given up waiting, or there is room for the one answer.
        let _ = to.try_send(observed);
    }
}
