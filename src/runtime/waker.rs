//! Wakes a shard that sleeps in its ring, and costs nothing while it is awake.
//!
//! Flow: a servant or a sibling puts something into a [`mailbox`](super::mailbox), then calls
//! [`Waker::wake`]. The shard announces that it is about to sleep, looks into its mailboxes once
//! more, and only then sleeps; so either it sees the mail or the sender sees the announcement.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// A shard's wake-up call; clones ring the same bell.
#[derive(Debug, Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    event: OwnedFd,
    sleeping: AtomicBool,
}

impl Waker {
    /// Makes one.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a plain system call; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { shared: Arc::new(Shared { event, sleeping: AtomicBool::new(false) }) })
    }

    /// Call after the mail is in the box.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.shared.sleeping.swap(false, Ordering::SeqCst) {
            let one = 1_u64;
            // SAFETY: eight readable bytes, which is what an eventfd takes. The call fails only
            // when the counter is full, and then the sleeper is awake.
            unsafe { libc::write(self.fd(), (&raw const one).cast(), 8) };
        }
    }

    /// The shard is about to sleep; it looks into its mailboxes after this.
    pub fn announce_sleep(&self) {
        self.shared.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The shard is awake.
    pub fn announce_awake(&self) {
        self.shared.sleeping.store(false, Ordering::Relaxed);
    }

    /// The descriptor that becomes readable.
    pub fn fd(&self) -> RawFd {
        self.shared.event.as_raw_fd()
    }
}
