//! Being a member: join, get an assignment, keep it alive, be told to join again, leave.
//!
//! ```text
//! Out -> Joining -> (leader: Assigning ->) Syncing -> In -> Revoking -> Joining ...
//!  ^------------------ leave -------------------------'
//! ```
//!
//! It speaks to one coordinator, which it does not know: whoever holds it passes the node in and is
//! told, by [`Verdict::CoordinatorLost`], to find another one. Its member id and generation survive that.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Moment, NodeId};
use crate::client::assignor::{
    Candidate, RANGE, assign_range, decode_assignment, decode_subscription, encode_assignment,
    encode_subscription,
};
use crate::client::call::{Call, Outgoing, To, Typed};
use crate::client::cluster::{Cluster, PartitionName};
use crate::client::connection::Answer;
use crate::client::error::ClientError;
use crate::client::group::MemberOptions;
use crate::msg;
use crate::wire::ErrorCode;
use crate::wire::messages::join_group_request::JoinGroupRequestProtocol;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::wire::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};

const PROTOCOL_TYPE: &str = "consumer";
/// A join is answered at the end of the rebalance; then some.
const JOIN_GRACE_MS: u64 = 5_000;

#[derive(Debug)]
enum Phase {
    Out,
    Joining { asked: Option<u64> },
    Assigning { candidates: Vec<Candidate> },
    Syncing { id: u64 },
    In { heartbeat: Option<u64>, next_heartbeat: Moment },
    Revoking,
    Leaving { id: u64 },
}

/// What an answer means to whoever holds the membership.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing to do.
    Fine,
    /// These partitions are the member's.
    Assigned(Vec<PartitionName>),
    /// The partitions are to be given up; then [`Membership::rejoin`].
    Revoked,
    /// Another coordinator is to be found.
    CoordinatorLost,
    /// The member has left.
    Left,
}

/// The membership of one member.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) member_id: String,
    pub(super) generation_id: i32,
    phase: Phase,
    not_before: Moment,
}

impl Membership {
    pub(super) fn new() -> Self {
        let phase = Phase::Joining { asked: None };
        Self { member_id: String::new(), generation_id: -1, phase, not_before: Moment::default() }
    }

    pub(super) fn is_in(&self) -> bool {
        matches!(self.phase, Phase::In { .. } | Phase::Revoking)
    }

    /// Joins (again). Called after [`Verdict::Revoked`], when everything is given up.
    pub(super) fn rejoin(&mut self) {
        self.phase = Phase::Joining { asked: None };
    }

    pub(super) fn deadline(&self) -> Moment {
        match self.phase {
            Phase::Joining { asked: None } => self.not_before,
            Phase::In { heartbeat: None, next_heartbeat } => next_heartbeat.max(self.not_before),
            _ => Moment::NEVER,
        }
    }

    /// Sends what is due. `topics` are what the member wants.
    pub(super) fn poll(
        &mut self,
        context: (&MemberOptions, &[Arc<str>], NodeId),
        cluster: &mut Cluster,
        now: Moment,
        next_id: &mut u64,
        out: &mut Vec<Outgoing>,
    ) -> Result<(), ClientError> {
        let (options, topics, node) = context;
        let mut send = |call: Box<dyn Call>, timeout_ms| {
            *next_id += 1;
            out.push(Outgoing { to: To::Node(node), id: *next_id, timeout_ms, call });
            *next_id
        };
        if now < self.not_before {
            return Ok(());
        }
        match &self.phase {
            Phase::Joining { asked: None } => {
                let call = self.join(options, topics)?;
                let rebalance_ms = u64::try_from(options.rebalance_timeout_ms).unwrap_or(0);
                let asked = Some(send(call, rebalance_ms + JOIN_GRACE_MS));
                self.phase = Phase::Joining { asked };
            }
            Phase::Assigning { candidates } => {
                let wanted = candidates.iter().flat_map(|c| &c.topics);
                let unknown: Vec<_> =
                    wanted.filter(|&t| !cluster.topics().contains_key(t)).cloned().collect();
                for topic in &unknown {
                    cluster.want(topic);
                }
                if unknown.is_empty() {
                    let count = |t: &str| cluster.topic(t).map_or(0, |t| t.partitions.len());
                    let dealt = assign_range(candidates.clone(), count);
                    let call = self.sync(options, dealt)?;
                    self.phase = Phase::Syncing { id: send(call, options.request_timeout_ms) };
                }
            }
            Phase::In { heartbeat: None, next_heartbeat } if now >= *next_heartbeat => {
                let next_heartbeat = now + options.heartbeat_interval;
                let call = self.heartbeat(options);
                let heartbeat = Some(send(call, options.request_timeout_ms));
                self.phase = Phase::In { heartbeat, next_heartbeat };
            }
            _ => {}
        }
        Ok(())
    }

