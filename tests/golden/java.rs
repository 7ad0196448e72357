//! Kafka's own Java tools, where Kafka's jars are at hand: those that `make compare` keeps, else those
//! of `../shared/oracle`, which brings them. `Tools.java` runs them in one JVM.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::common::server::dies_with_us;
use crate::tools::Ended;

/// A JVM that waits for tools to run.
pub struct Java {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drop for Java {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory of Kafka's jars; `None`, and a line that says so, where there is no Kafka or no JVM.
pub fn jars() -> Option<PathBuf> {
    // Not brought twice at once.
    static JARS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let jars = JARS.get_or_init(bring).clone();
    if jars.is_none() {
        println!("SKIPPED: no Apache Kafka or no Java at hand: its tools are not run");
    }
    jars
}

fn bring() -> Option<PathBuf> {
    Command::new("java").arg("-version").output().ok()?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let kept = target.with_file_name("compare-cache/kafka-4.3.1");
    if kept.join("libs.complete").exists() {
        return Some(kept.join("libs"));
    }
    let home = target.join("oracle");
    let brings = ["run", "kafka.tools.StorageTool", "random-uuid"];
    let mut command = Command::new(crate::oracle::script());
    let ended = command.env("ORACLE_HOME", &home).args(brings).output().ok()?;
    assert!(ended.status.success(), "{ended:?}");
    Some(home.join("libs"))
}

impl Java {
    /// Starts one; `None` where there is no Kafka, as [`jars`] has said.
    pub fn start() -> Option<Self> {
        let jars = jars()?;
        let logging = crate::folder().join("log4j2.yaml");
        let mut command = Command::new("java");
        command.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
        // One set of loggers for all class loaders.
        command.arg(
            "-DLog4jContextSelector=org.apache.logging.log4j.core.selector.BasicContextSelector",
        );
        // The hooks that tools leave for the end of the JVM.
        command.args(["--add-opens", "java.base/java.lang=ALL-UNNAMED"]);
        // It lives for seconds: the second compiler would cost more than it saves.
        command.args(["-Xmx512M", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]);
        command.arg(format!("{}/*", jars.display())).arg(crate::folder().join("Tools.java"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = dies_with_us(&mut command).spawn().unwrap();
        let asks = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, asks, answers })
    }

    /// Runs a class to its end, or until `limit`; `|` ends a line of what it reads.
    pub fn run(&mut self, class: &str, arguments: &[&str], input: &str, limit: Duration) -> Ended {
        let limit = limit.as_millis().to_string();
        let words = [&[&*limit, class], arguments].concat().join("\t");
        writeln!(self.asks, "{words}\n{input}").unwrap();
        let mut head = String::new();
        self.answers.read_line(&mut head).unwrap();
        let [code, out, err] = head.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{class} has ended the JVM: {:?}", self.child.wait());
        };
        let mut text = |bytes: &str| {
            let mut text = vec![0; bytes.parse().unwrap()];
            self.answers.read_exact(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        Ended { out: text(out), err: text(err), code: code.to_owned() }
    }
}
