//! The mailbox between two cores.
//!
//! Question: what does it cost to hand something to a sibling shard, and how long until the answer
//! is back, when the siblings are awake and when they sleep?
//! Budget: one way < 100 ns a piece with a busy receiver; round trip < 1 us awake and < 30 us
//! asleep, where it is two system calls and two wake-ups of the scheduler.
//! Both threads are pinned, to different cores if there are two. There is nothing random.

#![allow(missing_docs, reason = "criterion_group! generates an undocumented function")]
#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it cannot do")]

use std::thread::{self, JoinHandle};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use klamm::runtime::mailbox::{Receiver, Sender, mailbox};
use klamm::runtime::waker::Waker;
use klamm::runtime::{clock, cpu};

const CAPACITY: usize = 1024;
/// Looks into an empty box before the core is given to whoever else wants it.
const SPINS: u32 = 10_000;

fn one_way(c: &mut Criterion) {
    let cores = cpu::allowed();
    let (here, there) = (cores[0], cores[cores.len() - 1]);
    cpu::pin_to(here);
    let mut group = c.benchmark_group("mailbox");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one_way", |b| {
        b.iter_custom(|count| {
            let (sender, receiver) = mailbox(CAPACITY, Waker::new().unwrap());
            let (done, is_done) = mailbox(1, Waker::new().unwrap());
            let reader = pinned_to(there, move || {
                assert!((0..count).all(|i| receive(&receiver) == i));
                done.try_send(()).unwrap();
            });
            let began = clock::now().0;
            (0..count).for_each(|i| send(&sender, i));
            receive(&is_done);
            let spent = clock::now().0.since(began);
            reader.join().unwrap();
            spent
        });
    });
    group.bench_function("round_trip_awake", |b| b.iter_custom(|n| round_trip(n, there, awake)));
    group.bench_function("round_trip_asleep", |b| b.iter_custom(|n| round_trip(n, there, asleep)));
    group.finish();
}

/// `count` pieces go there and back, one at a time.
fn round_trip(count: u64, other: usize, wait: fn(&Ear) -> u64) -> Duration {
    let (there, far) = ear();
    let (back, near) = ear();
    let echo = pinned_to(other, move || (0..count).for_each(|_| send(&back, wait(&far))));
    let began = clock::now().0;
    for i in 0..count {
        send(&there, i);
        assert_eq!(wait(&near), i);
    }
    let spent = clock::now().0.since(began);
    echo.join().unwrap();
    spent
}

/// A receiver with the bell of its box.
struct Ear {
    receiver: Receiver<u64>,
    waker: Waker,
}

fn ear() -> (Sender<u64>, Ear) {
    let waker = Waker::new().unwrap();
    let (sender, receiver) = mailbox(CAPACITY, waker.clone());
    (sender, Ear { receiver, waker })
}

fn send(sender: &Sender<u64>, piece: u64) {
    let mut spins = 0;
    while sender.try_send(piece).is_err() {
        spin(&mut spins);
    }
}

fn receive<T>(receiver: &Receiver<T>) -> T {
    let mut spins = 0;
    loop {
        match receiver.try_recv() {
            Some(piece) => return piece,
            None => spin(&mut spins),
        }
    }
}

fn awake(ear: &Ear) -> u64 {
    receive(&ear.receiver)
}

/// As a shard does it: says that it sleeps, looks once more, sleeps.
fn asleep(ear: &Ear) -> u64 {
    loop {
        ear.waker.announce_sleep();
        let piece = ear.receiver.try_recv();
        if piece.is_none() {
            let fd = ear.waker.fd();
            let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            let mut rings = 0_u64;
            // SAFETY: one descriptor, and eight writable bytes, which is what an eventfd gives.
            unsafe {
                libc::poll(&raw mut poll, 1, -1);
                libc::read(fd, (&raw mut rings).cast(), 8);
            }
        }
        ear.waker.announce_awake();
        if let Some(piece) = piece.or_else(|| ear.receiver.try_recv()) {
            return piece;
        }
    }
}

fn spin(spins: &mut u32) {
    *spins += 1;
    if (*spins).is_multiple_of(SPINS) {
        thread::yield_now();
    }
    std::hint::spin_loop();
}

fn pinned_to(core: usize, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let pinned = move || {
        cpu::pin_to(core);
        run();
    };
    thread::Builder::new().spawn(pinned).unwrap()
}

criterion_group!(benches, one_way);
criterion_main!(benches);
