//! The rounds: each broker in turn, A B then B A, pinned to its core, with an empty directory for each
//! broker, workload and round. One start there serves both durabilities, on topics of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use klamm::runtime::clock;

use crate::brokers::{Broker, Durability, FLOOR_TOPIC, How, Running};
use crate::findings::{Findings, Row};
use crate::highest::Search;
use crate::load::{Job, Loader, Measured};
use crate::measure::{Reading, resident_mb};
use crate::process::{Outcome, Stop, run};
use crate::workloads::{What, Workload};
use crate::{start, syncs};

/// Before the measured time of a load.
const WARM_UP: u64 = 2;
/// 4 GiB, which take so long at the rate of the workload, and at most so many runs.
const BACKLOG_GB: f64 = 4.294;
const BACKLOG_SECONDS: f64 = 15.0;
const FILLS_MAX: u32 = 10;
const LOOKS_MAX: u32 = 50;
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// At most of the reading of a backlog.
const DRAIN_SECONDS_MAX: u64 = 300;
const SETTLE: Duration = Duration::from_secs(3);
const IDLE_KEYS: &str = "partitions = 1000\nconsumers = 100\nrate = 0.001\n";
/// Latency that the highest rate keeps.
const SLO_NS: u64 = 5_000_000;
/// A rate counts as not kept when so many runs in a row say so: one may have had a bad moment.
const TRIES: u32 = 2;
/// Of a run at one rate: so long that a pause of 20 ms, which any machine has, is not 1 % of it.
const HIGHEST_SECONDS_MAX: u64 = 5;
/// Runs that a search takes, about.
const HIGHEST_RUNS: u64 = 12;
/// The name of the counting of syncs among the workloads.
pub(crate) const SYNCS: &str = "syncs";

/// A value of a row.
type Values = BTreeMap<&'static str, f64>;

/// What all rounds share.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) brokers: Vec<Broker>,
    pub(crate) loader: Loader,
    pub(crate) stop: Stop,
    /// How many.
    pub(crate) count: u32,
    /// Measured seconds of each run.
    pub(crate) seconds: u64,
    /// The longest warm-up of a broker that needs one.
    pub(crate) warm_up_seconds: u64,
    /// A rate in place of those of the workloads.
    pub(crate) rate: Option<f64>,
    /// Where brokers keep their data.
    pub(crate) data: PathBuf,
}

