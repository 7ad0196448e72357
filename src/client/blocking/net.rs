//! Sockets: one thread, many connections, poll(2).
//!
//! A request names its node and a lane; each (node, lane) has a connection of its own, so that a
//! JoinGroup, which waits for other members, or a Fetch, which waits for data, holds up nothing else.
//! A connection is made when its first request comes, and dropped with all that waits on it when it
//! fails; the next request makes a new one.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Moment, NodeId};
use crate::client::blocking::Clock;
use crate::client::call::{Outgoing, To};
use crate::client::cluster::Endpoint;
use crate::client::connection::{Answer, Connection, ConnectionOptions, Event};
use crate::client::error::ClientError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 256 << 10;

/// A request that is over.
#[derive(Debug)]
pub struct Done<T> {
    /// What [`Net::submit`] was given.
    pub tag: T,
    /// Number of the request.
    pub id: u64,
    /// The answer, or why there is none.
    pub result: Result<Answer, ClientError>,
}

/// What ended a [`Net::wait`].
#[derive(Debug)]
pub struct Woken<T> {
    /// Requests that are over.
    pub done: Vec<Done<T>>,
    /// Watched descriptors that can be read (or are at their end).
    pub readable: Vec<RawFd>,
}

#[derive(Debug)]
struct Asked<T> {
    tag: T,
    id: u64,
    correlation_id: i32,
    api: &'static str,
    timeout_ms: u64,
    deadline: Moment,
}

#[derive(Debug)]
struct Link<T> {
    endpoint: Endpoint,
    lane: u8,
    stream: TcpStream,
    connection: Connection,
    waiting: VecDeque<(T, Outgoing)>,
    asked: VecDeque<Asked<T>>,
    /// Requests without an answer that are not all written.
    unanswered: Vec<(T, u64)>,
    opened_at: Moment,
}

/// Connections to the brokers of one cluster.
#[derive(Debug)]
pub struct Net<T> {
    options: ConnectionOptions,
    clock: Clock,
    bootstrap: Vec<Endpoint>,
    nodes: BTreeMap<NodeId, Endpoint>,
    links: Vec<Link<T>>,
    done: Vec<Done<T>>,
    buffer: Vec<u8>,
}

