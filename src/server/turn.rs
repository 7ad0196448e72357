//! The turn: how a shard runs. One thread, one loop, always the same steps, and batching comes from
//! them.
//!
//! 1. **collect** what is there: network events, finished commits, jobs and openings, mail, due timers;
//! 2. **decide**: feed it to the connections, the handlers and the shard;
//! 3. **answer**: fetches after all appends of the turn, responses in request order;
//! 4. **commit** what was appended if the committer is idle, **send** once per connection;
//! 5. **wait** for the next event, with no timer that nobody needs.
//!
//! It lives here and not in `shard` because it is the one place that sees both the connections (net,
//! api) above a shard and the servants below it.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::api;
use crate::base::{DetMap, Moment, WallMs};
use crate::metrics::{Refusal, Step, Steps, Turn};
use crate::net::admission::Admission;
use crate::net::budget::Budget;
use crate::net::connection::{Connection, Next, Served};
use crate::runtime::network::{ConnectionId, LARGE_FRAME, NetEvent, Network, Sent};
use crate::server::clients::Paused;
use crate::shard::observe::Observing;
use crate::shard::opening::{Chore, Ended};
use crate::shard::{Mail, Post, Shard, Slot};
use crate::storage::{Commit, CommitDone, Job, JobDone, StoreEvent};
use crate::wire::frame::SIZE_BYTES;

/// What a turn touches outside of its shard.
pub trait Outside {
    /// The sockets.
    type Net: Network;
    /// The sockets.
    fn net(&mut self) -> &mut Self::Net;
    /// The time.
    fn now(&mut self) -> (Moment, WallMs);
    /// A counter that grows evenly with the time, for next to nothing.
    fn ticks(&mut self) -> u64;
    /// Processor time of this thread since it began.
    fn cpu_time(&mut self) -> Duration;
    /// Sleeps until an event, mail or `timeout` (`None`: as long as it takes); appends the events.
    ///
    /// # Errors
    /// The node cannot go on.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<NetEvent>) -> io::Result<()>;
    /// Hands a commit to the committer, which is idle.
    fn start_commit(&mut self, commit: Commit);
    /// A commit that ended.
    fn finished_commit(&mut self) -> Option<CommitDone>;
    /// Hands a job to the back.
    fn start_job(&mut self, job: Job);
    /// A job that ended.
    fn finished_job(&mut self) -> Option<JobDone>;
    /// Hands a chore to the opener, which is idle.
    fn start_opening(&mut self, chore: Chore);
    /// A chore that ended.
    fn finished_opening(&mut self) -> Option<Ended>;
    /// Mail from a sibling.
    fn mail(&mut self) -> Option<Mail>;
    /// Mail for a sibling; given back when its box is full.
    ///
    /// # Errors
    /// The mail.
    fn post(&mut self, post: Post) -> Result<(), Post>;
    /// Accepts connections from now on.
    fn start_accepting(&mut self);
    /// Accepts no further connection.
    fn stop_accepting(&mut self);
}

/// Limits on connections that do not change while the node runs.
#[derive(Debug, Clone, Copy)]
pub struct NetLimits {
    /// `socket.request.max.bytes`.
    pub frame_bytes_max: usize,
    /// `connections.max.idle.ms`.
    pub idle_max: Duration,
    /// `node.memory.bytes`.
    pub memory_bytes: usize,
    /// What of that is set aside for the opener.
    pub set_aside_bytes: usize,
    /// `queued.max.request.bytes`.
    pub queued_bytes_max: Option<usize>,
    /// Connections that may wait to be taken.
    pub waiting_max: usize,
}

