//! The driver of the load: the connections of many machines on one io_uring ring, in one thread.
//!
//! Flow: `submit(lane, request)` -> the lane's own connection to that broker -> [`Done`] with the
//! answer. A lane is one client (a producer, a consumer, the metadata): lanes share no connection,
//! as clients in different processes would not. The ring is the broker's own
//! ([`klamm::runtime::front`]): bytes go out of where they were encoded, and come in by whole frames.
//!
//! A connection is made when its first request comes. When it fails, all that waits on it fails, and
//! the next request makes a new one.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use klamm::base::map::DetMap;
use klamm::base::{Moment, NodeId};
use klamm::client::connection::Event;
use klamm::client::{Answer, ClientError, Connection, ConnectionOptions, Endpoint, Outgoing, To};
use klamm::runtime::front::Front;
use klamm::runtime::network::{self, ConnectionId, NetEvent, Network as _, Sent};
use klamm::runtime::waker::Waker;
use klamm::wire::frame;
use slab::Slab;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often overdue answers are looked for.
const EXPIRY_EVERY: Duration = Duration::from_millis(100);

/// A request that is over.
#[derive(Debug)]
pub(crate) struct Done {
    /// Whose it was.
    pub(crate) lane: u32,
    /// Number of the request, unique in its lane.
    pub(crate) id: u64,
    /// The answer, or why there is none.
    pub(crate) result: Result<Answer, ClientError>,
}

struct Asked {
    id: u64,
    api: &'static str,
    timeout_ms: u64,
    deadline: Moment,
}

struct Link {
    lane: u32,
    endpoint: Endpoint,
    id: ConnectionId,
    connection: Connection,
    out: network::Outgoing,
    waiting: VecDeque<Outgoing>,
    asked: VecDeque<Asked>,
    /// Requests without an answer that are not all written.
    unanswered: Vec<u64>,
    opened_at: Moment,
    is_dirty: bool,
}

/// Connections to the brokers of one cluster.
pub(crate) struct Ring {
    front: Front,
    options: ConnectionOptions,
    bootstrap: Vec<Endpoint>,
    nodes: BTreeMap<NodeId, Endpoint>,
    links: Slab<Link>,
    by_id: DetMap<ConnectionId, usize>,
    lanes: DetMap<u32, Vec<usize>>,
    dirty: Vec<usize>,
    done: Vec<Done>,
    events: Vec<NetEvent>,
    answers: Vec<Event>,
    expiry_at: Moment,
    /// The first failure since the last answer.
    trouble: Option<(Moment, ClientError)>,
}

impl Ring {
    /// Knows the `bootstrap` brokers; nothing is connected yet.
    ///
    /// # Errors
    /// Without io_uring: the message says how to get it.
    pub(crate) fn new(bootstrap: Vec<Endpoint>, options: ConnectionOptions) -> io::Result<Self> {
        Ok(Self {
            front: Front::new(Vec::new(), Waker::new()?)?,
            options,
            bootstrap,
            nodes: BTreeMap::new(),
            links: Slab::new(),
            by_id: DetMap::default(),
            lanes: DetMap::default(),
            dirty: Vec::new(),
            done: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            expiry_at: Moment::default(),
            trouble: None,
        })
    }

    /// Where a node listens, from the metadata.
    pub(crate) fn learn(&mut self, node: NodeId, endpoint: &Endpoint) {
        self.nodes.insert(node, endpoint.clone());
    }

    /// Since when nothing but failures came, and the first of them.
    pub(crate) fn trouble(&self) -> Option<&(Moment, ClientError)> {
        self.trouble.as_ref()
    }

    /// Sends a request. What becomes of it, [`Self::turn`] says.
    pub(crate) fn submit(&mut self, lane: u32, outgoing: Outgoing, now: Moment) {
        match self.link(lane, outgoing.to, now) {
            Ok(at) => {
                self.links[at].waiting.push_back(outgoing);
                self.mark(at);
            }
            Err(e) => self.fail(lane, outgoing.id, &e, now),
        }
    }

    fn fail(&mut self, lane: u32, id: u64, error: &ClientError, now: Moment) {
        self.trouble.get_or_insert_with(|| (now, error.clone()));
        self.done.push(Done { lane, id, result: Err(error.clone()) });
    }

