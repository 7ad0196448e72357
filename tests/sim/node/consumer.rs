//! A consumer of all partitions that one node leads: an incremental fetch session with long polls.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use klamm::base::Moment;
use klamm::client::Answer;
use klamm::msg;
use klamm::sim::Rng;
use klamm::wire::ErrorCode;
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use klamm::wire::messages::fetch_response::PartitionData;
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::{FetchRequest, ListOffsetsRequest};

use super::facts::{Facts, LogKey};
use super::link::{Client, Ctx, Directory};

const EARLIEST: i64 = -2;
/// A fetch that waits for data is answered so long after there is some.
const WOKEN_WITHIN: Duration = Duration::from_secs(3);

struct Part {
    name: String,
    /// `None`: to be looked up.
    position: Option<i64>,
    /// What the session has for it.
    told: Option<i64>,
    /// What an answer has to say at least.
    bounds: (i64, i64),
}

enum Asked {
    Directory,
    Start(LogKey),
    Fetch,
}

pub(crate) struct Consumer {
    node: usize,
    version_max: i16,
    bytes_max: i32,
    max_wait_ms: i32,
    parts: BTreeMap<LogKey, Part>,
    known: bool,
    session: (i32, i32),
    asked: VecDeque<Asked>,
    asked_at: Moment,
    directory: Directory,
    look_again: Moment,
    not_before: Moment,
}

impl Consumer {
    pub(crate) fn new(node: usize, rng: &mut Rng) -> Self {
        Self {
            node,
            version_max: [7, 11, 12, 13, 17][rng.below(5)],
            bytes_max: [500, 4_000, 100_000][rng.below(3)],
            max_wait_ms: [100, 5_000, 30_000][rng.below(3)],
            parts: BTreeMap::new(),
            known: false,
            session: (0, 0),
            asked: VecDeque::new(),
            asked_at: Moment(0),
            directory: Directory::default(),
            look_again: Moment(0),
            not_before: Moment(0),
        }
    }

    /// Reads all that there is, and waits for nothing.
    pub(crate) fn auditor(node: usize) -> Self {
        let (version_max, bytes_max, max_wait_ms) = (17, 100_000, 100);
        Self { version_max, bytes_max, max_wait_ms, ..Self::new(node, &mut Rng::new(0)) }
    }

    fn by_id(&self) -> bool {
        self.version_max >= 13
    }

    /// Takes over who leads what. Topics that come and go are read by id alone.
    fn on_directory(&mut self, ctx: &Ctx<'_>) {
        self.known = true;
        let by_id = self.by_id();
        let mut found = BTreeMap::new();
        for (name, (id, leaders)) in &self.directory.topics {
            let mine = !name.starts_with("__") && (by_id || !name.starts_with('c'));
            if !mine || ctx.facts.is_doomed(*id) {
                continue;
            }
            for (partition, leader) in leaders.iter().enumerate() {
                if *leader == self.node {
                    found.insert((*id, partition as i32), name.clone());
                }
            }
        }
        self.parts.retain(|key, _| found.contains_key(key));
        self.session.1 = 0;
        for (key, name) in found {
            let fresh = Part { name, position: None, told: None, bounds: (0, 0) };
            self.parts.entry(key).or_insert(fresh).told = None;
        }
    }