impl<T: Copy> Net<T> {
    /// Knows the `bootstrap` brokers; nothing is connected yet.
    pub fn new(bootstrap: Vec<Endpoint>, options: ConnectionOptions) -> Self {
        Self {
            options,
            clock: Clock::start(),
            bootstrap,
            nodes: BTreeMap::new(),
            links: Vec::new(),
            done: Vec::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// The clock that deadlines are measured with.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Where a node listens, from the metadata.
    pub fn learn(&mut self, node: NodeId, endpoint: &Endpoint) {
        self.nodes.insert(node, endpoint.clone());
    }

    /// Sends a request on a connection of `lane`. What becomes of it, [`Self::wait`] says.
    pub fn submit(&mut self, lane: u8, tag: T, outgoing: Outgoing) {
        match self.link(lane, outgoing.to) {
            Ok(link) => self.links[link].waiting.push_back((tag, outgoing)),
            Err(e) => self.done.push(Done { tag, id: outgoing.id, result: Err(e) }),
        }
    }

    fn link(&mut self, lane: u8, to: To) -> Result<usize, ClientError> {
        let (open, candidates) = match to {
            To::Node(node) => {
                let endpoint = self.nodes.get(&node).ok_or(ClientError::UnknownNode(node))?;
                let is_open = |l: &Link<T>| l.lane == lane && l.endpoint == *endpoint;
                (self.links.iter().position(is_open), vec![endpoint.clone()])
            }
            To::Any => {
                let known = self.nodes.values().filter(|e| !self.bootstrap.contains(e));
                let candidates = self.bootstrap.iter().chain(known).cloned().collect();
                (self.links.iter().position(|l| l.lane == lane), candidates)
            }
        };
        if let Some(open) = open {
            return Ok(open);
        }
        let mut failed = ClientError::Address(String::new());
        for endpoint in candidates {
            match connect(&endpoint) {
                Ok(stream) => {
                    self.links.push(Link {
                        endpoint,
                        lane,
                        stream,
                        connection: Connection::new(self.options.clone()),
                        waiting: VecDeque::new(),
                        asked: VecDeque::new(),
                        unanswered: Vec::new(),
                        opened_at: self.clock.now(),
                    });
                    return Ok(self.links.len() - 1);
                }
                Err(e) => failed = failure(&endpoint, "connecting to", e),
            }
        }
        Err(failed)
    }

    /// Moves bytes until a request is over, a descriptor of `watch` can be read, `until` has come, or
    /// a signal arrives.
    pub fn wait(&mut self, until: Moment, watch: &[RawFd]) -> Woken<T> {
        loop {
            self.write_all();
            self.expire();
            let now = self.clock.now();
            let deadlines = self.links.iter().filter_map(Link::deadline);
            let next = deadlines.min().unwrap_or(Moment::NEVER).min(until);
            // The sockets are looked at once even when there is no time to wait.
            let timeout = if self.done.is_empty() { next.since(now) } else { Duration::ZERO };
            let links: Vec<_> = self
                .links
                .iter()
                .map(|l| (l.stream.as_raw_fd(), !l.connection.outgoing().is_empty()))
                .collect();
            let (readable, ready, interrupted) = poll_fds(watch, &links, timeout);
            for at in ready.into_iter().rev() {
                self.read(at);
            }
            let is_over = interrupted || !readable.is_empty() || !self.done.is_empty();
            if is_over || self.clock.now() >= until {
                self.write_all();
                return Woken { done: std::mem::take(&mut self.done), readable };
            }
        }
    }

    fn write_all(&mut self) {
        for at in (0..self.links.len()).rev() {
            let now = self.clock.now();
            let link = &mut self.links[at];
            link.take_waiting(now, &mut self.done);
            if let Err(e) = link.write(&mut self.done) {
                let e = failure(&self.links[at].endpoint, "writing to", e);
                self.drop_link(at, &e);
            }
        }
    }

    fn read(&mut self, at: usize) {
        let link = &mut self.links[at];
        let failed = match link.stream.read(&mut self.buffer) {
            Ok(0) => ClientError::Closed {
                address: link.endpoint.to_string(),
                waiting: link.asked.len() + link.waiting.len(),
            },
            Ok(n) => match link.take_bytes(&self.buffer[..n], &mut self.done) {
                Ok(()) => return,
                Err(e) => e,
            },
            Err(e) if is_passing(&e) => return,
            Err(e) => failure(&link.endpoint, "reading from", e),
        };
        self.drop_link(at, &failed);
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        for at in (0..self.links.len()).rev() {
            let link = &self.links[at];
            if link.deadline().is_some_and(|deadline| now >= deadline) {
                let first = link.asked.front().map(|a| (a.api, a.timeout_ms));
                let (api, limit_ms) =
                    first.unwrap_or(("ApiVersions", CONNECT_TIMEOUT.as_millis() as u64));
                let address = link.endpoint.to_string();
                self.drop_link(at, &ClientError::TimedOut { address, api, limit_ms });
            }
        }
    }

    fn drop_link(&mut self, at: usize, error: &ClientError) {
        let link = self.links.swap_remove(at);
        let asked = link.asked.into_iter().map(|a| (a.tag, a.id));
        let waiting = link.waiting.into_iter().map(|(tag, outgoing)| (tag, outgoing.id));
        let over = asked.chain(waiting).chain(link.unanswered);
        self.done.extend(over.map(|(tag, id)| Done { tag, id, result: Err(error.clone()) }));
    }
}

impl<T: Copy> Link<T> {
    /// When the oldest thing that is awaited is overdue.
    fn deadline(&self) -> Option<Moment> {
        match self.connection.versions() {
            None => Some(self.opened_at + CONNECT_TIMEOUT),
            Some(_) => self.asked.front().map(|a| a.deadline),
        }
    }

    /// Hands waiting requests to the connection, as many as it takes.
    fn take_waiting(&mut self, now: Moment, done: &mut Vec<Done<T>>) {
        while self.connection.can_send() {
            let Some((tag, outgoing)) = self.waiting.pop_front() else { return };
            let (id, timeout_ms) = (outgoing.id, outgoing.timeout_ms);
            match outgoing.call.write(&mut self.connection) {
                Ok(sent) if sent.answered => self.asked.push_back(Asked {
                    tag,
                    id,
                    correlation_id: sent.correlation_id,
                    api: outgoing.call.api(),
                    timeout_ms,
                    deadline: now + Duration::from_millis(timeout_ms),
                }),
                Ok(_) => self.unanswered.push((tag, id)),
                Err(e) => done.push(Done { tag, id, result: Err(e) }),
            }
        }
    }

    fn write(&mut self, done: &mut Vec<Done<T>>) -> io::Result<()> {
        while !self.connection.outgoing().is_empty() {
            match self.stream.write(self.connection.outgoing()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.connection.on_written(n),
                Err(e) if is_passing(&e) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        let written = self.unanswered.drain(..);
        done.extend(written.map(|(tag, id)| Done { tag, id, result: Ok(Answer::nothing()) }));
        Ok(())
    }

    fn take_bytes(&mut self, bytes: &[u8], done: &mut Vec<Done<T>>) -> Result<(), ClientError> {
        let mut events = Vec::new();
        let read = self.connection.on_bytes(bytes, &mut events);
        for event in events {
            let Event::Answer(answer) = event else { continue };
            let Some(asked) = self.asked.pop_front() else { continue };
            debug_assert_eq!(asked.correlation_id, answer.correlation_id);
            done.push(Done { tag: asked.tag, id: asked.id, result: Ok(answer) });
        }
        read
    }
}

fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                return Ok(stream);
            }
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

fn failure(endpoint: &Endpoint, doing: &'static str, source: io::Error) -> ClientError {
    ClientError::Io { address: endpoint.to_string(), doing, source: Arc::new(source) }
}

fn is_passing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Waits for `watch` to be readable and for `links` to be readable or, where it says so, writable.
/// Returns the readable ones of `watch`, the positions of the ready ones of `links`, in order, and
/// whether a signal ended the wait.
fn poll_fds(
    watch: &[RawFd],
    links: &[(RawFd, bool)],
    timeout: Duration,
) -> (Vec<RawFd>, Vec<usize>, bool) {
    let entry = |fd, events| libc::pollfd { fd, events, revents: 0 };
    let watched = watch.iter().map(|&fd| entry(fd, libc::POLLIN));
    let linked = links.iter().map(|&(fd, writes)| {
        entry(fd, if writes { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN })
    });
    let mut fds: Vec<_> = watched.chain(linked).collect();
    let timeout_ms = timeout.as_nanos().div_ceil(1_000_000).min(60_000) as libc::c_int;
    // SAFETY: `fds` is a live array of that many entries, and poll writes only into it.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) };
    if ready < 0 {
        return (Vec::new(), Vec::new(), true);
    }
    let is_ready = |fd: &&libc::pollfd| fd.revents != 0;
    let (watched, linked) = fds.split_at(watch.len());
    let readable = watched.iter().filter(is_ready).map(|fd| fd.fd).collect();
    let is_readable = |fd: &libc::pollfd| fd.revents & !libc::POLLOUT != 0;
    let ready =
        linked.iter().enumerate().filter(|(_, fd)| is_readable(fd)).map(|(at, _)| at).collect();
    (readable, ready, false)
}
