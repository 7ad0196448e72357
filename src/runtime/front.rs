//! The front's ring: sockets of one shard on an io_uring of its own.
//!
//! Flow: listener -> multishot accept -> a receive armed on the ring per connection -> the turn
//! parses what arrived in place -> `send(2)` straight to the socket; only a socket that is full costs
//! a poll on the ring. One receive is armed per connection, into memory that nobody touches until
//! it completes. The [`Waker`]'s eventfd is read on the same ring, so one wait is enough.
//!
//! Invariants:
//! - F1. While a receive is armed its buffer does not move and is not read: `Connection::armed`.
//! - F2. A connection's slot is freed only after its armed receive and poll have completed, so a
//!   completion never meets another connection's memory; [`Front`]'s drop waits for them too.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use crate::base::AlignedBuf;
use crate::runtime::descriptors;
use crate::runtime::network::{
    ConnectionId, LARGE_FRAME, NetEvent, Network, Outgoing, RecvBuf, Sent,
};
use crate::runtime::waker::Waker;

const SUBMISSIONS: u32 = 512;
const COMPLETIONS: u32 = 4096;
const SEND_PARTS_MAX: usize = 64;
/// Most that one turn sends to one connection: 50 us of copying.
const SEND_MAX: usize = 256 << 10;
/// What the receives of large frames may bring together, so that a wait which ends all of them copies no
/// more than that; and what each of them may bring in any case.
const LARGE_RECEIVES_MAX: usize = 512 << 10;
const LARGE_RECEIVE_MIN: usize = 16 << 10;
const DROP_WAITS_MAX: usize = 100;
const DROP_WAIT: Duration = Duration::from_millis(10);

const KIND_SHIFT: u32 = 60;
const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
const ACCEPT: u64 = 1;
const RECEIVE: u64 = 2;
const WRITABLE: u64 = 3;
const WAKE: u64 = 4;
const ACCEPT_AGAIN: u64 = 5;

/// Descriptors that connections leave to files: glommio panics where it gets none.
const DESCRIPTORS_LEFT: u64 = 64;
/// How long nothing is accepted after that failed, as without free descriptors: armed at once, it would
/// fail again at once.
static ACCEPT_PAUSE: types::Timespec = types::Timespec::new().nsec(100_000_000);

/// Sockets of one shard.
pub struct Front {
    ring: IoUring,
    listeners: Vec<Socket>,
    connections: Slab<Connection>,
    serial: u64,
    entries: VecDeque<squeue::Entry>,
    /// Connections that receive a large frame.
    large_armed: usize,
    /// Accepting failed, and nothing was accepted since.
    accept_fails: bool,
    /// Descriptors of connections are below this.
    descriptors_max: u64,
    waker: Waker,
    /// Where the eventfd's count lands; never freed, so that no late completion can miss it.
    rung: &'static mut u64,
}

#[allow(clippy::struct_excessive_bools, reason = "independent marks")]
struct Connection {
    id: ConnectionId,
    socket: Socket,
    inbox: RecvBuf,
    armed: bool,
    /// What is armed belongs to a large frame.
    large: bool,
    polled: bool,
    closed: bool,
}

