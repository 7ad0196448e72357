//! The built binary as a server: on ports and in a directory that nobody else has, gone at the end.
//!
//! A lock file for each block of ports says who has it, so tests and test runs side by side do not
//! meet; the kernel lets go of it however a run ends. The ports lie below those that the kernel
//! hands out by itself, and stay the same over a restart. A server dies with the thread that started
//! it, so a test keeps it on its own thread.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use super::until;

/// First port of the first block.
const PORTS_FROM: u16 = 11_000;
/// Ports of a block, which is the most nodes a server can have here.
const PORTS: u16 = 8;
const BLOCKS: u16 = 1_000;
/// How long a start may take, on a machine with much else to do.
const START: Duration = Duration::from_mins(1);
/// How long a clean stop may take.
pub const STOP: Duration = Duration::from_secs(2);

/// Ports and a directory.
pub struct Place {
    /// The first of [`PORTS`] ports.
    pub port: u16,
    /// Where everything of this server lies; empty at first.
    pub dir: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes a free one.
    pub fn take() -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
        fs::create_dir_all(&root).unwrap();
        let mut blocks = (0..BLOCKS).map(|block| PORTS_FROM + block * PORTS);
        blocks.find_map(|port| Self::try_take(&root, port)).expect("a free block of ports")
    }

    fn try_take(root: &Path, port: u16) -> Option<Self> {
        let lock = File::create(root.join(format!("{port}.lock"))).ok()?;
        lock.try_lock().ok()?;
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if !(port..port + PORTS).all(free) {
            return None;
        }
        let dir = root.join(port.to_string());
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).ok()?;
        Some(Self { port, dir, _lock: lock })
    }

    /// The arguments of a server here, with `settings` over the usual ones.
    pub fn arguments(&self, settings: &[(&str, &str)]) -> Vec<String> {
        let usual = [
            ("listeners", format!("PLAINTEXT://127.0.0.1:{}", self.port)),
            ("log.dirs", self.data().display().to_string()),
            ("group.initial.rebalance.delay.ms", "0".to_owned()),
            ("journal.bytes", "67108864".to_owned()),
        ];
        let mut arguments = vec!["server".to_owned()];
        let mut set = |key: &str, value: &str| {
            arguments.push("--override".into());
            arguments.push(format!("{key}={value}"));
        };
        for (key, value) in usual.iter().filter(|(k, _)| settings.iter().all(|(s, _)| s != k)) {
            set(key, value);
        }
        for (key, value) in settings {
            set(key, value);
        }
        arguments
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The built binary with arguments.
pub fn klamm(arguments: &[impl AsRef<std::ffi::OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    command.args(arguments).stdin(Stdio::null()).env_remove("LD_LIBRARY_PATH");
    command
}

/// Makes the child die with the thread that starts it.
pub fn dies_with_us(command: &mut Command) -> &mut Command {
    // SAFETY: prctl is a system call without memory of ours.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
    }
}

/// Gives the child other limits of open files, soft and hard.
fn limit_open_files(command: &mut Command, (soft, hard): (u64, u64)) {
    // SAFETY: system calls with memory of the closure.
    unsafe {
        command.pre_exec(move || {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
            limit.rlim_max = limit.rlim_max.min(hard);
            limit.rlim_cur = soft;
            match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

/// The child gets EPERM when it wants a ring, as in a container that forbids io_uring.
pub fn without_io_uring(command: &mut Command) {
    let filter =
        |code: u32, k: u32, (jt, jf): (u8, u8)| libc::sock_filter { code: code as u16, jt, jf, k };
    let returns = |what: u32| filter(libc::BPF_RET | libc::BPF_K, what, (0, 0));
    let setup = libc::SYS_io_uring_setup as u32;
    // The number of the system call is the first word of what a filter sees.
    let mut program = [
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, (0, 0)),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, setup, (0, 1)),
        returns(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        returns(libc::SECCOMP_RET_ALLOW),
    ];
    // SAFETY: system calls with memory of the closure.
    unsafe {
        command.pre_exec(move || {
            let filter = program.as_mut_ptr();
            let program = libc::sock_fprog { len: program.len() as u16, filter };
            let mode = libc::SECCOMP_MODE_FILTER;
            match libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                | libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program)
            {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

/// Runs the binary to its end, which must come within `limit`.
pub fn run(arguments: &[impl AsRef<std::ffi::OsStr>], limit: Duration) -> Output {
    run_as(arguments, limit, |_| ())
}

/// The same; `prepare` gets the command before it is started.
pub fn run_as(
    arguments: &[impl AsRef<std::ffi::OsStr>],
    limit: Duration,
    prepare: impl FnOnce(&mut Command),
) -> Output {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", &limit.as_secs().to_string()]);
    command.arg(env!("CARGO_BIN_EXE_klamm")).args(arguments);
    prepare(&mut command);
    let output = dies_with_us(&mut command).stdin(Stdio::null()).output().unwrap();
    assert_ne!(output.status.code(), Some(137), "no end within {limit:?}: {output:?}");
    output
}

/// A running server, or a stopped one that may be started again.
pub struct Server {
    /// Its ports and its directory.
    pub place: Place,
    settings: Vec<(String, String)>,
    /// Environment of the process.
    pub environment: Vec<(String, String)>,
    /// The limits of open files that it starts with, soft and hard, when they are other than ours.
    pub open_files: Option<(u64, u64)>,
    child: Option<Child>,
}

impl Server {
    /// A server of one node.
    pub fn start() -> Self {
        Self::with(&[("node.count", "1")])
    }

    /// A server with `settings`, in a place of its own.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::stopped(settings);
        server.start_again();
        server
    }

    /// The same, not started yet.
    pub fn stopped(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let place = Place::take();
        Self { place, settings, environment: Vec::new(), open_files: None, child: None }
    }

    /// Starts what was stopped, with the same settings, and waits until it is ready.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the server runs");
        let settings: Vec<_> =
            self.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let mut command = klamm(&self.place.arguments(&settings));
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        if let Some(files) = self.open_files {
            limit_open_files(&mut command, files);
        }
        let log = |name: &str| {
            let path = self.place.dir.join(name);
            File::options().create(true).append(true).open(path).unwrap()
        };
        fs::write(self.place.dir.join("out"), "").unwrap();
        dies_with_us(&mut command).stdout(log("out")).stderr(log("log"));
        self.child = Some(command.spawn().unwrap());
        let out = self.place.dir.join("out");
        until(START, "the ready line", || {
            let child = self.child.as_mut().unwrap();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended at its start ({ended:?}): {}", self.log());
            fs::read_to_string(&out).unwrap().contains("klamm is ready").then_some(())
        });
    }

    /// What it printed to standard error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.place.dir.join("log")).unwrap_or_default()).into()
    }

    /// Address of its node `index`.
    pub fn address(&self, index: u16) -> (&'static str, u16) {
        ("127.0.0.1", self.place.port + index)
    }

    /// For `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.place.port)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Memory in RAM, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    /// The most that it had so far.
    pub fn resident_peak_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running server");
        until(START, "the end of the server", || child.try_wait().unwrap())
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a running server");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops the process for so long (SIGSTOP), then lets it go on.
    pub fn pause(&self, time: Duration) {
        self.send(libc::SIGSTOP);
        std::thread::sleep(time);
        self.send(libc::SIGCONT);
    }

    /// Sends a signal that does not end it.
    pub fn send(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so the id is still its own.
        assert_eq!(unsafe { libc::kill(self.pid().cast_signed(), signal) }, 0);
    }

    /// Sends `signal` and waits for the end; says how it ended and how long that took.
    pub fn signal(&mut self, signal: i32) -> (ExitStatus, Duration) {
        let mut child = self.child.take().expect("a running server");
        let start = Instant::now();
        // SAFETY: the child has not been waited for, so the id is still its own.
        assert_eq!(unsafe { libc::kill(child.id().cast_signed(), signal) }, 0);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return (status, start.elapsed());
            }
            if start.elapsed() > STOP * 10 {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("signal {signal}: still there after {:?}: {}", STOP * 10, self.log());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops it as an operator does, and starts it again.
    pub fn restart(&mut self) {
        let (status, _) = self.signal(libc::SIGTERM);
        assert!(status.success(), "{status}: {}", self.log());
        self.start_again();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let ended = child.try_wait();
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                eprintln!("the server {ended:?} said:\n{}", self.log());
            }
        }
    }
}
