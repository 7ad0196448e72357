//! The real outside of a node: its ring, its three servants, its siblings' mailboxes and the clock.

use std::io;
use std::time::Duration;

use crate::base::{Moment, WallMs};
use crate::runtime::back::Back;
use crate::runtime::clock;
use crate::runtime::front::Front;
use crate::runtime::mailbox::{Receiver, Sender};
use crate::runtime::network::{NetEvent, Network};
use crate::runtime::servant::Servant;
use crate::runtime::waker::Waker;
use crate::server::turn::Outside;
use crate::shard::opening::{Chore, Ended};
use crate::shard::{Mail, Post};
use crate::storage::{Commit, CommitDone, Job, JobDone};

/// How often the back is nudged while jobs are out (see `runtime::back`, G2).
const NUDGE: Duration = Duration::from_millis(20);

/// Everything around one shard.
pub struct RealOutside {
    /// The sockets.
    pub front: Front,
    /// Ends a wait.
    pub waker: Waker,
    /// The journal's thread.
    pub committer: Servant<Commit>,
    /// Its results.
    pub commits: Receiver<CommitDone>,
    /// The glommio thread.
    pub back: Back<Job>,
    /// Its results.
    pub jobs: Receiver<JobDone>,
    /// Jobs that are out.
    pub jobs_out: usize,
    /// The thread that opens batches, and cuts large requests.
    pub opener: Servant<Chore>,
    /// Its results.
    pub openings: Receiver<Ended>,
    /// Mail from siblings.
    pub inbox: Receiver<Mail>,
    /// The boxes of all shards, this one included, by index.
    pub siblings: Vec<Sender<Mail>>,
}

impl RealOutside {
    fn has_mail(&self) -> bool {
        let results = !self.commits.is_empty() || !self.jobs.is_empty();
        results || !self.openings.is_empty() || !self.inbox.is_empty()
    }
}

impl Outside for RealOutside {
    type Net = Front;

    fn net(&mut self) -> &mut Front {
        &mut self.front
    }

    fn now(&mut self) -> (Moment, WallMs) {
        clock::now()
    }

    fn ticks(&mut self) -> u64 {
        clock::ticks()
    }

    fn cpu_time(&mut self) -> Duration {
        clock::thread_cpu()
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<NetEvent>) -> io::Result<()> {
        self.waker.announce_sleep();
        let timeout = match timeout {
            _ if self.has_mail() => Some(Duration::ZERO),
            _ if self.jobs_out > 0 => Some(timeout.map_or(NUDGE, |t| t.min(NUDGE))),
            timeout => timeout,
        };
        let waited = self.front.wait(timeout, events);
        self.waker.announce_awake();
        if self.jobs_out > 0 && events.is_empty() && !self.has_mail() {
            self.back.nudge();
        }
        waited
    }

    fn start_commit(&mut self, commit: Commit) {
        self.committer.run(commit);
    }

    fn finished_commit(&mut self) -> Option<CommitDone> {
        self.commits.try_recv()
    }

    fn start_job(&mut self, job: Job) {
        // The store has fewer jobs out than the back takes, so none comes back.
        if self.back.run(job).is_ok() {
            self.jobs_out += 1;
        }
    }

    fn finished_job(&mut self) -> Option<JobDone> {
        let done = self.jobs.try_recv()?;
        self.jobs_out -= 1;
        Some(done)
    }

    fn start_opening(&mut self, chore: Chore) {
        self.opener.run(chore);
    }

    fn finished_opening(&mut self) -> Option<Ended> {
        self.openings.try_recv()
    }

    fn mail(&mut self) -> Option<Mail> {
        self.inbox.try_recv()
    }

    fn post(&mut self, post: Post) -> Result<(), Post> {
        let Some(sibling) = self.siblings.get(usize::from(post.to.0)) else { return Ok(()) };
        sibling.try_send(post.mail).map_err(|mail| Post { to: post.to, mail })
    }

    fn start_accepting(&mut self) {
        self.front.start_accepting();
    }

    fn stop_accepting(&mut self) {
        self.front.stop_accepting();
    }
}
