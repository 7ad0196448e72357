//! A bounded queue into a shard, from any thread; neither end ever waits for the other.
//!
//! Not even for a sender that loses its core half way, as a servant on the shard's core does whenever
//! the shard wakes: its piece is then not there yet. (A queue of crossbeam's waits for such a sender, and the
//! shard, which has the core, spun for 1 to 4 ms until the sender got it.)
//!
//! Each slot has a stamp, as in D. Vyukov's bounded queue: twice the position that it is free for, and
//! one more when the piece of that position may be taken. Positions count from 0 for ever.

use std::cell::{Cell, UnsafeCell};
use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::waker::Waker;

struct Slot<T> {
    stamp: AtomicU64,
    mail: UnsafeCell<Option<T>>,
}

// SAFETY: the mail is touched by one thread at a time, as the stamp says: the sender that has the
// position while it is even, the receiver while it is odd.
unsafe impl<T: Send> Sync for Slot<T> {}

/// On a cache line of its own, which the receiver leaves alone.
#[repr(align(128))]
struct Tail(AtomicU64);

struct Ring<T> {
    /// A power of two of them.
    slots: Box<[Slot<T>]>,
    /// Position of the next piece.
    tail: Tail,
}

impl<T> Ring<T> {
    fn slot(&self, at: u64) -> &Slot<T> {
        &self.slots[at as usize & (self.slots.len() - 1)]
    }
}

/// Puts mail into one shard's box.
pub struct Sender<T> {
    ring: Arc<Ring<T>>,
    waker: Waker,
}

/// Takes mail out; one per shard.
pub struct Receiver<T> {
    ring: Arc<Ring<T>>,
    /// Position of the next piece.
    at: Cell<u64>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { ring: Arc::clone(&self.ring), waker: self.waker.clone() }
    }
}

/// A box for `capacity` pieces of mail, or up to the next power of two, whose arrival rings `waker`.
pub fn mailbox<T>(capacity: usize, waker: Waker) -> (Sender<T>, Receiver<T>) {
    let slot = |at| Slot { stamp: AtomicU64::new(2 * at), mail: UnsafeCell::new(None) };
    let slots = (0..capacity.next_power_of_two() as u64).map(slot).collect();
    let ring = Arc::new(Ring { slots, tail: Tail(AtomicU64::new(0)) });
    (Sender { ring: Arc::clone(&ring), waker }, Receiver { ring, at: Cell::new(0) })
}

impl<T> Sender<T> {
    /// Delivers, or gives the mail back when the box is full.
    ///
    /// # Errors
    /// The mail.
    pub fn try_send(&self, mail: T) -> Result<(), T> {
        let tail = &self.ring.tail.0;
        let mut at = tail.load(Ordering::Relaxed);
        let slot = loop {
            let slot = self.ring.slot(at);
            match slot.stamp.load(Ordering::Acquire).cmp(&(2 * at)) {
                Equal => {
                    let (own, order) = (at + 1, Ordering::Relaxed);
                    match tail.compare_exchange_weak(at, own, order, order) {
                        Ok(_) => break slot,
                        Err(now) => at = now,
                    }
                }
                Less => return Err(mail),
                Greater => at = tail.load(Ordering::Relaxed),
            }
        };
        // SAFETY: this position is this sender's alone, and the receiver waits for the stamp.
        unsafe { *slot.mail.get() = Some(mail) };
        slot.stamp.store(2 * at + 1, Ordering::Release);
        self.waker.wake();
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Next piece of mail, if there is one.
    pub fn try_recv(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let at = self.at.get();
        let slot = self.ring.slot(at);
        // SAFETY: the stamp is odd, so its sender is done, and there is one receiver.
        let mail = unsafe { (*slot.mail.get()).take() };
        let free_for = at + self.ring.slots.len() as u64;
        slot.stamp.store(2 * free_for, Ordering::Release);
        self.at.set(at + 1);
        mail
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let at = self.at.get();
        self.ring.slot(at).stamp.load(Ordering::Acquire) != 2 * at + 1
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn rings(waker: &Waker) -> bool {
        let mut count = 0_u64;
        // SAFETY: eight writable bytes, which is what an eventfd gives.
        unsafe { libc::read(waker.fd(), (&raw mut count).cast(), 8) == 8 }
    }

    #[test]
    fn mail_rings_only_for_a_sleeper_and_a_full_box_gives_it_back() {
        let waker = Waker::new().unwrap();
        let (sender, receiver) = mailbox(2, waker.clone());
        sender.try_send(1).unwrap();
        assert!(!rings(&waker), "nobody sleeps");
        waker.announce_sleep();
        sender.clone().try_send(2).unwrap();
        assert!(rings(&waker));
        assert_eq!(sender.try_send(3), Err(3));
        assert!(!rings(&waker), "one ring wakes");
        assert_eq!([receiver.try_recv(), receiver.try_recv()], [Some(1), Some(2)]);
        assert!(receiver.is_empty());
    }

    #[test]
    fn what_several_senders_send_comes_once_and_in_the_order_of_each() {
        const EACH: u64 = 20_000;
        let (sender, receiver) = mailbox(4, Waker::new().unwrap());
        let send = |who: usize, sender: &Sender<Box<(usize, u64)>>| {
            for n in 0..EACH {
                while sender.try_send(Box::new((who, n))).is_err() {
                    thread::yield_now();
                }
            }
        };
        thread::scope(|scope| {
            for who in 0..3 {
                let sender = sender.clone();
                scope.spawn(move || send(who, &sender));
            }
            let mut next = [0; 3];
            while next != [EACH; 3] {
                match receiver.try_recv().map(|mail| *mail) {
                    Some((who, n)) => {
                        assert_eq!(n, next[who]);
                        next[who] += 1;
                    }
                    None => thread::yield_now(),
                }
            }
        });
        assert!(receiver.is_empty());
    }

    #[test]
    fn a_sender_that_stands_still_half_way_holds_up_nobody() {
        let (sender, receiver) = mailbox(2, Waker::new().unwrap());
        // As far as a sender is when it has its place and has not yet put anything there.
        sender.ring.tail.0.fetch_add(1, Ordering::Relaxed);
        assert!(receiver.is_empty() && receiver.try_recv().is_none());
        sender.try_send(2).unwrap();
        assert!(receiver.is_empty(), "the one before comes first");
        assert_eq!(sender.try_send(3), Err(3), "it is full");
    }

    #[test]
    fn what_nobody_took_is_dropped_with_the_box() {
        let mail = Arc::new(());
        let (sender, receiver) = mailbox(4, Waker::new().unwrap());
        (0..3).for_each(|_| sender.try_send(Arc::clone(&mail)).unwrap());
        drop(receiver.try_recv());
        assert_eq!(Arc::strong_count(&mail), 3);
        drop((sender, receiver));
        assert_eq!(Arc::strong_count(&mail), 1);
    }
}