/// Binds a listener the way a broker wants it: a second process on the port fails. `backlog` is how
/// many connections may wait to be accepted.
///
/// # Errors
/// What the kernel said, as when the port is taken.
pub fn listen(address: SocketAddr, backlog: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

impl Front {
    /// Makes the ring. Call on the thread that will wait on it.
    ///
    /// # Errors
    /// Without io_uring: the message says how to get it.
    pub fn new(listeners: Vec<Socket>, waker: Waker) -> io::Result<Self> {
        let ring = build_ring().map_err(|e| explain(&e))?;
        let mut front = Self {
            ring,
            listeners,
            connections: Slab::new(),
            serial: 0,
            entries: VecDeque::new(),
            large_armed: 0,
            accept_fails: false,
            descriptors_max: descriptors::limit().saturating_sub(DESCRIPTORS_LEFT),
            waker,
            rung: Box::leak(Box::new(0)),
        };
        front.arm_wake();
        Ok(front)
    }

    /// Begins to accept connections.
    pub fn start_accepting(&mut self) {
        for at in 0..self.listeners.len() {
            self.arm_accept(at);
        }
    }

    /// Stops accepting; connections stay.
    pub fn stop_accepting(&mut self) {
        self.listeners.clear();
    }

    fn arm_accept(&mut self, listener: usize) {
        let Some(socket) = self.listeners.get(listener) else { return };
        let entry = opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build();
        self.entries.push_back(entry.user_data((ACCEPT << KIND_SHIFT) | listener as u64));
    }

    /// Accepts again after a pause; meanwhile connections wait in the listener's backlog.
    fn arm_later(&mut self, listener: usize, result: i32) {
        if self.listeners.get(listener).is_some() {
            self.cannot_accept(&io::Error::from_raw_os_error(-result));
        }
        let entry = opcode::Timeout::new(&raw const ACCEPT_PAUSE).build();
        self.entries.push_back(entry.user_data((ACCEPT_AGAIN << KIND_SHIFT) | listener as u64));
    }

    fn cannot_accept(&mut self, error: &io::Error) {
        if !mem::replace(&mut self.accept_fails, true) {
            tracing::warn!(%error, "connections cannot be accepted");
        }
    }

    fn arm_wake(&mut self) {
        let into = (&raw mut *self.rung).cast();
        let entry = opcode::Read::new(types::Fd(self.waker.fd()), into, 8).build();
        self.entries.push_back(entry.user_data(WAKE << KIND_SHIFT));
    }

    fn submit(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.entries.front() {
            // SAFETY: buffers of receives live in a connection until they complete (F1, F2), the
            // eventfd's and the pause's for ever; no other entry has memory.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.entries.pop_front();
        }
    }

    fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.entries.is_empty() { timeout } else { Some(Duration::ZERO) };
        let submitter = self.ring.submitter();
        let entered = match timeout {
            None => submitter.submit_and_wait(1),
            Some(t) => {
                let spec = types::Timespec::new().sec(t.as_secs()).nsec(t.subsec_nanos());
                submitter.submit_with_args(1, &types::SubmitArgs::new().timespec(&spec))
            }
        };
        match entered {
            Ok(_) => Ok(()),
            Err(e) => match e.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(e),
            },
        }
    }

    fn complete(&mut self, entry: &cqueue::Entry, events: &mut Vec<NetEvent>) {
        let (data, result) = (entry.user_data(), entry.result());
        let index = (data & INDEX_MASK) as usize;
        match data >> KIND_SHIFT {
            ACCEPT => {
                if result >= 0 {
                    events.extend(self.accepted(result));
                }
                if !cqueue::more(entry.flags()) {
                    if result < 0 { self.arm_later(index, result) } else { self.arm_accept(index) }
                }
            }
            ACCEPT_AGAIN => self.arm_accept(index),
            RECEIVE => self.was_received(index, result, events),
            WRITABLE => self.was_polled(index, events),
            _ => self.arm_wake(),
        }
    }

    fn accepted(&mut self, fd: RawFd) -> Option<NetEvent> {
        // SAFETY: the kernel has just given us this descriptor.
        let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(fd) });
        if u64::from(fd.unsigned_abs()) >= self.descriptors_max {
            self.cannot_accept(&io::Error::from_raw_os_error(libc::EMFILE));
            return None;
        }
        self.accept_fails = false;
        let peer = socket.peer_addr().ok()?.as_socket()?;
        Some(NetEvent::Accepted(self.adopt(socket)?, peer))
    }

    /// Takes a socket that is connected, as one that was accepted is taken; `None` (and the socket is
    /// closed) when there are too many. Nothing is received until [`Network::receive`].
    pub fn adopt(&mut self, socket: Socket) -> Option<ConnectionId> {
        let _ = socket.set_tcp_nodelay(true);
        self.serial += 1;
        let slot = self.connections.vacant_entry();
        if slot.key() as u64 > INDEX_MASK {
            return None;
        }
        let id = ConnectionId((self.serial << INDEX_BITS) | slot.key() as u64);
        let inbox = RecvBuf::default();
        slot.insert(Connection {
            id,
            socket,
            inbox,
            armed: false,
            large: false,
            polled: false,
            closed: false,
        });
        Some(id)
    }

    fn was_received(&mut self, index: usize, result: i32, events: &mut Vec<NetEvent>) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.armed = false;
        self.large_armed -= usize::from(mem::take(&mut connection.large));
        if connection.closed {
            self.free(index);
        } else if let Ok(bytes @ 1..) = usize::try_from(result) {
            connection.inbox.filled(bytes);
            events.push(NetEvent::Received(connection.id));
        } else if result == -libc::EINTR || result == -libc::EAGAIN {
            let id = connection.id;
            self.receive(id, 0);
        } else {
            events.push(NetEvent::Closed(connection.id));
            let id = connection.id;
            self.close(id);
        }
    }

    fn was_polled(&mut self, index: usize, events: &mut Vec<NetEvent>) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.polled = false;
        if connection.closed {
            self.free(index);
        } else {
            events.push(NetEvent::Writable(connection.id));
        }
    }

    /// F2.
    fn free(&mut self, index: usize) {
        if self.connections.get(index).is_some_and(|c| c.closed && !c.armed && !c.polled) {
            self.connections.remove(index);
        }
    }

    fn find(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let connection = self.connections.get_mut((id.0 & INDEX_MASK) as usize)?;
        (connection.id == id && !connection.closed).then_some(connection)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        for id in self.connections.iter().map(|(_, c)| c.id).collect::<Vec<_>>() {
            self.close(id);
        }
        let mut ignored = Vec::new();
        for _ in 0..DROP_WAITS_MAX {
            let waited = self.wait(Some(DROP_WAIT), &mut ignored);
            if self.connections.is_empty() || waited.is_err() {
                break;
            }
        }
        // F2: memory that the kernel may still write to is not given back.
        mem::forget(mem::take(&mut self.connections));
    }
}

