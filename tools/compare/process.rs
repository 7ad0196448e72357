//! Processes of a comparison: each on its core, in a group of its own, and gone with this process.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use klamm::base::Moment;
use klamm::runtime::{clock, cpu};
use signal_hook::consts::{SIGINT, SIGTERM};

/// What went wrong, in one line.
pub(crate) type Outcome<T> = Result<T, String>;

const TICK: Duration = Duration::from_millis(20);
const CONNECT: Duration = Duration::from_millis(200);

/// Set once Ctrl-C or SIGTERM comes; a second one ends this process at once.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for the signals.
    pub(crate) fn on_signals() -> Outcome<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
                .map_err(|e| format!("signals: {e}"))?;
        }
        Ok(Self(stop))
    }

    /// An error once a signal came.
    pub(crate) fn check(&self) -> Outcome<()> {
        if self.is_set() { Err("interrupted".to_owned()) } else { Ok(()) }
    }

    /// Whether a signal came.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps, unless a signal comes.
    pub(crate) fn sleep(&self, length: Duration) -> Outcome<()> {
        let until = now() + length;
        while now() < until {
            self.check()?;
            sleep(until.since(now()).min(TICK));
        }
        self.check()
    }
}

/// Monotonic time.
pub(crate) fn now() -> Moment {
    clock::now().0
}

/// A child process; dropping it kills its whole group.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` on `core`, with what it says in the file `log`.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        core: Option<usize>,
        log: &Path,
    ) -> Outcome<Self> {
        command.stdin(Stdio::null()).stdout(appended(log)?).stderr(appended(log)?);
        Self::spawn(name, command, core, log)
    }

    /// As [`Self::start`], but what it prints to standard output is for nobody.
    pub(crate) fn start_muted(
        name: &str,
        command: &mut Command,
        core: Option<usize>,
        log: &Path,
    ) -> Outcome<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(appended(log)?);
        Self::spawn(name, command, core, log)
    }

    /// As [`Self::start`], but the caller reads standard error from a pipe.
    pub(crate) fn start_piped(
        name: &str,
        command: &mut Command,
        core: Option<usize>,
        log: &Path,
    ) -> Outcome<(Self, std::process::ChildStderr)> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Self::spawn(name, command, core, log)?;
        let stderr = process.child.stderr.take();
        stderr.map(|pipe| (process, pipe)).ok_or_else(|| format!("{name}: no pipe"))
    }

    fn spawn(name: &str, command: &mut Command, core: Option<usize>, log: &Path) -> Outcome<Self> {
        command.process_group(0);
        // SAFETY: two system calls without memory of the parent.
        unsafe {
            command.pre_exec(move || {
                if let Some(core) = core {
                    cpu::pin_to(core);
                }
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|e| format!("{name}: {program}: {e}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// An error with its last words when it does not run any more.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => {
                let words = last_words(&self.log);
                Err(format!("{} ended by itself ({status}): {words}", self.name))
            }
        }
    }

    /// Waits until it accepts connections at `port`.
    pub(crate) fn wait_for_port(&mut self, port: u16, limit: Duration, stop: &Stop) -> Outcome<()> {
        let until = now() + limit;
        while !accepts(port) {
            self.check()?;
            stop.check()?;
            if now() >= until {
                let (name, words) = (&self.name, last_words(&self.log));
                let seconds = limit.as_secs();
                return Err(format!(
                    "{name} did not listen on port {port} in {seconds} s: {words}"
                ));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Waits for its end; `None` when it does not come within `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if now() >= until {
                return None;
            }
            sleep(TICK);
        }
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(self.pid().cast_signed(), signal) };
    }

    /// Stops it as an operator does, and kills what is left after `limit`.
    pub(crate) fn stop(mut self, limit: Duration) {
        if self.ended().is_none() {
            self.signal(SIGTERM);
            self.wait(limit);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: the group was made for this child; an empty one is an error that changes nothing.
        unsafe { libc::kill(-self.pid().cast_signed(), libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

fn appended(log: &Path) -> Outcome<File> {
    let file = File::options().create(true).append(true).open(log);
    file.map_err(|e| format!("{}: {e}", log.display()))
}

/// Whether something listens at `port` of this machine.
pub(crate) fn accepts(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), CONNECT).is_ok()
}

/// Ports that nobody has, all different.
pub(crate) fn free_ports<const N: usize>() -> Outcome<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| format!("a port: {e}"))?;
        *port = listener.local_addr().map_err(|e| format!("a port: {e}"))?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Runs `command` to its end; an error has the last line that it said.
pub(crate) fn run(name: &str, command: &mut Command, log: &Path, stop: &Stop) -> Outcome<()> {
    let mut process = Process::start(name, command, None, log)?;
    loop {
        match process.ended() {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{name} failed ({status}): {}", last_words(log))),
            None => stop.sleep(TICK)?,
        }
    }
}

/// The line of a log that says most about a failure: the last one of an error, or the last one.
pub(crate) fn last_words(log: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("at "));
    let is_error = |l: &&str| ["ERROR", "rror:", "Exception"].iter().any(|word| l.contains(word));
    let said = lines().rfind(is_error).or_else(|| lines().next_back()).unwrap_or("it said nothing");
    let short: String = said.chars().take(300).collect();
    format!("{short} ({})", log.display())
}
