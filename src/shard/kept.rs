//! The last long answer about the metadata, kept for the next client that asks for the same: after a
//! restart thousands do at once. It is made once, by the opener, however many wait for it, and dropped
//! with the image that it was made from.

use std::sync::{Arc, OnceLock};

use crate::base::TopicId;
use crate::wire::frame::Answer;

/// What an answer depends on beside the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Version of the API.
    pub version: i16,
    /// Whether the rights on topics, and those on the cluster, are told.
    pub rights: (bool, bool),
    /// The topics in the order of the answer; `None`: all.
    pub topics: Option<Vec<TopicId>>,
}

/// One answer, or none yet.
#[derive(Debug, Default)]
pub struct Kept {
    to: Option<Asked>,
    answer: Arc<OnceLock<Answer>>,
}

impl Kept {
    /// The answer to this, or the place where whoever makes it puts it for all others.
    pub fn answer_to(&mut self, asked: Asked) -> Arc<OnceLock<Answer>> {
        if self.to.as_ref() != Some(&asked) {
            *self = Self { to: Some(asked), answer: Arc::default() };
        }
        Arc::clone(&self.answer)
    }

    /// Memory of it.
    pub fn size_bytes(&self) -> usize {
        self.answer.get().map_or(0, Answer::len)
    }
}
