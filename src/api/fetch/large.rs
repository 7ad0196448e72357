//! A fetch that names very many partitions: read, looked at and answered in slices, one per turn, so
//! that it does not hold up others.
//!
//! It answers as any other fetch does, but for sessions: it opens one only when it is answered, and a
//! request that goes on with a session may name more in one turn, but with too many it ends the session;
//! its client then names all of them anew, as Kafka lets a broker ask for at any time.

use std::mem;

use bytes::Bytes;

use super::request::{Head, read_partition, read_topic, skip_tags};
use super::{Budget, DISK_WAIT, FLEXIBLE_FROM, Fetch, Source, State, TOPIC_ID_FROM};
use crate::api::fetch_answer::Encoder;
use crate::api::{Outcome, PARTITIONS_MAX};
use crate::base::Moment;
use crate::metrics::Refusal;
use crate::shard::opening::Chore;
use crate::shard::park::ParkedFetch;
use crate::shard::partition::Partitions;
use crate::shard::sessions::{Session, TopicKey, Wanted};
use crate::shard::{Call, Shard, Slot};
use crate::wire::ErrorCode;
use crate::wire::frame::{Answer, FrameError, Reader};

/// Partitions of one slice: tens of microseconds of a turn.
const SLICE: usize = 256;

/// Begins to serve a request.
///
/// # Errors
/// [`FrameError`]: it is malformed.
pub(super) fn begin(shard: &mut Shard, call: &Call, body: &[u8]) -> Result<Outcome, FrameError> {
    let mut r = Reader::new(body);
    let head = Head::read(call.version, &mut r)?;
    shard.close_session(head.session_id);
    if head.goes_on() {
        let code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
        return Ok(Outcome::Answer(Encoder::new(call, code, 0, 0).finish()));
    }
    let topics_left = r.array_len(call.version >= FLEXIBLE_FROM)?;
    let body = Bytes::copy_from_slice(r.rest());
    let fetch = Fetch::new(shard, call, &head, Source::Request(Vec::new()));
    shard.fetches.park(Box::new(Large {
        fetch,
        opens: head.session_epoch == 0,
        wanted: Vec::new(),
        moved: false,
        stage: Stage::Read(Reading { body, topics_left, topic: None }),
    }));
    Ok(Outcome::Parked)
}

/// A fetch, and how far it is.
struct Large {
    /// What it has in common with others; it names no partition.
    fetch: Fetch,
    /// It opens a session.
    opens: bool,
    wanted: Vec<Wanted>,
    /// What was looked at may have changed since.
    moved: bool,
    stage: Stage,
}

enum Stage {
    /// The request is read.
    Read(Reading),
    /// Is there enough to read? So far this many bytes, from the partitions before this one.
    Look { at: usize, bytes: usize },
    /// The rows of the answer are written.
    Answer(Box<Rows>),
    /// They are written, and a session is filled with the partitions.
    Open(Box<Rows>, Box<Session>, usize),
    /// There is not enough.
    Wait,
}

struct Reading {
    /// What is not read.
    body: Bytes,
    topics_left: usize,
    /// The topic that is read, and how many of its partitions are not.
    topic: Option<(TopicKey, usize)>,
}

/// The answer as it grows.
struct Rows {
    encoder: Encoder,
    budget: Budget,
    /// Partitions that are in it.
    at: usize,
}

impl Large {
    /// Reads on; whether that was all. What follows the partitions is not needed.
    fn read(&mut self, partitions: &Partitions) -> Result<bool, FrameError> {
        let Stage::Read(reading) = &mut self.stage else { return Ok(true) };
        let version = self.fetch.call.version;
        let compact = version >= FLEXIBLE_FROM;
        let mut r = Reader::new(&reading.body);
        for _ in 0..SLICE {
            match &mut reading.topic {
                None if reading.topics_left == 0 => return Ok(true),
                None => {
                    let (key, _) = read_topic(&mut r, version, partitions)?;
                    let count = r.array_len(compact)?;
                    if self.wanted.len() + count > PARTITIONS_MAX {
                        return Err(FrameError::TooMany { limit: PARTITIONS_MAX });
                    }
                    reading.topic = Some((key, count));
                }
                Some((_, 0)) => {
                    skip_tags(&mut r, compact)?;
                    reading.topic = None;
                    reading.topics_left -= 1;
                }
                Some((key, left)) => {
                    *left -= 1;
                    self.wanted.push(read_partition(&mut r, version, key.clone())?);
                }
            }
        }
        let rest = r.rest().len();
        reading.body = reading.body.slice(reading.body.len() - rest..);
        Ok(false)
    }

