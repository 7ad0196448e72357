//! `make profile`: where the CPU of Klamm goes under a workload, as a flame graph and a few lines.
//!
//! `perf record` samples all threads of the broker in the measured time, user and kernel: by the
//! processor's cycles, or by a clock on machines without counters. Stacks are unwound from copies
//! of them by the binary's DWARF tables, so that the very binary that is shipped is looked at; frame
//! pointers would need a build of their own. A copy costs a few microseconds.
//!
//! `NAME.svg` and `NAME.folded` (a line for each stack and its samples) come into the directory of
//! `--out`; all else of the run, `perf.data` too, into a directory `NAME` there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use inferno::collapse::Collapse as _;
use inferno::collapse::perf::{Folder, Options as FoldOptions};
use inferno::flamegraph::color::{MultiPalette, Palette};
use inferno::flamegraph::{self, Options as DrawOptions};

use crate::brokers::{Broker, Durability, How};
use crate::load::{Job, Loader, Measured};
use crate::measure::run_time_ns;
use crate::process::{Outcome, Process, Stop};
use crate::workloads::{What, Workload};

/// Samples each second of a core; not a multiple of what timers tick by.
const HERTZ: &str = "1999";
/// Bytes of the stack that are copied with each sample.
const CALL_GRAPH: &str = "dwarf,16384";
const BUFFER: &str = "16M";
const WRITTEN: Duration = Duration::from_secs(30);
const WARM_UP: u64 = 2;
const HOTTEST: usize = 10;
/// What the folder puts behind the name of a kernel function.
const KERNEL: &str = "_[k]";

/// What is profiled, and where it goes.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Klamm.
    pub(crate) broker: Broker,
    pub(crate) loader: Loader,
    pub(crate) durability: Durability,
    /// Measured seconds.
    pub(crate) seconds: u64,
    /// A rate in place of that of the workload.
    pub(crate) rate: Option<f64>,
    pub(crate) stop: Stop,
}

