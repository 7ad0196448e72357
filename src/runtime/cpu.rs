//! The cores that the process may use, and pinning a thread to one of them.

use std::mem;

/// Cores that the process may run on (its affinity mask, so a container's share), ascending.
pub fn allowed() -> Vec<usize> {
    // SAFETY: a zeroed set is an empty set, and the call writes at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
            return vec![0];
        }
        set
    };
    // SAFETY: the index stays below the size of the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Pins the calling thread. Best effort: an unpinned thread is slower, not wrong.
pub fn pin_to(cpu: usize) {
    // SAFETY: `cpu` comes from `allowed`, so it is below the size of the set.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

/// The calling thread, as the kernel numbers it.
pub fn thread_id() -> i32 {
    // SAFETY: a system call without memory that cannot fail.
    unsafe { libc::gettid() }
}

/// Time in nanoseconds that a thread of this process was ready to run and did not, because others
/// ran on its core; `None` when the kernel does not tell.
pub fn run_queue_delay_ns(thread: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// Lets the other threads of the core run that are ready: a thread that does long work would keep a
/// shard waiting until the scheduler's next tick.
pub fn yield_now() {
    std::thread::yield_now();
}

/// Makes the calling thread yield to the other threads of its core (nice value, 0..=19).
pub fn be_nice(nice: i32) {
    // SAFETY: a plain system call on the calling thread; failure changes nothing.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, nice);
    }
}