    /// Looks at the next partitions; whether it is known by now that the answer is due.
    fn look_on(&mut self, shard: &mut Shard) -> Option<bool> {
        let Stage::Look { at, bytes } = &mut self.stage else { return None };
        let enough = usize::try_from(self.fetch.min_bytes).unwrap_or(0);
        for wanted in self.wanted.iter().skip(*at).take(SLICE) {
            *at += 1;
            self.fetch.watch(shard, wanted);
            match self.fetch.state(shard, wanted) {
                State::Due => return Some(true),
                State::Bytes(there) => *bytes += there,
                State::News | State::Quiet => {}
            }
            if *bytes >= enough {
                return Some(true);
            }
        }
        (*at == self.wanted.len()).then_some(false)
    }

    fn start_answer(&mut self, shard: &Shard) {
        let rows = self.wanted.len();
        self.stage = Stage::Answer(Box::new(Rows {
            encoder: Encoder::new(&self.fetch.call, ErrorCode::NONE, 0, rows),
            budget: Budget::new(shard.bound_answer(self.fetch.max_bytes)),
            at: 0,
        }));
    }

    /// Writes the next rows; when those were all, what they have used.
    fn answer_on(&mut self, shard: &mut Shard) -> Option<Budget> {
        let Stage::Answer(rows) = &mut self.stage else { return None };
        let all = self.wanted.len();
        for wanted in self.wanted.iter_mut().skip(rows.at).take(SLICE) {
            let data = self.fetch.read(shard, wanted, &mut rows.budget);
            (wanted.told_high_watermark, wanted.told_log_start) = data.tells();
            rows.encoder.push(&shard.image, wanted, data, all - rows.at);
            rows.at += 1;
            if rows.budget.pending {
                self.fetch.watch(shard, wanted);
            }
        }
        (rows.at == all).then_some(rows.budget)
    }

    /// Puts the next partitions into the session; whether those were all.
    fn open_on(&mut self) -> bool {
        let Stage::Open(_, session, at) = &mut self.stage else { return true };
        for wanted in self.wanted.iter().skip(*at).take(SLICE) {
            session.put(wanted.clone());
        }
        *at += SLICE;
        *at >= self.wanted.len()
    }

    /// The answer is whole.
    fn finish(&mut self, shard: &mut Shard) -> Option<Answer> {
        // Giving back so many takes a while too.
        let wanted = mem::take(&mut self.wanted);
        shard.openings.push(Chore::drop(0, wanted));
        let (mut rows, session) = match mem::replace(&mut self.stage, Stage::Wait) {
            Stage::Answer(rows) => (rows, None),
            Stage::Open(rows, session, _) => {
                let opened = shard.sessions.insert(session, shard.now);
                if opened.is_none() {
                    shard.metrics.refuse(Refusal::FetchSession);
                }
                (rows, opened)
            }
            _ => return None,
        };
        if let Some(id) = session {
            rows.encoder.set_session(id);
        }
        Some(rows.encoder.finish())
    }

    /// All of it was looked at, or read, and there is not enough.
    fn wait(&mut self, shard: &Shard, expired: bool) {
        // However short the client's wait: what there is and lies on disk is not "nothing".
        if expired {
            self.fetch.awaits_disk = true;
            self.fetch.deadline = shard.now + DISK_WAIT;
        }
        self.fetch.has_waited = true;
        self.stage = if mem::take(&mut self.moved) { START } else { Stage::Wait };
    }

    fn slice(&mut self, shard: &mut Shard, expired: bool) -> Result<Option<Answer>, FrameError> {
        match &self.stage {
            Stage::Read(_) => {
                if self.read(&shard.partitions)? {
                    self.stage = START;
                    // As for others: nothing, and what is too large to be kept, does not wait.
                    let bytes = self.wanted.len() * size_of::<Wanted>();
                    if bytes == 0 || bytes > shard.answer_room {
                        self.fetch.deadline = shard.now;
                    }
                }
            }
            Stage::Wait => self.stage = START,
            Stage::Look { .. } if expired || self.fetch.awaits_disk => self.start_answer(shard),
            Stage::Look { .. } => match self.look_on(shard) {
                Some(true) => self.start_answer(shard),
                Some(false) => self.wait(shard, expired),
                None => {}
            },
            Stage::Answer(_) => match self.answer_on(shard) {
                None => {}
                Some(budget) if !self.fetch.ends(&budget, expired) => self.wait(shard, expired),
                Some(_) if self.opens => self.start_session(shard),
                Some(_) => return Ok(self.finish(shard)),
            },
            Stage::Open(..) => {
                if self.open_on() {
                    return Ok(self.finish(shard));
                }
            }
        }
        Ok(None)
    }

