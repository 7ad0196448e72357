//! Which lanes have something to do now, and when the others have.

use std::collections::BTreeSet;

use klamm::base::Moment;

/// The agenda of a number of lanes, numbered from 0.
#[derive(Debug)]
pub(super) struct Agenda {
    due: Vec<u32>,
    is_due: Vec<bool>,
    timers: BTreeSet<(Moment, u32)>,
    timer: Vec<Moment>,
}

impl Agenda {
    /// All lanes have something to do.
    pub(super) fn new(lanes: usize) -> Self {
        let mut agenda = Self {
            due: Vec::new(),
            is_due: vec![false; lanes],
            timers: BTreeSet::new(),
            timer: vec![Moment::NEVER; lanes],
        };
        agenda.add_all();
        agenda
    }

    /// `lane` has something to do.
    pub(super) fn add(&mut self, lane: u32) {
        if !std::mem::replace(&mut self.is_due[lane as usize], true) {
            self.due.push(lane);
        }
    }

    /// All lanes have.
    pub(super) fn add_all(&mut self) {
        (0..self.is_due.len()).for_each(|lane| self.add(lane as u32));
    }

    /// `lane` has something to do at `at`, and not before that by the clock alone.
    pub(super) fn set_timer(&mut self, lane: u32, at: Moment) {
        let timer = &mut self.timer[lane as usize];
        if *timer != at {
            self.timers.remove(&(*timer, lane));
            *timer = at;
            if at != Moment::NEVER {
                self.timers.insert((at, lane));
            }
        }
    }

    /// When the first timer is over.
    pub(super) fn deadline(&self) -> Moment {
        self.timers.first().map_or(Moment::NEVER, |(at, _)| *at)
    }

    /// Takes the lanes that have something to do.
    pub(super) fn take(&mut self, now: Moment) -> Vec<u32> {
        while let Some((_, lane)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.set_timer(lane, Moment::NEVER);
            self.add(lane);
        }
        for &lane in &self.due {
            self.is_due[lane as usize] = false;
        }
        std::mem::take(&mut self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_taken_once_when_it_is_added_or_its_time_has_come() {
        let mut agenda = Agenda::new(3);
        assert_eq!(agenda.take(Moment(0)), [0, 1, 2]);
        agenda.add(1);
        agenda.add(1);
        agenda.set_timer(2, Moment(5));
        agenda.set_timer(0, Moment(9));
        agenda.set_timer(0, Moment(7));
        assert_eq!(agenda.deadline(), Moment(5));
        assert_eq!(agenda.take(Moment(5)), [1, 2]);
        assert!(agenda.take(Moment(6)).is_empty());
        agenda.set_timer(0, Moment::NEVER);
        assert!(agenda.take(Moment(9)).is_empty() && agenda.deadline() == Moment::NEVER);
    }
}
