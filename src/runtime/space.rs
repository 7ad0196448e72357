//! How much room the file system of a directory has, without a turn that waits long for it.
//!
//! statvfs(2) is quick on a healthy local disk and may hang on a sick or remote one. So it runs on a
//! thread of its own, one at a time, and [`Probe::look`] waits `PATIENCE` for it; then the last
//! known numbers do, and after them none. Numbers that are younger than `FRESH_MS` are not asked for
//! again.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::base::Moment;

/// How long a look may take.
const PATIENCE: Duration = Duration::from_millis(10);
/// How old an answer may be.
const FRESH_MS: i64 = 1_000;

/// Room of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total_bytes: u64,
    /// What an unprivileged process can still take.
    pub usable_bytes: u64,
}

/// Asks about one directory.
#[derive(Debug)]
pub struct Probe {
    dir: PathBuf,
    known: Option<(Moment, Space)>,
    asked: Option<Receiver<io::Result<Space>>>,
}

impl Probe {
    /// Nothing is asked yet.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, known: None, asked: None }
    }

    /// The room there is, as far as it is known.
    pub fn look(&mut self, now: Moment) -> Option<Space> {
        let fresh = |&(at, _): &(Moment, Space)| now < at.plus_ms(FRESH_MS);
        if let Some((_, space)) = self.known.filter(fresh) {
            return Some(space);
        }
        let asked = match self.asked.take() {
            Some(asked) => asked,
            None => self.ask()?,
        };
        match asked.recv_timeout(PATIENCE) {
            Ok(space) => self.known = space.ok().map(|space| (now, space)),
            Err(RecvTimeoutError::Timeout) => self.asked = Some(asked),
            Err(RecvTimeoutError::Disconnected) => {}
        }
        self.known.map(|(_, space)| space)
    }

    fn ask(&self) -> Option<Receiver<io::Result<Space>>> {
        let (answer, asked) = channel();
        let dir = self.dir.clone();
        let thread = thread::Builder::new().name("klamm-space".to_owned());
        // Nobody listens any more when the node has stopped.
        thread.spawn(move || drop(answer.send(space(&dir)))).ok()?;
        Some(asked)
    }
}

/// Asks the kernel. May wait for as long as the file system does.
fn space(dir: &Path) -> io::Result<Space> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero byte, and the kernel fills the struct that it is given.
    if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: statvfs returned 0, so it has filled the struct.
    let found = unsafe { found.assume_init() };
    Ok(Space {
        total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        usable_bytes: found.f_bavail.saturating_mul(found.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_directory_is_known_and_of_one_that_is_missing_is_not() {
        let until_known =
            |probe: &mut Probe| (0..1000).find_map(|at| probe.look(Moment::default().plus_ms(at)));
        let found = until_known(&mut Probe::new("/".into())).unwrap();
        assert!(found.total_bytes > 0 && found.usable_bytes <= found.total_bytes, "{found:?}");
        assert_eq!(Probe::new("/no/such/directory".into()).look(Moment::default()), None);
    }
}
