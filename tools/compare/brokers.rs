//! The brokers of a comparison: how each is started, and which topic configs make it sync or not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kafka::{self, Kafka};
use crate::process::{Outcome, Process, Stop, accepts, free_ports, run};
use crate::syncs::Commits;
use crate::turns::Turns;
use crate::workloads::Workload;

/// Configs of topics.
pub(crate) type Configs = BTreeMap<String, String>;

/// The topic of the floor, which has one and cannot make another.
pub(crate) const FLOOR_TOPIC: &str = "t";

const FLUSH: &str = "flush.messages";
const NEVER: &str = "9223372036854775807";
const START: Duration = Duration::from_mins(2);
const STOP: Duration = Duration::from_secs(30);

/// Whether a record is on stable storage when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// It is.
    Synced,
    /// It is in the memory of the broker or of the kernel.
    Unsynced,
}

impl Durability {
    /// One after the other.
    pub(crate) const BOTH: [Self; 2] = [Self::Synced, Self::Unsynced];
}

/// What kind of broker.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// The binary of this build.
    Klamm(PathBuf),
    /// Apache Kafka.
    Kafka(Kafka),
    /// The bare responder: what kernel and disk alone cost.
    Floor(PathBuf),
    /// Any other, by a file.
    Peer(Peer),
}

/// Any other broker, as a file says it. `{port}` and `{dir}` stand in the words of its commands.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    name: String,
    /// The command that runs it in the foreground.
    start: Vec<String>,
    /// The command that stops it; without one it gets SIGTERM.
    stop: Option<Vec<String>>,
    /// Its port on 127.0.0.1; without one it gets a free one.
    port: Option<u16>,
    /// Whether its cost per record falls for a while after the start, as on a JVM.
    #[serde(default = "yes")]
    warms_up: bool,
    /// Topic configs with which it syncs before it acknowledges; without the table it never does.
    synced: Option<Configs>,
    /// Topic configs with which it does not.
    unsynced: Option<Configs>,
}

fn yes() -> bool {
    true
}

/// One of the brokers.
#[derive(Debug, Clone)]
pub(crate) struct Broker {
    /// Its name in the tables.
    pub(crate) name: String,
    /// Its version.
    pub(crate) about: String,
    /// Whether it is loaded before it is measured, until its cost settles.
    pub(crate) warms_up: bool,
    kind: Kind,
    synced: Option<Configs>,
    unsynced: Option<Configs>,
}

impl Broker {
    /// Klamm, the binary at `path`.
    pub(crate) fn klamm(path: PathBuf) -> Outcome<Self> {
        let about = kafka::version_of(&path.to_string_lossy(), "--version")
            .ok_or_else(|| format!("{} does not run: build it first", path.display()))?;
        Ok(Self {
            name: "Klamm".to_owned(),
            about,
            warms_up: false,
            kind: Kind::Klamm(path),
            synced: Some(Configs::new()),
            unsynced: Some(flush(NEVER)),
        })
    }

    /// Apache Kafka.
    pub(crate) fn kafka(kafka: Kafka) -> Self {
        Self {
            name: "Kafka".to_owned(),
            about: format!("Apache Kafka {} on {}", kafka::VERSION, kafka.java),
            warms_up: true,
            kind: Kind::Kafka(kafka),
            synced: Some(flush("1")),
            unsynced: Some(Configs::new()),
        }
    }

