//! The workloads of a comparison: what `klamm load` is given, or what else is looked at.

/// What a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// `klamm load` at a fixed rate; the keys of its file.
    Load(&'static str),
    /// A backlog is read while a load runs; the keys of both files.
    Drain { backlog: &'static str, load: &'static str },
    /// Nothing to do: many partitions, idle consumers.
    Idle,
    /// Start to the first acknowledged record.
    Start,
    /// The highest rate that keeps a latency; the keys of its file, without the rate.
    Highest(&'static str),
}

/// One workload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// Its short name.
    pub(crate) name: &'static str,
    /// What it is, for the table.
    pub(crate) title: &'static str,
    /// What is done.
    pub(crate) what: What,
    /// Partitions, for the floor; 0 leaves the floor out.
    pub(crate) floor_partitions: u32,
    /// Configs of its topics, beside those of the durability.
    pub(crate) configs: &'static [(&'static str, &'static str)],
    /// Settings with which Klamm and Kafka are started.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Whether it belongs to a quick run.
    pub(crate) quick: bool,
}

impl Workload {
    /// A workload without a floor.
    pub(crate) const fn new(name: &'static str, title: &'static str, what: What) -> Self {
        let (configs, settings): (&[_], &[_]) = (&[], &[]);
        Self { name, title, what, floor_partitions: 0, configs, settings, quick: false }
    }

    const fn load(name: &'static str, title: &'static str, keys: &'static str) -> Self {
        Self::new(name, title, What::Load(keys)).with_floor(1)
    }

    pub(crate) const fn with_floor(self, floor_partitions: u32) -> Self {
        Self { floor_partitions, ..self }
    }

    const fn in_quick(self) -> Self {
        Self { quick: true, ..self }
    }
}

/// All of them, in order.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload::load(
        "w1-2k",
        "1 KiB, 1 partition, 2,000/s, linger 0",
        include_str!("../workloads/w1-2k.toml"),
    )
    .in_quick(),
    Workload::load(
        "w1-20k",
        "1 KiB, 1 partition, 20,000/s",
        include_str!("../workloads/w1-20k.toml"),
    )
    .in_quick(),
    Workload::load(
        "w2",
        "1 KiB, 16 partitions, 4 producers, 30,000/s",
        include_str!("../workloads/w2.toml"),
    )
    .with_floor(16),
    Workload::load(
        "w3",
        "100 B keyed, 16 partitions, 50,000/s, linger 5 ms",
        include_str!("../workloads/w3.toml"),
    )
    .with_floor(16),
    Workload::load("w4", "64 KiB, 1 partition, 1,500/s", include_str!("../workloads/w4.toml")),
    Workload::load(
        "w5-500",
        "1 KiB, 500 partitions, 2,000/s, linger 0",
        include_str!("../workloads/w5-500.toml"),
    )
    .with_floor(500),
    // The floor knows no fetch sessions: each of its fetches would name 5,000 partitions.
    Workload::new(
        "w5-5000",
        "1 KiB, 5,000 partitions, 2,000/s, linger 0",
        What::Load(include_str!("../workloads/w5-5000.toml")),
    ),
    Workload::load(
        "w6",
        "1 KiB, 8 partitions, 50 producers, 10,000/s",
        include_str!("../workloads/w6.toml"),
    )
    .with_floor(8),
    Workload::new(
        "w7",
        "1 KiB, 5,000/s while a backlog of 4 GiB is read",
        What::Drain {
            backlog: "record_bytes = 16384\nbatch_bytes = 524288\nrate = 16384\n",
            load: "rate = 5000\n",
        },
    ),
    Workload::new("w8", "idle", What::Idle).in_quick(),
    Workload::new("w9", "start", What::Start).in_quick(),
    Workload::load(
        "w10",
        "1 KiB, 16 partitions, 20,000/s, zstd",
        include_str!("../workloads/w10.toml"),
    )
    .with_floor(16),
    Workload::new(
        "w11",
        "1 KiB, 16 partitions, 4 producers: highest rate with e2e p99 < 5 ms",
        What::Highest("partitions = 16\nproducers = 4\n"),
    )
    .with_floor(16),
    Workload {
        configs: &[("segment.bytes", "4194304"), ("retention.bytes", "8388608")],
        settings: &[("log.retention.check.interval.ms", "1000")],
        ..Workload::new(
            "retention",
            "1 KiB, 4 partitions, 20,000/s; of each 8 MiB are kept in segments of 4",
            What::Load("rate = 20000\npartitions = 4\n"),
        )
    },
];

/// The workloads that `names` (separated by commas) says; without names those of a default run.
pub(crate) fn chosen(names: Option<&str>, quick: bool) -> Result<Vec<Workload>, String> {
    let Some(names) = names else {
        return Ok(WORKLOADS.iter().filter(|w| w.quick || !quick).copied().collect());
    };
    let find = |name: &str| {
        let all = || WORKLOADS.iter().map(|w| w.name).collect::<Vec<_>>().join(", ");
        let found = WORKLOADS.iter().find(|w| w.name == name).copied();
        found.ok_or_else(|| format!("there is no workload '{name}'; there are {}", all()))
    };
    names.split(',').map(str::trim).filter(|n| !n.is_empty()).map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_with_the_right_ones() {
        assert!(chosen(Some("w1-2k,w9"), false).is_ok_and(|w| w.len() == 2));
        let wrong = chosen(Some("w12"), false).unwrap_err();
        assert!(
            wrong.starts_with("there is no workload 'w12'; there are w1-2k, w1-20k"),
            "{wrong}"
        );
    }
}
