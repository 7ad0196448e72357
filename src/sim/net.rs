//! The sockets of one node, without a network: the test holds the other ends.
//!
//! Flow: a test's client -> [`SimNet::write`] -> (on the wire) -> [`SimNet::deliver`], a slice of any
//! size -> [`NetEvent::Received`] -> the turn; back by [`Network::send`] -> [`SimNet::read`].
//!
//! Nothing happens by itself: what travels waits until the test delivers it, so that the test
//! decides how bytes are cut, how late they are, and when a client is gone. As on the real front,
//! a connection that receives shows no bytes, and a socket takes only so many.
//!
//! Invariants:
//! - S1. Bytes of one connection arrive in the order in which they were written, both ways.
//! - S2. After [`NetEvent::Closed`] or [`Network::close`] no event names the connection.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::base::AlignedBuf;
use crate::runtime::network::{ConnectionId, NetEvent, Network, Outgoing, RecvBuf, Sent};

/// Parts of one send that are looked at together.
const SEND_PARTS: usize = 16;
/// As much goes in one turn: little, so that many answers take several.
const SEND_MAX: usize = 48 << 10;

/// All connections of one node.
#[derive(Debug)]
pub struct SimNet {
    next: u64,
    accepts: bool,
    /// Bytes that a socket holds until the client reads.
    socket_bytes: usize,
    ends: BTreeMap<ConnectionId, End>,
    events: Vec<NetEvent>,
}

/// One connection.
#[derive(Debug, Default)]
struct End {
    /// Written by the client, not yet delivered.
    wire: Vec<u8>,
    inbox: RecvBuf,
    armed: bool,
    frame_bytes: usize,
    /// Sent by the node, not yet read.
    out: Vec<u8>,
    blocked: bool,
}

impl SimNet {
    /// No connection yet. A socket holds `socket_bytes` for a client that does not read.
    pub fn new(socket_bytes: usize) -> Self {
        let (ends, events) = (BTreeMap::new(), Vec::new());
        Self { next: 0, accepts: false, socket_bytes, ends, events }
    }

    /// A client connects; `None` while the node does not listen.
    pub fn connect(&mut self) -> Option<ConnectionId> {
        if !self.accepts {
            return None;
        }
        let id = ConnectionId(self.next);
        self.next += 1;
        self.ends.insert(id, End::default());
        let port = 1024 + (id.0 % 60_000) as u16;
        let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        self.events.push(NetEvent::Accepted(id, peer));
        Some(id)
    }

    /// Whether the node has not closed the connection.
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.ends.contains_key(&id)
    }

    /// A client writes.
    pub fn write(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(end) = self.ends.get_mut(&id) {
            end.wire.extend_from_slice(bytes);
        }
    }

    /// At most `bytes` of what the client wrote arrive. Returns how many did: none while the node
    /// does not receive.
    pub fn deliver(&mut self, id: ConnectionId, bytes: usize) -> usize {
        let Some(end) = self.ends.get_mut(&id).filter(|e| e.armed && !e.wire.is_empty()) else {
            return 0;
        };
        let room = end.inbox.room(end.frame_bytes);
        let count = bytes.min(room.len()).min(end.wire.len());
        if count == 0 {
            return 0;
        }
        room[..count].copy_from_slice(&end.wire[..count]);
        end.inbox.filled(count);
        end.wire.drain(..count);
        end.armed = false;
        self.events.push(NetEvent::Received(id));
        count
    }

    /// Bytes that the client wrote and that have not arrived.
    pub fn travelling(&self, id: ConnectionId) -> usize {
        self.ends.get(&id).map_or(0, |end| end.wire.len())
    }

    /// Bytes that the client may read.
    pub fn readable(&self, id: ConnectionId) -> usize {
        self.ends.get(&id).map_or(0, |end| end.out.len())
    }

    /// The client reads at most `bytes`.
    pub fn read(&mut self, id: ConnectionId, bytes: usize) -> Vec<u8> {
        let Some(end) = self.ends.get_mut(&id) else { return Vec::new() };
        let read: Vec<u8> = end.out.drain(..bytes.min(end.out.len())).collect();
        if end.blocked && !read.is_empty() {
            end.blocked = false;
            self.events.push(NetEvent::Writable(id));
        }
        read
    }

    /// The client is gone; what is on the wire is lost.
    pub fn hang_up(&mut self, id: ConnectionId) {
        if self.ends.remove(&id).is_some() {
            self.forget_events(id);
            self.events.push(NetEvent::Closed(id));
        }
    }

    /// Connections that the node has not closed.
    pub fn open(&self) -> impl Iterator<Item = ConnectionId> {
        self.ends.keys().copied()
    }

    /// Whether the node has something to hear of.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether the node listens.
    pub fn set_accepting(&mut self, accepts: bool) {
        self.accepts = accepts;
    }

    /// S2; an `Accepted` stays, so that the node learns of the id that is then closed.
    fn forget_events(&mut self, id: ConnectionId) {
        self.events.retain(|event| match event {
            NetEvent::Received(of) | NetEvent::Writable(of) | NetEvent::Closed(of) => *of != id,
            NetEvent::Accepted(..) => true,
        });
    }
}

