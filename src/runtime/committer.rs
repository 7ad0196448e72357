//! The committer: a thread of its own that does the blocking write and sync of the journal.
//!
//! Flow: the shard hands over one [`CommitJob`]; its result comes back by mailbox. One commit is in
//! flight at a time: all that arrives meanwhile is the next one. A blocking call is woken straight
//! from the disk's interrupt; the same through a ring stopped for seconds on a busy core.

use std::io;
use std::sync::mpsc;
use std::thread;

use crate::runtime::cpu;
use crate::runtime::disk::CommitJob;
use crate::runtime::mailbox::Sender;

/// Handle of one committer; dropping it ends the thread after the job in hand.
#[derive(Debug)]
pub struct Committer<J: CommitJob> {
    jobs: Option<mpsc::Sender<J>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<J: CommitJob> Committer<J> {
    /// Starts the thread, pinned to `cpu` when there is one to pin to.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(name: &str, cpu: Option<usize>, done: Sender<J::Done>) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<J>();
        let run = move || {
            if let Some(cpu) = cpu {
                cpu::pin_to(cpu);
            }
            for job in inbox {
                // The box holds more than the one commit in flight, so it is never full.
                let _ = done.try_send(job.run());
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands over a job.
    pub fn run(&self, job: J) {
        if let Some(jobs) = &self.jobs {
            // Fails only when the thread has died of a panic; then nothing is ever acknowledged.
            let _ = jobs.send(job);
        }
    }
}

impl<J: CommitJob> Drop for Committer<J> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
