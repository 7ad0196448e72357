//! One turn of a node: how long it took, what it did, and with which step it spent most of its time.
//!
//! Each step ends with one reading of a counter that costs next to nothing to read; the ticks since the
//! reading before are that step's. A step that finds nothing to do may go without a reading, and what it
//! took counts for the one after it. Ticks go on while the machine or another thread has the core; the
//! turn's processor time does not, so the longest turn is chosen by that, and only its step by ticks. A servant
//! that is woken may take the core at once: what passes meanwhile is no step's.

use std::time::Duration;

use crate::base::Moment;

/// What a turn did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turn {
    /// From the end of its wait to the beginning of the next one.
    pub took: Duration,
    /// Processor time of the node's thread since the end of the turn before: without what the machine
    /// and other threads of the core did meanwhile, but with the kernel's work in its wait.
    pub cpu: Duration,
    /// Events of sockets.
    pub events: u32,
    /// Results of the servants.
    pub results: u32,
    /// Mail of siblings.
    pub mail: u32,
    /// Partitions that it began to lead, gave up or changed.
    pub applied: u32,
    /// Bytes that it put into the journal's buffer.
    pub committed_bytes: u64,
    /// Requests.
    pub requests: u32,
    /// Their bytes.
    pub request_bytes: u64,
    /// Answers that left.
    pub answers: u32,
    /// How it spent its time.
    pub steps: Steps,
}

impl Turn {
    /// The step that took most of it, and the key of the API whose request took longest if that is why.
    pub fn longest_step(&self) -> (Step, Option<i16>) {
        let steps = &self.steps;
        let ticks: u64 = steps.took.iter().sum();
        let longest = Step::ALL.iter().max_by_key(|step| steps.took[**step as usize]);
        let step = *longest.unwrap_or(&Step::Wait);
        let share = steps.took[step as usize] as f64 / ticks.max(1) as f64;
        // Its processor time beyond what it took was the kernel's in the wait before it.
        if self.cpu.saturating_sub(self.took) > self.took.mul_f64(share) {
            return (Step::Wait, None);
        }
        let serves = matches!(step, Step::Requests | Step::Pieces);
        (step, serves.then_some(steps.heaviest.1))
    }
}

macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// A part of a turn.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step { $($(#[$doc])* $variant),* }

        impl Step {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As it stands in a label.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        const STEPS: usize = Step::ALL.len();
    };
}

steps! {
    /// The kernel's work for the sockets, while the node waited for an event.
    Wait = "wait",
    /// A commit has ended.
    Commits = "ended_commits",
    /// Jobs of the back have ended.
    Jobs = "ended_jobs",
    /// The opener's chores have ended.
    Openings = "ended_openings",
    /// What the store tells: records are durable, there is something to read.
    Told = "store_events",
    /// Mail from siblings.
    Mail = "mail",
    /// Connections come, go, or have sent something.
    Sockets = "sockets",
    /// Deadlines of requests and of groups; expired offsets.
    Deadlines = "deadlines",
    /// Retention, checkpoints, and what else the store does now and then.
    Upkeep = "upkeep",
    /// A log is read back.
    Load = "load",
    /// Partitions become what the metadata says.
    Apply = "metadata",
    /// Connections are taken in, closed for idleness, or for their memory.
    Admission = "admission",
    /// Partitions and groups are counted for whoever looks at the metrics.
    Observe = "metrics",
    /// A part of an answer about all that there is.
    Survey = "survey",
    /// A piece of a large request.
    Pieces = "pieces",
    /// Requests.
    Requests = "requests",
    /// Fetches that waited.
    Fetches = "fetches",
    /// Answers to requests that waited go to their connections.
    Answers = "answers",
    /// Topics are created for those who miss them.
    Create = "create",
    /// The next commit is put together.
    Commit = "commit",
    /// Answers go to the sockets.
    Send = "send",
    /// What the servants are to do is put together.
    HandOut = "hand_out",
}

/// Ticks of the steps of one turn.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steps {
    at: u64,
    took: [u64; STEPS],
    /// The request, or piece of one, that took longest, and the key of its API.
    heaviest: (u64, i16),
}

impl Steps {
    /// A turn begins at tick `at`.
    pub fn begin(at: u64) -> Self {
        Self { at, ..Self::default() }
    }

    /// A step ends at tick `at`, or another part of it. Returns the ticks since the one before.
    pub fn end(&mut self, step: Step, at: u64) -> u64 {
        let took = at.saturating_sub(self.at);
        self.at = at;
        self.took[step as usize] += took;
        took
    }

    /// What has passed since the last step ended, up to tick `at`, is not the node's.
    pub fn skip(&mut self, at: u64) {
        self.at = at;
    }

    /// A request of the API with this key is served, or a piece of one, as part of `step`.
    pub fn end_request(&mut self, step: Step, key: i16, at: u64) {
        let took = self.end(step, at);
        if took > self.heaviest.0 {
            self.heaviest = (took, key);
        }
    }
}

