//! Answers that take a look at all that a node has of something, which may be very much.
//!
//! Flow: an `api` handler looks at the first part, which is all there is nearly always -> if not, the
//! survey waits in [`Shard::surveys`] -> each turn with a slice goes on with the oldest one -> when it has
//! seen all, the opener makes the answer. Its connection is not served meanwhile, and takes it with it
//! when it goes.

use crate::shard::opening::{Chore, LongAnswer};
use crate::shard::{Call, Shard};
use crate::wire::frame::Answer;

/// Things that one turn looks at.
pub const SLICE: usize = 128;

/// One of them, under way.
pub trait Survey: Send {
    /// Looks at [`SLICE`] more things; whether it has seen all.
    fn look(&mut self, shard: &Shard) -> bool;

    /// Says what it has seen.
    fn answer(self: Box<Self>, call: &Call) -> Answer;
}

impl Shard {
    /// Goes on with the oldest survey.
    pub fn survey_slice(&mut self) {
        let Some((call, mut survey)) = self.surveys.pop_front() else { return };
        if survey.look(self) {
            let make = Box::new(move |call: &Call| Ok(survey.answer(call)));
            self.openings.push(Chore::Answer(LongAnswer { call, make }));
        } else {
            self.surveys.push_front((call, survey));
        }
    }
}
