//! The load on our own client: producers and consumers as pure machines on one ring, in one thread.
//!
//! The turn: push the records whose time has come -> let the machines send -> wait for answers, the
//! next record or the next deadline -> count what came. The schedule never waits for the brokers: a
//! producer whose buffer is full owes its records, with the intended times that they had.

mod agenda;
mod reader;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use klamm::base::{Moment, WallMs};
use klamm::client::fetcher::Fetched;
use klamm::client::producer::Delivery;
use klamm::client::{Answer, ClientError, Cluster, ConnectionOptions, Endpoint, Outgoing};
use klamm::runtime::clock;

use crate::tools::load::meter::{Backlog, Meter};
use crate::tools::load::payload::Payloads;
use crate::tools::load::progress::Progress;
use crate::tools::load::ring::{Done, Ring};
use crate::tools::load::schedule::{Drain, Schedule, first_due};
use crate::tools::load::verify::{Checker, Verdict};
use crate::tools::load::workload::Workload;
use agenda::Agenda;
use reader::Reader;
use sender::{Push, Sender};

const METADATA_AGE: Duration = Duration::from_mins(5);
const METADATA_BACKOFF: Duration = Duration::from_millis(100);
/// Records that are due within this time of each other are pushed together.
const QUANTUM: Duration = Duration::from_micros(50);
/// Records that are pushed in one turn when there is no rate.
const PUSHED_AT_ONCE: u64 = 1024;
/// The lane of the metadata; producers and consumers follow.
const CLUSTER: u32 = 0;
/// A backlog is read when less than this part of a second's records is unread.
const CAUGHT_UP_SECONDS: f64 = 0.05;

/// What one run needs besides its workload.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    pub(crate) bootstrap: Vec<Endpoint>,
    /// Topics, which exist.
    pub(crate) topics: Vec<Arc<str>>,
    /// Whether the topics may hold records of others.
    pub(crate) is_foreign: bool,
    /// Number of the run.
    pub(crate) run: u32,
    /// How long brokers may fail before the run ends.
    pub(crate) give_up_after: Duration,
    /// Set by a signal.
    pub(crate) stop: Arc<AtomicBool>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// As planned.
    Complete,
    /// A signal came.
    Stopped,
    /// It could not go on; why.
    Failed(String),
}

/// The load of one run.
pub(crate) struct Engine {
    plan: Plan,
    cluster: Cluster,
    ring: Ring,
    senders: Vec<Sender>,
    readers: Vec<Reader>,
    payloads: Payloads,
    checker: Option<Checker>,
    schedule: Schedule,
    /// Records of the schedule whose time has come.
    due: u64,
    pushed_at: Moment,
    /// As of the last turn; a record's timestamp.
    wall: WallMs,
    agenda: Agenda,
    reads: bool,
    out: Vec<Outgoing>,
    done: Vec<Done>,
    deliveries: Vec<Delivery>,
    fetched: Vec<Fetched>,
}