impl Network for Front {
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<NetEvent>) -> io::Result<()> {
        self.submit();
        self.enter(timeout)?;
        let done: Vec<cqueue::Entry> = self.ring.completion().collect();
        for entry in &done {
            self.complete(entry, events);
        }
        Ok(())
    }

    fn received(&self, id: ConnectionId) -> &[u8] {
        match self.connections.get((id.0 & INDEX_MASK) as usize) {
            Some(c) if c.id == id && !c.armed => c.inbox.bytes(),
            _ => &[],
        }
    }

    fn consume(&mut self, id: ConnectionId, bytes: usize) {
        if let Some(connection) = self.find(id).filter(|c| !c.armed) {
            connection.inbox.consume(bytes);
        }
    }

    fn take_frame(&mut self, id: ConnectionId, frame_bytes: usize) -> Option<AlignedBuf> {
        self.find(id).filter(|c| !c.armed)?.inbox.take_frame(frame_bytes)
    }

    fn receive(&mut self, id: ConnectionId, frame_bytes: usize) {
        let share = LARGE_RECEIVES_MAX / (self.large_armed + 1);
        let Some(connection) = self.find(id).filter(|c| !c.armed) else { return };
        connection.armed = true;
        connection.large = frame_bytes > LARGE_FRAME;
        let most = if connection.large { share.max(LARGE_RECEIVE_MIN) } else { usize::MAX };
        let fd = types::Fd(connection.socket.as_raw_fd());
        let room = connection.inbox.room(frame_bytes);
        let room_bytes = room.len().min(most) as u32;
        let entry = opcode::Recv::new(fd, room.as_mut_ptr(), room_bytes).build();
        self.large_armed += usize::from(frame_bytes > LARGE_FRAME);
        let data = (RECEIVE << KIND_SHIFT) | (id.0 & INDEX_MASK);
        self.entries.push_back(entry.user_data(data));
    }

    fn buffer(&self, id: ConnectionId, frame_bytes: usize) -> (usize, usize) {
        match self.connections.get((id.0 & INDEX_MASK) as usize) {
            Some(c) if c.id == id => c.inbox.size_and_growth(frame_bytes),
            _ => (0, 0),
        }
    }

    fn send(&mut self, id: ConnectionId, out: &mut Outgoing) -> Sent {
        let Some(connection) = self.find(id) else { return Sent::Gone };
        let mut left = SEND_MAX;
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SEND_PARTS_MAX];
            let parts = out.slices(&mut slices, left);
            if parts == 0 {
                return Sent::Part;
            }
            match send_now(connection.socket.as_raw_fd(), &slices[..parts]) {
                Ok(bytes) => {
                    out.advance(bytes);
                    left -= bytes;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if !connection.polled {
                        connection.polled = true;
                        let fd = types::Fd(connection.socket.as_raw_fd());
                        let entry = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
                        let data = (WRITABLE << KIND_SHIFT) | (id.0 & INDEX_MASK);
                        self.entries.push_back(entry.user_data(data));
                    }
                    return Sent::Blocked;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Sent::Gone,
            }
        }
        Sent::All
    }

    fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.find(id) else { return };
        connection.closed = true;
        // Completes what is armed; the descriptor itself closes when the slot is freed.
        let _ = connection.socket.shutdown(std::net::Shutdown::Both);
        self.free((id.0 & INDEX_MASK) as usize);
    }
}

