//! A real Apache Kafka, run by the script of `../shared/oracle`, for as long as a recording takes.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::server::Place;
use crate::common::until;
use crate::{PATIENCE, requests};

/// Runs `$3 ...` on its own, writes its process id to the file `$1`, and what it says to the end of `$2`.
const RUN: &str = r#"file=$1 log=$2; shift 2; "$@" >> "$log" 2>&1 < /dev/null & echo $! > "$file""#;

/// The script, where there is one beside the clone.
pub fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle/oracle")
}

/// A running Kafka.
pub struct Oracle<'a> {
    place: &'a Place,
    home: PathBuf,
}

impl<'a> Oracle<'a> {
    /// Starts one with `settings`, on the ports of a place.
    pub fn start<'s>(
        place: &'a Place,
        settings: impl Iterator<Item = &'s (&'s str, &'s str)>,
    ) -> Self {
        let oracle = Self { place, home: place.dir.join("oracle") };
        let settings = settings.map(|(key, value)| format!("{key}={value}"));
        let start = [vec!["start".to_owned()], settings.collect()].concat();
        // It gives up after half a minute, which a busy machine may need.
        assert!((0..5).any(|_| oracle.run(&start)), "oracle {start:?}");
        oracle
    }

    fn run(&self, arguments: &[String]) -> bool {
        let mut command = Command::new(script());
        command.env("ORACLE_HOME", &self.home).env("ORACLE_PORT", self.place.port.to_string());
        command.args(arguments).status().expect("../shared/oracle").success()
    }

    /// Ends the process with `signal` and starts it again as it was, on the same data. The script
    /// cannot do that: it removes them.
    pub fn restart(&self, signal: i32) {
        let file = self.home.join("pid");
        let pid: i32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(command.contains("kafka.Kafka"), "{pid} is no Kafka: {command}");
        // SAFETY: a system call without memory.
        let send = |signal| unsafe { libc::kill(pid, signal) };
        assert_eq!(send(signal), 0);
        // Port and data are free when the last of its threads is gone.
        until(PATIENCE, "the end of Kafka", || (send(0) != 0).then_some(()));
        let mut shell = Command::new("setsid");
        shell.args(["sh", "-c", RUN, "sh"]).arg(&file).arg(self.home.join("server.log"));
        assert!(shell.args(command.split_terminator('\0')).status().unwrap().success());
        let address = ("127.0.0.1", self.place.port);
        until(PATIENCE * 2, "Kafka's port", || TcpStream::connect(address).ok());
        requests::wait_for_coordinators(self.place.port);
    }
}

impl Drop for Oracle<'_> {
    fn drop(&mut self) {
        self.run(&["stop".to_owned()]);
    }
}