    fn mark(&mut self, at: usize) {
        if let Some(link) = self.links.get_mut(at)
            && !std::mem::replace(&mut link.is_dirty, true)
        {
            self.dirty.push(at);
        }
    }

    fn link(&mut self, lane: u32, to: To, now: Moment) -> Result<usize, ClientError> {
        let open = self.lanes.get(&lane).map_or(&[][..], Vec::as_slice);
        match to {
            To::Node(node) => {
                let endpoint = self.nodes.get(&node).ok_or(ClientError::UnknownNode(node))?;
                match open.iter().find(|&&at| self.links[at].endpoint == *endpoint) {
                    Some(&at) => Ok(at),
                    None => self.open(lane, endpoint.clone(), now),
                }
            }
            To::Any => {
                if let Some(&at) = open.first() {
                    return Ok(at);
                }
                let known = self.nodes.values().filter(|e| !self.bootstrap.contains(e));
                let candidates: Vec<_> = self.bootstrap.iter().chain(known).cloned().collect();
                let mut failed = ClientError::Address(String::new());
                for endpoint in candidates {
                    match self.open(lane, endpoint, now) {
                        Ok(at) => return Ok(at),
                        Err(e) => failed = e,
                    }
                }
                Err(failed)
            }
        }
    }

    fn open(&mut self, lane: u32, endpoint: Endpoint, now: Moment) -> Result<usize, ClientError> {
        let failure = |source| ClientError::Io {
            address: endpoint.to_string(),
            doing: "connecting to",
            source: Arc::new(source),
        };
        let stream = connect(&endpoint).map_err(failure)?;
        let too_many = || failure(io::Error::other("too many connections"));
        let id = self.front.adopt(stream.into()).ok_or_else(too_many)?;
        self.front.receive(id, 0);
        let at = self.links.insert(Link {
            lane,
            endpoint,
            id,
            connection: Connection::new(self.options.clone()),
            out: network::Outgoing::default(),
            waiting: VecDeque::new(),
            asked: VecDeque::new(),
            unanswered: Vec::new(),
            opened_at: now,
            is_dirty: false,
        });
        self.by_id.insert(id, at);
        self.lanes.entry(lane).or_default().push(at);
        Ok(at)
    }

    /// Sends what was submitted, waits until something comes or `until`, and appends what is over
    /// to `done`.
    ///
    /// # Errors
    /// The ring cannot go on.
    pub(crate) fn turn(
        &mut self,
        now: Moment,
        until: Moment,
        done: &mut Vec<Done>,
    ) -> io::Result<()> {
        self.send_dirty(now);
        let timeout =
            if self.done.is_empty() { until.since(now).min(EXPIRY_EVERY) } else { Duration::ZERO };
        let mut events = std::mem::take(&mut self.events);
        self.front.wait(Some(timeout), &mut events)?;
        let now = klamm::runtime::clock::now().0;
        for event in events.drain(..) {
            match event {
                NetEvent::Received(id) => self.receive(id, now),
                NetEvent::Writable(id) => {
                    if let Some(&at) = self.by_id.get(&id) {
                        self.mark(at);
                    }
                }
                NetEvent::Closed(id) => self.on_closed(id, now),
                NetEvent::Accepted(..) => {}
            }
        }
        self.events = events;
        if now >= self.expiry_at {
            self.expiry_at = now + EXPIRY_EVERY;
            self.expire(now);
        }
        done.append(&mut self.done);
        Ok(())
    }

    fn send_dirty(&mut self, now: Moment) {
        for at in std::mem::take(&mut self.dirty) {
            let Some(link) = self.links.get_mut(at) else { continue };
            link.is_dirty = false;
            link.take_waiting(now, &mut self.done);
            let mut sent = Sent::Part;
            while sent == Sent::Part {
                sent = self.front.send(link.id, &mut link.out);
            }
            match sent {
                Sent::All => {
                    let lane = link.lane;
                    let written = |id| Done { lane, id, result: Ok(Answer::nothing()) };
                    self.done.extend(link.unanswered.drain(..).map(written));
                }
                Sent::Part | Sent::Blocked => {}
                Sent::Gone => self.on_closed(self.links[at].id, now),
            }
        }
    }

