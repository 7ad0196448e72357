//! What part of its time a thread does nothing, lately: since at least half a minute ago, or since it
//! began, and not longer ago than the question before the last.

use std::mem;

use crate::base::Moment;

/// A look back covers at least so much, in nanoseconds, when it is asked for often enough.
const WINDOW_NS: u64 = 30_000_000_000;

/// The times to look back to; each with the processor time, in seconds, that was used by then.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    from: (Moment, f64),
    next: (Moment, f64),
    share: f64,
}

impl Idle {
    /// Of a thread that begins now.
    pub fn since(now: Moment) -> Self {
        Self { from: (now, 0.0), next: (now, 0.0), share: 1.0 }
    }

    /// Looks back from `now`, when the thread has used `cpu_s` seconds of processor time since it began.
    pub fn look(&mut self, now: Moment, cpu_s: f64) {
        let elapsed_s = now.since(self.from.0).as_secs_f64();
        if elapsed_s > 0.0 {
            self.share = (1.0 - (cpu_s - self.from.1) / elapsed_s).clamp(0.0, 1.0);
        }
        if now.0.saturating_sub(self.next.0.0) >= WINDOW_NS {
            self.from = mem::replace(&mut self.next, (now, cpu_s));
        }
    }

    /// The last answer, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_long_ago_does_not_count() {
        let second = |s: u64| Moment(s * 1_000_000_000);
        let mut idle = Idle::since(second(100));
        let told: Vec<f64> = [
            (110, 10.0),
            (120, 10.0),
            (130, 10.0),
            (145, 10.0),
            (160, 10.0),
            (175, 10.0),
            (190, 40.0),
        ]
        .iter()
        .map(|&(at, cpu_s)| {
            idle.look(second(at), cpu_s);
            (idle.share() * 100.0).round()
        })
        .collect();
        assert_eq!(told, [0.0, 50.0, 67.0, 78.0, 83.0, 100.0, 50.0]);
    }
}
