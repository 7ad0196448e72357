//! A servant: a thread of its own on the shard's core that does blocking or long work, one job at a
//! time, in the order given.
//!
//! Flow: the shard hands over one [`ServantJob`]; its result comes back by mailbox. A shard has two of
//! them beside the back:
//! - the **committer**, at the shard's own priority: write and sync of the journal. All that arrives
//!   while a commit is in flight is the next one. A blocking call is woken straight from the disk's
//!   interrupt; the same through a ring stopped for seconds on a busy core.
//! - the **opener**, at [`NICE_OPENER`]: decompresses and compresses batches. It is neither of the other
//!   servants because one batch may take seconds: the committer would acknowledge nothing meanwhile,
//!   and the back, whose blocking pool runs one job after another, would write no segment and free no
//!   journal. It yields to both, and to the shard: who sends such batches waits, nobody else. A stop does
//!   not wait for it either: what it has in hand was promised to nobody.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::mpsc;
use std::thread;

use crate::runtime::cpu;
use crate::runtime::disk::ServantJob;
use crate::runtime::mailbox::Sender;

/// How much the opener yields to the others of its core, as a nice value: more than the back, and
/// not so much that a busy core starves it.
pub const NICE_OPENER: i32 = 10;

/// Handle of one servant; dropping it ends the thread after the job in hand, and waits for that.
#[derive(Debug)]
pub struct Servant<J: ServantJob> {
    jobs: Option<mpsc::Sender<J>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<J: ServantJob> Servant<J> {
    /// Starts the thread, pinned to `cpu` when there is one to pin to, and yielding by `nice`.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(
        name: &str,
        cpu: Option<usize>,
        nice: i32,
        done: Sender<J::Done>,
    ) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<J>();
        let run = move || {
            if let Some(cpu) = cpu {
                cpu::pin_to(cpu);
            }
            if nice > 0 {
                cpu::be_nice(nice);
            } else {
                cpu::wake_at_once();
            }
            for job in inbox {
                // Without its servant a node would wait for ever; the panic is told by now.
                let result = catch_unwind(AssertUnwindSafe(|| job.run()));
                let result = result.unwrap_or_else(|_| process::abort());
                // The box holds more than the one job in hand, so it is never full.
                let _ = done.try_send(result);
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands over a job.
    pub fn run(&self, job: J) {
        if let Some(jobs) = &self.jobs {
            // The thread lives as long as this handle.
            let _ = jobs.send(job);
        }
    }
}

impl<J: ServantJob> Servant<J> {
    /// Ends the thread as dropping the handle does, but does not wait: for jobs that change nothing
    /// outside of themselves and may be lost.
    pub fn abandon(&mut self) {
        (self.jobs, self.thread) = (None, None);
    }
}

impl<J: ServantJob> Drop for Servant<J> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::mailbox::mailbox;
    use crate::runtime::waker::Waker;

    /// Ends when the other end says so, or is gone.
    struct Waits(mpsc::Receiver<()>);

    impl ServantJob for Waits {
        type Done = ();

        fn run(self) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn an_abandoned_servant_is_not_waited_for() {
        let (done, results) = mailbox(2, Waker::new().unwrap());
        let (begin, end) = mpsc::channel();
        let mut servant = Servant::start("waits", None, 0, done).unwrap();
        servant.run(Waits(end));
        servant.abandon();
        drop(servant);
        assert!(results.is_empty(), "the job is still in hand");
        drop(begin);
    }
}
