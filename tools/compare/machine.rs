//! The machine of a comparison, in words.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_gb: f64,
    kernel: String,
    /// File system and device of the data.
    disk: String,
    /// Load average of the last minute when the run began.
    load_average: f64,
}

impl Machine {
    /// This one; `data` lies on the disk that is used.
    pub(crate) fn here(data: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let field = |name: &str| {
            let mut lines = info.lines().filter(|l| l.starts_with(name));
            lines.next().and_then(|l| l.split_once(": ")).map(|(_, v)| v.trim().to_owned())
        };
        let memory = read("/proc/meminfo");
        let kb = memory.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok());
        let average = read("/proc/loadavg");
        let average = average.split(' ').next().and_then(|v| v.parse().ok());
        Self {
            processor: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: info.lines().filter(|l| l.starts_with("processor")).count(),
            memory_gb: kb.unwrap_or(0.0) * 1024.0 / 1e9,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            disk: disk(&read("/proc/mounts"), data),
            load_average: average.unwrap_or(0.0),
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} cores of {}, {:.0} GB of memory, Linux {}, {}; load average {:.1} at the start",
            self.cores, self.processor, self.memory_gb, self.kernel, self.disk, self.load_average
        )
    }
}

/// The mount that `path` is on: the longest that it begins with, the last of equals.
fn disk(mounts: &str, path: &Path) -> String {
    let mut best = (0, "an unknown disk".to_owned());
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(point), Some(kind)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        if path.starts_with(point) && point.len() >= best.0 {
            best = (point.len(), format!("{kind} on {device}"));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_a_directory_is_the_nearest_mount_above_it() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /data xfs rw 0 0\n";
        assert_eq!(disk(mounts, Path::new("/data/x")), "xfs on /dev/b");
        assert_eq!(disk(mounts, Path::new("/database")), "ext4 on /dev/a");
    }
}