/// The steps of all turns: where a node's time goes, and what holds a turn up.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepTotals {
    took: [u64; STEPS],
    slow: [u64; STEPS],
    /// When the first turn ended, and the last one, with the ticks there: what a tick is.
    first: Option<(Moment, u64)>,
    last: (Moment, u64),
}

impl StepTotals {
    /// Of a step that takes longer on the clock, turns are counted.
    const SLOW: Duration = Duration::from_micros(100);

    /// A turn ended.
    pub fn add(&mut self, turn: &Turn, end: Moment) {
        self.last = (end, turn.steps.at);
        self.first.get_or_insert(self.last);
        for (total, took) in self.took.iter_mut().zip(&turn.steps.took) {
            *total += took;
        }
        if turn.took > Self::SLOW {
            let limit = Self::SLOW.as_secs_f64() / self.tick_s();
            for (slow, took) in self.slow.iter_mut().zip(&turn.steps.took) {
                *slow += u64::from(*took as f64 > limit);
            }
        }
    }

    /// Seconds that a step took in all, and the turns in which it was slow.
    pub fn of(&self, step: Step) -> (f64, u64) {
        (self.took[step as usize] as f64 * self.tick_s(), self.slow[step as usize])
    }

    fn tick_s(&self) -> f64 {
        let (at, ticks) = self.first.unwrap_or_default();
        self.last.0.since(at).as_secs_f64() / self.last.1.saturating_sub(ticks).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest step of a turn of 100 us, of steps that end at these ticks.
    fn longest(cpu_us: u64, ends: &[(Step, Option<i16>, u64)]) -> (&'static str, Option<i16>) {
        let mut steps = Steps::begin(1000);
        for &(step, key, at) in ends {
            match key {
                Some(key) => steps.end_request(step, key, 1000 + at),
                None => _ = steps.end(step, 1000 + at),
            }
        }
        let (took, cpu) = (Duration::from_micros(100), Duration::from_micros(cpu_us));
        let (step, key) = Turn { took, cpu, steps, ..Turn::default() }.longest_step();
        (step.name(), key)
    }

    #[test]
    fn a_turn_is_named_after_the_step_that_took_most_of_it_in_all() {
        let commit = (Step::Commit, None, 90);
        assert_eq!(longest(80, &[(Step::Requests, Some(0), 40), commit]), ("commit", None));
        let parts = [(Step::Answers, None, 30), (Step::Send, None, 55), (Step::Answers, None, 80)];
        assert_eq!(longest(80, &parts), ("answers", None));
        assert_eq!(longest(150, &[commit]), ("commit", None));
        assert_eq!(longest(200, &[commit]), ("commit", None), "all of it was its own");
        assert_eq!(longest(250, &[commit]), ("wait", None));
        assert_eq!(longest(0, &[]), ("hand_out", None));
        let (mut steps, took) = (Steps::begin(0), Duration::from_micros(9));
        steps.end(Step::Commit, 2);
        steps.skip(6);
        steps.end(Step::Send, 9);
        let (step, _) = Turn { took, steps, ..Turn::default() }.longest_step();
        assert_eq!(step, Step::Send, "a servant has run");
    }

    #[test]
    fn requests_are_named_after_the_heaviest_of_them() {
        let requests = [
            (Step::Requests, Some(1), 10),
            (Step::Requests, Some(3), 40),
            (Step::Requests, Some(1), 60),
            (Step::Send, None, 100),
        ];
        assert_eq!(longest(80, &requests), ("requests", Some(3)));
        assert_eq!(longest(80, &[(Step::Pieces, Some(0), 9)]), ("pieces", Some(0)));
    }

    #[test]
    fn each_step_has_a_name_of_its_own() {
        let mut names: Vec<_> = Step::ALL.iter().map(|step| step.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS);
    }

    #[test]
    fn what_steps_take_is_summed_up_and_turns_in_which_one_was_slow_are_counted() {
        let mut totals = StepTotals::default();
        let mut turn = |end_us: u64, took_us: u64, commit_us: u64| {
            // Ten ticks are a microsecond, and what another thread had is no step's.
            let mut steps = Steps::begin((end_us - took_us) * 10);
            steps.end(Step::Commit, (end_us - took_us + commit_us) * 10);
            steps.skip((end_us - 10) * 10);
            steps.end(Step::Send, end_us * 10);
            let took = Duration::from_micros(took_us);
            totals.add(&Turn { took, steps, ..Turn::default() }, Moment(end_us * 1000));
        };
        turn(1_000, 50, 40);
        turn(2_000, 500, 60);
        turn(3_000, 120, 110);
        let rounded = |step| {
            let (seconds, slow) = totals.of(step);
            ((seconds * 1e6).round(), slow)
        };
        assert_eq!((rounded(Step::Commit), rounded(Step::Send)), ((210.0, 1), (30.0, 0)));
        assert_eq!(StepTotals::default().of(Step::Wait), (0.0, 0));
    }
}
