//! The load on our own client: producers and consumers as pure machines on one ring, in one thread.
//!
//! The turn: push the records whose time has come -> let the machines send -> wait for answers, the
//! next record or the next deadline -> count what came. The schedule never waits for the brokers: a
//! producer whose buffer is full owes its records, with the intended times that they had.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use klamm::base::map::DetMap;
use klamm::base::{Moment, Offset};
use klamm::client::fetcher::{EARLIEST, Fetched, Fetcher, FetcherOptions, LATEST, Position};
use klamm::client::producer::{Delivery, NewRecord, Producer};
use klamm::client::{ClientError, Cluster, ConnectionOptions, Endpoint, Outgoing, PartitionName};
use klamm::runtime::clock;

use crate::tools::load::meter::Meter;
use crate::tools::load::payload::{Head, Payloads};
use crate::tools::load::progress::Progress;
use crate::tools::load::ring::{Done, Ring};
use crate::tools::load::workload::Workload;

const METADATA_AGE: Duration = Duration::from_mins(5);
const METADATA_BACKOFF: Duration = Duration::from_millis(100);
/// Records that are due within this time of each other are pushed together.
const QUANTUM: Duration = Duration::from_micros(50);
/// The lane of the metadata; producers and consumers follow.
const CLUSTER: u32 = 0;
/// Batches that a group of producers may hold in all.
const BUFFERS_BYTES_MAX: usize = 1 << 30;
const BUFFER_BYTES_MIN: usize = 1 << 20;

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

struct Sender {
    topic: Arc<str>,
    producer: Producer,
    /// Records pushed.
    pushed: u64,
    /// Records that are due and not pushed.
    owed: u64,
    /// Intended times of the records of each partition that have no delivery, in order.
    waiting: DetMap<i32, VecDeque<u64>>,
}

struct Reader {
    fetcher: Fetcher,
}

impl Reader {
    /// Whether it knows where to begin in each of its partitions.
    fn is_ready(&self) -> bool {
        let is_known = |p| matches!(self.fetcher.position(p), Some(Position::At(_)));
        self.fetcher.assigned().all(is_known)
    }
}

/// The load of one run.
pub(crate) struct Engine {
    plan: Plan,
    cluster: Cluster,
    ring: Ring,
    senders: Vec<Sender>,
    readers: Vec<Reader>,
    payloads: Payloads,
    interval_ns: f64,
    /// Records of the schedule whose time has come.
    due: u64,
    /// Records that may become due.
    due_max: u64,
    pushed_at: Moment,
    /// Lanes that have something to do, and when the others have.
    dirty: Vec<u32>,
    is_dirty: Vec<bool>,
    timers: BTreeSet<(Moment, u32)>,
    timer: Vec<Moment>,
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
    pub(crate) fn new(plan: Plan, seed: u64) -> Result<Self, String> {
        let w = &plan.workload;
        let payloads = Payloads::new(w, seed)?;
        let mut cluster = Cluster::new(false, METADATA_AGE, METADATA_BACKOFF);
        for topic in &plan.topics {
            cluster.want(topic);
        }
        let options = ConnectionOptions {
            client_id: "klamm-load".to_owned(),
            ..ConnectionOptions::default()
        };
        let ring = Ring::new(plan.bootstrap.clone(), options).map_err(|e| e.to_string())?;
        let senders = senders(&plan)?;
        let readers = readers(&plan);
        let lanes = 1 + senders.len() + readers.len();
        let length = w.warmup_seconds + w.duration_seconds;
        Ok(Self {
            interval_ns: 1e9 / w.rate,
            due: 0,
            due_max: (w.rate * length) as u64,
            pushed_at: Moment::default(),
            cluster,
            ring,
            senders,
            readers,
            payloads,
            dirty: Vec::new(),
            is_dirty: vec![false; lanes],
            timers: BTreeSet::new(),
            timer: vec![Moment::NEVER; lanes],
            out: Vec::new(),
            done: Vec::new(),
            deliveries: Vec::new(),
            fetched: Vec::new(),
            plan,
        })
    }

