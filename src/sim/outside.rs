//! The outside of a node under simulation: its sockets, servants, siblings and clock, all of which
//! stand still until the test moves them.
//!
//! What the turn starts lies here as plain values: a commit, jobs, an opening, mail. The test carries each out
//! when it likes ([`SimOutside::run_commit`], [`SimOutside::run_job`], [`SimOutside::posted`]) and
//! tells the node later ([`SimOutside::tell_commit`], ...), so a crash may come in between. Jobs end in
//! any order, a commit is one at a time, mail between two shards keeps its order if the test does.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::base::{Moment, WallMs};
use crate::runtime::disk::{BackJob, Disk, ServantJob};
use crate::runtime::network::{NetEvent, Network};
use crate::server::turn::Outside;
use crate::shard::opening::{Chore, Ended};
use crate::shard::{Mail, Post};
use crate::sim::net::SimNet;
use crate::storage::{Commit, CommitDone, Job, JobDone};

/// Everything around one shard.
pub struct SimOutside {
    /// The sockets.
    pub net: SimNet,
    /// The time; the same for all nodes of a server.
    pub clock: (Moment, WallMs),
    /// Mail that the shard sent and that is on its way.
    pub posted: VecDeque<Post>,
    /// Pieces of mail that fit into `posted`.
    pub posted_max: usize,
    commit: Option<Commit>,
    jobs: VecDeque<Job>,
    opening: Option<Chore>,
    commits_done: VecDeque<CommitDone>,
    openings_done: VecDeque<Ended>,
    jobs_done: VecDeque<JobDone>,
    inbox: VecDeque<Mail>,
    started: Started,
}

/// What a turn has handed out and nobody has taken note of yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Started {
    /// Commits: none or one.
    pub commits: usize,
    /// Jobs.
    pub jobs: usize,
    /// Openings: none or one.
    pub openings: usize,
}

impl SimOutside {
    /// Around a new shard.
    pub fn new(net: SimNet, posted_max: usize) -> Self {
        Self {
            net,
            clock: (Moment(0), WallMs(0)),
            posted: VecDeque::new(),
            posted_max,
            commit: None,
            jobs: VecDeque::new(),
            opening: None,
            commits_done: VecDeque::new(),
            openings_done: VecDeque::new(),
            jobs_done: VecDeque::new(),
            inbox: VecDeque::new(),
            started: Started::default(),
        }
    }

    /// What was handed out since the last call.
    pub fn started(&mut self) -> Started {
        std::mem::take(&mut self.started)
    }

    /// Carries out the commit that is handed out; what came of it is for [`Self::tell_commit`].
    pub fn run_commit(&mut self) -> Option<CommitDone> {
        self.commit.take().map(ServantJob::run)
    }

    /// The node may hear of a commit.
    pub fn tell_commit(&mut self, done: CommitDone) {
        self.commits_done.push_back(done);
    }

    /// Carries out a job of those that are handed out, counted from the oldest.
    pub fn run_job(&mut self, at: usize, disk: &dyn Disk) -> Option<JobDone> {
        self.jobs.remove(at).map(|job| job.run(disk))
    }

    /// The node may hear of a job.
    pub fn tell_job(&mut self, done: JobDone) {
        self.jobs_done.push_back(done);
    }

    /// Carries out the opening that is handed out.
    pub fn run_opening(&mut self) -> Option<Ended> {
        self.opening.take().map(ServantJob::run)
    }

    /// The node may hear of an opening.
    pub fn tell_opening(&mut self, done: Ended) {
        self.openings_done.push_back(done);
    }

    /// Jobs that are handed out and not carried out.
    pub fn jobs_out(&self) -> usize {
        self.jobs.len()
    }

    /// A piece of mail arrives.
    pub fn tell_mail(&mut self, mail: Mail) {
        self.inbox.push_back(mail);
    }

    /// Whether a turn has something to collect.
    pub fn has_news(&self) -> bool {
        self.net.has_events()
            || !self.commits_done.is_empty()
            || !self.jobs_done.is_empty()
            || !self.openings_done.is_empty()
            || !self.inbox.is_empty()
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        let servants = self.commit.is_none() && self.jobs.is_empty() && self.opening.is_none();
        servants && self.posted.is_empty() && !self.has_news()
    }
}

impl Outside for SimOutside {
    type Net = SimNet;

    fn net(&mut self) -> &mut SimNet {
        &mut self.net
    }

    fn now(&mut self) -> (Moment, WallMs) {
        self.clock
    }

    fn ticks(&mut self) -> u64 {
        self.clock.0.0
    }

    /// Simulated work takes none.
    fn cpu_time(&mut self) -> Duration {
        Duration::ZERO
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<NetEvent>) -> io::Result<()> {
        self.net.wait(timeout, events)
    }

    fn start_commit(&mut self, commit: Commit) {
        assert!(self.commit.is_none(), "one commit at a time");
        self.commit = Some(commit);
        self.started.commits += 1;
    }

    fn finished_commit(&mut self) -> Option<CommitDone> {
        self.commits_done.pop_front()
    }

    fn start_job(&mut self, job: Job) {
        self.jobs.push_back(job);
        self.started.jobs += 1;
    }

    fn finished_job(&mut self) -> Option<JobDone> {
        self.jobs_done.pop_front()
    }

    fn start_opening(&mut self, chore: Chore) {
        assert!(self.opening.is_none(), "one opening at a time");
        self.opening = Some(chore);
        self.started.openings += 1;
    }

    fn finished_opening(&mut self) -> Option<Ended> {
        self.openings_done.pop_front()
    }

    fn mail(&mut self) -> Option<Mail> {
        self.inbox.pop_front()
    }

    fn post(&mut self, post: Post) -> Result<(), Post> {
        if self.posted.len() >= self.posted_max {
            return Err(post);
        }
        self.posted.push_back(post);
        Ok(())
    }

    fn start_accepting(&mut self) {
        self.net.set_accepting(true);
    }

    fn stop_accepting(&mut self) {
        self.net.set_accepting(false);
    }
}