/// How long a stop waits for answers that are under way.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// One node: a shard, its connections and its turn.
pub struct Node {
    /// All state but the connections.
    pub shard: Shard,
    pub(super) limits: NetLimits,
    pub(super) connections: DetMap<ConnectionId, Connection>,
    pub(super) admission: Admission,
    pub(super) budget: Budget,
    /// Connections that may not read until memory is given back, in the order in which they came.
    pub(super) paused: Vec<Paused>,
    /// When those that hold much memory are looked at.
    pub(super) relief_at: Moment,
    /// Memory of the fetch sessions, and when it is worked out again.
    pub(super) session_bytes: (usize, Moment),
    /// No connection is idle for too long before this.
    pub(super) idle_look_at: Moment,
    /// Connections with bytes to send.
    dirty: Vec<ConnectionId>,
    /// Connections whose next request may be served now.
    pub(super) ready: Vec<ConnectionId>,
    /// Connections whose produce request waits for room in the journal.
    pub(super) stalled: Vec<ConnectionId>,
    /// Connections the next piece of whose request can be served.
    pub(super) in_pieces: VecDeque<ConnectionId>,
    events: Vec<NetEvent>,
    store_events: Vec<StoreEvent>,
    jobs: Vec<Job>,
    /// Requests that this turn has ended.
    pub(super) served: Vec<Served>,
    /// What this turn does.
    pub(super) work: Turn,
    /// Processor time at the end of the last turn.
    cpu_before: Duration,
    /// A log that is read back goes on in the next turn.
    loads: bool,
    accepting: bool,
    pub(super) stopping_until: Option<Moment>,
}

impl Node {
    /// A node without connections.
    pub fn new(shard: Shard, limits: NetLimits) -> Self {
        Self {
            shard,
            limits,
            connections: DetMap::default(),
            admission: Admission::default(),
            budget: Budget::new(
                limits.memory_bytes,
                limits.set_aside_bytes,
                limits.queued_bytes_max,
            ),
            paused: Vec::new(),
            relief_at: Moment::NEVER,
            session_bytes: (0, Moment(0)),
            idle_look_at: Moment::NEVER,
            dirty: Vec::new(),
            ready: Vec::new(),
            stalled: Vec::new(),
            in_pieces: VecDeque::new(),
            events: Vec::new(),
            store_events: Vec::new(),
            jobs: Vec::new(),
            served: Vec::new(),
            work: Turn::default(),
            cpu_before: Duration::ZERO,
            loads: true,
            accepting: false,
            stopping_until: None,
        }
    }

    /// Runs one turn. Returns false when the node has stopped: everything that was under way is
    /// answered, and the store may be closed.
    ///
    /// # Errors
    /// The node cannot go on: its ring failed, or its journal.
    pub fn turn(&mut self, outside: &mut impl Outside) -> io::Result<bool> {
        let mut events = mem::take(&mut self.events);
        let timeout = self.timeout(outside.now().0);
        outside.wait(timeout, &mut events)?;
        let (now, wall) = outside.now();
        self.shard.begin_turn(now, wall);
        let steps = Steps::begin(outside.ticks());
        self.work = Turn { events: events.len() as u32, steps, ..Turn::default() };
        self.collect_results(outside);
        self.collect_mail(outside);
        self.collect_events(events, outside);
        if self.shard.on_time() {
            self.ends(Step::Deadlines, outside);
        }
        if self.shard.upkeep() {
            self.ends(Step::Upkeep, outside);
        }
        self.loads = self.shard.load();
        if self.loads {
            self.ends(Step::Load, outside);
        }
        let applied = if self.shard.in_slice { self.shard.apply_slice() } else { 0 };
        if applied > 0 {
            self.work.applied = applied as u32;
            self.ends(Step::Apply, outside);
        }
        if self.shard.ready && !self.accepting && self.stopping_until.is_none() {
            self.accepting = true;
            outside.start_accepting();
        }
        self.admit_waiting(outside);
        self.close_idle(outside);
        self.mind_memory(outside);
        self.ends(Step::Admission, outside);
        let has_slice = self.shard.in_slice && applied == 0;
        if has_slice {
            self.serve_slice(outside);
        }
        self.serve_all(outside);
        if has_slice && !self.shard.missing.is_empty() {
            api::change::create_missing(&mut self.shard);
            self.ends(Step::Create, outside);
        }
        if let Some(commit) = self.shard.store.commit(self.shard.now) {
            self.work.committed_bytes = commit.journal_bytes() as u64;
            self.ends(Step::Commit, outside);
            outside.start_commit(commit);
            self.work.steps.skip(outside.ticks());
        }
        self.send_all(outside);
        self.ends(Step::Send, outside);
        self.hand_out(outside);
        self.count(outside);
        if self.shard.failed {
            let what = "the journal or the metadata log failed; see the log for the disk's error";
            return Err(io::Error::other(what));
        }
        Ok(!self.has_stopped())
    }