    fn ask_start(&mut self, ctx: &mut Ctx<'_>, key: LogKey) {
        let part = self.parts.get_mut(&key).unwrap();
        part.bounds = ctx.facts.bounds(key);
        let entry = msg!(ListOffsetsPartition { partition_index: key.1, timestamp: EARLIEST });
        let topic =
            msg!(ListOffsetsTopic { name: part.name.as_str().into(), partitions: vec![entry] });
        ctx.send(&msg!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] }), 9);
        self.asked.push_back(Asked::Start(key));
    }

    fn fetch(&mut self, ctx: &mut Ctx<'_>) {
        let (by_id, bytes_max) = (self.by_id(), self.bytes_max);
        let is_full = self.session.1 == 0;
        let forgotten = self.parts.keys().nth(ctx.rng.below(40)).copied();
        let forgotten = forgotten.filter(|_| !is_full && self.parts.len() > 1);
        let (mut topics, mut forgotten_topics_data) = (Vec::new(), Vec::new());
        for (key, part) in &mut self.parts {
            part.bounds = ctx.facts.bounds(*key);
            if Some(*key) == forgotten {
                part.told = None;
                let (name, partitions) = (part.name.as_str(), vec![key.1]);
                forgotten_topics_data.push(if by_id {
                    msg!(ForgottenTopic { topic_id: key.0.into(), partitions })
                } else {
                    msg!(ForgottenTopic { topic: name.into(), partitions })
                });
                continue;
            }
            if !is_full && part.told == part.position {
                continue;
            }
            part.told = part.position;
            let entry = msg!(FetchPartition {
                partition: key.1,
                fetch_offset: part.position.unwrap(),
                partition_max_bytes: bytes_max,
            });
            let partitions = vec![entry];
            topics.push(if by_id {
                msg!(FetchTopic { topic_id: key.0.into(), partitions })
            } else {
                msg!(FetchTopic { topic: part.name.as_str().into(), partitions })
            });
        }
        let max_wait_ms = if forgotten.is_some() || ctx.stopping { 100 } else { self.max_wait_ms };
        let request = msg!(FetchRequest {
            max_wait_ms,
            min_bytes: 1,
            max_bytes: bytes_max * 2,
            session_id: self.session.0,
            session_epoch: self.session.1,
            topics,
            forgotten_topics_data,
        });
        ctx.send_waiting(&request, self.version_max, Duration::from_millis(max_wait_ms as u64));
        self.asked.push_back(Asked::Fetch);
        self.asked_at = ctx.now;
    }

    fn on_fetched(&mut self, ctx: &mut Ctx<'_>, answer: &Answer) {
        let said = answer.decode::<FetchRequest>().unwrap();
        assert_eq!(said.error_code, 0, "fetch session {:?}", self.session);
        let goes_on =
            self.session.1 == 0 || said.session_id == self.session.0 || said.session_id == 0;
        assert!(goes_on, "another session");
        self.session = match (said.session_id, self.session.1) {
            (0, _) => (0, 0),
            (id, epoch) => (id, epoch + 1),
        };
        for topic in &said.responses {
            for data in &topic.partitions {
                let by_name = |(k, p): &(&LogKey, &Part)| {
                    p.name == *topic.topic && k.1 == data.partition_index
                };
                let key = if self.by_id() {
                    Some((topic.topic_id.into(), data.partition_index))
                } else {
                    self.parts.iter().find(by_name).map(|(key, _)| *key)
                };
                if let Some(key) = key {
                    self.on_data(ctx, key, data);
                }
            }
        }
    }

    fn on_data(&mut self, ctx: &mut Ctx<'_>, key: LogKey, data: &PartitionData) {
        let Some(part) = self.parts.get_mut(&key) else { return };
        let Some(position) = part.told else { panic!("{key:?} was forgotten") };
        match ErrorCode(data.error_code) {
            ErrorCode::NONE => {
                let bounds = part.bounds;
                ctx.facts.on_bounds(key, bounds, data.high_watermark, data.log_start_offset);
                let bytes = data.records.as_deref().unwrap_or_default();
                let next = ctx.facts.on_seen(key, position, bytes);
                assert!(next <= data.high_watermark, "{key:?}: read past the high watermark");
                part.position = Some(next);
                ctx.facts.told = ctx.facts.told.wrapping_mul(31) ^ next as u64;
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                assert!(
                    position < ctx.facts.log(key).start_max,
                    "{key:?}: {position} is out of range"
                );
                part.position = None;
            }
            code if ctx.facts.is_storage_error(code.0) => {
                part.told = None;
                self.not_before = ctx.now.plus_ms(300);
            }
            code if ctx.facts.is_doomed(key.0) && code.is_retriable() => self.known = false,
            code => panic!("fetch {key:?}: {}", code.name()),
        }
    }

    fn on_start(&mut self, ctx: &mut Ctx<'_>, key: LogKey, answer: &Answer) {
        let said = answer.decode::<ListOffsetsRequest>().unwrap();
        let said = &said.topics[0].partitions[0];
        if ctx.facts.is_doomed(key.0) {
            self.known = false;
            return;
        }
        let Some(part) = self.parts.get_mut(&key) else { return };
        if ctx.facts.is_storage_error(said.error_code) {
            self.not_before = ctx.now.plus_ms(300);
            return;
        }
        assert_eq!(said.error_code, 0, "ListOffsets {key:?}");
        let facts = ctx.facts.log(key);
        assert!(
            said.offset >= part.bounds.1 && said.offset <= facts.start_max,
            "starts at {}",
            said.offset
        );
        part.position = Some(said.offset);
    }
}

