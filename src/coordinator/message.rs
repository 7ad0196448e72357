//! What a group is asked, what it answers, and what it wants done.
//!
//! Requests borrow from the frame they came in; what a group keeps it copies, so that no frame is
//! held for long. Answers hand out shared text and bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Moment, TopicId, WallMs};
use crate::coordinator::error::GroupError;
use crate::coordinator::records::Record;

/// The two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// For deadlines.
    pub now: Moment,
    /// For what is written down.
    pub wall: WallMs,
}

/// A member wants to be in a group.
#[derive(Debug, Clone)]
pub struct Join<'a> {
    /// The group.
    pub group: &'a str,
    /// The member; empty for a new one.
    pub member: &'a str,
    /// Name of a static member (KIP-345).
    pub instance: Option<&'a str>,
    /// What the client calls itself.
    pub client_id: &'a str,
    /// Where it comes from.
    pub client_host: &'a str,
    /// Silence after which the member counts as gone.
    pub session_timeout_ms: i32,
    /// How long the group waits for the member to join again.
    pub rebalance_timeout_ms: i32,
    /// Kind of protocol, such as `consumer`.
    pub protocol_type: &'a str,
    /// Name and metadata of each protocol, the preferred one first.
    pub protocols: Vec<(&'a str, &'a [u8])>,
    /// A new dynamic member is told its id first and joins with it (v4 and later).
    pub member_id_required: bool,
    /// A leader can be told to leave the assignment as it is (v9 and later).
    pub can_skip_assignment: bool,
}

/// A member asks for its assignment; the leader brings everyone's.
#[derive(Debug, Clone)]
pub struct Sync<'a> {
    /// Who asks.
    pub from: Sender<'a>,
    /// Kind of protocol, when the request has it.
    pub protocol_type: Option<&'a str>,
    /// Chosen protocol, when the request has it.
    pub protocol: Option<&'a str>,
    /// Member and its assignment; empty from all but the leader.
    pub assignments: Vec<(&'a str, &'a [u8])>,
}

/// Who in which group says something.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// The group.
    pub group: &'a str,
    /// The member.
    pub member: &'a str,
    /// Its instance id, when it is a static member.
    pub instance: Option<&'a str>,
    /// The generation it believes in; -1 for none.
    pub generation: i32,
}

/// A member to be taken out of a group.
#[derive(Debug, Clone, Copy)]
pub struct Leaver<'a> {
    /// The member; empty to name it by its instance alone.
    pub member: &'a str,
    /// Its instance id.
    pub instance: Option<&'a str>,
}

/// Offsets to be kept for a group.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    /// Who commits. Without member and with generation -1 the group must have no members.
    pub from: Sender<'a>,
    /// Keep the offsets for this long instead of the broker's retention (v2 to v4).
    pub retention_ms: Option<i64>,
    /// An unknown group is reported as such (v9 and later), not as an illegal generation.
    pub reports_unknown_group: bool,
    /// The offsets, for partitions that exist.
    pub offsets: Vec<CommitOffset<'a>>,
}

/// One offset to be kept.
#[derive(Debug, Clone, Copy)]
pub struct CommitOffset<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Its id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: i32,
    /// Offset of the next record to be read.
    pub offset: i64,
    /// Leader epoch of the last record read; -1 when not known.
    pub leader_epoch: i32,
    /// Whatever the client wants to keep with it.
    pub metadata: &'a str,
}

/// Outcome for each item of a request, in its order; or one for all.
pub type Outcomes = Result<Vec<Result<(), GroupError>>, GroupError>;

/// The answer to a request that had to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To a join: the member's id, and whether it is in.
    Join(Arc<str>, Result<Joined, GroupError>),
    /// To a sync.
    Sync(Result<Synced, GroupError>),
    /// To a leave, a commit or a deletion.
    Each(Outcomes),
}

/// A request is answered with the variant that its method names; each of these takes one out.
impl Answer {
    /// The answer to a join.
    pub fn join(self) -> (Arc<str>, Result<Joined, GroupError>) {
        match self {
            Self::Join(member, joined) => (member, joined),
            other => unreachable!("C4: a join is answered with {other:?}"),
        }
    }

    /// The answer to a sync.
    ///
    /// # Errors
    /// What it was refused with.
    pub fn sync(self) -> Result<Synced, GroupError> {
        match self {
            Self::Sync(synced) => synced,
            other => unreachable!("C4: a sync is answered with {other:?}"),
        }
    }

    /// The answer to a leave, a commit or a deletion.
    ///
    /// # Errors
    /// What all of it was refused with.
    pub fn each(self) -> Outcomes {
        match self {
            Self::Each(outcomes) => outcomes,
            other => unreachable!("C4: items are answered with {other:?}"),
        }
    }
}

/// What a member learns when its group has a new generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// Kind of protocol.
    pub protocol_type: Option<Arc<str>>,
    /// The chosen protocol.
    pub protocol: Option<Arc<str>>,
    /// Member that makes the assignment.
    pub leader: Arc<str>,
    /// The leader leaves the assignment as it is.
    pub skip_assignment: bool,
    /// For the leader: everyone.
    pub members: Vec<JoinedMember>,
}

/// What the leader learns of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: Arc<str>,
    /// Its instance id.
    pub instance: Option<Arc<str>>,
    /// Its metadata of the chosen protocol.
    pub metadata: Bytes,
}

/// A member's assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// Kind of protocol.
    pub protocol_type: Option<Arc<str>>,
    /// The chosen protocol.
    pub protocol: Option<Arc<str>>,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// A group as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Name of the state.
    pub state: &'static str,
    /// Kind of protocol; empty when it has none.
    pub protocol_type: Arc<str>,
    /// The chosen protocol; empty unless the group is stable.
    pub protocol: Arc<str>,
    /// Everyone, by member id.
    pub members: Vec<DescribedMember>,
}

/// A member as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: Arc<str>,
    /// Its instance id.
    pub instance: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where it comes from.
    pub client_host: Arc<str>,
    /// Its metadata of the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// A group as ListGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The group.
    pub group: Arc<str>,
    /// Kind of protocol; empty when it has none.
    pub protocol_type: Arc<str>,
    /// Name of the state.
    pub state: &'static str,
    /// Kind of group.
    pub group_type: &'static str,
}

/// Number of one append; the shard says it again when it knows how the append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the shard does after a call, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<R> {
    /// Answer this request.
    Reply {
        /// Where it came from.
        to: R,
        /// What to say.
        answer: Answer,
    },
    /// Append the records, as one batch, to this partition of the offsets topic. Then call
    /// [`Groups::on_append`](crate::coordinator::Groups::on_append): with success once they are
    /// committed, with a failure once it is certain that they will not be.
    Append {
        /// The partition.
        partition: i32,
        /// Never empty.
        records: Vec<Record>,
        /// To be said again.
        ticket: Ticket,
    },
}