impl Rounds {
    /// Runs all rounds of the workloads, and counts syncs in between. An error is the end of the
    /// whole comparison; what fails by itself becomes a row.
    pub(crate) fn run(&self, workloads: &[Workload], findings: &mut Findings) -> Outcome<()> {
        for workload in workloads {
            for round in 1..=self.count {
                let mut brokers: Vec<&Broker> = self.brokers.iter().collect();
                if round.is_multiple_of(2) {
                    brokers.reverse();
                }
                for broker in brokers {
                    if !durabilities(workload, broker).is_empty() {
                        self.visit(workload, round, broker, findings);
                        self.stop.check()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Seconds that the rounds will take, about.
    pub(crate) fn estimate(&self, workloads: &[Workload]) -> u64 {
        let mut sum = 0;
        for (workload, broker) in
            workloads.iter().flat_map(|w| self.brokers.iter().map(move |b| (w, b)))
        {
            if durabilities(workload, broker).is_empty() {
                continue;
            }
            let starts = match (broker.is_kafka(), broker.is_floor()) {
                (true, _) => 10,
                (_, true) => 4,
                _ => 1,
            };
            let warm_up = if broker.warms_up { self.warm_up_seconds } else { 0 };
            sum += match workload.what {
                What::Load(_) => starts + 2 * (warm_up + WARM_UP + self.seconds + 1),
                What::Drain { .. } => starts + 2 * warm_up + 45,
                What::Idle => starts + 10 + 3 * warm_up + 2 * self.seconds,
                What::Start => 2 * starts,
                What::Highest(_) => {
                    let seconds = self.seconds.min(HIGHEST_SECONDS_MAX);
                    starts + 2 * warm_up + 2 * HIGHEST_RUNS * (WARM_UP + seconds + 1)
                }
            };
        }
        sum * u64::from(self.count)
    }

    /// What a whole run has and `findings` has not, a line for each workload.
    pub(crate) fn missing(&self, workloads: &[Workload], findings: &Findings) -> Vec<String> {
        let missing = |workload: &Workload| {
            let (mut all, mut left) = (0, Vec::new());
            for round in 1..=self.count {
                for broker in &self.brokers {
                    for durability in durabilities(workload, broker) {
                        all += 1;
                        let mut rows = findings.rows(workload.name, (&broker.name, durability));
                        if !rows.any(|r| r.round == round) {
                            let how = format!("{durability:?}").to_lowercase();
                            left.push(format!("{} {how} of round {round}", broker.name));
                        }
                    }
                }
            }
            let some = format!("{}: {}", workload.name, left.join(", "));
            let is_all = left.len() == all;
            (!left.is_empty()).then_some(if is_all { workload.name.to_owned() } else { some })
        };
        workloads.iter().filter_map(missing).collect()
    }

    fn visit(&self, workload: &Workload, round: u32, broker: &Broker, findings: &mut Findings) {
        let mut both = durabilities(workload, broker);
        if round.is_multiple_of(2) {
            both.reverse();
        }
        // One start serves both, but for the floor, which is told at its start.
        let starts: Vec<Vec<Durability>> = match workload.what {
            _ if broker.is_floor() => both.into_iter().map(|d| vec![d]).collect(),
            _ => vec![both],
        };
        for durabilities in &starts {
            let mut visit = Visit { rounds: self, workload, round, broker, findings };
            let done = match workload.what {
                What::Start => visit.start(durabilities[0]),
                _ => visit.serve(durabilities),
            };
            if let Err(e) = done
                && !self.stop.is_set()
            {
                for &durability in durabilities {
                    if !visit.is_done(durability) {
                        visit.add(durability, Err(e.clone()));
                    }
                }
            }
        }
    }

    /// Counts the syncs of each broker, with and without.
    pub(crate) fn count_syncs(&self, findings: &mut Findings) -> Outcome<()> {
        let workload = Workload::new(SYNCS, "syncs", What::Load("")).with_floor(1);
        for broker in &self.brokers {
            for durability in durabilities(&workload, broker) {
                let mut visit =
                    Visit { rounds: self, workload: &workload, round: 1, broker, findings };
                let counted = visit.syncs(durability);
                self.stop.check()?;
                visit.add(durability, counted.map(|values| (values, false)));
            }
        }
        Ok(())
    }
}

/// How durable a broker is in a workload, one after the other; nothing when it has no part in it.
fn durabilities(workload: &Workload, broker: &Broker) -> Vec<Durability> {
    match workload.what {
        _ if broker.is_floor() && workload.floor_partitions == 0 => Vec::new(),
        What::Start | What::Idle | What::Drain { .. } => vec![broker.usual()],
        _ => Durability::BOTH.into_iter().filter(|d| broker.configs(*d).is_some()).collect(),
    }
}

/// One broker in one round of one workload.
struct Visit<'a> {
    rounds: &'a Rounds,
    workload: &'a Workload,
    round: u32,
    broker: &'a Broker,
    findings: &'a mut Findings,
}

impl Visit<'_> {
    fn add(&mut self, durability: Durability, found: Outcome<(Values, bool)>) {
        let (workload, round) = (self.workload.name, self.round);
        let name = &self.broker.name;
        let mut row = Row {
            workload,
            broker: name.clone(),
            durability,
            round,
            values: Values::new(),
            missed: false,
            error: None,
        };
        match found {
            Ok((values, missed)) => (row.values, row.missed) = (values, missed),
            Err(e) => row.error = Some(e),
        }
        let count = self.rounds.count;
        let how = format!("{durability:?}").to_lowercase();
        eprintln!("{workload:<8} round {round}/{count}  {name:<8} {how:<9} {}", summary(&row));
        self.findings.add(row);
    }

    fn is_done(&self, durability: Durability) -> bool {
        let mut rows = self.findings.rows(self.workload.name, (&self.broker.name, durability));
        rows.any(|r| r.round == self.round)
    }

    fn how<'a>(&self, durability: Durability, before: &'a [String]) -> How<'a> {
        let core = self.rounds.loader.broker_core;
        // The listener of the metrics is no part of what starts fast and idles small.
        let is_watched = matches!(self.workload.what, What::Load(_));
        let Workload { floor_partitions: partitions, settings, .. } = *self.workload;
        How { core, durability, partitions, settings, is_watched, before }
    }

    fn place(&self) -> Outcome<crate::brokers::Place> {
        self.broker.place(&self.rounds.data.join(&self.broker.name), &self.rounds.stop)
    }

    fn start(&mut self, durability: Durability) -> Outcome<()> {
        let how = self.how(durability, &[]);
        let (empty, again) = start::measure(self.broker, &self.place()?, &how, &self.rounds.stop)?;
        let values = Values::from([("start_ms", empty), ("restart_ms", again)]);
        self.add(durability, Ok((values, false)));
        Ok(())
    }

    /// Starts the broker and does the workload with each of the durabilities.
    fn serve(&mut self, durabilities: &[Durability]) -> Outcome<()> {
        let stop = &self.rounds.stop;
        let how = self.how(durabilities[0], &[]);
        let mut running = self.broker.start(&self.place()?, &how)?;
        running.wait(stop)?;
        for (nth, &durability) in durabilities.iter().enumerate() {
            let mut warm_up = Values::new();
            if self.broker.warms_up && self.workload.what != What::Idle {
                let job = Job { name: "warm-up".to_owned(), ..self.job(durability) };
                // What comes first after a start would cost more than what comes next.
                let limit = self.rounds.warm_up_seconds * if nth == 0 { 2 } else { 1 };
                let (seconds, is_settled) =
                    self.rounds.loader.warm_up(&job, limit, &mut running, stop)?;
                warm_up.insert("warm_up_seconds", seconds as f64);
                warm_up.insert("settled", f64::from(u8::from(is_settled)));
            }
            let found = match self.workload.what {
                What::Idle => self.idle(durability, &mut running),
                What::Drain { backlog, .. } => self.drain(backlog, durability, &mut running),
                What::Highest(_) => self.highest(durability, &mut running),
                What::Load(_) | What::Start => self.load(durability, &mut running),
            };
            stop.check()?;
            let with_warm_up = |(values, missed): (Values, bool)| {
                (values.into_iter().chain(warm_up).collect(), missed)
            };
            self.add(durability, found.map(with_warm_up));
            running.check()?;
        }
        running.end();
        Ok(())
    }

    fn job(&self, durability: Durability) -> Job {
        self.job_at(durability, self.rounds.rate)
    }

    /// With this rate in place of that of the workload.
    fn job_at(&self, durability: Durability, rate: Option<f64>) -> Job {
        let (workload, broker) = (self.workload, self.broker);
        let how = format!("{durability:?}").to_lowercase();
        let mut arguments = Vec::new();
        if let Some(rate) = rate {
            arguments.extend(["--rate".to_owned(), rate.to_string()]);
        }
        if broker.is_floor() {
            let words = ["--topic", FLOOR_TOPIC, "--idempotent", "false"];
            arguments.extend(words.map(str::to_owned));
        }
        let keys = match workload.what {
            What::Load(keys) | What::Highest(keys) | What::Drain { load: keys, .. } => keys,
            What::Idle | What::Start => IDLE_KEYS,
        };
        Job {
            name: format!("{}-{}-{how}-{}", workload.name, broker.name, self.round),
            keys: keys.to_owned(),
            configs: broker.configs_for(workload, durability),
            arguments,
            seconds: (WARM_UP.min(self.rounds.seconds), self.rounds.seconds),
        }
    }

    fn load(&self, durability: Durability, running: &mut Running) -> Outcome<(Values, bool)> {
        let job = self.job(durability);
        let measured = self.rounds.loader.measure(&job, running, &self.rounds.stop)?;
        Ok((values(&measured), measured.missed))
    }

    fn highest(&self, durability: Durability, running: &mut Running) -> Outcome<(Values, bool)> {
        let (mut search, mut best) = (Search::new(), Values::new());
        while let Some(rate) = search.next() {
            let mut job = self.job_at(durability, Some(rate));
            job.seconds.1 = job.seconds.1.min(HIGHEST_SECONDS_MAX);
            let mut is_kept = false;
            for _ in 0..TRIES {
                let measured = self.rounds.loader.measure(&job, running, &self.rounds.stop)?;
                let is_fast = measured.e2e.is_some_and(|e2e| e2e.p99 < SLO_NS);
                is_kept = is_fast && !measured.missed;
                if is_kept {
                    best = values(&measured);
                    break;
                }
            }
            search.tried(rate, is_kept);
        }
        best.insert("highest_rate", search.highest());
        Ok((best, false))
    }

    /// Memory and CPU with nothing in it, then with many partitions and idle consumers.
    fn idle(&self, durability: Durability, running: &mut Running) -> Outcome<(Values, bool)> {
        let (stop, core) = (&self.rounds.stop, self.rounds.loader.broker_core);
        let settle = if self.broker.warms_up { self.rounds.warm_up_seconds } else { 0 };
        let settle = SETTLE.max(Duration::from_secs(settle));
        stop.sleep(settle)?;
        let from = Reading::take(running.pid(), core)?;
        stop.sleep(Duration::from_secs(self.rounds.seconds))?;
        let to = Reading::take(running.pid(), core)?;
        let empty_mb = resident_mb(running.pid());
        let mut job = self.job(durability);
        job.arguments.clear();
        job.seconds.0 = settle.as_secs();
        let measured = self.rounds.loader.measure(&job, running, stop)?;
        let values = Values::from([
            ("empty_resident_mb", empty_mb),
            ("empty_cpu_percent", percent(&from, &to, |r| r.broker)),
            ("idle_resident_mb", measured.resident_mb),
            ("idle_cpu_percent", percent(&measured.from, &measured.to, |r| r.broker)),
        ]);
        Ok((values, false))
    }

    /// Fills a topic, then reads it from its beginning with the console consumer beside a load.
    fn drain(
        &self,
        backlog: &str,
        durability: Durability,
        running: &mut Running,
    ) -> Outcome<(Values, bool)> {
        let (loader, stop) = (&self.rounds.loader, &self.rounds.stop);
        let bootstrap = running.bootstrap();
        let tool = |words: &str| {
            let mut command = Command::new(&loader.klamm);
            command.args(words.split(' ')).args(["--bootstrap-server", &bootstrap]);
            command
        };
        let create = "topics --create --partitions 1 --topic backlog";
        let log = loader.dir.join("topics.log");
        run("creating a topic", &mut tool(create), &log, stop)?;
        // Kafka answers before all of its metadata has the topic.
        let look =
            || run("looking for it", &mut tool("topics --describe --topic backlog"), &log, stop);
        for _ in 0..LOOKS_MAX {
            if look().is_ok() {
                break;
            }
            stop.sleep(LOOK_PERIOD)?;
        }
        let mut fill = self.job(durability);
        fill.name += "-backlog";
        backlog.clone_into(&mut fill.keys);
        fill.arguments = ["--topic", "backlog", "--groups", "0"].map(str::to_owned).to_vec();
        // What comes slower than it is offered takes some more runs.
        let (mut records, mut gb) = (0.0, 0.0);
        for _ in 0..FILLS_MAX {
            let rest = ((BACKLOG_GB - gb) / BACKLOG_GB * BACKLOG_SECONDS).ceil();
            fill.seconds = (1, (rest as u64).max(1));
            let filled = loader.measure(&fill, running, stop)?;
            records += filled.all_acked;
            gb = records * filled.record_bytes / 1e9;
            if gb >= BACKLOG_GB {
                break;
            }
        }
        let read = |count: f64| {
            let topic = "console-consumer --topic backlog --from-beginning --max-messages";
            tool(&format!("{topic} {count:.0}"))
        };
        let mut job = self.job(durability);
        job.seconds.1 = DRAIN_SECONDS_MAX;
        let reader = read(records);
        let (measured, took) = loader.measure_beside(&job, reader, running, stop)?;
        let mut values = values(&measured);
        let cpu = measured.to.broker - measured.from.broker;
        values.extend([("backlog_gb", gb), ("backlog_mb_per_s", gb * 1e3 / took.as_secs_f64())]);
        values.insert("backlog_cpu_s_per_gb", cpu / gb);
        Ok((values, measured.missed))
    }

    fn syncs(&self, durability: Durability) -> Outcome<Values> {
        let stop = &self.rounds.stop;
        let log = self.rounds.loader.dir.join(format!("syncs-{}-{durability:?}", self.broker.name));
        let before = syncs::words(&log);
        let mut running = self.broker.start(&self.place()?, &self.how(durability, &before))?;
        running.wait(stop)?;
        let mut job = syncs::job(self.job(durability));
        job.seconds.1 = self.rounds.seconds.min(5);
        let (commits, from) = (running.commits()?, clock::now().1);
        let measured = self.rounds.loader.measure(&job, &mut running, stop)?;
        // Stopping syncs too.
        let syncs = syncs::count(&log, from)?;
        let commits = commits.zip(running.commits()?);
        running.end();
        let mut values = Values::from([("batches", measured.all_acked), ("syncs", syncs)]);
        values.extend(commits.into_iter().flat_map(|(from, to)| to.since(from)));
        Ok(values)
    }
}

fn percent(from: &Reading, to: &Reading, of: impl Fn(&Reading) -> f64) -> f64 {
    (of(to) - of(from)) / to.at.since(from.at).as_secs_f64() * 100.0
}

fn values(m: &Measured) -> Values {
    let cpu = m.to.broker - m.from.broker;
    let mut values = Values::from([
        ("offered_rate", m.offered_rate),
        ("achieved_rate", m.achieved_rate),
        ("consumed_rate", m.consumed_rate),
        ("resident_mb", m.resident_mb),
        ("broker_cpu_percent", percent(&m.from, &m.to, |r| r.broker)),
        ("kernel_threads_cpu_percent", percent(&m.from, &m.to, |r| r.kernel)),
        ("others_cpu_percent", percent(&m.from, &m.to, |r| r.core.0 - r.broker).max(0.0)),
        ("stolen_cpu_percent", percent(&m.from, &m.to, |r| r.core.1)),
        ("load_cpu_seconds", m.load_cpu_seconds),
        ("load_cpu_percent", m.load_cpu_seconds / m.to.at.since(m.from.at).as_secs_f64() * 100.0),
    ]);
    if m.records > 0.0 {
        values.insert("cpu_us_per_record", cpu * 1e6 / m.records);
        values.insert("cpu_s_per_gb", cpu * 1e9 / (m.records * m.record_bytes));
        if let Some((user, kernel)) = m.instructions {
            values.insert("user_instructions_per_record", user / m.records);
            values.insert("kernel_instructions_per_record", kernel / m.records);
        }
    }
    if let Some((from, to)) = &m.turns {
        values.extend(to.since(from));
    }
    let ms = |ns: u64| ns as f64 / 1e6;
    if let Some(l) = m.ack {
        values.extend([("ack_p50_ms", ms(l.p50)), ("ack_p99_ms", ms(l.p99))]);
        values.extend([("ack_p999_ms", ms(l.p999)), ("ack_max_ms", ms(l.max))]);
    }
    if let Some(l) = m.e2e {
        values.extend([("e2e_p50_ms", ms(l.p50)), ("e2e_p99_ms", ms(l.p99))]);
        values.extend([("e2e_p999_ms", ms(l.p999)), ("e2e_max_ms", ms(l.max))]);
    }
    values
}

/// What a row found, in a line.
fn summary(row: &Row) -> String {
    if let Some(e) = &row.error {
        return format!("FAILED: {e}");
    }
    let shown = [
        "achieved_rate",
        "cpu_us_per_record",
        "e2e_p50_ms",
        "e2e_p99_ms",
        "start_ms",
        "restart_ms",
        "empty_resident_mb",
        "idle_resident_mb",
        "idle_cpu_percent",
        "highest_rate",
        "backlog_gb",
        "backlog_mb_per_s",
        "batches",
        "syncs",
    ];
    let shown = shown.iter().filter_map(|name| Some((name, row.values.get(name)?)));
    let words: Vec<_> =
        shown.map(|(name, v)| format!("{name} {}", crate::table::number(*v))).collect();
    words.join("  ") + if row.missed { "  MISSED its rate" } else { "" }
}
