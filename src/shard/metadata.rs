//! Metadata where the controller lives: proposing changes, and telling everybody.
//!
//! Flow on the controller's shard: a handler decides records against [`Shard::latest`] ->
//! [`Shard::propose`] appends them to the metadata log -> when they are durable the new image is
//! mailed to all siblings, and applied by each shard (`shard::apply`) -> when every one of them has
//! done so, the answer leaves. So a client that was told of a change sees it on every node.
//!
//! What takes long to decide (a topic of thousands of partitions) is decided, and made ready to be
//! written, by the opener, on the image that is the latest then ([`LongChange`]). If another change has
//! come first when it is back, it is decided anew; so nobody waits for it.
//!
//! Invariants:
//! - M1. Images are published in the order of their records, and only when those are durable.
//! - M2. `latest` is the last published image plus all records that are on their way.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Offset, TopicId, TopicPartition, WallMs};
use crate::image::{self, Delta, Image, Record};
use crate::shard::opening::Chore;
use crate::shard::{Mail, Post, Shard, ShardIndex, Slot};
use crate::storage::{LogId, StorageError};
use crate::wire::codec::Codec;
use crate::wire::frame::Answer;
use crate::wire::record::{BatchBuilder, ProducerStamp};

/// Name of the metadata log's directory, as Kafka's.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// Its id, as Kafka's.
pub const METADATA_ID: TopicId = TopicId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// Its one partition.
pub const METADATA_PARTITION: TopicPartition = TopicPartition { topic: METADATA_ID, partition: 0 };

/// Where the controller's records go on their way to every shard; only its own shard has one.
#[derive(Debug)]
pub struct Publisher {
    log: LogId,
    latest: Arc<Image>,
    proposed: VecDeque<Proposal>,
    /// Published, but not yet applied by every sibling.
    published: VecDeque<(u64, Option<(Slot, Answer)>)>,
    number: u64,
    applied: Vec<u64>,
    /// Producer ids that a record has reserved and nobody has yet.
    pub producer_ids: std::ops::Range<i64>,
}

#[derive(Debug)]
struct Proposal {
    end: Offset,
    image: Arc<Image>,
    delta: Arc<Delta>,
    answer: Option<(Slot, Answer)>,
}

impl Publisher {
    /// Over the metadata log, whose records made `image`. `siblings` is the number of shards.
    pub fn new(log: LogId, image: Arc<Image>, siblings: usize) -> Self {
        Self {
            log,
            latest: image,
            proposed: VecDeque::new(),
            published: VecDeque::new(),
            number: 0,
            applied: vec![0; siblings],
            producer_ids: 0..0,
        }
    }

    /// The metadata log.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Whether every change is published.
    pub(super) fn has_settled(&self) -> bool {
        self.proposed.is_empty() && self.published.is_empty()
    }

    /// Mails all of the image, as at start; the number to tell when it is applied.
    pub(super) fn publish_whole(&mut self, post: &mut Vec<Post>) -> u64 {
        self.number += 1;
        self.published.push_back((self.number, None));
        self.mail(&self.latest, &Arc::new(whole(&self.latest)), post);
        self.number
    }

    /// The change that was proposed last brings all of its image: nobody has applied any before.
    pub(super) fn propose_whole(&mut self) {
        if let Some(first) = self.proposed.back_mut() {
            first.delta = Arc::new(whole(&first.image));
        }
    }

    fn mail(&self, image: &Arc<Image>, delta: &Arc<Delta>, post: &mut Vec<Post>) {
        for sibling in (1..self.applied.len()).map(|i| ShardIndex(i as u16)) {
            let (image, delta) = (Arc::clone(image), Arc::clone(delta));
            post.push(Post {
                to: sibling,
                mail: Mail::Image { image, delta, number: self.number },
            });
        }
    }
}

/// Why a change could not be proposed. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// This shard does not hold the publisher.
    #[error("the controller is on another shard")]
    NotController,
    /// The records do not fit the image: a defect of the publisher.
    #[error(transparent)]
    Image(#[from] image::ImageError),
    /// The metadata log failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The records make no batch.
    #[error(transparent)]
    Codec(#[from] crate::wire::codec::CodecError),
}

/// A change that could be written at once, on the image that it was decided on.
pub struct Ready {
    image: Arc<Image>,
    delta: Arc<Delta>,
    batch: Bytes,
}

impl Ready {
    /// Works out the next image, and the batch that makes it.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub fn new(on: &Image, records: &[Record], wall: WallMs) -> Result<Self, ProposeError> {
        let (image, delta) = on.apply(records)?;
        let mut builder = BatchBuilder::default();
        for value in image::encode(records) {
            builder.push(wall.0, None, Some(&value), &[]);
        }
        let batch = builder.build(Codec::None, ProducerStamp::NONE)?;
        Ok(Self { image: Arc::new(image), delta: Arc::new(delta), batch })
    }
}