    /// Leaves the group, if it is in it.
    pub(super) fn leave(
        &mut self,
        options: &MemberOptions,
        node: NodeId,
        next_id: &mut u64,
        out: &mut Vec<Outgoing>,
    ) -> bool {
        // A static member keeps its partitions until its session times out: it may come back.
        if self.member_id.is_empty() || options.instance_id.is_some() {
            return false;
        }
        let member = msg!(MemberIdentity {
            member_id: self.member_id.as_str().into(),
            reason: Some("the consumer is being closed".into()),
        });
        let request = msg!(LeaveGroupRequest {
            group_id: options.group_id.as_str().into(),
            members: vec![member],
        });
        *next_id += 1;
        self.phase = Phase::Leaving { id: *next_id };
        let (timeout_ms, call) = (options.request_timeout_ms, Typed::new(request).boxed());
        out.push(Outgoing { to: To::Node(node), id: *next_id, timeout_ms, call });
        true
    }

    /// Whether the answer to request `id` is for the membership.
    pub(super) fn is_asked(&self, id: u64) -> bool {
        match self.phase {
            Phase::Joining { asked } | Phase::In { heartbeat: asked, .. } => asked == Some(id),
            Phase::Syncing { id: asked } | Phase::Leaving { id: asked } => asked == id,
            Phase::Out | Phase::Assigning { .. } | Phase::Revoking => false,
        }
    }

    pub(super) fn on_answer(
        &mut self,
        options: &MemberOptions,
        answer: Result<Answer, ClientError>,
        now: Moment,
    ) -> Result<Verdict, ClientError> {
        let read = match &self.phase {
            Phase::Joining { .. } => answer
                .and_then(|a| a.decode::<JoinGroupRequest>())
                .and_then(|joined| self.on_joined(&joined)),
            Phase::Syncing { .. } => {
                answer.and_then(|a| a.decode::<SyncGroupRequest>()).and_then(|synced| {
                    ClientError::check("SyncGroup", synced.error_code, None)?;
                    let next_heartbeat = now + options.heartbeat_interval;
                    self.phase = Phase::In { heartbeat: None, next_heartbeat };
                    Ok(Verdict::Assigned(decode_assignment(&synced.assignment)?))
                })
            }
            Phase::In { next_heartbeat, .. } => {
                self.phase = Phase::In { heartbeat: None, next_heartbeat: *next_heartbeat };
                answer.and_then(|a| a.decode::<HeartbeatRequest>()).and_then(|beat| {
                    ClientError::check("Heartbeat", beat.error_code, None)?;
                    Ok(Verdict::Fine)
                })
            }
            Phase::Leaving { .. } => {
                self.phase = Phase::Out;
                return Ok(Verdict::Left);
            }
            Phase::Out | Phase::Assigning { .. } | Phase::Revoking => return Ok(Verdict::Fine),
        };
        read.or_else(|e| self.on_failure(e, now + options.retry_backoff))
    }