    /// The floor, built from its source in `source`.
    pub(crate) fn floor(source: &Path, cache: &Path, stop: &Stop) -> Outcome<Self> {
        let target = cache.join("floor");
        fs::create_dir_all(&target).map_err(|e| format!("{}: {e}", target.display()))?;
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]);
        command.arg(source.join("Cargo.toml")).arg("--target-dir").arg(&target);
        run("building the floor", &mut command, &target.join("build.log"), stop)?;
        Ok(Self {
            name: "floor".to_owned(),
            about: "a bare responder: what kernel and disk alone cost".to_owned(),
            warms_up: false,
            kind: Kind::Floor(target.join("release/floor")),
            synced: Some(Configs::new()),
            unsynced: Some(Configs::new()),
        })
    }

    /// The broker that the file at `path` describes.
    pub(crate) fn peer(path: &Path) -> Outcome<Self> {
        let named = |e: &dyn std::fmt::Display| {
            let text = e.to_string();
            let line = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>();
            format!("{}: {}", path.display(), line.join(" "))
        };
        let text = fs::read_to_string(path).map_err(|e| named(&e))?;
        let peer: Peer = toml::from_str(&text).map_err(|e| named(&e))?;
        if peer.start.is_empty() {
            return Err(named(&"start is empty; a command and its arguments are needed"));
        }
        if peer.synced.is_none() && peer.unsynced.is_none() {
            return Err(named(&"neither [synced] nor [unsynced] is there; one or both are needed"));
        }
        Ok(Self {
            name: peer.name.clone(),
            about: peer.start.join(" "),
            warms_up: peer.warms_up,
            synced: peer.synced.clone(),
            unsynced: peer.unsynced.clone(),
            kind: Kind::Peer(peer),
        })
    }

    /// The topic configs with which it is as durable as this; `None` when it cannot be.
    pub(crate) fn configs(&self, durability: Durability) -> Option<&Configs> {
        match durability {
            Durability::Synced => self.synced.as_ref(),
            Durability::Unsynced => self.unsynced.as_ref(),
        }
    }

    /// The configs of the topics of a workload.
    pub(crate) fn configs_for(&self, workload: &Workload, durability: Durability) -> Configs {
        let own = workload.configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        self.configs(durability).cloned().unwrap_or_default().into_iter().chain(own).collect()
    }

    /// How durable it is as it comes, if it can be asked for that.
    pub(crate) fn usual(&self) -> Durability {
        match &self.kind {
            Kind::Kafka(_) => Durability::Unsynced,
            _ if self.synced.is_some() => Durability::Synced,
            _ => Durability::Unsynced,
        }
    }

    /// Whether it is the floor, which has one topic, no ids for producers, and old versions only.
    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.kind, Kind::Floor(_))
    }

    /// Whether it is Kafka.
    pub(crate) fn is_kafka(&self) -> bool {
        matches!(self.kind, Kind::Kafka(_))
    }

    /// Makes everything ready for a start in the empty directory `dir`.
    pub(crate) fn place(&self, dir: &Path, stop: &Stop) -> Outcome<Place> {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        // What the run before has left to the disk, and what it has removed, is not this one's.
        run("sync", &mut Command::new("sync"), &dir.join("sync.log"), stop)?;
        let mut ports = free_ports()?;
        match &self.kind {
            Kind::Kafka(kafka) => kafka.format(dir, ports, stop)?,
            Kind::Peer(Peer { port: Some(port), .. }) => ports[0] = *port,
            _ => {}
        }
        Ok(Place { dir: dir.to_owned(), port: ports[0], admin: ports[1] })
    }

    /// Starts it where it was placed. Returns before it is ready. `before` are words to put before
    /// its command.
    pub(crate) fn start(&self, place: &Place, how: &How<'_>) -> Outcome<Running> {
        let Place { dir, port, admin } = place;
        if accepts(*port) {
            return Err(format!("{}: port {port} is taken by somebody else", self.name));
        }
        let mut words: Vec<String> = how.before.to_vec();
        words.extend(self.words(place, how));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_remove("LD_LIBRARY_PATH");
        let log = dir.join("log");
        let process = Process::start(&self.name, &mut command, how.core, &log)?;
        let stop = match &self.kind {
            Kind::Peer(peer) => peer.stop.as_ref().map(|words| filled(words, place)),
            _ => None,
        };
        let is_watched = how.is_watched && matches!(self.kind, Kind::Klamm(_));
        let admin = is_watched.then_some(*admin);
        Ok(Running { process, port: *port, admin, stop, dir: dir.clone() })
    }

    fn words(&self, place: &Place, how: &How<'_>) -> Vec<String> {
        let Place { dir, port, admin } = place;
        let data = dir.join("data").display().to_string();
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let settings = how.settings.iter();
        let overrides = settings.flat_map(|(k, v)| ["--override".to_owned(), format!("{k}={v}")]);
        match &self.kind {
            Kind::Klamm(path) => {
                let mut words = vec![path.display().to_string(), "server".to_owned()];
                let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{port}");
                for setting in ["node.count=1", &listeners, &format!("log.dirs={data}")] {
                    words.extend(owned(&["--override", setting]));
                }
                words.extend(overrides);
                if how.is_watched {
                    let admin = format!("admin.listener=127.0.0.1:{admin}");
                    words.extend(owned(&["--override", &admin]));
                }
                words
            }
            Kind::Kafka(kafka) => kafka.words(dir).into_iter().chain(overrides).collect(),
            Kind::Floor(path) => {
                let mut words = vec![path.display().to_string()];
                match how.durability {
                    Durability::Synced => {
                        words.extend(owned(&["io=epoll", "dur=j", &format!("jdir={data}")]));
                    }
                    Durability::Unsynced => words.extend(owned(&["io=uring", "send=sys"])),
                }
                let (parts, core) = (how.partitions, how.core.unwrap_or(0));
                words.push(format!("topic={FLOOR_TOPIC}"));
                words.extend([
                    format!("port={port}"),
                    format!("parts={parts}"),
                    format!("cpu={core}"),
                ]);
                words
            }
            Kind::Peer(peer) => filled(&peer.start, place),
        }
    }
}