/// What was decided on a request.
pub struct Decided {
    /// What is to be written; nothing, when the answer is all of it.
    pub ready: Option<Result<Ready, ProposeError>>,
    /// The answer once that is applied.
    pub answer: Answer,
    /// The answer when it cannot be written.
    pub otherwise: Answer,
}

/// How often a change is decided anew by the opener; after that the turn does it.
const TRIES_MAX: u32 = 8;

/// A change that takes long to decide.
pub struct LongChange {
    slot: Slot,
    on: Arc<Image>,
    decide: Box<dyn Fn(&Image) -> Decided + Send>,
    decided: Option<Decided>,
    tries: u32,
}

impl LongChange {
    /// For the opener.
    #[must_use]
    pub fn run(mut self) -> Self {
        self.tries += 1;
        self.decided = Some((self.decide)(&self.on));
        self
    }
}

impl fmt::Debug for LongChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongChange").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl Shard {
    /// Has the opener decide on a change; its answer leaves as that of [`Shard::propose`].
    pub fn propose_long(
        &mut self,
        slot: Slot,
        decide: impl Fn(&Image) -> Decided + Send + 'static,
    ) {
        let (on, decide) = (Arc::clone(self.latest()), Box::new(decide));
        let change = LongChange { slot, on, decide, decided: None, tries: 0 };
        self.openings.push(Chore::Change(change));
    }

    /// The image that the next decision starts from; on other shards the one that is applied.
    pub fn latest(&self) -> &Arc<Image> {
        self.publisher.as_ref().map_or(&self.image, |c| &c.latest)
    }

    /// Writes `records`; `answer` leaves when every shard has applied them.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub fn propose(
        &mut self,
        records: &[Record],
        answer: Option<(Slot, Answer)>,
    ) -> Result<(), ProposeError> {
        let publisher = self.publisher.as_ref().ok_or(ProposeError::NotController)?;
        let ready = Ready::new(&publisher.latest, records, self.wall)?;
        self.write(ready, answer)
    }

    /// Writes what was made ready on the latest image.
    fn write(&mut self, ready: Ready, answer: Option<(Slot, Answer)>) -> Result<(), ProposeError> {
        let publisher = self.publisher.as_ref().ok_or(ProposeError::NotController)?;
        let end = self.append_own(publisher.log, &ready.batch)?;
        if let Some(publisher) = &mut self.publisher {
            let Ready { image, delta, .. } = ready;
            publisher.latest = Arc::clone(&image);
            publisher.proposed.push_back(Proposal { end, image, delta, answer });
        }
        Ok(())
    }

    /// The opener has decided on a change.
    pub fn on_decided(&mut self, mut change: LongChange) {
        let Some(mut decided) = change.decided.take() else { return };
        let latest = self.latest();
        if !Arc::ptr_eq(&change.on, latest) {
            change.on = Arc::clone(latest);
            if change.tries < TRIES_MAX {
                return self.openings.push(Chore::Change(change));
            }
            decided = (change.decide)(&change.on);
        }
        let Decided { ready, answer, otherwise } = decided;
        let slot = change.slot;
        let written = match ready {
            None => return self.send(slot, answer),
            Some(ready) => ready.and_then(|ready| self.write(ready, Some((slot, answer)))),
        };
        if let Err(error) = written {
            tracing::error!(%error, "a metadata change could not be written");
            self.send(slot, otherwise);
        }
    }

    /// The metadata log is durable up to `end`. M1.
    pub(super) fn on_metadata_durable(&mut self, end: Offset) {
        loop {
            let Some(publisher) = &mut self.publisher else { return };
            let Some(proposal) = publisher.proposed.pop_front_if(|p| p.end <= end) else { return };
            publisher.number += 1;
            let number = publisher.number;
            publisher.published.push_back((number, proposal.answer));
            publisher.mail(&proposal.image, &proposal.delta, &mut self.post);
            self.take_image(proposal.image, proposal.delta, number);
        }
    }

    /// A shard has applied the image with this number; answers whoever waited for the last one.
    pub fn on_applied(&mut self, by: ShardIndex, number: u64) {
        let Some(publisher) = &mut self.publisher else { return };
        if let Some(applied) = publisher.applied.get_mut(usize::from(by.0)) {
            *applied = (*applied).max(number);
        }
        let everywhere = publisher.applied.iter().copied().min().unwrap_or(number);
        let mut answers = Vec::new();
        while let Some((_, answer)) = publisher.published.pop_front_if(|p| p.0 <= everywhere) {
            answers.extend(answer);
        }
        for (slot, answer) in answers {
            self.send(slot, answer);
        }
    }
}

/// Everything in it is new.
pub(super) fn whole(image: &Image) -> Delta {
    Delta {
        topics: image.topics().map(|t| t.id).collect(),
        configs: image.configured().cloned().collect(),
        nodes: true,
    }
}
