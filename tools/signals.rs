//! Ctrl-C and SIGTERM for tools that have something to finish: a descriptor to watch, and which came.

use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// The two signals that ask a process to end, each by its pipe.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: UnixStream,
    terminate: UnixStream,
}

impl Signals {
    /// Catches both from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        let catch = |signal| {
            let (ours, handlers) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            pipe::register(signal, handlers)?;
            Ok::<_, io::Error>(ours)
        };
        Ok(Self { interrupt: catch(SIGINT)?, terminate: catch(SIGTERM)? })
    }

    /// Descriptors that become readable when a signal comes.
    pub(crate) fn watch(&self) -> [RawFd; 2] {
        [self.interrupt.as_raw_fd(), self.terminate.as_raw_fd()]
    }

    /// The exit code of the signal that came, as a shell has it: 128 and its number.
    pub(crate) fn came(&mut self) -> Option<ExitCode> {
        let mut byte = [0];
        let mut came = |stream: &mut UnixStream, signal: i32| {
            let got = stream.read(&mut byte).is_ok_and(|n| n > 0);
            got.then(|| ExitCode::from(128 + signal as u8))
        };
        came(&mut self.interrupt, SIGINT).or_else(|| came(&mut self.terminate, SIGTERM))
    }
}
