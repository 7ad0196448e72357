//! The back: a glommio executor on the shard's core, at lower priority, for all disk work that is
//! not the journal: catch-up reads, segment writes, checkpoints, retention.
//!
//! Flow: the shard hands over [`BackJob`]s; results come back by mailbox. A job that is one direct
//! read runs on glommio's ring (many at once); all others run in its blocking pool, one after
//! another, because asynchronous writes and syncs stall for seconds on a busy core.
//!
//! glommio 0.9 needs three things worked around, each with a test below:
//! - G1. Its first direct read of a device decides for the thread's life whether polled reads work,
//!   and an empty file makes it decide wrongly: `prime` reads a written block first.
//! - G2. It can go to sleep with tasks ready to run. [`Back::nudge`] wakes it from outside; the shard
//!   calls it while jobs are out.
//! - G3. Dropping a pending task leaks it, so jobs are never cancelled: they end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use glommio::io::{DmaFile, OpenOptions};
use glommio::{LocalExecutorBuilder, Placement};

use crate::base::{AlignedBuf, BLOCK_BYTES};
use crate::runtime::cpu;
use crate::runtime::disk::{Access, BackJob, Disk, ReadSpec};
use crate::runtime::mailbox::Sender;

/// Read buffers that the executor keeps registered with the kernel, in bytes.
const IO_MEMORY_BYTES: usize = 4 << 20;
const RING_DEPTH: usize = 64;
/// How much the back yields to the shard, as a nice value.
const NICE: i32 = 5;
const JOBS_MAX: usize = 1024;
/// Files that stay open after a read.
const OPEN_FILES_MAX: usize = 8;

/// Handle of one back; dropping it ends the thread after the jobs in hand.
pub struct Back<J: BackJob> {
    jobs: Option<async_channel::Sender<J>>,
    sleeper: Waker,
    thread: Option<thread::JoinHandle<()>>,
}

impl<J: BackJob> Back<J> {
    /// Starts the thread, which primes itself before its first job. `dir` is where it may write its
    /// priming file; direct reads are used when the file system there has them.
    ///
    /// # Errors
    /// When the thread or the executor's ring cannot be made (no io_uring, memlock too low).
    pub fn start(
        name: &str,
        cpu: Option<usize>,
        dir: &Path,
        disk: Arc<dyn Disk>,
        done: Sender<J::Done>,
    ) -> io::Result<Self> {
        let (jobs, inbox) = async_channel::bounded::<J>(JOBS_MAX);
        let (started, ready) = mpsc::channel();
        let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
        let builder = LocalExecutorBuilder::new(placement)
            .name(name)
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(RING_DEPTH);
        let dir = dir.to_owned();
        let run = move || {
            cpu::be_nice(NICE);
            let executor = match builder.make() {
                Ok(executor) => executor,
                Err(e) => {
                    let _ = started.send(Err(io::Error::other(e.to_string())));
                    return;
                }
            };
            executor.run(async move {
                // The waker of this very task, which ends last. Nothing is awaited before it is out,
                // since nobody could nudge the executor yet (G2).
                let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                let _ = started.send(Ok(waker));
                let direct = prime(&dir).await.is_ok();
                serve(inbox, disk, done, direct).await;
            });
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        let gone = |_| io::Error::other("the back's thread ended while it started");
        let sleeper = ready.recv().map_err(gone)??;
        Ok(Self { jobs: Some(jobs), sleeper, thread: Some(thread) })
    }

    /// Hands over a job, or gives it back when too many are waiting.
    ///
    /// # Errors
    /// The job.
    pub fn run(&self, job: J) -> Result<(), J> {
        match &self.jobs {
            Some(jobs) => jobs.try_send(job).map_err(async_channel::TrySendError::into_inner),
            None => Err(job),
        }
    }

    /// Wakes the executor should it sleep over ready tasks (G2).
    pub fn nudge(&self) {
        self.sleeper.wake_by_ref();
    }
}

impl<J: BackJob> Drop for Back<J> {
    fn drop(&mut self) {
        self.jobs = None;
        self.nudge();
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() {
                self.nudge();
                thread::sleep(Duration::from_millis(1));
            }
            let _ = thread.join();
        }
    }
}

