//! Whether each acknowledged batch was synced, by counting: the system calls of a broker under
//! `strace`, while one producer sends batches of one record and waits for each before the next.
//!
//! With one batch on its way at a time no sync can be shared: as many syncs as batches, or more, means
//! that each had its own before its acknowledgement. What Klamm says of its commits stands beside it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use klamm::base::WallMs;

use crate::load::Job;
use crate::process::Outcome;
use crate::turns;

/// Whether `strace` is there and may trace.
pub(crate) fn can_count() -> bool {
    let mut command = Command::new("strace");
    let words = words(Path::new("/dev/null"));
    command.args(&words[1..]).arg("true");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The words before the command of a broker that make its syncs known in the file `log`. The broker
/// stays the child; strace is its grandchild.
pub(crate) fn words(log: &Path) -> Vec<String> {
    let words = "strace -D -f -qq -ttt --seccomp-bpf -e trace=fsync,fdatasync -o";
    words.split(' ').map(str::to_owned).chain([log.display().to_string()]).collect()
}

/// One batch of one record after another.
pub(crate) fn job(job: Job) -> Job {
    let keys = "rate = 100\nlinger_ms = 0\nin_flight = 1\nbatch_bytes = 1\nrecord_bytes = 100\n";
    Job { keys: keys.to_owned(), ..job }
}

/// Syncs in the file `log` since `from`.
pub(crate) fn count(log: &Path, from: WallMs) -> Outcome<f64> {
    let text = fs::read_to_string(log).map_err(|e| format!("{}: {e}", log.display()))?;
    Ok(count_since(&text, from.0 as f64 / 1e3) as f64)
}

/// Commits of Klamm, and the batches in them, since its start, as its own metrics count them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commits {
    commits: f64,
    batches: f64,
}

impl Commits {
    /// Asks the admin listener at `port`.
    pub(crate) fn look(port: u16) -> Outcome<Self> {
        let page = turns::page(port)?;
        let of = |family: &str| {
            let missing = || format!("the metrics of Klamm have no {family}");
            turns::value(&page, family, "").ok_or_else(missing)
        };
        Ok(Self {
            commits: of("klamm_journal_commits_total")?,
            batches: of("klamm_journal_batches_total")?,
        })
    }

    /// Values of the time since an `earlier` look.
    pub(crate) fn since(self, earlier: Self) -> [(&'static str, f64); 2] {
        let batches = self.batches - earlier.batches;
        [("commits", self.commits - earlier.commits), ("committed_batches", batches)]
    }
}

/// Lines of a call's start since a time in seconds. A call that another thread interrupts has a second
/// line, `<... fdatasync resumed>`.
fn count_since(text: &str, from: f64) -> usize {
    let is_call = |line: &&str| line.contains("fsync(") || line.contains("fdatasync(");
    // The process, when there are several, and the time come first.
    let at = |line: &str| {
        line.split_whitespace().find_map(|w| w.contains('.').then(|| w.parse().ok())?)
    };
    text.lines().filter(is_call).filter_map(at).filter(|t: &f64| *t >= from).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_of_the_time_is_counted_once() {
        let log = "\
            7 99.5 fdatasync(4) = 0\n\
            7 100.1 fdatasync(4 <unfinished ...>\n\
            8 100.2 fsync(5) = 0\n\
            7 100.3 <... fdatasync resumed>) = 0\n\
            200.0 fsync(5) = 0\n";
        assert_eq!(count_since(log, 100.0), 3);
    }
}