    /// A step of the turn has ended.
    fn ends(&mut self, step: Step, outside: &mut impl Outside) {
        self.work.steps.end(step, outside.ticks());
    }

    /// Does a slice of what takes too long for one turn.
    fn serve_slice(&mut self, outside: &mut impl Outside) {
        if let Some((to, mut counts)) = self.shard.observe_slice() {
            self.add_counts(&mut counts);
            self.tell(&to, Some(counts));
        }
        self.ends(Step::Observe, outside);
        self.shard.survey_slice();
        self.ends(Step::Survey, outside);
        self.serve_piece(outside);
    }

    /// Hands out what the servants and the siblings are to do.
    fn hand_out(&mut self, outside: &mut impl Outside) {
        self.shard.store.jobs(&mut self.jobs);
        let opening = self.shard.openings.next_job(&mut self.shard.store);
        self.ends(Step::HandOut, outside);
        for job in self.jobs.drain(..) {
            outside.start_job(job);
        }
        if let Some(job) = opening {
            outside.start_opening(job);
        }
        self.deliver(outside);
    }

    /// Counts the turn, which ends now, and the requests that it has ended.
    fn count(&mut self, outside: &mut impl Outside) {
        let (end, cpu) = (outside.now().0, outside.cpu_time());
        self.work.took = end.since(self.shard.now);
        self.work.cpu = cpu.saturating_sub(mem::replace(&mut self.cpu_before, cpu));
        self.work.answers = self.served.len() as u32;
        for request in self.served.drain(..) {
            self.shard.metrics.on_answered(
                request.key,
                (request.came, self.shard.now, end),
                request.errors.all(),
            );
        }
        self.shard.metrics.on_turn(&self.work, end);
    }

    /// How long the next turn would wait for an event; `None`: as long as it takes.
    pub fn timeout(&self, now: Moment) -> Option<Duration> {
        if self.loads
            || !self.ready.is_empty()
            || !self.dirty.is_empty()
            || self.shard.fetches.has_woken()
            || !self.shard.post.is_empty()
        {
            return Some(Duration::ZERO);
        }
        let stop = self.stopping_until.unwrap_or(Moment::NEVER);
        let waiting = self.admission.next_deadline(&self.shard.limits, now);
        let piece = if self.in_pieces.is_empty() { Moment::NEVER } else { self.shard.slice_at };
        let own = self.idle_look_at.min(self.relief_at).min(waiting).min(stop).min(piece);
        let next = self.shard.next_deadline().min(own);
        (next != Moment::NEVER).then(|| next.since(now))
    }

    fn collect_results(&mut self, outside: &mut impl Outside) {
        let mut events = mem::take(&mut self.store_events);
        let now = self.shard.now;
        while let Some(done) = outside.finished_commit() {
            self.work.results += 1;
            self.shard.store.on_commit(done, now, &mut events);
            self.ready.append(&mut self.stalled);
            self.ends(Step::Commits, outside);
        }
        while let Some(done) = outside.finished_job() {
            self.work.results += 1;
            self.shard.store.on_job(done, now, &mut events);
            self.ready.append(&mut self.stalled);
            self.ends(Step::Jobs, outside);
        }
        while let Some(ended) = outside.finished_opening() {
            self.work.results += 1;
            self.shard.openings.ended();
            self.on_opening(ended, &mut events);
            self.ends(Step::Openings, outside);
        }
        self.shard.store.take_events(&mut events);
        if !events.is_empty() {
            for event in events.drain(..) {
                self.shard.on_store_event(&event);
            }
            self.ends(Step::Told, outside);
        }
        self.store_events = events;
    }

