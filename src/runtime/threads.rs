//! Blocking work of one kind on several threads at once, for a start that has much of it.

use std::panic::resume_unwind;
use std::thread;

use crossbeam_queue::SegQueue;

/// What `work` makes of each item, in the order of the items. Runs on up to `threads` threads, of which
/// the calling one is the first, so with one it is a plain loop.
pub fn map<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let further = threads.min(items.len()).saturating_sub(1);
    let queue = SegQueue::new();
    for item in items.into_iter().enumerate() {
        queue.push(item);
    }
    let run = || {
        let mut done = Vec::new();
        while let Some((at, item)) = queue.pop() {
            done.push((at, work(item)));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        // A thread that cannot be made leaves its work to the others.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, run).ok();
        let others: Vec<_> = (0..further).filter_map(spawn).collect();
        let mut done = run();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_whoever_makes_them() {
        for (threads, count) in [(1, 5), (4, 0), (4, 1), (4, 100), (100, 7)] {
            let squares = map(threads, (0..count).collect(), |n: u64| n * n);
            assert_eq!(squares, (0..count).map(|n| n * n).collect::<Vec<_>>(), "{threads}");
        }
    }
}