    fn start_session(&mut self, shard: &Shard) {
        if let Stage::Answer(rows) = mem::replace(&mut self.stage, Stage::Wait) {
            let by_id = self.fetch.call.version >= TOPIC_ID_FROM;
            let session = Session::new(by_id, self.wanted.len(), shard.now);
            self.stage = Stage::Open(rows, Box::new(session), 0);
        }
    }
}

/// The beginning of a look.
const START: Stage = Stage::Look { at: 0, bytes: 0 };

impl ParkedFetch for Large {
    fn slot(&self) -> Slot {
        self.fetch.call.slot
    }

    fn deadline(&self) -> Moment {
        self.fetch.deadline
    }

    fn size_bytes(&self) -> usize {
        let more = match &self.stage {
            Stage::Read(reading) => reading.body.len(),
            Stage::Answer(rows) | Stage::Open(rows, ..) => rows.encoder.written(),
            Stage::Look { .. } | Stage::Wait => 0,
        };
        self.wanted.len() * size_of::<Wanted>() + more
    }

    fn look(&mut self, shard: &mut Shard, expired: bool) -> Option<Answer> {
        // One that is malformed closes its connection.
        self.slice(shard, expired).unwrap_or_else(|_| Some(Answer::lost()))
    }

    fn in_slices(&self) -> bool {
        !matches!(self.stage, Stage::Wait)
    }

