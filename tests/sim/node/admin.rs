//! An administrator: makes topics, deletes and makes anew those that come and go, deletes records.

use std::collections::VecDeque;

use klamm::base::{Moment, TopicId};
use klamm::client::Answer;
use klamm::msg;
use klamm::sim::Rng;
use klamm::wire::ErrorCode;
use klamm::wire::codec::Codec;
use klamm::wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use klamm::wire::messages::delete_topics_request::DeleteTopicState;
use klamm::wire::messages::{CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest};

use super::facts::{Facts, LogKey};
use super::link::{Client, Ctx, Directory};

/// Topics that stay, and those that come and go.
pub(crate) const TOPICS: [&str; 3] = ["s0", "s1", "c0"];
/// Its batches are written anew in this codec, unless they have it.
pub(crate) const RECODED: (&str, Codec) = ("s1", Codec::Lz4);
const PARTITIONS: i32 = 2;

enum Asked {
    Directory,
    Create(&'static str),
    Delete(TopicId),
    Cut(LogKey),
}

pub(crate) struct Admin {
    cuts: bool,
    asked: VecDeque<Asked>,
    directory: Directory,
    fresh: bool,
    node: Option<usize>,
    /// Offsets to cut to when connected to the leader.
    cut: Option<(String, LogKey, i64)>,
    not_before: Moment,
}

impl Admin {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            cuts: rng.chance(70),
            asked: VecDeque::new(),
            directory: Directory::default(),
            fresh: false,
            node: None,
            cut: None,
            not_before: Moment(0),
        }
    }

    fn create(&mut self, ctx: &mut Ctx<'_>, name: &'static str) {
        let recodes = (name == RECODED.0).then(|| {
            let value = Some(RECODED.1.name().into());
            msg!(CreatableTopicConfig { name: "compression.type".into(), value })
        });
        let topic = msg!(CreatableTopic {
            name: name.into(),
            configs: recodes.into_iter().collect(),
            num_partitions: PARTITIONS,
            replication_factor: 1,
        });
        ctx.send(&msg!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000 }), i16::MAX);
        self.asked.push_back(Asked::Create(name));
    }

    fn delete(&mut self, ctx: &mut Ctx<'_>, id: TopicId) {
        if !ctx.facts.is_doomed(id) {
            ctx.facts.doomed.push(id);
            ctx.facts.created.remove(&id);
        }
        let topic = msg!(DeleteTopicState { name: None, topic_id: id.into() });
        ctx.send(&msg!(DeleteTopicsRequest { topics: vec![topic], timeout_ms: 30_000 }), i16::MAX);
        self.asked.push_back(Asked::Delete(id));
    }

    fn cut(&mut self, ctx: &mut Ctx<'_>) {
        let Some((name, key, offset)) = self.cut.take() else { return };
        let facts = ctx.facts.log(key);
        facts.start_max = facts.start_max.max(offset);
        let entry = msg!(DeleteRecordsPartition { partition_index: key.1, offset });
        let topic =
            msg!(DeleteRecordsTopic { name: name.as_str().into(), partitions: vec![entry] });
        ctx.send(&msg!(DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000 }), i16::MAX);
        self.asked.push_back(Asked::Cut(key));
    }

    fn plan_cut(&mut self, ctx: &mut Ctx<'_>) {
        let name = TOPICS[ctx.rng.below(2)];
        let Some((id, leaders)) = self.directory.topics.get(name) else { return };
        let key = (*id, ctx.rng.below(leaders.len()) as i32);
        let facts = ctx.facts.log(key);
        let (end, start) = (facts.acked_end(), facts.start_max);
        if end <= start {
            return;
        }
        let offset = start + ctx.rng.below((end - start) as usize / 2 + 1) as i64;
        self.cut = Some((name.to_owned(), key, offset));
        self.node = leaders.get(key.1 as usize).copied();
    }
}

impl Client for Admin {
    fn aim(&mut self, rng: &mut Rng, nodes: usize) -> usize {
        self.node.unwrap_or_else(|| rng.below(nodes))
    }

    fn act(&mut self, ctx: &mut Ctx<'_>) -> Moment {
        if !self.asked.is_empty() {
            return Moment::NEVER;
        }
        if ctx.now < self.not_before && !ctx.stopping {
            return self.not_before;
        }
        if self.cut.is_some() && self.node == Some(ctx.link.node) {
            self.cut(ctx);
            self.node = None;
            return Moment::NEVER;
        }
        if self.cut.is_some() {
            ctx.hang_up = true;
            return Moment::NEVER;
        }
        if !self.fresh {
            self.directory.ask(ctx);
            self.asked.push_back(Asked::Directory);
            return Moment::NEVER;
        }
        self.fresh = false;
        let missing = TOPICS.iter().find(|name| !self.directory.topics.contains_key(**name));
        let comes_and_goes = self.directory.topics.get("c0").map(|t| t.0);
        match missing {
            Some(name) => self.create(ctx, name),
            None if ctx.stopping => {
                self.not_before = Moment::NEVER;
                return Moment::NEVER;
            }
            None => {
                self.not_before = ctx.later(3_000);
                match comes_and_goes {
                    Some(id) if ctx.rng.chance(40) || ctx.facts.is_doomed(id) => {
                        self.delete(ctx, id);
                    }
                    _ if self.cuts => self.plan_cut(ctx),
                    _ => {}
                }
                return self.not_before;
            }
        }
        Moment::NEVER
    }

    fn on_answer(&mut self, ctx: &mut Ctx<'_>, answer: Answer) {
        match self.asked.pop_front().expect("asked") {
            Asked::Directory => {
                self.directory.on_answer(ctx, &answer);
                self.fresh = true;
            }
            Asked::Create(name) => {
                let said = answer.decode::<CreateTopicsRequest>().unwrap();
                let said = &said.topics[0];
                match ErrorCode(said.error_code) {
                    ErrorCode::NONE => {
                        ctx.facts.created.insert(said.topic_id.into(), name.to_owned());
                    }
                    ErrorCode::TOPIC_ALREADY_EXISTS => {}
                    code => panic!("create {name}: {} {:?}", code.name(), said.error_message),
                }
            }
            Asked::Delete(id) => {
                let said = answer.decode::<DeleteTopicsRequest>().unwrap();
                match ErrorCode(said.responses[0].error_code) {
                    ErrorCode::NONE => ctx.facts.deleted.push(id),
                    ErrorCode::UNKNOWN_TOPIC_ID => {}
                    code => panic!("delete: {}", code.name()),
                }
            }
            Asked::Cut(key) => {
                let said = answer.decode::<DeleteRecordsRequest>().unwrap();
                let said = &said.topics[0].partitions[0];
                if ErrorCode(said.error_code) == ErrorCode::REQUEST_TIMED_OUT {
                    return;
                }
                if ctx.facts.is_storage_error(said.error_code) {
                    return;
                }
                assert_eq!(said.error_code, 0, "DeleteRecords");
                let facts = ctx.facts.log(key);
                assert!(said.low_watermark <= facts.start_max, "starts at {}", said.low_watermark);
                facts.start_acked = facts.start_acked.max(said.low_watermark);
            }
        }
    }

    fn on_lost(&mut self) {
        self.asked.clear();
        self.fresh = false;
    }

    fn is_done(&self, _facts: &Facts) -> bool {
        self.not_before == Moment::NEVER
    }
}
