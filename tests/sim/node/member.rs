//! A member of a group: finds the coordinator, joins, syncs, beats, commits, looks at what is
//! committed, leaves or just goes away.

use std::collections::VecDeque;
use std::time::Duration;

use klamm::base::Moment;
use klamm::client::Answer;
use klamm::msg;
use klamm::sim::Rng;
use klamm::wire::ErrorCode;
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::leave_group_request::MemberIdentity;
use klamm::wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm::wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use klamm::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm::wire::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};

use super::admin::TOPICS;
use super::facts::Facts;
use super::link::{Client, Ctx};

const SESSION_MS: i32 = 6_000;
const REBALANCE_MS: i32 = 4_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Coordinator,
    Join,
    Sync,
    Beat,
    /// Commits of this offset.
    Commit(i64),
    /// What is committed; at least this.
    Offset(i64),
    Leave,
}

#[derive(Clone, PartialEq, Eq)]
enum State {
    Out,
    Joined { others: Option<Vec<String>> },
    In,
}

pub(crate) struct Member {
    group: String,
    /// Which of the committed offsets is its own.
    index: i32,
    node: Option<usize>,
    /// Given by the coordinator.
    id: String,
    generation: i32,
    state: State,
    asked: VecDeque<Asked>,
    not_before: Moment,
    left: bool,
}

impl Member {
    pub(crate) fn new(index: usize, rng: &mut Rng) -> Self {
        Self {
            group: format!("g{}", rng.below(2)),
            index: index as i32,
            node: None,
            id: String::new(),
            generation: -1,
            state: State::Out,
            asked: VecDeque::new(),
            not_before: Moment(0),
            left: false,
        }
    }

    fn topic(&self) -> &'static str {
        TOPICS[self.index as usize / 2]
    }

    fn join(&mut self, ctx: &mut Ctx<'_>) {
        let protocol =
            msg!(JoinGroupRequestProtocol { name: "range".into(), metadata: "m".into() });
        let request = msg!(JoinGroupRequest {
            group_id: self.group.as_str().into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.id.as_str().into(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
        });
        let wait = Duration::from_millis((SESSION_MS + REBALANCE_MS) as u64);
        ctx.send_waiting(&request, i16::MAX, wait);
        self.asked.push_back(Asked::Join);
    }

    fn sync(&mut self, ctx: &mut Ctx<'_>, others: Option<&[String]>) {
        let entry = |id: &String| {
            msg!(SyncGroupRequestAssignment {
                member_id: id.as_str().into(),
                assignment: id.clone().into_bytes().into()
            })
        };
        let request = msg!(SyncGroupRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: others.unwrap_or_default().iter().map(entry).collect(),
        });
        let wait = Duration::from_millis((SESSION_MS + REBALANCE_MS) as u64);
        ctx.send_waiting(&request, i16::MAX, wait);
        self.asked.push_back(Asked::Sync);
    }

    fn commit(&mut self, ctx: &mut Ctx<'_>) {
        let known = ctx.facts.offsets.entry((self.group.clone(), self.index)).or_default();
        known.sent += 1 + ctx.rng.below(5) as i64;
        let offset = known.sent;
        let entry = msg!(OffsetCommitRequestPartition {
            partition_index: self.index % 2,
            committed_offset: offset,
        });
        let topic =
            msg!(OffsetCommitRequestTopic { name: self.topic().into(), partitions: vec![entry] });
        let request = msg!(OffsetCommitRequest {
            group_id: self.group.as_str().into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.as_str().into(),
            topics: vec![topic],
        });
        ctx.send(&request, 9);
        self.asked.push_back(Asked::Commit(offset));
    }

    fn look(&mut self, ctx: &mut Ctx<'_>) {
        let known = ctx.facts.offsets.entry((self.group.clone(), self.index)).or_default();
        let at_least = known.acked;
        let topic = msg!(OffsetFetchRequestTopics {
            name: self.topic().into(),
            partition_indexes: vec![self.index % 2]
        });
        let group = msg!(OffsetFetchRequestGroup {
            group_id: self.group.as_str().into(),
            topics: Some(vec![topic]),
        });
        ctx.send(&msg!(OffsetFetchRequest { groups: vec![group], require_stable: true }), 9);
        self.asked.push_back(Asked::Offset(at_least));
    }

    fn beat(&mut self, ctx: &mut Ctx<'_>) {
        let request = msg!(HeartbeatRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
        });
        ctx.send(&request, i16::MAX);
        self.asked.push_back(Asked::Beat);
    }

    fn leave(&mut self, ctx: &mut Ctx<'_>) {
        let member = msg!(MemberIdentity { member_id: self.id.as_str().into() });
        let request =
            msg!(LeaveGroupRequest { group_id: self.group.as_str().into(), members: vec![member] });
        ctx.send(&request, i16::MAX);
        self.asked.push_back(Asked::Leave);
    }

    /// What an error of the coordinator makes of the member; true when there is none.
    fn check(&mut self, ctx: &mut Ctx<'_>, asked: Asked, code: i16) -> bool {
        match ErrorCode(code) {
            ErrorCode::NONE => return true,
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => {
                self.state = State::Out;
            }
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.id.clear();
                self.state = State::Out;
            }
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                self.not_before = ctx.now.plus_ms(200);
            }
            ErrorCode::NOT_COORDINATOR => {
                (self.node, self.not_before) = (None, ctx.now.plus_ms(200));
            }
            code => panic!("group, {asked:?}: {}", code.name()),
        }
        false
    }
}