async fn serve<J: BackJob>(
    inbox: async_channel::Receiver<J>,
    disk: Arc<dyn Disk>,
    done: Sender<J::Done>,
    direct: bool,
) {
    let done = Rc::new(done);
    let files = Rc::new(OpenFiles::default());
    let out = Rc::new(Cell::new(0_usize));
    while let Ok(job) = inbox.recv().await {
        let (disk, done, counted) = (Arc::clone(&disk), Rc::clone(&done), Rc::clone(&out));
        counted.set(counted.get() + 1);
        let spec = job.as_read();
        if spec.is_none() {
            files.let_go();
        }
        let files = Rc::clone(&files);
        let work = async move {
            let result = if let Some(spec) = spec.filter(|_| direct) {
                job.finish_read(files.read(&spec).await)
            } else {
                let run = move || run_blocking(job, &*disk);
                glommio::executor().spawn_blocking(run).await
            };
            deliver(&done, result);
            counted.set(counted.get() - 1);
        };
        glommio::spawn_local(work).detach();
    }
    while out.get() > 0 {
        glommio::timer::sleep(Duration::from_millis(1)).await;
    }
    files.let_go();
}

fn run_blocking<J: BackJob>(job: J, disk: &dyn Disk) -> J::Done {
    match job.as_read() {
        Some(spec) => job.finish_read(read_blocking(&spec, disk)),
        None => job.run(disk),
    }
}

fn read_blocking(spec: &ReadSpec, disk: &dyn Disk) -> io::Result<Bytes> {
    let mut buf = AlignedBuf::zeroed(spec.len);
    let file = disk.open(&spec.path, Access::Direct)?;
    let got = file.read_at(&mut buf, spec.at)?;
    Ok(spec.answer(&buf[..got]))
}

/// Files that were read from last: to open and to close one takes longer than a read. A job that is
/// not a read may remove files, so all are let go before it.
#[derive(Default)]
struct OpenFiles {
    files: RefCell<VecDeque<(PathBuf, Rc<DmaFile>)>>,
    /// How often all were let go.
    let_go: Cell<u64>,
}

impl OpenFiles {
    async fn read(&self, spec: &ReadSpec) -> io::Result<Bytes> {
        let file = self.open(&spec.path).await?;
        let read = file.read_at(spec.at, spec.len).await?;
        Ok(spec.answer(&read))
    }

    async fn open(&self, path: &Path) -> io::Result<Rc<DmaFile>> {
        let known = |(of, _): &&(PathBuf, Rc<DmaFile>)| of == path;
        if let Some((_, file)) = self.files.borrow().iter().find(known) {
            return Ok(Rc::clone(file));
        }
        let let_go = self.let_go.get();
        let file = Rc::new(OpenOptions::new().read(true).dma_open(path).await?);
        if self.let_go.get() == let_go {
            let mut files = self.files.borrow_mut();
            files.truncate(OPEN_FILES_MAX - 1);
            files.push_front((path.to_owned(), Rc::clone(&file)));
        }
        Ok(file)
    }

    fn let_go(&self) {
        self.let_go.set(self.let_go.get() + 1);
        self.files.borrow_mut().clear();
    }
}

/// The shard's box for results has room for every job that may be out, so it is never full for
/// long; a result must not be lost.
fn deliver<T>(done: &Sender<T>, mut result: T) {
    while let Err(back) = done.try_send(result) {
        result = back;
        thread::yield_now();
    }
}

