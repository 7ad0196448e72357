//! The cores that the process may use, and pinning a thread to one of them.

use std::mem;

/// The slice of [`wake_at_once`], the shortest that there is.
const SLICE_NS: u64 = 100_000;

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

/// Makes the calling thread yield to the other threads of its core (nice value, 0..=19), also when it
/// wakes: else whoever wakes it would stand still until the scheduler's next tick.
pub fn be_nice(nice: i32) {
    // SAFETY: plain system calls on the calling thread; failure changes nothing.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, nice);
        let plain: libc::sched_param = mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const plain);
    }
}

/// Asks the scheduler for short slices of time: a thread that wakes with those takes the core at once,
/// where it else waits for up to a tick (4 ms) while one that yields to it ends its slice. Linux from 6.12
/// on (EEVDF); others take no notice. Threads that are started later inherit it.
pub fn wake_at_once() {
    /// `struct sched_attr` of the kernel, in its first version.
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime_ns: u64,
        deadline_ns: u64,
        period_ns: u64,
    }
    let wanted = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice: 0,
        priority: 0,
        runtime_ns: SLICE_NS,
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: the call reads `wanted`, which has the size that it says.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) };
}