    /// Sorts a failure: join again, find the coordinator again, or give up.
    fn on_failure(&mut self, error: ClientError, retry_at: Moment) -> Result<Verdict, ClientError> {
        let was_in = self.is_in();
        let code = match &error {
            ClientError::Refused { code, .. } => *code,
            other if other.is_retriable() => ErrorCode::COORDINATOR_NOT_AVAILABLE,
            _ => return Err(error),
        };
        match code {
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.member_id.clear();
                self.generation_id = -1;
            }
            ErrorCode::ILLEGAL_GENERATION => self.generation_id = -1,
            ErrorCode::REBALANCE_IN_PROGRESS => {}
            ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {
                self.not_before = retry_at;
                if !was_in {
                    self.rejoin();
                }
                return Ok(Verdict::CoordinatorLost);
            }
            _ => return Err(error),
        }
        if was_in {
            self.phase = Phase::Revoking;
            return Ok(Verdict::Revoked);
        }
        self.rejoin();
        Ok(Verdict::Fine)
    }

    fn on_joined(&mut self, joined: &JoinGroupResponse) -> Result<Verdict, ClientError> {
        if ErrorCode(joined.error_code) == ErrorCode::MEMBER_ID_REQUIRED {
            joined.member_id.as_str().clone_into(&mut self.member_id);
            self.rejoin();
            return Ok(Verdict::Fine);
        }
        ClientError::check("JoinGroup", joined.error_code, None)?;
        joined.member_id.as_str().clone_into(&mut self.member_id);
        self.generation_id = joined.generation_id;
        let is_leader = joined.leader == joined.member_id && !joined.skip_assignment;
        let members = if is_leader { &joined.members[..] } else { &[] };
        let candidate =
            |m: &crate::wire::messages::join_group_response::JoinGroupResponseMember| {
                Ok(Candidate {
                    member_id: m.member_id.as_str().to_owned(),
                    instance_id: m.group_instance_id.as_ref().map(|i| i.as_str().to_owned()),
                    topics: decode_subscription(&m.metadata)?,
                })
            };
        let candidates = members.iter().map(candidate).collect::<Result<_, ClientError>>()?;
        self.phase = Phase::Assigning { candidates };
        Ok(Verdict::Fine)
    }

    fn join(
        &self,
        options: &MemberOptions,
        topics: &[Arc<str>],
    ) -> Result<Box<dyn Call>, ClientError> {
        let metadata = encode_subscription(topics)?;
        let protocol = msg!(JoinGroupRequestProtocol { name: RANGE.into(), metadata });
        let request = msg!(JoinGroupRequest {
            group_id: options.group_id.as_str().into(),
            session_timeout_ms: options.session_timeout_ms,
            rebalance_timeout_ms: options.rebalance_timeout_ms,
            member_id: self.member_id.as_str().into(),
            group_instance_id: options.instance_id.as_deref().map(Into::into),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![protocol],
        });
        Ok(Typed::new(request).boxed())
    }

    fn sync(
        &self,
        options: &MemberOptions,
        dealt: BTreeMap<String, Vec<PartitionName>>,
    ) -> Result<Box<dyn Call>, ClientError> {
        let assignment = |(member_id, partitions): (String, Vec<PartitionName>)| {
            let assignment = encode_assignment(&partitions)?;
            Ok(msg!(SyncGroupRequestAssignment { member_id: member_id.into(), assignment }))
        };
        let request = msg!(SyncGroupRequest {
            group_id: options.group_id.as_str().into(),
            generation_id: self.generation_id,
            member_id: self.member_id.as_str().into(),
            group_instance_id: options.instance_id.as_deref().map(Into::into),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(RANGE.into()),
            assignments: dealt.into_iter().map(assignment).collect::<Result<_, ClientError>>()?,
        });
        Ok(Typed::new(request).boxed())
    }

    fn heartbeat(&self, options: &MemberOptions) -> Box<dyn Call> {
        let request = msg!(HeartbeatRequest {
            group_id: options.group_id.as_str().into(),
            generation_id: self.generation_id,
            member_id: self.member_id.as_str().into(),
            group_instance_id: options.instance_id.as_deref().map(Into::into),
        });
        Typed::new(request).boxed()
    }
}