impl Client for Consumer {
    fn aim(&mut self, _rng: &mut Rng, _nodes: usize) -> usize {
        self.node
    }

    fn act(&mut self, ctx: &mut Ctx<'_>) -> Moment {
        if !self.asked.is_empty() {
            return Moment::NEVER;
        }
        if ctx.now < self.not_before {
            return self.not_before;
        }
        if !self.known || ctx.now >= self.look_again {
            self.directory.ask(ctx);
            self.asked.push_back(Asked::Directory);
            self.look_again = ctx.now.plus_ms(3_000);
            return Moment::NEVER;
        }
        let unknown: Vec<_> =
            self.parts.iter().filter(|(_, p)| p.position.is_none()).map(|(key, _)| *key).collect();
        for key in &unknown {
            self.ask_start(ctx, *key);
        }
        if unknown.is_empty() && self.parts.is_empty() {
            (self.known, self.not_before) = (false, ctx.now.plus_ms(300));
            return self.not_before;
        }
        if unknown.is_empty() {
            self.fetch(ctx);
        }
        Moment::NEVER
    }

    fn on_answer(&mut self, ctx: &mut Ctx<'_>, answer: Answer) {
        match self.asked.pop_front().expect("asked") {
            Asked::Directory => {
                self.directory.on_answer(ctx, &answer);
                self.on_directory(ctx);
            }
            Asked::Start(key) => self.on_start(ctx, key, &answer),
            Asked::Fetch => self.on_fetched(ctx, &answer),
        }
        if ctx.rng.chance(30) {
            self.not_before = ctx.later(60);
        }
    }

    fn on_lost(&mut self) {
        self.asked.clear();
        (self.session, self.known) = ((0, 0), false);
    }

    fn is_done(&self, facts: &Facts) -> bool {
        let at_end = |(key, part): (&LogKey, &Part)| {
            let end = facts.logs.get(key).map_or(0, |l| l.acked_end().max(l.high_watermark));
            facts.is_doomed(key.0) || part.position.is_some_and(|p| p >= end)
        };
        self.known && self.parts.iter().all(at_end)
    }

    fn on_jump(&mut self, jump: Duration) {
        self.asked_at = self.asked_at + jump;
    }

    fn overdue(&self, facts: &Facts, now: Moment) -> Option<String> {
        let waits = matches!(self.asked.front(), Some(Asked::Fetch));
        let late = |(key, part): &(&LogKey, &Part)| {
            let told = part.told.filter(|_| waits && !facts.is_doomed(key.0));
            let since = told.and_then(|at| facts.logs.get(key)?.acked_since(at));
            since.is_some_and(|since| now.since(since.max(self.asked_at)) > WOKEN_WITHIN)
        };
        let (key, _) = self.parts.iter().find(late)?;
        Some(format!("a fetch waits though {key:?} has more"))
    }
}