    fn receive(&mut self, id: ConnectionId, now: Moment) {
        let Some(&at) = self.by_id.get(&id) else { return };
        let Some(link) = self.links.get_mut(at) else { return };
        let limit = self.options.answer_bytes_max;
        let bytes = self.front.received(id);
        let (mut whole, mut next) = (0, 0);
        // A bad size is the connection's to report, with what was asked.
        while let Ok(Some(size)) = frame::frame_bytes(&bytes[whole..], limit) {
            if bytes.len() - whole < size {
                next = size;
                break;
            }
            whole += size;
        }
        let is_bad = frame::frame_bytes(&bytes[whole..], limit).is_err();
        let taken = if is_bad { bytes.len() } else { whole };
        let read = link.connection.on_bytes(&bytes[..taken], &mut self.answers);
        self.front.consume(id, taken);
        for event in self.answers.drain(..) {
            let Event::Answer(answer) = event else { continue };
            let Some(asked) = link.asked.pop_front() else { continue };
            self.done.push(Done { lane: link.lane, id: asked.id, result: Ok(answer) });
        }
        match read {
            Ok(()) => {
                self.trouble = None;
                self.front.receive(id, next);
                self.mark(at);
            }
            Err(e) => {
                self.front.close(id);
                self.drop_link(at, &e, now);
            }
        }
    }

    fn on_closed(&mut self, id: ConnectionId, now: Moment) {
        let Some(&at) = self.by_id.get(&id) else { return };
        let link = &self.links[at];
        let waiting = link.asked.len() + link.waiting.len();
        let address = link.endpoint.to_string();
        self.front.close(id);
        self.drop_link(at, &ClientError::Closed { address, waiting }, now);
    }

    fn expire(&mut self, now: Moment) {
        let is_late = |link: &Link| match link.connection.versions() {
            None => now >= link.opened_at + CONNECT_TIMEOUT,
            Some(_) => link.asked.front().is_some_and(|a| now >= a.deadline),
        };
        let late: Vec<_> =
            self.links.iter().filter(|(_, l)| is_late(l)).map(|(at, _)| at).collect();
        for at in late {
            let link = &self.links[at];
            let first = link.asked.front().map(|a| (a.api, a.timeout_ms));
            let (api, limit_ms) =
                first.unwrap_or(("ApiVersions", CONNECT_TIMEOUT.as_millis() as u64));
            let address = link.endpoint.to_string();
            self.front.close(link.id);
            self.drop_link(at, &ClientError::TimedOut { address, api, limit_ms }, now);
        }
    }

    fn drop_link(&mut self, at: usize, error: &ClientError, now: Moment) {
        let link = self.links.remove(at);
        self.by_id.remove(&link.id);
        if let Some(lane) = self.lanes.get_mut(&link.lane) {
            lane.retain(|&other| other != at);
        }
        let asked = link.asked.into_iter().map(|a| a.id);
        let waiting = link.waiting.into_iter().map(|o| o.id);
        for id in asked.chain(waiting).chain(link.unanswered) {
            self.fail(link.lane, id, error, now);
        }
    }
}

impl Link {
    /// Hands waiting requests to the connection, as many as it takes, and what it encoded to `out`.
    fn take_waiting(&mut self, now: Moment, done: &mut Vec<Done>) {
        while self.connection.can_send() {
            let Some(outgoing) = self.waiting.pop_front() else { break };
            let (id, timeout_ms) = (outgoing.id, outgoing.timeout_ms);
            match outgoing.call.write(&mut self.connection) {
                Ok(sent) if sent.answered => self.asked.push_back(Asked {
                    id,
                    api: outgoing.call.api(),
                    timeout_ms,
                    deadline: now + Duration::from_millis(timeout_ms),
                }),
                Ok(_) => self.unanswered.push(id),
                Err(e) => done.push(Done { lane: self.lane, id, result: Err(e) }),
            }
        }
        self.out.push(self.connection.take_outgoing());
    }
}

fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(e) => failed = e,
        }
    }
    Err(failed)
}
