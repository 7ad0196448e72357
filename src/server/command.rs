//! `klamm server [server.properties] [--override key=value]...`

use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::Level;

use crate::config::{self, ServerConfig};
use crate::runtime::descriptors;
use crate::server::boot::{Server, ServerError};
use crate::server::catalogue::{self, End};
use crate::server::data_dir::DataDirError;

const USAGE: &str = "\
Runs a broker: one node per core.

Usage: klamm server [server.properties] [--override key=value]...

  server.properties      Kafka's own property names, in Java properties syntax
  --override key=value   sets one property, over what the file says; may be repeated
  --log-level LEVEL      error, warn, info, debug or trace; info unless told
  --log-format FORMAT    text or json: one line per event on standard error
  --errors               every warning and error of the log, with what to do about it
  --help                 this text, and every property with type, default, range and meaning
  --version              the version

Without a file, nodes listen on 127.0.0.1:9092 and up, and keep their data in ./klamm-data.
";

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Help,
    Version,
    Errors,
    Run { file: Option<String>, overrides: Vec<(String, String)>, log: Log },
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Log {
    level: Level,
    json: bool,
}

/// Why the server did not start, or ended by itself.
struct Failure {
    end: End,
    why: String,
}

impl Failure {
    fn new(end: End, why: impl ToString) -> Self {
        Self { end, why: why.to_string() }
    }

    /// The last line of the log.
    fn tell(&self, as_json: bool) {
        if as_json {
            tracing::error!(error = self.why, remedy = self.end.remedy(), "{}", self.end.message());
        } else {
            let _ = writeln!(stderr(), "klamm server: {}", self.why);
        }
    }
}

impl From<ServerError> for Failure {
    fn from(e: ServerError) -> Self {
        let end = match &e {
            ServerError::Config(_) => End::Config,
            ServerError::Admin { .. } | ServerError::Listen { .. } => End::Port,
            ServerError::DataDir(DataDirError::Locked(_)) => End::DirInUse,
            ServerError::DataDir(DataDirError::Io { .. }) => End::Dir,
            ServerError::DataDir(DataDirError::BadMeta { .. } | DataDirError::NoNode(_)) => {
                End::DirDamaged
            }
            ServerError::DataDir(DataDirError::Mismatch { .. }) => End::DirOfOther,
            ServerError::Storage { .. } => End::Storage,
            ServerError::Node { .. } | ServerError::System(_) => End::Node,
        };
        Self::new(end, e)
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        ServerError::System(e).into()
    }
}

/// Runs the command with its arguments (without its name).
pub fn main(args: &[String]) -> ExitCode {
    let mut as_json = false;
    let ran = match parse(args) {
        Err(why) => Err(Failure::new(End::Config, format!("{why}\n\n{USAGE}"))),
        Ok(Asked::Help) => say(&format!("{USAGE}\nProperties:\n\n{}", config::help())),
        Ok(Asked::Version) => say(&format!("klamm {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Asked::Errors) => say(&catalogue::text()),
        Ok(Asked::Run { file, overrides, log }) => {
            as_json = log.json;
            run(file.as_deref(), &overrides, log)
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(as_json);
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<Asked, String> {
    let (mut file, mut overrides) = (None, Vec::new());
    let mut log = Log { level: Level::INFO, json: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (flag, inline) = match arg.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (arg.as_str(), None),
        };
        match flag {
            "--help" | "-h" => return Ok(Asked::Help),
            "--version" => return Ok(Asked::Version),
            "--errors" => return Ok(Asked::Errors),
            "--log-level" => {
                let level = inline.or_else(|| args.next().cloned()).unwrap_or_default();
                log.level =
                    level.parse().map_err(|_| format!("no log level is named {level:?}"))?;
            }
            "--log-format" => {
                let format = inline.or_else(|| args.next().cloned()).unwrap_or_default();
                log.json = match format.as_str() {
                    "json" => true,
                    "text" => false,
                    _ => return Err(format!("--log-format is text or json, not {format:?}")),
                };
            }
            "--override" => {
                let pair = inline.or_else(|| args.next().cloned()).unwrap_or_default();
                let (key, value) = pair
                    .split_once('=')
                    .ok_or_else(|| format!("--override wants key=value, not {pair:?}"))?;
                overrides.push((key.to_owned(), value.to_owned()));
            }
            _ if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
            _ if file.is_some() => return Err(format!("a second properties file: {flag}")),
            _ => file = Some(arg.clone()),
        }
    }
    Ok(Asked::Run { file, overrides, log })
}

fn run(file: Option<&str>, overrides: &[(String, String)], log: Log) -> Result<(), Failure> {
    let lines = tracing_subscriber::fmt().with_writer(stderr).with_max_level(log.level);
    if log.json {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_ansi(stderr().is_terminal()).init();
    }
    let text = match file {
        None => String::new(),
        Some(path) => std::fs::read_to_string(Path::new(path))
            .map_err(|e| Failure::new(End::Config, format!("{path}: {e}")))?,
    };
    let config = ServerConfig::load(&text, overrides).map_err(ServerError::from)?;
    descriptors::raise_limit();
    // Before the nodes, so that a signal while they start is not lost.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let mut server = Server::start(&config)?;
    let stop = server.stopper();
    let handle = signals.handle();
    let listener = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            tracing::info!(signal, "stopping");
            stop();
        }
    });
    let ran = server.wait_ready().map_err(Failure::from).and_then(|()| {
        announce(&server, &config)?;
        Ok(server.join()?)
    });
    handle.close();
    if let Ok(listener) = listener {
        let _ = listener.join();
    }
    ran
}

fn announce(server: &Server, config: &ServerConfig) -> Result<(), Failure> {
    for dir in &server.buffered {
        tracing::warn!(
            dir = %dir.display(),
            "no direct I/O on this file system: writes go through the page cache, and are synced all \
             the same; put log.dirs on ext4 or XFS to bypass it"
        );
    }
    for (node, address) in &server.addresses {
        say(&format!("node {node} listens on {address}\n"))?;
    }
    if let Some(address) = server.admin_address() {
        say(&format!("metrics and health on http://{address}\n"))?;
    }
    let dirs: Vec<_> = config.log_dirs.iter().map(|d| d.display().to_string()).collect();
    say(&format!("klamm is ready; data in {}\n", dirs.join(", ")))
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_kafka_users_write_them() {
        let ask =
            |line: &str| parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let run = |file: Option<&str>, set: &[(&str, &str)]| {
            let overrides = set.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            let log = Log { level: Level::INFO, json: false };
            Ok(Asked::Run { file: file.map(Into::into), overrides, log })
        };
        assert_eq!(ask(""), run(None, &[]));
        assert_eq!(
            ask("a.properties --override x=1=2"),
            run(Some("a.properties"), &[("x", "1=2")])
        );
        assert_eq!(ask("--override=a=b --override c="), run(None, &[("a", "b"), ("c", "")]));
        assert_eq!(ask("--help"), Ok(Asked::Help));
        let log = Log { level: Level::DEBUG, json: true };
        let with_log = Asked::Run { file: None, overrides: vec![], log };
        assert_eq!(ask("--log-format json --log-level=debug"), Ok(with_log));
        for bad in [
            "--log-level loud",
            "--log-format xml",
            "--overide a=b",
            "--override",
            "--override a",
            "a b",
        ] {
            assert!(ask(bad).is_err(), "{bad}");
        }
    }
}
