//! Programs beside the server: started with a time limit, ended with their test.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::server::dies_with_us;

/// Runs `command` to its end, prints what it said, and panics when it failed or took longer than
/// `limit`.
pub fn must_succeed(command: &mut Command, limit: Duration) {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = must_end(command, limit);
    assert!(status.success(), "{name}: {status}");
}

/// Runs `command` to its end, and panics when it took longer than `limit`.
pub fn must_end(command: &mut Command, limit: Duration) -> ExitStatus {
    let name = command.get_program().to_string_lossy().into_owned();
    // Cargo adds the librdkafka that it has built to the path of libraries.
    command.stdin(Stdio::null()).env_remove("LD_LIBRARY_PATH");
    let ended = dies_with_us(command).spawn();
    let mut child = ended.unwrap_or_else(|e| panic!("{name}: {e}; `make clients` installs it"));
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > limit {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{name}: not done within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A command with its arguments.
pub fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Where `make clients` puts a client.
pub fn installed(path: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients").join(path);
    assert!(path.exists(), "{} is missing: run `make clients`", path.display());
    path.to_string_lossy().into_owned()
}