fn send_now(fd: RawFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: a zeroed header is an empty one; `IoSlice` has the layout of `iovec`, and the slices
    // live through the call.
    let sent = unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = slices.as_ptr().cast_mut().cast();
        message.msg_iovlen = slices.len() as _;
        libc::sendmsg(fd, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn build_ring() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(COMPLETIONS).setup_single_issuer().setup_defer_taskrun();
    match builder.build(SUBMISSIONS) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            IoUring::builder().setup_cqsize(COMPLETIONS).build(SUBMISSIONS)
        }
        built => built,
    }
}

fn explain(e: &io::Error) -> io::Error {
    let remedy = match e.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has no io_uring: Linux 5.19 or newer is needed",
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is switched off here: set sysctl kernel.io_uring_disabled=0, or in a container \
             allow the io_uring system calls in its seccomp profile"
        }
        Some(libc::ENOMEM) => {
            "the limit of locked memory is too low for a ring: raise it (ulimit -l, or LimitMEMLOCK=)"
        }
        _ => "the kernel refused a ring",
    };
    io::Error::new(e.kind(), format!("{remedy} ({e})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    struct Bench {
        front: Front,
        events: VecDeque<NetEvent>,
        address: SocketAddr,
    }

    impl Bench {
        fn new() -> Self {
            let listener = listen("127.0.0.1:0".parse().unwrap(), 128).unwrap();
            let address = listener.local_addr().unwrap().as_socket().unwrap();
            let mut front = Front::new(vec![listener], Waker::new().unwrap()).unwrap();
            front.start_accepting();
            Self { front, events: VecDeque::new(), address }
        }

        fn next(&mut self) -> NetEvent {
            loop {
                if let Some(event) = self.events.pop_front() {
                    return event;
                }
                let mut events = Vec::new();
                self.front.wait(Some(Duration::from_secs(5)), &mut events).unwrap();
                assert!(!events.is_empty(), "nothing happened for 5 s");
                self.events.extend(events);
            }
        }

        fn connect(&mut self) -> (TcpStream, ConnectionId) {
            let client = TcpStream::connect(self.address).unwrap();
            let NetEvent::Accepted(id, peer) = self.next() else { panic!("not accepted") };
            assert_eq!(peer, client.local_addr().unwrap());
            self.front.receive(id, 0);
            (client, id)
        }
    }

    #[test]
    fn bytes_come_in_go_out_and_a_hangup_is_told_once() {
        let mut bench = Bench::new();
        let (mut client, id) = bench.connect();
        client.write_all(b"hello").unwrap();
        assert_eq!(bench.next(), NetEvent::Received(id));
        assert_eq!(bench.front.received(id), b"hello");
        bench.front.consume(id, 3);
        bench.front.receive(id, 0);
        client.write_all(b"!").unwrap();
        assert_eq!(bench.next(), NetEvent::Received(id));
        assert_eq!(bench.front.received(id), b"lo!");
        let mut out = Outgoing::default();
        out.push(Bytes::from("one "));
        out.push(Bytes::from("two"));
        assert_eq!(bench.front.send(id, &mut out), Sent::All);
        let mut answer = [0; 7];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"one two");
        bench.front.receive(id, 0);
        drop(client);
        assert_eq!(bench.next(), NetEvent::Closed(id));
        assert_eq!(bench.front.send(id, &mut out), Sent::Gone);
        assert!(bench.front.connections.is_empty());
    }

    #[test]
    fn a_socket_that_we_connected_is_taken_like_one_that_was_accepted() {
        let mut bench = Bench::new();
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(peer.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = peer.accept().unwrap();
        let id = bench.front.adopt(ours.into()).unwrap();
        let mut out = Outgoing::default();
        out.push(Bytes::from("ask"));
        assert_eq!(bench.front.send(id, &mut out), Sent::All);
        let mut asked = [0; 3];
        theirs.read_exact(&mut asked).unwrap();
        bench.front.receive(id, 0);
        theirs.write_all(&asked).unwrap();
        assert_eq!(bench.next(), NetEvent::Received(id));
        assert_eq!(bench.front.received(id), b"ask");
    }

    #[test]
    fn a_full_socket_blocks_the_send_and_goes_on_when_the_client_reads() {
        let mut bench = Bench::new();
        let (mut client, id) = bench.connect();
        let total = 32 << 20;
        let mut out = Outgoing::default();
        out.push(Bytes::from(vec![7; total]));
        assert_eq!(bench.front.send(id, &mut out), Sent::Part);
        assert_eq!(out.len(), total - SEND_MAX, "a turn sends so much");
        let send = |front: &mut Front, out: &mut Outgoing| {
            loop {
                match front.send(id, out) {
                    Sent::Part => {}
                    sent => return sent,
                }
            }
        };
        assert_eq!(send(&mut bench.front, &mut out), Sent::Blocked);
        let reader = std::thread::Builder::new().spawn(move || {
            let mut got = 0;
            let mut buf = vec![0; 1 << 20];
            while got < total {
                got += client.read(&mut buf).unwrap();
            }
            got
        });
        loop {
            assert_eq!(bench.next(), NetEvent::Writable(id));
            if send(&mut bench.front, &mut out) == Sent::All {
                break;
            }
        }
        assert_eq!(reader.unwrap().join().unwrap(), total);
    }

    #[test]
    fn a_closed_connection_leaves_nothing_and_its_number_is_not_used_again() {
        let mut bench = Bench::new();
        let mut ids = Vec::new();
        for _ in 0..50 {
            let (_client, id) = bench.connect();
            bench.front.close(id);
            let mut events = Vec::new();
            bench.front.wait(Some(Duration::from_millis(100)), &mut events).unwrap();
            assert_eq!(events, []);
            ids.push(id);
        }
        assert!(bench.front.connections.is_empty());
        ids.dedup();
        assert_eq!(ids.len(), 50);
    }

    #[test]
    fn a_second_listener_on_the_port_is_refused() {
        let first = listen("127.0.0.1:0".parse().unwrap(), 128).unwrap();
        let taken = first.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(listen(taken, 128).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn the_waker_ends_a_wait() {
        let mut bench = Bench::new();
        let waker = bench.front.waker.clone();
        for _ in 0..3 {
            waker.announce_sleep();
            let ring = waker.clone();
            let bell = std::thread::Builder::new().spawn(move || ring.wake()).unwrap();
            let mut events = Vec::new();
            bench.front.wait(None, &mut events).unwrap();
            bell.join().unwrap();
            assert_eq!(events, []);
        }
    }
}