    fn on_opening(&mut self, ended: Ended, events: &mut Vec<StoreEvent>) {
        let ended = match ended {
            Ended::Found(found) => return self.shard.store.on_lookup(found, events),
            Ended::Changed(change) => return self.shard.on_decided(change),
            ended => ended,
        };
        let Some(slot) = ended.slot() else { return };
        let id = ConnectionId(slot.connection);
        // Its connection may be gone; then nobody wants it any more.
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.opened = Some(Box::new(ended));
            self.ready.push(id);
        }
    }

    fn collect_mail(&mut self, outside: &mut impl Outside) {
        while let Some(mail) = outside.mail() {
            self.work.mail += 1;
            match mail {
                Mail::Request { call, frame } => {
                    let slot = call.slot;
                    // Where it came from it was cut if it was large.
                    let outcome = api::dispatch_piece(&mut self.shard, slot, call.peer, &frame);
                    match outcome {
                        api::Outcome::Answer(answer) => self.shard.send(slot, answer),
                        api::Outcome::Close(reason) => {
                            tracing::debug!(%reason, "a forwarded request makes no sense");
                            let mail = Mail::Close { slot };
                            self.shard.post.push(Post { to: slot.shard, mail });
                        }
                        _ => {}
                    }
                }
                Mail::Close { slot } => self.close(ConnectionId(slot.connection), outside),
                Mail::Answer { slot, answer } => self.shard.outbox.push((slot, *answer)),
                Mail::Image { image, delta, number } => self.shard.take_image(image, delta, number),
                Mail::CreateMissing { names } => self.shard.miss(names),
                Mail::Applied { by, number } => self.shard.on_applied(by, number),
                Mail::Observe { whole: true, to } => {
                    self.shard.observing.push_back(Observing::new(to));
                }
                Mail::Observe { whole: false, to } => self.tell(&to, None),
                Mail::Stop => self.stop(outside),
            }
            self.ends(Step::Mail, outside);
        }
    }

    fn collect_events(&mut self, mut events: Vec<NetEvent>, outside: &mut impl Outside) {
        if !events.is_empty() {
            for event in events.drain(..) {
                self.on_net(event, outside);
            }
            self.ends(Step::Sockets, outside);
        }
        self.events = events;
    }

    fn on_net(&mut self, event: NetEvent, outside: &mut impl Outside) {
        match event {
            NetEvent::Accepted(id, peer) => self.accept(id, peer, outside),
            NetEvent::Received(id) => self.ready.push(id),
            NetEvent::Writable(id) => {
                self.dirty.push(id);
                self.ready.push(id);
            }
            NetEvent::Closed(id) => self.forget(id),
        }
    }

    /// Serves what can be served, answers what can be answered, until neither is left.
    fn serve_all(&mut self, outside: &mut impl Outside) {
        let mut ready = mem::take(&mut self.ready);
        loop {
            for id in ready.drain(..) {
                if let Err(reason) = self.serve(id, outside) {
                    self.close_for(id, &reason, outside);
                }
            }
            self.ends(Step::Requests, outside);
            self.shard.answer_fetches();
            self.ends(Step::Fetches, outside);
            let mut outbox = mem::take(&mut self.shard.outbox);
            for (slot, answer) in outbox.drain(..) {
                let id = ConnectionId(slot.connection);
                if answer.is_lost {
                    self.close(id, outside);
                }
                if let Some(connection) = self.connections.get_mut(&id) {
                    match &mut connection.pieces {
                        Some(pieces) if pieces.call.slot == slot => pieces.answer(answer),
                        _ => connection.answer(slot.sequence, answer, &mut self.served),
                    }
                    self.dirty.push(id);
                    ready.push(id);
                }
            }
            self.shard.outbox = outbox;
            self.ends(Step::Answers, outside);
            if ready.is_empty() {
                ready.append(&mut self.ready);
                self.ready = ready;
                return;
            }
        }
    }

    /// Serves the requests of one connection until its bytes or its turn are over.
    fn serve(
        &mut self,
        id: ConnectionId,
        outside: &mut impl Outside,
    ) -> Result<(), api::CloseReason> {
        let Some(mut connection) = self.connections.get_mut(&id) else { return Ok(()) };
        if connection.opened.is_some() || connection.pieces.is_some() {
            self.go_on(id)?;
            let Some(same) = self.connections.get_mut(&id) else { return Ok(()) };
            connection = same;
        }
        if self.stopping_until.is_some() {
            self.dirty.push(id);
            return Ok(());
        }
        let (mut used, mut is_large) = (0, false);
        let wanted = loop {
            let net = outside.net();
            let (bytes, full) = (net.received(id), self.shard.store.is_full());
            match connection.next_frame(&bytes[used..], self.limits.frame_bytes_max, full)? {
                Next::NeedBytes(frame_bytes) => break Some(frame_bytes),
                Next::Busy => break None,
                Next::Held => {
                    self.stalled.push(id);
                    break None;
                }
                Next::Serve(sequence, frame) => {
                    used += frame.len() + SIZE_BYTES;
                    connection.began(self.shard.now);
                    self.work.requests += 1;
                    self.work.request_bytes += frame.len() as u64;
                    let shard = self.shard.index;
                    let slot = Slot { shard, connection: id.0, sequence };
                    let (peer, (key, version)) = (connection.peer, api::key_and_version(frame));
                    let size = frame.len();
                    is_large = size > LARGE_FRAME;
                    let outcome = if is_large {
                        serve_large(&mut self.shard, slot, peer, net, (&mut used, size))
                    } else {
                        api::dispatch(&mut self.shard, slot, peer, frame)
                    };
                    if !matches!(outcome, api::Outcome::Close(_)) {
                        self.shard.metrics.on_request(key, version, size);
                    }
                    connection.settle(sequence, outcome, &mut self.served)?;
                    self.work.steps.end_request(Step::Requests, key, outside.ticks());
                }
            }
        };
        if !connection.out.is_empty() {
            self.dirty.push(id);
        }
        outside.net().consume(id, used);
        if let Some(frame_bytes) = wanted {
            self.read_on(id, frame_bytes, outside);
        } else if is_large {
            self.hold(id, outside);
        }
        Ok(())
    }

    fn send_all(&mut self, outside: &mut impl Outside) {
        let (mut dirty, mut rest) = (mem::take(&mut self.dirty), Vec::new());
        for id in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if connection.out.is_empty() {
                continue;
            }
            let before = connection.out.len();
            let sent = outside.net().send(id, &mut connection.out);
            self.shard.metrics.sent_bytes += (before - connection.out.len()) as u64;
            match sent {
                Sent::All => {
                    connection.unsent_since = None;
                    self.ready.extend(connection.is_throttled().then_some(id));
                }
                Sent::Part => {
                    connection.unsent_since = None;
                    rest.push(id);
                }
                Sent::Blocked => {
                    connection.unsent_since.get_or_insert(self.shard.now);
                }
                Sent::Gone => {
                    self.close(id, outside);
                    continue;
                }
            }
            self.hold(id, outside);
        }
        dirty.append(&mut rest);
        self.dirty = dirty;
    }

    fn deliver(&mut self, outside: &mut impl Outside) {
        let post = mem::take(&mut self.shard.post);
        for piece in post {
            if let Err(back) = outside.post(piece) {
                self.shard.post.push(back);
            }
        }
    }

    fn stop(&mut self, outside: &mut impl Outside) {
        outside.stop_accepting();
        for id in self.admission.drain() {
            self.shard.metrics.refuse(Refusal::Stopping);
            outside.net().close(id);
        }
        self.stopping_until = Some(self.shard.now + STOP_WITHIN);
    }

    fn has_stopped(&self) -> bool {
        let Some(until) = self.stopping_until else { return false };
        let is_done = |c: &Connection| c.out.is_empty() && !c.has_begun;
        let answered = self.shard.has_settled() && self.connections.values().all(is_done);
        answered || self.shard.now >= until
    }
}

/// Serves a large frame, the last of `used` bytes that were received. If it has a buffer of its own, it
/// leaves with that, which is given back beside the turn.
fn serve_large(
    shard: &mut Shard,
    slot: Slot,
    peer: IpAddr,
    net: &mut impl Network,
    (used, size): (&mut usize, usize),
) -> api::Outcome {
    let id = ConnectionId(slot.connection);
    let Some(buf) = net.take_frame(id, *used) else {
        return api::dispatch(shard, slot, peer, &net.received(id)[*used - size..*used]);
    };
    *used = 0;
    let frame = Bytes::from_owner(buf).slice(SIZE_BYTES..SIZE_BYTES + size);
    shard.frame = Some(frame.clone());
    let outcome = api::dispatch(shard, slot, peer, &frame);
    shard.frame = None;
    if !matches!(outcome, api::Outcome::Opening) {
        shard.openings.push(Chore::drop(size, frame));
    }
    outcome
}