    fn moved(&mut self) {
        self.moved = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pieces::PIECE_MAX;
    use crate::api::table;
    use crate::api::testing::World;
    use crate::msg;
    use crate::wire::codec::Codec;
    use crate::wire::messages::fetch_request::{FetchPartition, FetchTopic};
    use crate::wire::messages::fetch_response::PartitionData as Row;
    use crate::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use crate::wire::messages::{FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};
    use crate::wire::record::{BatchBuilder, ProducerStamp};
    use crate::wire::{Uuid, frame};

    const FETCH: i16 = 1;

    const TOPICS: [&str; 4] = ["a", "b", "c", "d"];

    /// Two nodes with topics of 700 partitions, of which every second is led by the first.
    fn world() -> World {
        let mut world = World::new(2, "auto.create.topics.enable=false");
        let leaders: Vec<i32> = (0..700).map(|i| i % 2).collect();
        for topic in TOPICS {
            world.create(topic, &leaders);
        }
        world
    }

    fn produce(world: &mut World, topic: &str, index: i32) {
        let mut builder = BatchBuilder::default();
        builder.push(0, None, Some(b"x"), &[]);
        let records = Some(builder.build(Codec::None, ProducerStamp::NONE).unwrap());
        let partition_data = vec![msg!(PartitionProduceData { index, records })];
        let topic_data = vec![msg!(TopicProduceData { name: topic.into(), partition_data })];
        let request = msg!(ProduceRequest { acks: -1, timeout_ms: 1000, topic_data });
        let answer: ProduceResponse = world.ask(0, 9, &request);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }

    fn topic(world: &World, version: i16, name: &str, indexes: &[i32]) -> FetchTopic {
        let asked = |partition: &i32| {
            msg!(FetchPartition { partition: *partition, partition_max_bytes: 1 << 20 })
        };
        let mut topic = FetchTopic::default();
        topic.partitions = indexes.iter().map(asked).collect();
        if version < TOPIC_ID_FROM {
            topic.topic = name.into();
        } else {
            let known = world.shards[0].image.topic(name);
            topic.topic_id = known.map_or(Uuid::from_bytes([7; 16]), |t| t.id.into());
        }
        topic
    }

    fn request(topics: Vec<FetchTopic>) -> FetchRequest {
        msg!(FetchRequest { max_bytes: 1 << 30, max_wait_ms: 0, min_bytes: 1, topics })
    }

    fn rows(answer: &FetchResponse) -> Vec<(String, Row)> {
        let of = |t: &crate::wire::messages::fetch_response::FetchableTopicResponse| {
            let name = format!("{} {:?}", t.topic, t.topic_id);
            t.partitions.iter().map(|p| (name.clone(), p.clone())).collect::<Vec<_>>()
        };
        answer.responses.iter().flat_map(of).collect()
    }

    #[test]
    fn a_large_fetch_answers_as_small_ones_do() {
        let mut world = world();
        for (topic, index) in [("a", 0), ("a", 2), ("a", 698), ("b", 4), ("b", 4)] {
            produce(&mut world, topic, index);
        }
        let asked: [(&str, Vec<i32>); 6] = [
            ("a", (0..600).collect()),
            ("a", (600..1500).collect()),
            ("no", (-1..600).collect()),
            ("a", vec![]),
            ("b", (0..700).collect()),
            ("b", vec![0, 4, 4]),
        ];
        let api = table::find(FETCH).unwrap();
        for version in api.min..=api.max {
            let topics = asked.iter().map(|(name, of)| topic(&world, version, name, of));
            let large = request(topics.collect());
            let large: FetchResponse = world.ask(0, version, &large);
            assert!(large.responses.len() == 3, "each topic once in a row");
            let mut small = Vec::new();
            for (name, of) in &asked {
                for indexes in of.chunks(PIECE_MAX) {
                    let one = request(vec![topic(&world, version, name, indexes)]);
                    small.append(&mut rows(&world.ask(0, version, &one)));
                }
            }
            let (large, records) = (rows(&large), |p: &Row| p.records.is_some());
            assert_eq!(large.iter().filter(|(_, p)| records(p)).count(), large.len());
            assert_eq!(large, small, "v{version}");
        }
    }

    #[test]
    fn a_large_fetch_waits_for_records_and_its_session_tells_what_is_new() {
        let mut world = world();
        let led: Vec<i32> = (0..350).map(|i| 2 * i).collect();
        let all = |world: &World| TOPICS.map(|name| topic(world, 12, name, &led)).to_vec();
        let mut open = request(all(&world));
        (open.max_wait_ms, open.session_epoch) = (10_000, 0);
        let body = crate::api::testing::encode(&open, 12);
        assert_eq!(world.ask_bytes(0, FETCH, 12, &body), None);
        assert!(world.shards[0].fetches.size_bytes() >= 1400 * size_of::<Wanted>());
        produce(&mut world, "d", 698);
        let late = world.late.pop().expect("the fetch is answered");
        let answer: FetchResponse = frame::decode(late.slice(5..), 12).unwrap();
        assert_eq!(rows(&answer).len(), 1400);
        assert_eq!(world.shards[0].fetches.size_bytes(), 0);
        assert_eq!(world.shards[0].sessions.counts(), (1, 1400));
        let next = |world: &mut World, session_epoch: i32, topics: Vec<FetchTopic>| {
            let mut next = request(topics);
            (next.session_id, next.session_epoch) = (answer.session_id, session_epoch);
            world.ask::<_, FetchResponse>(0, 12, &next)
        };
        // The client has the record of the first answer, and asks for what follows.
        let mut read = topic(&world, 12, "d", &[698]);
        read.partitions[0].fetch_offset = 1;
        assert_eq!(rows(&next(&mut world, 1, vec![read])), []);
        produce(&mut world, "a", 100);
        let news = rows(&next(&mut world, 2, Vec::new()));
        let news: Vec<_> =
            news.iter().map(|(_, p)| (p.partition_index, p.high_watermark)).collect();
        assert_eq!(news, [(100, 1)]);
        let topics = all(&world);
        assert_eq!(next(&mut world, 3, topics.clone()).error_code, 0);
        let refused = next(&mut world, 4, [&topics[..]; 6].concat());
        assert_eq!(refused.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0);
        assert_eq!(world.shards[0].sessions.counts(), (0, 0));
    }

    #[test]
    fn a_session_that_has_more_news_than_a_turn_looks_at_tells_them_one_part_after_the_other() {
        let mut world = world();
        let elsewhere: Vec<i32> = (0..350).map(|i| 2 * i + 1).collect();
        let all = TOPICS.map(|name| topic(&world, 12, name, &elsewhere));
        let mut open = request(all.to_vec());
        open.session_epoch = 0;
        let answer: FetchResponse = world.ask(0, 12, &open);
        let mut told = std::collections::BTreeMap::new();
        for session_epoch in 1..=6 {
            let mut next = request(Vec::new());
            (next.session_id, next.session_epoch) = (answer.session_id, session_epoch);
            let part = rows(&world.ask::<_, FetchResponse>(0, 12, &next));
            assert_eq!(part.len(), PIECE_MAX);
            for (topic, row) in part {
                assert_eq!(row.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER.0);
                *told.entry((topic, row.partition_index)).or_insert(0) += 1;
            }
        }
        assert_eq!(told.len(), 1400);
        assert!(told.values().all(|times| (2..=3).contains(times)), "in turns");
    }

    #[test]
    fn a_large_fetch_that_is_cut_off_closes_its_connection() {
        let mut world = world();
        let all: Vec<i32> = (0..700).collect();
        let body = crate::api::testing::encode(&request(vec![topic(&world, 12, "a", &all)]), 12);
        assert_eq!(world.ask_bytes(0, FETCH, 12, &body[..body.len() / 2]), None);
        assert_eq!(world.shards[0].fetches.len(), 0);
    }
}