/// An error when `perf` cannot be used here.
pub(crate) fn check_perf() -> Outcome<()> {
    let mut command = Command::new("perf");
    command.args(["record", "-q", "-o", "/dev/null", "true"]).stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|e| format!("perf: {e}; install it by hand (Debian: apt install linux-perf)"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or("it said nothing");
    Err(format!("perf may not record: {line}; root may, or kernel.perf_event_paranoid = -1"))
}

impl Profile {
    /// Runs the workload once; returns what is printed.
    pub(crate) fn run(&self, workload: &Workload) -> Outcome<String> {
        let What::Load(keys) = workload.what else {
            return Err(format!("workload '{}' is not a load at a fixed rate", workload.name));
        };
        let name = match self.durability {
            Durability::Synced => workload.name.to_owned(),
            Durability::Unsynced => format!("{}-unsynced", workload.name),
        };
        let dir = &self.loader.dir;
        let place = self.broker.place(&dir.join("data"), &self.stop)?;
        let core = self.loader.broker_core;
        let (durability, settings) = (self.durability, workload.settings);
        let how = How { core, durability, partitions: 0, settings, is_watched: false, before: &[] };
        let mut running = self.broker.start(&place, &how)?;
        running.wait(&self.stop)?;
        let job = Job {
            name: name.clone(),
            keys: keys.to_owned(),
            configs: self.broker.configs_for(workload, durability),
            arguments: self.rate.map_or(Vec::new(), |r| vec!["--rate".to_owned(), r.to_string()]),
            seconds: (WARM_UP.min(self.seconds), self.seconds),
        };
        let (pid, file) = (running.pid(), dir.join(&name).join("perf.data"));
        let mut used = BTreeMap::new();
        let measured =
            self.loader.measure_while(&job, &mut running, &self.stop, |load, broker| {
                let perf = Recorder::start(pid, &file)?;
                let from = run_times_ns(pid);
                load.wait_for_end(&job, broker, &self.stop)?;
                used = run_times_ns(pid);
                for (thread, ns) in from {
                    used.entry(thread).and_modify(|all| *all -= ns.min(*all));
                }
                perf.end()
            })?;
        running.end();
        let folded = fold(&script(&file)?)?;
        let svg = dir.join(format!("{name}.svg"));
        let title =
            format!("klamm server, {}: {}", durability_text(self.durability), workload.title);
        write(&svg.with_extension("folded"), folded.as_bytes())?;
        write(&svg, &draw(&folded, &title)?)?;
        Ok(report(&title, &measured, &used, &folded) + &format!("\n{}\n", svg.display()))
    }
}

/// `perf record` on a process.
struct Recorder(Process);

impl Recorder {
    fn start(pid: u32, file: &Path) -> Outcome<Self> {
        let mut command = Command::new("perf");
        command.args(["record", "-q", "-F", HERTZ, "--call-graph", CALL_GRAPH, "-m", BUFFER]);
        command.args(["-p", &pid.to_string(), "-o"]).arg(file);
        Process::start("perf", &mut command, None, &file.with_extension("log")).map(Self)
    }

    fn end(mut self) -> Outcome<()> {
        self.0.check()?;
        self.0.signal(libc::SIGINT);
        let ended = self.0.wait(WRITTEN);
        ended.map(|_| ()).ok_or_else(|| "perf did not end".to_owned())
    }
}

/// The samples of a recording as text, stack by stack.
fn script(file: &Path) -> Outcome<Vec<u8>> {
    let mut command = Command::new("perf");
    // Without the periods, so that samples are counted.
    let fields = "comm,tid,time,event,ip,sym,dso";
    command.args(["script", "--no-inline", "-F", fields, "-i"]).arg(file).stdin(Stdio::null());
    let output = command.output().map_err(|e| format!("perf: {e}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("perf script failed: {}", said.lines().next_back().unwrap_or("it said nothing")))
}

/// Run time of each thread that lives, in nanoseconds, by name.
fn run_times_ns(pid: u32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut all = BTreeMap::new();
    for task in tasks.map(|t| t.path()) {
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        *all.entry(name.trim().to_owned()).or_default() += run_time_ns(&task);
    }
    all
}

/// A line for each stack, `thread;outermost;...;innermost samples`.
fn fold(script: &[u8]) -> Outcome<String> {
    let mut options = FoldOptions::default();
    options.annotate_kernel = true;
    options.nthreads = 1;
    let mut folded = Vec::new();
    Folder::from(options).collapse(script, &mut folded).map_err(|e| format!("perf script: {e}"))?;
    let folded = String::from_utf8(folded).map_err(|e| format!("perf script: {e}"))?;
    if folded.is_empty() { Err("perf took no samples".to_owned()) } else { Ok(folded) }
}

fn draw(folded: &str, title: &str) -> Outcome<Vec<u8>> {
    let mut options = DrawOptions::default();
    title.clone_into(&mut options.title);
    // The kernel in orange, Rust in yellow, C in red.
    options.colors = Palette::Multi(MultiPalette::Java);
    options.deterministic = true;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut svg)
        .map_err(|e| format!("the flame graph: {e}"))?;
    Ok(svg)
}

/// Samples in all, and in each innermost function.
fn hottest(folded: &str) -> (u64, Vec<(&str, u64)>) {
    let mut samples = BTreeMap::<&str, u64>::new();
    for line in folded.lines() {
        let Some((stack, count)) = line.rsplit_once(' ') else { continue };
        let leaf = stack.rsplit_once(';').map_or(stack, |(_, leaf)| leaf);
        *samples.entry(leaf).or_default() += count.parse::<u64>().unwrap_or(0);
    }
    let all = samples.values().sum();
    let mut leaves: Vec<_> = samples.into_iter().collect();
    leaves.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    (all, leaves)
}

fn report(title: &str, m: &Measured, used: &BTreeMap<String, u64>, folded: &str) -> String {
    let mut text = format!(
        "{title}\n{:.0} of {:.0} records/s acknowledged{}\n\nus per record  thread\n",
        m.achieved_rate,
        m.offered_rate,
        if m.missed { "; THE RATE WAS MISSED" } else { "" },
    );
    let mut threads: Vec<_> = used.iter().filter(|(_, ns)| **ns > 0).collect();
    threads.sort_by_key(|&(_, ns)| std::cmp::Reverse(*ns));
    let all = ("all threads".to_owned(), used.values().sum());
    for (name, ns) in threads.into_iter().chain([(&all.0, &all.1)]) {
        let _ = writeln!(text, "{:>13.2}  {name}", *ns as f64 / 1e3 / m.records.max(1.0));
    }
    let (samples, leaves) = hottest(folded);
    let _ = writeln!(text, "\n% of {samples:>8}  hottest functions by their own samples");
    for (leaf, count) in leaves.into_iter().take(HOTTEST) {
        let percent = count as f64 / samples as f64 * 100.0;
        let name = leaf.strip_suffix(KERNEL).map_or(leaf.to_owned(), |l| format!("{l} (kernel)"));
        let _ = writeln!(text, "{percent:>13.1}  {name}");
    }
    text
}

fn durability_text(durability: Durability) -> &'static str {
    match durability {
        Durability::Synced => "synced",
        Durability::Unsynced => "not synced",
    }
}

fn write(path: &Path, bytes: &[u8]) -> Outcome<()> {
    fs::write(path, bytes).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a real recording, shortened.
    const SCRIPT: &str = "\
node-0  8128 15844.403284: cpu-clock: 
\tffffffff8208de69 tcp_v4_fill_cb ([kernel.kallsyms])
\tffffffff8206e58b tcp_sendmsg ([kernel.kallsyms])
\tffffffff81000130 entry_SYSCALL_64_after_hwframe ([kernel.kallsyms])
\t          10ac4d __libc_sendmsg (/usr/lib/x86_64-linux-gnu/libc.so.6)
\t          5352fd <klamm::runtime::front::Front as klamm::runtime::network::Network>::send (/bin/klamm)
\t          5c386e klamm::server::turn::Node::turn (/bin/klamm)

node-0  8128 15844.415124: cpu-clock: 
\tffffffff8208de69 tcp_v4_fill_cb ([kernel.kallsyms])
\tffffffff8206e58b tcp_sendmsg ([kernel.kallsyms])
\tffffffff81000130 entry_SYSCALL_64_after_hwframe ([kernel.kallsyms])
\t          10ac4d __libc_sendmsg (/usr/lib/x86_64-linux-gnu/libc.so.6)
\t          5352fd <klamm::runtime::front::Front as klamm::runtime::network::Network>::send (/bin/klamm)
\t          5c386e klamm::server::turn::Node::turn (/bin/klamm)

committer-0  8130 15844.532414: cpu-clock: 
\t           f64c7 __libc_pwrite (/usr/lib/x86_64-linux-gnu/libc.so.6)
\t          60666e <klamm::storage::commit::Commit as klamm::runtime::disk::CommitJob>::run (/bin/klamm)

";

    #[test]
    fn a_recording_is_folded_by_thread_counted_and_drawn() {
        let folded = fold(SCRIPT.as_bytes()).unwrap();
        let lines: Vec<_> = folded.lines().collect();
        let pwrite = "committer-0;<klamm::storage::commit::Commit as \
                      klamm::runtime::disk::CommitJob>::run;__libc_pwrite 1";
        let send = "node-0;klamm::server::turn::Node::turn;<klamm::runtime::front::Front as \
                    klamm::runtime::network::Network>::send;__libc_sendmsg;\
                    entry_SYSCALL_64_after_hwframe_[k];tcp_sendmsg_[k];tcp_v4_fill_cb_[k] 2";
        assert_eq!(lines, [pwrite, send]);
        assert_eq!(hottest(&folded), (3, vec![("tcp_v4_fill_cb_[k]", 2), ("__libc_pwrite", 1)]));
        let svg = String::from_utf8(draw(&folded, "a title").unwrap()).unwrap();
        assert!(svg.contains("a title") && svg.contains("__libc_pwrite (1 samples, 33.33%)"));
    }

    #[test]
    fn a_recording_without_samples_is_an_error() {
        assert_eq!(fold(b"").unwrap_err(), "perf took no samples");
    }

    #[test]
    fn the_threads_of_a_process_have_run() {
        let all = run_times_ns(std::process::id());
        assert!(all.values().sum::<u64>() > 0, "{all:?}");
    }
}
