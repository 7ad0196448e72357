//! What a broker has used: run time in nanoseconds, memory, instructions; and what others used of its core.
//!
//! Run time is the process CPU clock of the kernel: all threads to the nanosecond, those that ended
//! and the kernel's workers for its rings included. A broker of several processes counts whole.

use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use klamm::base::Moment;

use crate::process::{Outcome, Process, now};

const EVENTS: &str = "instructions:u,instructions:k";
const TICKS_PER_SECOND: f64 = 100.0;
/// The parent of all threads of the kernel.
const KTHREADD: u32 = 2;

/// A reading of everything that only grows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// When.
    pub(crate) at: Moment,
    /// Seconds of CPU of the broker.
    pub(crate) broker: f64,
    /// Seconds of CPU of the kernel's own threads.
    pub(crate) kernel: f64,
    /// Seconds that the broker's core was busy, whoever with, and that the host took from it.
    pub(crate) core: (f64, f64),
}

impl Reading {
    /// Reads the counters of the broker `pid` on `core`.
    pub(crate) fn take(pid: u32, core: Option<usize>) -> Outcome<Self> {
        let all = processes();
        let mut broker = 0;
        for pid in tree(&all, pid) {
            broker += cpu_ns(pid).unwrap_or(0);
        }
        if broker == 0 {
            return Err(format!("process {pid} is gone"));
        }
        let kernel = all.iter().filter(|p| p.1 == KTHREADD);
        let kernel: u64 =
            kernel.map(|p| run_time_ns(&Path::new("/proc").join(p.0.to_string()))).sum();
        Ok(Self {
            at: now(),
            broker: broker as f64 / 1e9,
            kernel: kernel as f64 / 1e9,
            core: core_seconds(core),
        })
    }
}

/// (process, parent) of all processes.
fn processes() -> Vec<(u32, u32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the state and the parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// `root` and all that descends from it.
fn tree(all: &[(u32, u32)], root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let of = found[at];
        found.extend(all.iter().filter(|p| p.1 == of).map(|p| p.0));
        at += 1;
    }
    found
}

/// Lets a broker, with all threads that it has and will have, run on these cores only. Best effort.
pub(crate) fn keep_to(root: u32, cores: &[usize]) {
    // SAFETY: a zeroed set is an empty one, and cores that there are fit into it.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        for &core in cores {
            libc::CPU_SET(core, &mut set);
        }
        set
    };
    // A thread may start another while they are listed.
    for pid in [(); 2].iter().flat_map(|()| tree(&processes(), root)) {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads.filter_map(|t| t.file_name().to_str()?.parse().ok()) {
            // SAFETY: the set is valid for the call.
            unsafe { libc::sched_setaffinity(thread, size_of_val(&set), &raw const set) };
        }
    }
}

/// The process CPU clock of `pid`.
fn cpu_ns(pid: u32) -> Option<u64> {
    let mut clock = 0;
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both places are valid for the answers.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut ts) != 0
    };
    (!failed).then_some(ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64)
}

/// Run time of the thread that a directory below `/proc` is of, in nanoseconds.
pub(crate) fn run_time_ns(thread: &Path) -> u64 {
    let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

fn core_seconds(core: Option<usize>) -> (f64, f64) {
    let name = core.map_or("cpu".to_owned(), |core| format!("cpu{core}"));
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().find(|l| l.split(' ').next() == Some(&name)).unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
    let at = |i: usize| ticks.get(i).copied().unwrap_or(0.0) / TICKS_PER_SECOND;
    // user, nice, system, idle, iowait, irq, softirq, steal
    (at(0) + at(1) + at(2) + at(5) + at(6), at(7))
}

/// Memory of the broker in RAM, in MB.
pub(crate) fn resident_mb(pid: u32) -> f64 {
    let resident_kb = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kb = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
        kb.unwrap_or(0)
    };
    let kb: u64 = tree(&processes(), pid).into_iter().map(resident_kb).sum();
    kb as f64 * 1024.0 / 1e6
}

/// Instructions of a process, on machines that count them.
#[derive(Debug)]
pub(crate) struct Counters {
    perf: Process,
    file: PathBuf,
}

impl Counters {
    /// Whether `perf stat` works here and the machine has the counters.
    pub(crate) fn are_there() -> bool {
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", EVENTS, "true"]).stdin(Stdio::null());
        let said = command.output().map(|o| String::from_utf8_lossy(&o.stderr).into_owned());
        said.is_ok_and(|text| instructions(&text).is_some())
    }

    /// Begins to count those of `pid`.
    pub(crate) fn start(pid: u32, dir: &Path) -> Outcome<Self> {
        let file = dir.join("perf.csv");
        let _ = fs::remove_file(&file);
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", EVENTS, "-p", &pid.to_string(), "-o"]).arg(&file);
        let perf = Process::start("perf", &mut command, None, &dir.join("perf.log"))?;
        Ok(Self { perf, file })
    }

    /// Instructions in user and kernel mode since the start.
    pub(crate) fn end(mut self) -> Option<(f64, f64)> {
        self.perf.signal(libc::SIGINT);
        self.perf.wait(Duration::from_secs(5));
        instructions(&fs::read_to_string(&self.file).ok()?)
    }
}

/// Reads the output of `perf stat -x ,`: value, unit, event and more on each line.
fn instructions(text: &str) -> Option<(f64, f64)> {
    let of = |event: &str| {
        let line = text.lines().find(|l| l.split(',').nth(2) == Some(event))?;
        line.split(',').next()?.parse::<f64>().ok()
    };
    Some((of("instructions:u")?, of("instructions:k")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_time_of_a_thread_that_ended_is_counted() {
        let me = std::process::id();
        let before = cpu_ns(me).unwrap();
        let burn = || {
            let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            while (ts.tv_sec, ts.tv_nsec) < (0, 30_000_000) {
                // SAFETY: the place is valid for the answer.
                unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut ts) };
            }
        };
        std::thread::Builder::new().spawn(burn).unwrap().join().unwrap();
        assert!(cpu_ns(me).unwrap() - before >= 30_000_000);
    }

    #[test]
    fn a_broker_is_its_process_and_all_below_it() {
        let all = [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (21, 20)];
        assert_eq!(tree(&all, 10), [10, 11, 12]);
        assert!(resident_mb(std::process::id()) > 0.5);
    }

    #[test]
    fn counters_that_a_machine_does_not_have_are_not_read_as_numbers() {
        let there = "123456,,instructions:u,1000,100.00,,\n789,,instructions:k,1000,100.00,,\n";
        assert_eq!(instructions(there), Some((123_456.0, 789.0)));
        let not =
            "<not supported>,,instructions:u,0,100.00,,\n<not supported>,,instructions:k,0,\n";
        assert_eq!(instructions(not), None);
    }
}
