//! A bounded queue into a shard, from any thread; sending never waits.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::runtime::waker::Waker;

/// Puts mail into one shard's box.
#[derive(Debug)]
pub struct Sender<T> {
    queue: Arc<ArrayQueue<T>>,
    waker: Waker,
}

/// Takes mail out; one per shard.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Arc<ArrayQueue<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), waker: self.waker.clone() }
    }
}

/// A box for `capacity` pieces of mail whose arrival rings `waker`.
pub fn mailbox<T>(capacity: usize, waker: Waker) -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (Sender { queue: Arc::clone(&queue), waker }, Receiver { queue })
}

impl<T> Sender<T> {
    /// Delivers, or gives the mail back when the box is full.
    ///
    /// # Errors
    /// The mail.
    pub fn try_send(&self, mail: T) -> Result<(), T> {
        self.queue.push(mail)?;
        self.waker.wake();
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Next piece of mail, if there is one.
    pub fn try_recv(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
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
}
