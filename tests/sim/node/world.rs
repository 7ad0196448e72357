//! One seeded world: a server of a few nodes on a simulated disk, clients, and a queue of events that
//! says what happens next and when.

use std::collections::BTreeMap;
use std::time::Duration;

use klamm::base::{Moment, WallMs};
use klamm::server::turn::Node;
use klamm::shard::opening::Ended;
use klamm::sim::Rng;
use klamm::sim::disk::SimDisk;
use klamm::sim::outside::SimOutside;
use klamm::storage::{CommitDone, JobDone};

use super::admin::{Admin, TOPICS};
use super::consumer::Consumer;
use super::facts::Facts;
use super::link::{Client, Ctx, Link};
use super::member::Member;
use super::producer::Producer;

/// How long a world is disturbed.
const LIFE_MS: i64 = 12_000;
/// How long it may take to come to rest, without any disturbance.
const REST_MS: i64 = 60_000;
/// A disk that takes its time.
const SLOW_SYNC_MS: i64 = 2_000;
const WALL: i64 = 1_700_000_000_000;

pub(super) enum Event {
    Turn(usize),
    RunCommit(usize),
    CommitDone(usize, CommitDone),
    RunJob(usize),
    JobDone(usize, JobDone),
    RunOpening(usize),
    OpeningDone(usize, Ended),
    Mail(usize),
    Deliver(usize),
    Read(usize),
    Wake(usize),
    Tick,
    Trouble,
    Boot,
}

pub(super) struct Served {
    pub(super) node: Node,
    pub(super) outside: SimOutside,
    pub(super) turn_at: Moment,
    pub(super) mail_at: Moment,
    pub(super) mail_scheduled: usize,
    pub(super) stopped: bool,
    pub(super) turns: u64,
}

pub(super) struct Actor {
    pub(super) client: Box<dyn Client>,
    pub(super) link: Option<Link>,
    pub(super) wake_at: Moment,
    pub(super) reads: bool,
    pub(super) delivers: bool,
}