fn flush(messages: &str) -> Configs {
    Configs::from([(FLUSH.to_owned(), messages.to_owned())])
}

fn filled(words: &[String], place: &Place) -> Vec<String> {
    let (port, dir) = (place.port.to_string(), place.dir.join("data").display().to_string());
    words.iter().map(|w| w.replace("{port}", &port).replace("{dir}", &dir)).collect()
}

/// Where a broker runs.
#[derive(Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    port: u16,
    /// Where Klamm tells its metrics, if somebody looks.
    admin: u16,
}

/// How a broker is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How<'a> {
    /// Its core.
    pub(crate) core: Option<usize>,
    /// For the floor, which knows no topic configs.
    pub(crate) durability: Durability,
    /// For the floor, whose topic is there from the start.
    pub(crate) partitions: u32,
    /// More settings of the server; the floor and a peer have none.
    pub(crate) settings: &'a [(&'a str, &'a str)],
    /// Whether Klamm is to tell its metrics.
    pub(crate) is_watched: bool,
    /// Words to put before its command.
    pub(crate) before: &'a [String],
}

/// A broker that runs; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    port: u16,
    admin: Option<u16>,
    stop: Option<Vec<String>>,
    dir: PathBuf,
}

impl Running {
    /// Waits until it accepts connections, and tells its metrics if it is to.
    pub(crate) fn wait(&mut self, stop: &Stop) -> Outcome<()> {
        let mut ports = [self.port].into_iter().chain(self.admin);
        ports.try_for_each(|port| self.process.wait_for_port(port, START, stop))
    }

    /// For `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its turns so far, if it tells them.
    pub(crate) fn turns(&self) -> Outcome<Option<Turns>> {
        self.admin.map(Turns::look).transpose()
    }

    /// Its commits so far, if it tells them.
    pub(crate) fn commits(&self) -> Outcome<Option<Commits>> {
        self.admin.map(Commits::look).transpose()
    }

    /// An error when it ended.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        self.process.check()
    }

    /// Stops it cleanly; its directory stays.
    pub(crate) fn stop(self) {
        if let Some(words) = &self.stop {
            let _ = Command::new(&words[0]).args(&words[1..]).status();
        }
        self.process.stop(STOP);
    }

    /// Stops it, and removes its directory.
    pub(crate) fn end(self) {
        let dir = self.dir.clone();
        self.stop();
        let _ = fs::remove_dir_all(dir);
    }
}
