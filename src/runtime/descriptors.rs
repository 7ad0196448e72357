//! How many files and sockets the process may have open at once.

/// Raises the soft limit to the hard one, as a JVM does at its start: the usual soft limit of 1024 is
/// for programs that call select(2), and less than one broker with many partitions and clients
/// takes. A system that refuses leaves the limit as it is.
pub fn raise_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a place of their own that lives as long as they take.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// How many the process may have; a descriptor's number is below that.
pub fn limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: u64::MAX, rlim_max: u64::MAX };
    // SAFETY: the call gets a place of its own that lives as long as it takes.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur
}
