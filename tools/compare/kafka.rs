//! Apache Kafka as released: brought once by Maven, formatted and started as one KRaft server.
//!
//! The JVM has the options of Kafka's own start script and a fixed heap of 1 GiB; the server has
//! Kafka's defaults, but for one replica of everything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{Outcome, Stop, run};

/// The release; `pom.xml` pins the same.
pub(crate) const VERSION: &str = "4.3.1";

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
const POM: &str = include_str!("pom.xml");
const LOGGING: &str = include_str!("log4j2.yaml");
/// Any 16 bytes that are not all zero, in base 64.
const CLUSTER_ID: &str = "a2xhbW0tY29tcGFyZS0wMQ";
const HEAP: [&str; 2] = ["-Xms1G", "-Xmx1G"];
const JVM: [&str; 6] = [
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];

/// Kafka's libraries on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Kafka {
    home: PathBuf,
    /// What `java -version` says first.
    pub(crate) java: String,
}

impl Kafka {
    /// Brings the libraries into a directory below `cache`, unless they are there.
    pub(crate) fn fetch(cache: &Path, stop: &Stop) -> Outcome<Self> {
        let java = version_of("java", "-version").ok_or(
            "there is no Java: install a JDK of version 17 or newer (Debian: openjdk-17-jre-headless), \
             or leave Kafka out with KAFKA=0",
        )?;
        let home = cache.join(format!("kafka-{VERSION}"));
        let named = |e: std::io::Error| format!("{}: {e}", home.display());
        fs::create_dir_all(&home).map_err(named)?;
        fs::write(home.join("pom.xml"), POM).map_err(named)?;
        fs::write(home.join("log4j2.yaml"), LOGGING).map_err(named)?;
        let complete = home.join("libs.complete");
        if !complete.exists() {
            version_of("mvn", "--version").ok_or(
                "there is no Maven to bring Apache Kafka: install it (Debian: maven), or leave Kafka \
                 out with KAFKA=0",
            )?;
            eprintln!("bringing Apache Kafka {VERSION} (about 60 MB, once) ...");
            let mut command = Command::new("mvn");
            command.args(["-q", "-B", "-f"]).arg(home.join("pom.xml"));
            command.arg(COPY);
            command.arg(format!("-DoutputDirectory={}", home.join("libs").display()));
            let log = home.join("maven.log");
            let _ = fs::remove_file(&log);
            run("Maven (does it reach its repository?)", &mut command, &log, stop)?;
            fs::write(&complete, "").map_err(named)?;
        }
        Ok(Self { home, java })
    }

    /// Writes the settings of a server in `dir` and formats its empty data directory.
    pub(crate) fn format(&self, dir: &Path, ports: [u16; 2], stop: &Stop) -> Outcome<()> {
        let [port, controller] = ports;
        let data = dir.join("data");
        let settings = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n",
            data.display()
        );
        let path = dir.join("server.properties");
        fs::write(&path, settings).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut words = self.java_words(&[]);
        words.extend(
            ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"].map(str::to_owned),
        );
        words.push(path.display().to_string());
        let mut command = Command::new(&words[0]);
        run("Kafka's format", command.args(&words[1..]), &dir.join("format.log"), stop)
    }

    /// The command of a server that is formatted in `dir`.
    pub(crate) fn words(&self, dir: &Path) -> Vec<String> {
        let mut words = self.java_words(&HEAP);
        words.push("kafka.Kafka".to_owned());
        words.push(dir.join("server.properties").display().to_string());
        words
    }

    fn java_words(&self, more: &[&str]) -> Vec<String> {
        let mut words = vec!["java".to_owned()];
        words.extend(more.iter().chain(&JVM).map(|w| (*w).to_owned()));
        let logging = self.home.join("log4j2.yaml");
        words.push(format!("-Dlog4j2.configurationFile={}", logging.display()));
        words.push("-cp".to_owned());
        words.push(format!("{}/*", self.home.join("libs").display()));
        words
    }
}

/// The first line that a program says of its version.
pub(crate) fn version_of(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&said).lines().next().map(str::to_owned);
    line.filter(|_| output.status.success())
}