impl Network for SimNet {
    fn wait(&mut self, _timeout: Option<Duration>, events: &mut Vec<NetEvent>) -> io::Result<()> {
        events.append(&mut self.events);
        Ok(())
    }

    fn received(&self, id: ConnectionId) -> &[u8] {
        match self.ends.get(&id) {
            Some(end) if !end.armed => end.inbox.bytes(),
            _ => &[],
        }
    }

    fn consume(&mut self, id: ConnectionId, bytes: usize) {
        if let Some(end) = self.ends.get_mut(&id).filter(|e| !e.armed) {
            end.inbox.consume(bytes);
        }
    }

    fn take_frame(&mut self, id: ConnectionId, frame_bytes: usize) -> Option<AlignedBuf> {
        self.ends.get_mut(&id).filter(|e| !e.armed)?.inbox.take_frame(frame_bytes)
    }

    fn receive(&mut self, id: ConnectionId, frame_bytes: usize) {
        if let Some(end) = self.ends.get_mut(&id) {
            (end.armed, end.frame_bytes) = (true, frame_bytes);
        }
    }

    fn buffer(&self, id: ConnectionId, frame_bytes: usize) -> (usize, usize) {
        self.ends.get(&id).map_or((0, 0), |end| end.inbox.size_and_growth(frame_bytes))
    }

    fn send(&mut self, id: ConnectionId, out: &mut Outgoing) -> Sent {
        let Some(end) = self.ends.get_mut(&id) else { return Sent::Gone };
        let mut left = SEND_MAX;
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SEND_PARTS];
            let parts = out.slices(&mut slices, left);
            if parts == 0 {
                return Sent::Part;
            }
            let mut sent = 0;
            for slice in &slices[..parts] {
                let count = slice.len().min(self.socket_bytes.saturating_sub(end.out.len()));
                end.out.extend_from_slice(&slice[..count]);
                sent += count;
            }
            if sent == 0 {
                end.blocked = true;
                return Sent::Blocked;
            }
            out.advance(sent);
            left -= sent;
        }
        Sent::All
    }

    fn close(&mut self, id: ConnectionId) {
        if self.ends.remove(&id).is_some() {
            self.forget_events(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn events(net: &mut SimNet) -> Vec<NetEvent> {
        let mut events = Vec::new();
        net.wait(None, &mut events).unwrap();
        events
    }

    fn connected(socket_bytes: usize) -> (SimNet, ConnectionId) {
        let mut net = SimNet::new(socket_bytes);
        assert_eq!(net.connect(), None, "nobody listens");
        net.set_accepting(true);
        let id = net.connect().unwrap();
        assert!(matches!(events(&mut net)[..], [NetEvent::Accepted(..)]));
        (net, id)
    }

    #[test]
    fn bytes_arrive_in_slices_and_only_while_the_node_receives() {
        let (mut net, id) = connected(100);
        net.write(id, b"abcdef");
        assert_eq!(net.deliver(id, 4), 0);
        net.receive(id, 0);
        assert_eq!(net.deliver(id, 4), 4);
        assert_eq!(net.deliver(id, 4), 0, "it is not received any more");
        assert_eq!(net.received(id), b"abcd");
        net.consume(id, 3);
        net.receive(id, 0);
        assert_eq!((net.deliver(id, 9), net.received(id)), (2, &b"def"[..]));
        assert_eq!(events(&mut net), [NetEvent::Received(id), NetEvent::Received(id)]);
    }

    #[test]
    fn a_full_socket_blocks_until_the_client_reads() {
        let (mut net, id) = connected(4);
        let mut out = Outgoing::default();
        out.push(Bytes::from("abcdef"));
        assert_eq!((net.send(id, &mut out), out.len()), (Sent::Blocked, 2));
        assert_eq!(net.read(id, 3), b"abc");
        assert_eq!(events(&mut net), [NetEvent::Writable(id)]);
        assert_eq!(net.send(id, &mut out), Sent::All);
        assert_eq!(net.read(id, 9), b"def");
        assert!(events(&mut net).is_empty());
    }

    #[test]
    fn a_client_that_is_gone_is_told_once() {
        let (mut net, id) = connected(4);
        net.receive(id, 0);
        net.write(id, b"abc");
        net.deliver(id, 9);
        net.hang_up(id);
        net.hang_up(id);
        assert_eq!(events(&mut net), [NetEvent::Closed(id)]);
        assert_eq!(net.send(id, &mut Outgoing::default()), Sent::Gone);
    }
}