impl Client for Member {
    fn aim(&mut self, rng: &mut Rng, nodes: usize) -> usize {
        self.node.unwrap_or_else(|| rng.below(nodes))
    }

    fn act(&mut self, ctx: &mut Ctx<'_>) -> Moment {
        if !self.asked.is_empty() {
            return Moment::NEVER;
        }
        if ctx.now < self.not_before {
            return self.not_before;
        }
        match self.node {
            None => {
                let keys = vec![self.group.as_str().into()];
                ctx.send(&msg!(FindCoordinatorRequest { coordinator_keys: keys }), i16::MAX);
                self.asked.push_back(Asked::Coordinator);
                return Moment::NEVER;
            }
            Some(node) if node != ctx.link.node => {
                ctx.hang_up = true;
                return Moment::NEVER;
            }
            Some(_) => {}
        }
        match self.state.clone() {
            State::Out if ctx.stopping && !self.left => {
                self.look(ctx);
                self.left = true;
            }
            State::Out if ctx.stopping => return Moment::NEVER,
            State::Out => self.join(ctx),
            State::Joined { others } => self.sync(ctx, others.as_deref()),
            State::In if ctx.stopping => self.leave(ctx),
            State::In => {
                match ctx.rng.below(100) {
                    0..45 if ctx.facts.created.values().any(|t| t == self.topic()) => {
                        self.commit(ctx);
                    }
                    45..65 => self.look(ctx),
                    0..45 | 65..97 => self.beat(ctx),
                    97 => ctx.hang_up = true,
                    _ => self.leave(ctx),
                }
                self.not_before = ctx.later(800);
            }
        }
        Moment::NEVER
    }

    fn on_answer(&mut self, ctx: &mut Ctx<'_>, answer: Answer) {
        let asked = self.asked.pop_front().expect("asked");
        match asked {
            Asked::Coordinator => {
                let said = answer.decode::<FindCoordinatorRequest>().unwrap();
                let said = &said.coordinators[0];
                if self.check(ctx, asked, said.error_code) {
                    self.node = Some(said.node_id as usize);
                }
            }
            Asked::Join => {
                let said = answer.decode::<JoinGroupRequest>().unwrap();
                said.member_id.as_str().clone_into(&mut self.id);
                if ErrorCode(said.error_code) != ErrorCode::MEMBER_ID_REQUIRED
                    && self.check(ctx, asked, said.error_code)
                {
                    self.generation = said.generation_id;
                    let names =
                        || said.members.iter().map(|m| m.member_id.as_str().to_owned()).collect();
                    let others = (said.leader == said.member_id).then(names);
                    self.state = State::Joined { others };
                }
            }
            Asked::Sync => {
                let said = answer.decode::<SyncGroupRequest>().unwrap();
                if self.check(ctx, asked, said.error_code) {
                    assert_eq!(said.assignment, self.id.as_bytes(), "another's assignment");
                    self.state = State::In;
                }
            }
            Asked::Beat => {
                let said = answer.decode::<HeartbeatRequest>().unwrap();
                self.check(ctx, asked, said.error_code);
            }
            Asked::Commit(offset) => {
                let said = answer.decode::<OffsetCommitRequest>().unwrap();
                if self.check(ctx, asked, said.topics[0].partitions[0].error_code) {
                    ctx.facts.commits += 1;
                    let known = ctx.facts.offsets.get_mut(&(self.group.clone(), self.index));
                    known.unwrap().acked = offset;
                }
            }
            Asked::Offset(at_least) => {
                let said = answer.decode::<OffsetFetchRequest>().unwrap();
                let group = &said.groups[0];
                if self.check(ctx, asked, group.error_code)
                    && self.check(ctx, asked, group.topics[0].partitions[0].error_code)
                {
                    let found = group.topics[0].partitions[0].committed_offset;
                    let sent = ctx.facts.offsets[&(self.group.clone(), self.index)].sent;
                    let ok = found.max(0) >= at_least && found <= sent;
                    assert!(ok, "committed {found}, acknowledged {at_least}, sent {sent}");
                } else if self.state == State::Out {
                    self.left = false;
                }
            }
            Asked::Leave => {
                let said = answer.decode::<LeaveGroupRequest>().unwrap();
                if self.check(ctx, asked, said.error_code) {
                    self.id.clear();
                    self.state = State::Out;
                }
            }
        }
    }

    fn on_lost(&mut self) {
        if self.state == State::Out && !self.asked.is_empty() {
            self.left = false;
        }
        self.asked.clear();
        if matches!(self.state, State::Joined { .. }) {
            self.state = State::Out;
        }
    }

    fn is_done(&self, _facts: &Facts) -> bool {
        self.left && self.asked.is_empty()
    }
}