    /// Records whose time has come.
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// Connects, and waits until every consumer knows where it begins.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn prepare(&mut self, meter: &mut Meter) -> Result<(), String> {
        (1..self.is_dirty.len()).for_each(|lane| self.mark(lane as u32));
        loop {
            let now = clock::now().0;
            self.turn(now, Moment::NEVER, meter)?;
            if self.readers.iter().all(Reader::is_ready) && !self.cluster.brokers().is_empty() {
                return Ok(());
            }
            if self.plan.stop.load(Ordering::Relaxed) {
                return Err("interrupted".to_owned());
            }
        }
    }

    /// Runs the workload from `meter.began` on.
    pub(crate) fn run(&mut self, meter: &mut Meter, progress: &mut Progress) -> End {
        match self
            .send_all(meter, progress)
            .and_then(|end| Ok(if self.drain(meter, progress)? { end } else { End::Stopped }))
        {
            Ok(end) => end,
            Err(what) => End::Failed(what),
        }
    }

    fn send_all(&mut self, meter: &mut Meter, progress: &mut Progress) -> Result<End, String> {
        loop {
            let now = clock::now().0;
            self.end_seconds(now, meter, progress)?;
            if now >= meter.to {
                return Ok(End::Complete);
            }
            if self.plan.stop.load(Ordering::Relaxed) {
                return Ok(End::Stopped);
            }
            self.push_due(now, meter)?;
            let next = self.intended(self.due, meter).max(self.pushed_at + QUANTUM);
            self.turn(now, next.min(meter.second_ends_at()).min(meter.to), meter)?;
        }
    }

    /// Waits until all that was sent is acknowledged and read; gives up when nothing moves. Says
    /// whether it got there: a signal that comes now ends the waiting.
    fn drain(&mut self, meter: &mut Meter, progress: &mut Progress) -> Result<bool, String> {
        self.plan.stop.store(false, Ordering::Relaxed);
        for at in 0..self.senders.len() {
            self.senders[at].owed = 0;
            self.senders[at].producer.flush();
            self.mark(1 + at as u32);
        }
        let mut moved = (meter.counts.acked, meter.counts.consumed, clock::now().0);
        loop {
            let now = clock::now().0;
            self.end_seconds(now, meter, progress)?;
            let counts = meter.counts;
            let is_acked = counts.acked + counts.failed >= counts.sent;
            let wanted = counts.acked * u64::from(self.plan.workload.groups);
            if is_acked && counts.consumed >= wanted {
                return Ok(true);
            }
            if self.plan.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            if (counts.acked, counts.consumed) != (moved.0, moved.1) {
                moved = (counts.acked, counts.consumed, now);
            } else if now >= moved.2 + self.plan.give_up_after {
                let missing = counts.sent - counts.acked - counts.failed;
                return Err(format!(
                    "{missing} records were not acknowledged and {} not read within {} s after the \
                     last one",
                    wanted.saturating_sub(counts.consumed),
                    self.plan.give_up_after.as_secs()
                ));
            }
            self.turn(now, meter.second_ends_at(), meter)?;
        }
    }

    fn end_seconds(
        &mut self,
        now: Moment,
        meter: &mut Meter,
        progress: &mut Progress,
    ) -> Result<(), String> {
        while now >= meter.second_ends_at() {
            meter.end_second(self.due).map_err(|e| e.to_string())?;
            progress.show(meter);
        }
        Ok(())
    }

    /// When the record with this number in the schedule is to be sent.
    fn intended(&self, number: u64, meter: &Meter) -> Moment {
        if number >= self.due_max {
            return Moment::NEVER;
        }
        Moment(meter.began.0 + (number as f64 * self.interval_ns) as u64)
    }

    fn push_due(&mut self, now: Moment, meter: &mut Meter) -> Result<(), String> {
        let count = self.senders.len() as u64;
        while self.intended(self.due, meter) <= now {
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
        let wall = clock::now().1;
        while self.senders[at].owed > 0 {
            let intended = self.intended(self.senders[at].pushed * count + at as u64, meter);
            let sender = &mut self.senders[at];
            if !sender.producer.has_room(self.plan.workload.record_bytes) {
                break;
            }
            let head = Head { intended_ns: intended.0, run: self.plan.run, producer: at as u32 };
            let (key, value) = self.payloads.next(head);
            let record = NewRecord {
                topic: &sender.topic,
                partition: None,
                timestamp: wall.0,
                key,
                value: Some(value),
                headers: &[],
            };
            let partition =
                sender.producer.push(&self.cluster, &record, now).map_err(|e| e.to_string())?;
            sender.waiting.entry(partition).or_default().push_back(intended.0);
            sender.pushed += 1;
            sender.owed -= 1;
            meter.sent(now);
        }
        self.mark(1 + at as u32);
        Ok(())
    }

    fn mark(&mut self, lane: u32) {
        if !std::mem::replace(&mut self.is_dirty[lane as usize], true) {
            self.dirty.push(lane);
        }
    }

    /// Lets the machines send, waits until something comes or `until`, and hands out what came.
    fn turn(&mut self, now: Moment, until: Moment, meter: &mut Meter) -> Result<(), String> {
        self.poll(now, meter);
        let until = until.min(self.cluster.deadline());
        let until = self.timers.first().map_or(until, |(at, _)| until.min(*at));
        let mut done = std::mem::take(&mut self.done);
        self.ring.turn(now, until, &mut done).map_err(|e| e.to_string())?;
        let now = clock::now().0;
        for over in done.drain(..) {
            self.on_done(over, now, meter)?;
        }
        self.done = done;
        match self.ring.trouble() {
            Some((since, e)) if now >= *since + self.plan.give_up_after => Err(e.to_string()),
            _ => Ok(()),
        }
    }

    fn poll(&mut self, now: Moment, meter: &mut Meter) {
        let mut out = std::mem::take(&mut self.out);
        self.cluster.poll(now, &mut out);
        for outgoing in out.drain(..) {
            self.ring.submit(CLUSTER, outgoing, now);
        }
        while let Some(&(at, lane)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, lane));
            self.timer[lane as usize] = Moment::NEVER;
            self.mark(lane);
        }
        for lane in std::mem::take(&mut self.dirty) {
            self.is_dirty[lane as usize] = false;
            let at = lane as usize - 1;
            let next = match self.senders.get_mut(at) {
                Some(sender) => {
                    let done = &mut self.deliveries;
                    sender.producer.poll(&mut self.cluster, now, &mut out, done);
                    sender.producer.deadline(now)
                }
                None => {
                    let fetcher = &mut self.readers[at - self.senders.len()].fetcher;
                    fetcher.poll(&mut self.cluster, now, &mut out);
                    fetcher.deadline(now)
                }
            };
            for outgoing in out.drain(..) {
                self.ring.submit(lane, outgoing, now);
            }
            self.set_timer(lane, next);
            self.on_deliveries(at, now, meter);
        }
        self.out = out;
    }

    fn set_timer(&mut self, lane: u32, next: Moment) {
        let timer = &mut self.timer[lane as usize];
        if *timer != next {
            self.timers.remove(&(*timer, lane));
            *timer = next;
            if next != Moment::NEVER {
                self.timers.insert((next, lane));
            }
        }
    }

    fn on_done(&mut self, over: Done, now: Moment, meter: &mut Meter) -> Result<(), String> {
        let Done { lane, id, result } = over;
        if lane == CLUSTER {
            return self.on_metadata(id, result, now);
        }
        let at = lane as usize - 1;
        self.mark(lane);
        if let Some(sender) = self.senders.get_mut(at) {
            let done = &mut self.deliveries;
            let read = sender.producer.on_answer(id, result, &mut self.cluster, now, done);
            read.map_err(|e| e.to_string())?;
            self.on_deliveries(at, now, meter);
            return self.push_owed(at, now, meter);
        }
        let fetcher = &mut self.readers[at - self.senders.len()].fetcher;
        match fetcher.on_answer(id, result, &mut self.cluster, now, &mut self.fetched) {
            Err(e) if !e.is_retriable() => return Err(e.to_string()),
            _ => {}
        }
        for found in self.fetched.drain(..) {
            match found {
                Fetched::Batch(batch) => {
                    for record in batch.records() {
                        let record = record.map_err(|e| format!("{}: {e}", batch.partition))?;
                        let head = record.record.value.and_then(Head::read);
                        if let Some(head) = head.filter(|h| h.run == self.plan.run) {
                            meter.consumed(Moment(head.intended_ns), now);
                        }
                    }
                }
                Fetched::Failed { error, .. } => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    fn on_metadata(
        &mut self,
        id: u64,
        result: Result<klamm::client::Answer, ClientError>,
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
        (1..self.is_dirty.len()).for_each(|lane| self.mark(lane as u32));
        Ok(())
    }

    fn on_deliveries(&mut self, at: usize, now: Moment, meter: &mut Meter) {
        if self.deliveries.is_empty() {
            return;
        }
        let sender = &mut self.senders[at];
        for delivery in self.deliveries.drain(..) {
            let count = usize::try_from(delivery.count).unwrap_or(0);
            let Some(waiting) = sender.waiting.get_mut(&delivery.partition.partition) else {
                continue;
            };
            let intended = waiting.drain(..count.min(waiting.len()));
            match &delivery.result {
                Ok(_) => intended.for_each(|ns| meter.acked(Moment(ns), now)),
                Err(e) => meter.failed(intended.count() as u64, e),
            }
        }
    }
}

fn senders(plan: &Plan) -> Result<Vec<Sender>, String> {
    let w = &plan.workload;
    let count = plan.topics.len() * w.producers as usize;
    let buffer_bytes = (BUFFERS_BYTES_MAX / count).max(BUFFER_BYTES_MIN).max(w.record_bytes * 2);
    let sender = |at: usize| {
        let mut options = w.producer_options(at as u64 + 1)?;
        options.buffer_bytes_max = options.buffer_bytes_max.min(buffer_bytes);
        Ok(Sender {
            topic: Arc::clone(&plan.topics[at % plan.topics.len()]),
            producer: Producer::new(options),
            pushed: 0,
            owed: 0,
            waiting: DetMap::default(),
        })
    };
    (0..count).map(sender).collect()
}

fn readers(plan: &Plan) -> Vec<Reader> {
    let w = &plan.workload;
    let start = if plan.is_foreign { Position::Time(LATEST) } else { Position::At(Offset(0)) };
    let options = FetcherOptions {
        max_wait_ms: w.fetch_wait_ms,
        min_bytes: w.fetch_min_bytes,
        reset: Some(EARLIEST),
        ..FetcherOptions::default()
    };
    let mut readers = Vec::new();
    for topic in &plan.topics {
        for at in 0..w.groups * w.consumers {
            let mut fetcher = Fetcher::new(options.clone());
            let share = (0..w.partitions).filter(|p| p % w.consumers == at % w.consumers);
            for partition in share {
                fetcher.assign(PartitionName::new(topic, partition as i32), start);
            }
            readers.push(Reader { fetcher });
        }
    }
    readers
}