pub(crate) struct World {
    pub(super) rng: Rng,
    pub(super) disk: SimDisk,
    pub(super) now: Moment,
    pub(super) nodes: usize,
    pub(super) served: Vec<Served>,
    pub(super) actors: Vec<Actor>,
    pub(super) facts: Facts,
    /// How far the clock on the wall is off, in ms.
    pub(super) wall_off: i64,
    /// The next sync takes long.
    pub(super) slow_sync: bool,
    pub(super) queue: BTreeMap<(Moment, u64), Event>,
    next: u64,
    pub(super) stopping: bool,
    /// A stop was asked for.
    pub(super) closing: bool,
    pub trace: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let nodes = 1 + rng.below(3);
        let mut world = Self {
            rng,
            disk: SimDisk::new(seed ^ 0x5eed),
            now: Moment(1_000_000_000),
            nodes,
            served: Vec::new(),
            actors: Vec::new(),
            facts: Facts::default(),
            wall_off: 0,
            slow_sync: false,
            queue: BTreeMap::new(),
            next: 0,
            stopping: false,
            closing: false,
            trace: 0,
        };
        world.boot();
        let admin = Admin::new(&mut world.rng);
        world.add(Box::new(admin));
        for i in 0..=world.rng.below(4) {
            let topic = TOPICS[world.rng.below(TOPICS.len())];
            let producer = Producer::new(i, topic, &mut world.rng);
            world.add(Box::new(producer));
        }
        for _ in 0..=world.rng.below(3) {
            let node = world.rng.below(nodes);
            let consumer = Consumer::new(node, &mut world.rng);
            world.add(Box::new(consumer));
        }
        for i in 0..world.rng.below(4) {
            let member = Member::new(i, &mut world.rng);
            world.add(Box::new(member));
        }
        world.at(500, Event::Tick);
        let ms = world.rng.below(4_000) as i64;
        world.at(ms, Event::Trouble);
        world
    }

    fn add(&mut self, client: Box<dyn Client>) {
        let i = self.actors.len();
        self.actors.push(Actor {
            client,
            link: None,
            wake_at: Moment::NEVER,
            reads: false,
            delivers: false,
        });
        self.wake(i, self.now);
    }

    pub(super) fn at(&mut self, ms: i64, event: Event) {
        self.push(self.now.plus_ms(ms), event);
    }

    pub(super) fn push(&mut self, at: Moment, event: Event) {
        self.next += 1;
        self.queue.insert((at.max(self.now), self.next), event);
    }

    /// A short time, now and then a long one.
    pub(super) fn soon(&mut self) -> Moment {
        let us = match self.rng.below(100) {
            0..80 => self.rng.below(300),
            80..98 => self.rng.below(5_000),
            _ => self.rng.below(200_000),
        };
        self.now + Duration::from_micros(us as u64)
    }

    pub(super) fn wall(&self) -> WallMs {
        WallMs(WALL + self.wall_off + (self.now.0 / 1_000_000) as i64)
    }

    pub(super) fn log(&self, what: &str) {
        if std::env::var("LOUD").is_ok() {
            eprintln!("{} {what}", self.now.0 / 1000);
        }
    }

    fn note(&mut self, what: u64) {
        self.trace = (self.trace ^ what).wrapping_mul(0x0100_0000_01b3);
    }

    /// Runs the world to its end; the trace of all that happened.
    pub(crate) fn run(mut self) -> (u64, Facts) {
        let end = self.now.plus_ms(LIFE_MS);
        while self.now < end {
            self.step();
        }
        self.rest();
        self.check_all("at rest");
        self.idle();
        if self.rng.chance(50) {
            self.stop();
        } else {
            self.crash();
        }
        self.check_all("after a restart");
        let told = self.facts.told;
        self.note(told);
        (self.trace, self.facts)
    }

    /// Lets all clients finish what they began.
    fn rest(&mut self) {
        self.stopping = true;
        if self.facts.faulty {
            self.die();
        }
        for i in 0..self.actors.len() {
            self.wake(i, self.now);
        }
        self.run_until_done("coming to rest");
    }

    fn run_until_done(&mut self, what: &str) {
        let end = self.now.plus_ms(REST_MS);
        while !self.actors.iter().all(|a| a.client.is_done(&self.facts)) {
            assert!(self.now < end, "{what}: client {:?} is not done", self.undone());
            self.step();
        }
    }

    fn undone(&self) -> Vec<usize> {
        let undone = |i: &usize| !self.actors[*i].client.is_done(&self.facts);
        (0..self.actors.len()).filter(undone).collect()
    }

    /// Reads every log from its start, over the wire.
    fn check_all(&mut self, when: &str) {
        for i in 0..self.actors.len() {
            self.lose(i, true);
        }
        self.actors.clear();
        self.queue.retain(|_, e| !matches!(e, Event::Deliver(_) | Event::Read(_) | Event::Wake(_)));
        for node in 0..self.nodes {
            let consumer = Consumer::auditor(node);
            self.add(Box::new(consumer));
        }
        self.run_until_done(when);
    }

    /// Nobody asks for anything: no node works.
    fn idle(&mut self) {
        for i in 0..self.actors.len() {
            self.lose(i, true);
        }
        self.actors.clear();
        self.queue.retain(|_, e| !matches!(e, Event::Deliver(_) | Event::Read(_) | Event::Wake(_)));
        let end = self.now.plus_ms(20_000);
        while self.now < end {
            self.step();
        }
        let before: Vec<_> = self.served.iter().map(|s| s.turns).collect();
        let end = self.now.plus_ms(20_000);
        while self.now < end {
            self.step();
        }
        for (served, before) in self.served.iter().zip(before) {
            let turns = served.turns - before;
            assert!(turns <= 8, "{turns} turns in 20 s without any client");
        }
    }

    pub(super) fn step(&mut self) {
        let ((at, _), event) = self.queue.pop_first().expect("a tick is always there");
        self.now = self.now.max(at);
        let now = (self.now, self.wall());
        for served in &mut self.served {
            served.outside.clock = now;
        }
        self.note(at.0);
        match event {
            Event::Turn(n) => self.turn(n, at),
            Event::RunCommit(n) => {
                if let Some(done) = self.served[n].outside.run_commit() {
                    let slow = std::mem::take(&mut self.slow_sync);
                    let at = if slow { self.now.plus_ms(SLOW_SYNC_MS) } else { self.soon() };
                    self.push(at, Event::CommitDone(n, done));
                }
            }
            Event::CommitDone(n, done) => {
                self.served[n].outside.tell_commit(done);
                self.nudge(n);
            }
            Event::RunJob(n) => {
                let which = self.rng.below(self.served[n].outside.jobs_out());
                if let Some(done) = self.served[n].outside.run_job(which, &self.disk) {
                    let at = self.soon();
                    self.push(at, Event::JobDone(n, done));
                }
            }
            Event::JobDone(n, done) => {
                self.served[n].outside.tell_job(done);
                self.nudge(n);
            }
            Event::RunOpening(n) => {
                if let Some(done) = self.served[n].outside.run_opening() {
                    let at = self.soon();
                    self.push(at, Event::OpeningDone(n, done));
                }
            }
            Event::OpeningDone(n, done) => {
                self.facts.openings += 1;
                self.served[n].outside.tell_opening(done);
                self.nudge(n);
            }
            Event::Mail(n) => {
                self.served[n].mail_scheduled -= 1;
                if let Some(post) = self.served[n].outside.posted.pop_front() {
                    let to = usize::from(post.to.0);
                    self.served[to].outside.tell_mail(post.mail);
                    self.nudge(to);
                }
            }
            Event::Deliver(i) => self.deliver(i),
            Event::Read(i) => self.read(i),
            Event::Wake(i) => self.act(i, at),
            Event::Tick => self.tick(),
            Event::Trouble => self.trouble(),
            Event::Boot => self.boot(),
        }
        if self.disk.is_crashed() {
            self.crash();
        }
    }

    /// A turn comes soon if the node has something to collect.
    pub(super) fn nudge(&mut self, n: usize) {
        if self.served[n].outside.has_news() {
            let at = self.now + Duration::from_micros(self.rng.below(200) as u64);
            self.turn_at(n, at);
        }
    }

    pub(super) fn turn_at(&mut self, n: usize, at: Moment) {
        let served = &mut self.served[n];
        if at < served.turn_at && !served.stopped {
            served.turn_at = at;
            self.push(at, Event::Turn(n));
        }
    }

    fn turn(&mut self, n: usize, at: Moment) {
        let served = &mut self.served[n];
        if served.turn_at != at || served.stopped {
            return;
        }
        served.turn_at = Moment::NEVER;
        served.turns += 1;
        match served.node.turn(&mut served.outside) {
            Ok(goes_on) => served.stopped = !goes_on,
            Err(e) => {
                assert!(self.facts.faulty, "node {n} stopped: {e}");
                return self.die();
            }
        }
        self.check_node(n);
        let started = self.served[n].outside.started();
        for _ in 0..started.commits {
            let at = self.soon();
            self.push(at, Event::RunCommit(n));
        }
        for _ in 0..started.jobs {
            let at = self.soon();
            self.push(at, Event::RunJob(n));
        }
        for _ in 0..started.openings {
            let at = self.soon();
            self.push(at, Event::RunOpening(n));
        }
        while self.served[n].mail_scheduled < self.served[n].outside.posted.len() {
            let at = self.soon().max(self.served[n].mail_at);
            self.served[n].mail_at = at;
            self.served[n].mail_scheduled += 1;
            self.push(at, Event::Mail(n));
        }
        if let Some(wait) = self.served[n].node.timeout(self.now) {
            let at = self.now + wait.max(Duration::from_micros(20));
            self.turn_at(n, at);
        }
        for i in 0..self.actors.len() {
            self.after_turn(i, n);
        }
        if self.closing && self.served.iter().all(|s| s.stopped) {
            self.close();
        }
    }

    fn check_node(&mut self, n: usize) {
        let shard = &self.served[n].node.shard;
        for partition in shard.partitions.iter() {
            let Some(log) = shard.store.log(partition.log) else { continue };
            let safe = log.durable_end();
            let told = partition.leader.high_watermark();
            assert!(told <= safe, "{}: high watermark {told}, synced {safe}", partition.topic);
        }
    }

    /// What the turn of a node means to a client.
    fn after_turn(&mut self, i: usize, n: usize) {
        let actor = &self.actors[i];
        let Some(link) = actor.link.as_ref().filter(|l| l.node == n) else { return };
        let (net, id) = (&self.served[n].outside.net, link.id);
        if !net.is_open(id) {
            return self.lose(i, false);
        }
        if net.readable(id) > 0 && !actor.reads {
            self.actors[i].reads = true;
            let at = self.soon();
            self.push(at, Event::Read(i));
        }
        self.plan_delivery(i);
    }

    fn plan_delivery(&mut self, i: usize) {
        let Some(link) = &self.actors[i].link else { return };
        let travels = self.served[link.node].outside.net.travelling(link.id) > 0;
        if travels && !self.actors[i].delivers {
            self.actors[i].delivers = true;
            let at = self.soon();
            self.push(at, Event::Deliver(i));
        }
    }

    fn deliver(&mut self, i: usize) {
        self.actors[i].delivers = false;
        let Some(link) = &self.actors[i].link else { return };
        let (n, id) = (link.node, link.id);
        let bytes = [1, 50, 4_000, 1 << 20][self.rng.below(4)];
        self.served[n].outside.net.deliver(id, bytes);
        self.nudge(n);
    }

    fn read(&mut self, i: usize) {
        self.actors[i].reads = false;
        let Some(link) = &mut self.actors[i].link else { return };
        let n = link.node;
        let bytes = [10, 500, 1 << 20][self.rng.below(3)];
        let net = &mut self.served[n].outside.net;
        let read = net.read(link.id, bytes);
        let more = net.readable(link.id) > 0;
        let answers = link.on_bytes(&read);
        self.note(read.len() as u64);
        if more {
            self.actors[i].reads = true;
            let at = self.soon();
            self.push(at, Event::Read(i));
        }
        self.nudge(n);
        for answer in answers {
            self.with(i, |client, ctx| client.on_answer(ctx, answer));
        }
        self.wake(i, self.now);
    }

    fn wake(&mut self, i: usize, at: Moment) {
        if at != Moment::NEVER && at < self.actors[i].wake_at {
            self.actors[i].wake_at = at;
            self.push(at, Event::Wake(i));
        }
    }

    fn act(&mut self, i: usize, at: Moment) {
        if self.actors[i].wake_at > at {
            return;
        }
        self.actors[i].wake_at = Moment::NEVER;
        match &self.actors[i].link {
            None => self.connect(i),
            Some(link) if link.ready => {
                let mut next = Moment::NEVER;
                self.with(i, |client, ctx| next = client.act(ctx));
                self.wake(i, next);
            }
            Some(_) => {}
        }
    }

    fn connect(&mut self, i: usize) {
        let node = self.actors[i].client.aim(&mut self.rng, self.nodes);
        let id = self.served.get_mut(node).and_then(|s| s.outside.net.connect());
        let Some(id) = id else {
            return self.wake(i, self.now.plus_ms(100));
        };
        self.actors[i].link = Some(Link::new(node, id, self.now));
        self.flush(i);
        self.nudge(node);
    }

    fn with(&mut self, i: usize, run: impl FnOnce(&mut dyn Client, &mut Ctx<'_>)) {
        let actor = &mut self.actors[i];
        let Some(link) = &mut actor.link else { return };
        let (now, stopping) = (self.now, self.stopping);
        let (rng, facts) = (&mut self.rng, &mut self.facts);
        let mut ctx = Ctx { now, rng, facts, link, stopping, hang_up: false };
        run(actor.client.as_mut(), &mut ctx);
        if ctx.hang_up {
            return self.lose(i, true);
        }
        self.flush(i);
    }

    /// Puts what a client has written on the wire.
    fn flush(&mut self, i: usize) {
        let Some(link) = &mut self.actors[i].link else { return };
        let bytes = link.connection.outgoing().to_vec();
        link.connection.on_written(bytes.len());
        self.served[link.node].outside.net.write(link.id, &bytes);
        self.plan_delivery(i);
    }

    /// The connection of a client ends; `hangs_up` when the client did it.
    pub(super) fn lose(&mut self, i: usize, hangs_up: bool) {
        let Some(link) = self.actors[i].link.take() else { return };
        if hangs_up && let Some(served) = self.served.get_mut(link.node) {
            served.outside.net.hang_up(link.id);
            self.nudge(link.node);
        }
        self.actors[i].client.on_lost();
        let at = self.soon();
        self.wake(i, at);
    }

    fn tick(&mut self) {
        for (i, actor) in self.actors.iter().enumerate() {
            let Some(link) = &actor.link else { continue };
            if let Some((deadline, api)) = link.deadlines.front() {
                assert!(self.now < *deadline, "client {i}: {api} was not answered");
            }
            let overdue = actor.client.overdue(&self.facts, self.now);
            assert!(overdue.is_none(), "client {i}: {}", overdue.unwrap_or_default());
        }
        self.at(500, Event::Tick);
    }
}