impl Engine {
    /// Makes the machines; nothing is sent yet.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn new(plan: Plan, payloads: Payloads) -> Result<Self, String> {
        let w = &plan.workload;
        let mut cluster = Cluster::new(false, METADATA_AGE, METADATA_BACKOFF);
        for topic in &plan.topics {
            cluster.want(topic);
        }
        let options = ConnectionOptions {
            client_id: "klamm-load".to_owned(),
            ..ConnectionOptions::default()
        };
        let ring = Ring::new(plan.bootstrap.clone(), options).map_err(|e| e.to_string())?;
        let (senders, readers) = (Sender::all(&plan, payloads.bytes_max())?, Reader::all(&plan));
        Ok(Self {
            schedule: Schedule::new(w),
            due: 0,
            pushed_at: Moment::default(),
            wall: clock::now().1,
            agenda: Agenda::new(1 + senders.len() + readers.len()),
            cluster,
            ring,
            senders,
            readers,
            payloads,
            checker: w.verify.then(Checker::default),
            reads: true,
            out: Vec::new(),
            done: Vec::new(),
            deliveries: Vec::new(),
            fetched: Vec::new(),
            plan,
        })
    }

    /// Records of the schedule whose time has come.
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// What the consumers found, with `--verify`.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let chains = self.senders.iter().flat_map(Sender::chains);
        self.checker.as_ref().map(|c| c.verdict(self.plan.workload.groups, chains))
    }

    /// Connects, and waits until every consumer knows where it begins.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn prepare(&mut self, meter: &mut Meter) -> Result<(), String> {
        loop {
            self.turn(clock::now().0, Moment::NEVER, meter)?;
            let is_known = self.plan.topics.iter().all(|t| self.cluster.topic(t).is_some());
            if is_known && self.readers.iter().all(Reader::is_ready) {
                return Ok(());
            }
            if self.is_stopped() {
                return Err("interrupted".to_owned());
            }
        }
    }

    /// Runs the workload: the backlog, the schedule, and what is left of both.
    pub(crate) fn run(&mut self, meter: &mut Meter, progress: &mut Progress) -> End {
        let mut all = || {
            let built = match self.plan.workload.backlog_bytes {
                0 => Ok(()),
                bytes => self.build_backlog(bytes, meter),
            };
            meter.begin(first_due()).map_err(|e| e.to_string())?;
            built?;
            let end = self.send_all(meter, progress)?;
            Ok(if self.drain(meter, progress)? { end } else { End::Stopped })
        };
        let end = all().unwrap_or_else(End::Failed);
        meter.cut(clock::now().0);
        end
    }

    fn is_stopped(&self) -> bool {
        self.plan.stop.load(Ordering::Relaxed)
    }

    /// Sends the backlog as fast as it goes, while the consumers wait.
    fn build_backlog(&mut self, bytes: u64, meter: &mut Meter) -> Result<(), String> {
        let records = bytes.div_ceil(self.plan.workload.record_bytes as u64);
        let began = clock::now().0;
        self.reads = false;
        let built = self.send_backlog(records, meter);
        self.reads = true;
        self.agenda.add_all();
        let build_seconds = clock::now().0.since(began).as_secs_f64();
        let records = meter.counts.sent;
        meter.backlog = Some(Backlog { records, build_seconds, drain_seconds: None });
        built
    }

    fn send_backlog(&mut self, records: u64, meter: &mut Meter) -> Result<(), String> {
        while meter.counts.acked + meter.counts.failed < records && !self.is_stopped() {
            let now = clock::now().0;
            let left = records - meter.counts.sent;
            let is_full = self.push_freely(now, left, meter)?;
            let is_waiting = is_full || left == 0;
            self.turn(now, if is_waiting { Moment::NEVER } else { now }, meter)?;
            if meter.counts.sent == records {
                self.flush();
            }
        }
        Ok(())
    }

    /// Pushes up to `left` records without a rate; returns whether all buffers are full.
    fn push_freely(&mut self, now: Moment, left: u64, meter: &mut Meter) -> Result<bool, String> {
        let mut left = left.min(PUSHED_AT_ONCE);
        let mut is_full = true;
        for at in 0..self.senders.len() {
            while left > 0 && self.senders[at].has_room() {
                self.push(at, now, now, meter)?;
                left -= 1;
            }
            is_full &= !self.senders[at].has_room();
            self.agenda.add(1 + at as u32);
        }
        Ok(is_full)
    }

    fn send_all(&mut self, meter: &mut Meter, progress: &mut Progress) -> Result<End, String> {
        loop {
            let now = clock::now().0;
            progress.end_seconds(now, self.due, meter)?;
            self.push_due(now, meter)?;
            if now >= meter.to {
                return Ok(End::Complete);
            }
            if self.is_stopped() {
                meter.cut(now);
                return Ok(End::Stopped);
            }
            let next = self.schedule.intended(self.due, meter.began).max(self.pushed_at + QUANTUM);
            self.turn(now, next.min(meter.second_ends_at()).min(meter.to), meter)?;
            self.look_at_backlog(meter);
        }
    }

    fn look_at_backlog(&self, meter: &mut Meter) {
        let w = &self.plan.workload;
        let unread = meter.unread(w.groups);
        if let Some(backlog) = &mut meter.backlog
            && backlog.drain_seconds.is_none()
            && unread as f64 <= w.rate * CAUGHT_UP_SECONDS
        {
            let passed = clock::now().0.since(meter.began).as_secs_f64();
            backlog.drain_seconds = Some(passed);
        }
    }

    fn flush(&mut self) {
        for at in 0..self.senders.len() {
            self.senders[at].producer.flush();
            self.agenda.add(1 + at as u32);
        }
    }

    /// Waits until all that was sent is acknowledged and read; gives up when nothing moves. Says
    /// whether it got there: a signal that comes now ends the waiting. What is owed stays unsent.
    fn drain(&mut self, meter: &mut Meter, progress: &mut Progress) -> Result<bool, String> {
        self.plan.stop.store(false, Ordering::Relaxed);
        self.senders.iter_mut().for_each(|s| s.owed = 0);
        self.flush();
        let (groups, limit) = (self.plan.workload.groups, self.plan.give_up_after);
        let mut drain = Drain::new(meter, groups, limit, clock::now().0);
        loop {
            let now = clock::now().0;
            progress.end_seconds(now, self.due, meter)?;
            if drain.is_over(meter, now)? {
                return Ok(true);
            }
            if self.is_stopped() {
                return Ok(false);
            }
            self.turn(now, meter.second_ends_at(), meter)?;
            self.look_at_backlog(meter);
        }
    }

    fn push_due(&mut self, now: Moment, meter: &mut Meter) -> Result<(), String> {
        let count = self.senders.len() as u64;
        while self.schedule.intended(self.due, meter.began) <= now {
            let at = (self.due % count) as usize;
            self.due += 1;
            self.senders[at].owed += 1;
            self.push_owed(at, now, meter)?;
            self.pushed_at = now;
        }
        Ok(())
    }

    /// Pushes what a producer owes, as far as its buffer takes it.
    fn push_owed(&mut self, at: usize, now: Moment, meter: &mut Meter) -> Result<(), String> {
        let count = self.senders.len() as u64;
        while self.senders[at].owed > 0 && self.senders[at].has_room() {
            let sender = &mut self.senders[at];
            let number = sender.scheduled * count + at as u64;
            sender.scheduled += 1;
            sender.owed -= 1;
            let intended = self.schedule.intended(number, meter.began);
            self.push(at, intended, now, meter)?;
        }
        self.agenda.add(1 + at as u32);
        Ok(())
    }

    fn push(
        &mut self,
        at: usize,
        intended: Moment,
        now: Moment,
        meter: &mut Meter,
    ) -> Result<(), String> {
        let (cluster, payloads) = (&self.cluster, &mut self.payloads);
        let now = (now, self.wall);
        let mut push = Push { cluster, payloads, run: self.plan.run, now };
        self.senders[at].push(intended, &mut push, meter)
    }

    /// Lets the machines send, waits until something comes or `until`, and hands out what came.
    fn turn(&mut self, now: Moment, until: Moment, meter: &mut Meter) -> Result<(), String> {
        self.poll(now, meter);
        let until = until.min(self.cluster.deadline()).min(self.agenda.deadline());
        let mut done = std::mem::take(&mut self.done);
        self.ring.turn(now, until, &mut done).map_err(|e| e.to_string())?;
        let (now, wall) = clock::now();
        self.wall = wall;
        for over in done.drain(..) {
            self.on_done(over, now, meter)?;
        }
        self.done = done;
        match self.ring.trouble() {
            Some((since, e)) if now >= *since + self.plan.give_up_after => {
                let limit = self.plan.give_up_after.as_secs_f64();
                Err(format!("a broker is gone for {limit} s (--give-up-after): {e}"))
            }
            _ => Ok(()),
        }
    }

    fn poll(&mut self, now: Moment, meter: &mut Meter) {
        let mut out = std::mem::take(&mut self.out);
        self.cluster.poll(now, &mut out);
        for outgoing in out.drain(..) {
            self.ring.submit(CLUSTER, outgoing, now);
        }
        for lane in self.agenda.take(now) {
            let Some(at) = (lane as usize).checked_sub(1) else { continue };
            let next = if let Some(sender) = self.senders.get_mut(at) {
                let done = &mut self.deliveries;
                sender.producer.poll(&mut self.cluster, now, &mut out, done);
                sender.count(self.deliveries.drain(..), now, meter);
                sender.producer.deadline(now)
            } else if self.reads {
                let fetcher = &mut self.readers[at - self.senders.len()].fetcher;
                fetcher.poll(&mut self.cluster, now, &mut out);
                fetcher.deadline(now)
            } else {
                Moment::NEVER
            };
            for outgoing in out.drain(..) {
                self.ring.submit(lane, outgoing, now);
            }
            self.agenda.set_timer(lane, next);
        }
        self.out = out;
    }

    fn on_done(&mut self, over: Done, now: Moment, meter: &mut Meter) -> Result<(), String> {
        let Done { lane, id, result } = over;
        let Some(at) = (lane as usize).checked_sub(1) else {
            return self.on_metadata(id, result, now);
        };
        self.agenda.add(lane);
        if let Some(sender) = self.senders.get_mut(at) {
            let done = &mut self.deliveries;
            let read = sender.producer.on_answer(id, result, &mut self.cluster, now, done);
            sender.count(self.deliveries.drain(..), now, meter);
            read.map_err(|e| e.to_string())?;
            return self.push_owed(at, now, meter);
        }
        let reader = &mut self.readers[at - self.senders.len()];
        let found = &mut self.fetched;
        match reader.fetcher.on_answer(id, result, &mut self.cluster, now, found) {
            Err(e) if !e.is_retriable() => return Err(e.to_string()),
            _ => {}
        }
        for found in self.fetched.drain(..) {
            reader.count(found, self.plan.run, now, (meter, &mut self.checker))?;
        }
        Ok(())
    }

    fn on_metadata(
        &mut self,
        id: u64,
        result: Result<Answer, ClientError>,
        now: Moment,
    ) -> Result<(), String> {
        match self.cluster.on_answer(id, result, now) {
            Err(e) if !e.is_retriable() => return Err(e.to_string()),
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        for (&node, broker) in self.cluster.brokers() {
            self.ring.learn(node, &broker.endpoint);
        }
        for topic in &self.plan.topics {
            let error = self.cluster.topics().get(topic).map(|t| t.error);
            if let Some(error) = error.filter(|e| e.0 != 0 && !e.is_retriable()) {
                return Err(format!("topic {topic}: {}", error.name()));
            }
        }
        self.agenda.add_all();
        Ok(())
    }
}
