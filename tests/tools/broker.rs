//! A broker to run the tools against: the one that `KLAMM_TEST_BOOTSTRAP` names, or one of this build.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const KLAMM: &str = env!("CARGO_BIN_EXE_klamm");
const ATTEMPTS: u32 = 10;

/// A broker, and names that no other test uses on it.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    prefix: String,
    own: Option<(Child, PathBuf)>,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Broker {
    /// The broker named by the environment, or two nodes of this build, started now.
    pub(crate) fn get() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("test-{}-{number}", std::process::id());
        if let Ok(bootstrap) = std::env::var("KLAMM_TEST_BOOTSTRAP") {
            return Self { bootstrap, prefix, own: None };
        }
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&prefix);
        for _ in 0..ATTEMPTS {
            let Some(port) = two_ports() else { continue };
            if let Some(child) = start(port, &dir) {
                let bootstrap = format!("127.0.0.1:{port}");
                return Self { bootstrap, prefix, own: Some((child, dir)) };
            }
        }
        panic!("klamm server did not start in {ATTEMPTS} attempts; see its messages above");
    }

    /// Two nodes of this build, unless another broker is to be tested, which is not to be killed.
    pub(crate) fn own() -> Option<Self> {
        let broker = Self::get();
        broker.own.is_some().then_some(broker)
    }

    /// Kills the broker.
    pub(crate) fn kill(&mut self) {
        if let Some((child, _)) = &mut self.own {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// A name for a topic or a group of this test alone.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    /// Runs a tool to its end. `args` are split at blanks.
    pub(crate) fn run(&self, tool: &str, args: &str) -> Ran {
        self.run_with_input(tool, args, b"")
    }

    /// Runs a tool with something on its standard input.
    pub(crate) fn run_with_input(&self, tool: &str, args: &str, input: &[u8]) -> Ran {
        let mut child = self.start(tool, args);
        // A tool that has ended already does not read, which its result then shows.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap().into()
    }

    /// Starts a tool.
    pub(crate) fn start(&self, tool: &str, args: &str) -> Child {
        Command::new(KLAMM)
            .arg(tool)
            .args(["--bootstrap-server", &self.bootstrap])
            .args(args.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some((child, dir)) = &mut self.own {
            // Nothing of what is left matters to another test.
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// What a tool printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: Option<i32>,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }
}

impl Ran {
    /// Standard output of a tool that went well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }
}

/// Two ports side by side that nobody listens on.
fn two_ports() -> Option<u16> {
    let first = TcpListener::bind("127.0.0.1:0").ok()?;
    let port = first.local_addr().ok()?.port();
    TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok()?;
    Some(port)
}

/// Starts two nodes and waits until they are ready; `None` when they end instead.
fn start(port: u16, dir: &Path) -> Option<Child> {
    let overrides = [
        "node.count=2".to_owned(),
        format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
        format!("log.dirs={}", dir.display()),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    let mut command = Command::new(KLAMM);
    command.arg("server");
    for key_value in overrides {
        command.args(["--override", &key_value]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_ready = lines.map_while(Result::ok).any(|line| line.starts_with("klamm is ready"));
    if is_ready {
        return Some(child);
    }
    let _ = child.wait();
    None
}