/// Writes a block, syncs it and reads it back directly, so that glommio probes the device with a
/// read that reaches it (G1). Fails where the file system has no direct I/O.
async fn prime(dir: &Path) -> io::Result<()> {
    // No name of a partition's directory: a killed server leaves it behind.
    let path: PathBuf = dir.join(".prime");
    let written = path.clone();
    glommio::executor()
        .spawn_blocking(move || {
            std::fs::write(&written, [1; BLOCK_BYTES])?;
            std::fs::File::open(&written)?.sync_all()
        })
        .await?;
    let read = async {
        let file: DmaFile = OpenOptions::new().read(true).dma_open(&path).await?;
        let block = file.read_at(0, BLOCK_BYTES).await;
        file.close().await?;
        block.map(|b| b.len())
    };
    let read = read.await;
    std::fs::remove_file(&path)?;
    match read {
        Ok(BLOCK_BYTES) => Ok(()),
        Ok(_) => Err(io::Error::other("a direct read came back short")),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::files::Files;
    use crate::runtime::mailbox::mailbox;
    use crate::runtime::waker::Waker as Bell;

    enum Job {
        Read(ReadSpec),
        Sum(u64),
    }

    impl BackJob for Job {
        type Done = io::Result<u64>;

        fn as_read(&self) -> Option<ReadSpec> {
            match self {
                Self::Read(spec) => Some(spec.clone()),
                Self::Sum(_) => None,
            }
        }

        fn finish_read(self, read: io::Result<Bytes>) -> Self::Done {
            read.map(|bytes| bytes.iter().map(|&b| u64::from(b)).sum())
        }

        fn run(self, _: &dyn Disk) -> Self::Done {
            match self {
                Self::Sum(n) => Ok((1..=n).sum()),
                Self::Read(_) => Err(io::Error::other("a read runs as one")),
            }
        }
    }

    /// Where the build lives, because /tmp may be a tmpfs, which has no direct I/O.
    fn scratch(name: &str) -> PathBuf {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-back").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn direct_reads_of_files_that_began_empty_succeed_after_priming() {
        let dir = scratch("prime");
        let path = dir.join("segment");
        std::fs::write(&path, []).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(64 * BLOCK_BYTES as u64).unwrap();
        std::fs::write(&path, vec![1; 64 * BLOCK_BYTES]).unwrap();
        std::fs::File::open(&path).unwrap().sync_all().unwrap();
        let (done, results) = mailbox(256, Bell::new().unwrap());
        let back = Back::start("back-test", None, &dir, Arc::new(Files), done).unwrap();
        for block in 0..64 {
            let at = block * BLOCK_BYTES as u64;
            let (path, head) = (path.clone(), Bytes::new());
            let spec = ReadSpec { path, at, len: BLOCK_BYTES, head };
            assert!(back.run(Job::Read(spec)).is_ok());
        }
        drop(back);
        for _ in 0..64 {
            assert_eq!(results.try_recv().unwrap().unwrap(), BLOCK_BYTES as u64);
        }
    }

    #[test]
    fn a_file_stays_open_between_reads_until_a_job_that_is_none() {
        let dir = scratch("open");
        let path = dir.join("segment");
        let (done, results) = mailbox(256, Bell::new().unwrap());
        let back = Back::start("back-open", None, &dir, Arc::new(Files), done).unwrap();
        let run = |job| {
            assert!(back.run(job).is_ok());
            while results.is_empty() {
                thread::sleep(Duration::from_millis(1));
                back.nudge();
            }
            results.try_recv().unwrap()
        };
        let spec = ReadSpec { path: path.clone(), at: 0, len: BLOCK_BYTES, head: Bytes::new() };
        let head = Bytes::from_static(&[100]);
        for (byte, sum) in [(1, BLOCK_BYTES), (2, 2 * BLOCK_BYTES)] {
            std::fs::write(&path, [byte; BLOCK_BYTES]).unwrap();
            std::fs::File::open(&path).unwrap().sync_all().unwrap();
            assert_eq!(run(Job::Read(spec.clone())).unwrap(), sum as u64);
            std::fs::remove_file(&path).unwrap();
            let again = ReadSpec { head: head.clone(), ..spec.clone() };
            assert_eq!(run(Job::Read(again)).unwrap(), 100 + sum as u64);
            run(Job::Sum(1)).unwrap();
        }
        assert!(run(Job::Read(spec)).is_err(), "it is not there any more");
    }

    #[test]
    fn jobs_come_back_though_the_executor_sleeps_over_them() {
        let (done, results) = mailbox(256, Bell::new().unwrap());
        let back =
            Back::start("back-nudge", None, &scratch("nudge"), Arc::new(Files), done).unwrap();
        for round in 0..200 {
            assert!(back.run(Job::Sum(round)).is_ok());
            let mut waited = 0;
            while results.is_empty() {
                waited += 1;
                assert!(waited < 5_000, "job {round} never came back");
                thread::sleep(Duration::from_millis(1));
                back.nudge();
            }
            let sum = results.try_recv().unwrap().unwrap();
            assert_eq!(sum, round * (round + 1) / 2);
        }
    }
}
