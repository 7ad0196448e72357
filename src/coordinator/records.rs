//! The records of `__consumer_offsets`, byte for byte as Kafka 4.3 writes them.
//!
//! ```text
//! key:    kind i16 | 0, 1: group, topic, partition i32 | 2: group
//! offset: version i16 | offset i64 | [3+ leader epoch i32] | metadata | commit time i64
//!         | [1 expire time i64] | [4 tags: 0 = topic id]
//! group:  version i16 | protocol type | generation i32 | protocol | leader | [2+ since i64] | members
//! member: id | [3+ instance] | client id | host | [1+ rebalance ms i32] | session ms i32
//!         | subscription | assignment
//! ```
//!
//! Strings have a 2-byte length and byte fields a 4-byte one, both -1 for null; from version 4 on
//! lengths are varints plus one and structures end in tags. Versions 0 to 4 are read. Written are:
//! groups in 3; offsets in 4 with a topic id, in 3 without one, in 1 when they expire at a time of
//! their own. A key without a value is a tombstone. Kinds from 3 on belong to other group types.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::TopicId;
use crate::coordinator::error::RecordError;
use crate::coordinator::group::CommittedOffset;
use crate::wire::frame::{FrameError, Reader};

/// Longest string that a record holds, in bytes.
pub(super) const STRING_BYTES_MAX: usize = i16::MAX as usize;

const OFFSET_KINDS: std::ops::RangeInclusive<i16> = 0..=1;
const OFFSET_KIND: i16 = 1;
const GROUP_KIND: i16 = 2;
const NEWEST: i16 = 4;
const FLEXIBLE: i16 = 4;
const GROUP_VERSION: i16 = 3;

/// One record of the offsets topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub key: Bytes,
    /// What is true of it now; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// A key, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Offset {
        group: &'a str,
        topic: &'a str,
        partition: i32,
    },
    Group(&'a str),
    /// Of another kind of group.
    Other,
}

/// What a group record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupValue {
    /// `None` is written as an empty string.
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) generation: i32,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    /// When the group came into its state; -1 when the record is too old to say.
    pub(super) since_ms: i64,
    pub(super) members: Vec<MemberValue>,
}

/// What a group record says of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemberValue {
    pub(super) id: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) subscription: Bytes,
    pub(super) assignment: Bytes,
}

impl From<FrameError> for RecordError {
    fn from(_: FrameError) -> Self {
        Self::Malformed("group or offset")
    }
}

impl<'a> Key<'a> {
    pub(super) fn parse(key: &'a [u8]) -> Result<Self, RecordError> {
        let mut r = Reader::new(key);
        let kind = r.i16()?;
        Ok(match kind {
            kind if OFFSET_KINDS.contains(&kind) => Self::Offset {
                group: r.string(false)?,
                topic: r.string(false)?,
                partition: r.i32()?,
            },
            GROUP_KIND => Self::Group(r.string(false)?),
            _ => Self::Other,
        })
    }

    /// The key's bytes. [`Self::Other`] is never written.
    pub(super) fn bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        match *self {
            Self::Offset { group, topic, partition } => {
                out.extend_from_slice(&OFFSET_KIND.to_be_bytes());
                put_string(&mut out, Some(group));
                put_string(&mut out, Some(topic));
                out.extend_from_slice(&partition.to_be_bytes());
            }
            Self::Group(group) => {
                out.extend_from_slice(&GROUP_KIND.to_be_bytes());
                put_string(&mut out, Some(group));
            }
            Self::Other => {}
        }
        out.into()
    }

    /// The record that ends what the key is about.
    pub(super) fn tombstone(&self) -> Record {
        Record { key: self.bytes(), value: None }
    }
}

/// The record of a committed offset.
pub(super) fn offset_record(key: &Key<'_>, offset: &CommittedOffset) -> Record {
    let version: i16 = match (offset.expire_ms, offset.topic_id) {
        (Some(_), _) => 1,
        (None, TopicId::ZERO) => 3,
        (None, _) => 4,
    };
    let mut out = Vec::with_capacity(64 + offset.metadata.len());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&offset.offset.to_be_bytes());
    if version >= 3 {
        out.extend_from_slice(&offset.leader_epoch.to_be_bytes());
    }
    if version >= FLEXIBLE {
        put_uvarint(&mut out, offset.metadata.len() + 1);
        out.extend_from_slice(offset.metadata.as_bytes());
    } else {
        put_string(&mut out, Some(&offset.metadata));
    }
    out.extend_from_slice(&offset.commit_ms.to_be_bytes());
    if let Some(expire_ms) = offset.expire_ms {
        out.extend_from_slice(&expire_ms.to_be_bytes());
    }
    if version >= FLEXIBLE {
        // One tagged field: number 0, 16 bytes.
        out.extend_from_slice(&[1, 0, 16]);
        out.extend_from_slice(&offset.topic_id.0);
    }
    Record { key: key.bytes(), value: Some(out.into()) }
}

/// Reads the value of an offset record.
pub(super) fn read_offset(value: &[u8]) -> Result<CommittedOffset, RecordError> {
    let mut r = Reader::new(value);
    let version = version(&mut r, "offset")?;
    let flexible = version >= FLEXIBLE;
    let offset = r.i64()?;
    let leader_epoch = if version >= 3 { r.i32()? } else { -1 };
    let metadata = r.string(flexible)?.into();
    let commit_ms = r.i64()?;
    let expire_ms = if version == 1 { Some(r.i64()?).filter(|&ms| ms != -1) } else { None };
    let mut topic_id = TopicId::ZERO;
    for _ in 0..if flexible { r.uvarint()? } else { 0 } {
        let (tag, bytes) = (r.uvarint()?, r.uvarint()?);
        let field = r.take(bytes as usize)?;
        if let (0, Ok(id)) = (tag, field.try_into()) {
            topic_id = TopicId(id);
        }
    }
    Ok(CommittedOffset { offset, leader_epoch, metadata, commit_ms, expire_ms, topic_id })
}

/// The record of a group.
pub(super) fn group_record(group: &str, value: &GroupValue) -> Record {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&GROUP_VERSION.to_be_bytes());
    put_string(&mut out, Some(value.protocol_type.as_deref().unwrap_or_default()));
    out.extend_from_slice(&value.generation.to_be_bytes());
    put_string(&mut out, value.protocol.as_deref());
    put_string(&mut out, value.leader.as_deref());
    out.extend_from_slice(&value.since_ms.to_be_bytes());
    out.extend_from_slice(&(value.members.len() as i32).to_be_bytes());
    for member in &value.members {
        put_string(&mut out, Some(&member.id));
        put_string(&mut out, member.instance.as_deref());
        put_string(&mut out, Some(&member.client_id));
        put_string(&mut out, Some(&member.client_host));
        out.extend_from_slice(&member.rebalance_timeout_ms.to_be_bytes());
        out.extend_from_slice(&member.session_timeout_ms.to_be_bytes());
        put_bytes(&mut out, &member.subscription);
        put_bytes(&mut out, &member.assignment);
    }
    Record { key: Key::Group(group).bytes(), value: Some(out.into()) }
}

/// Reads the value of a group record.
pub(super) fn read_group(value: &[u8]) -> Result<GroupValue, RecordError> {
    let mut r = Reader::new(value);
    let version = version(&mut r, "group")?;
    let flexible = version >= FLEXIBLE;
    let protocol_type = Some(r.string(flexible)?).filter(|t| !t.is_empty()).map(Into::into);
    let generation = r.i32()?;
    let protocol = r.nullable_string_of(flexible)?.map(Into::into);
    let leader = r.nullable_string_of(flexible)?.map(Into::into);
    let since_ms = if version >= 2 { r.i64()? } else { -1 };
    let count = r.array_len(flexible)?;
    let members = (0..count).map(|_| read_member(&mut r, version)).collect::<Result<_, _>>()?;
    Ok(GroupValue { protocol_type, generation, protocol, leader, since_ms, members })
}

fn read_member(r: &mut Reader<'_>, version: i16) -> Result<MemberValue, RecordError> {
    let flexible = version >= FLEXIBLE;
    let id = r.string(flexible)?.into();
    let instance =
        if version >= 3 { r.nullable_string_of(flexible)?.map(Into::into) } else { None };
    let client_id = r.string(flexible)?.into();
    let client_host = r.string(flexible)?.into();
    let rebalance_timeout_ms = if version >= 1 { r.i32()? } else { -1 };
    let session_timeout_ms = r.i32()?;
    let mut bytes = || r.nullable_bytes(flexible).map(|b| Bytes::copy_from_slice(b.unwrap_or(&[])));
    let (subscription, assignment) = (bytes()?, bytes()?);
    if flexible {
        r.skip_tags()?;
    }
    Ok(MemberValue {
        id,
        instance,
        client_id,
        client_host,
        rebalance_timeout_ms: match rebalance_timeout_ms {
            -1 => session_timeout_ms,
            ms => ms,
        },
        session_timeout_ms,
        subscription,
        assignment,
    })
}

/// Topics in a consumer's subscription: version, topics, user data. Every later version of that
/// protocol begins like version 0. `None` when the bytes are of another protocol.
pub(super) fn subscribed_topics(subscription: &[u8]) -> Option<Vec<Arc<str>>> {
    let mut r = Reader::new(subscription);
    r.i16().ok()?;
    let count = r.array_len(false).ok()?;
    let topics = (0..count).map(|_| r.string(false).map(Into::into)).collect::<Result<_, _>>();
    r.nullable_bytes(false).ok()?;
    topics.ok()
}

fn version(r: &mut Reader<'_>, what: &'static str) -> Result<i16, RecordError> {
    match r.i16()? {
        version if (0..=NEWEST).contains(&version) => Ok(version),
        version => Err(RecordError::UnknownVersion { what, version, newest: NEWEST }),
    }
}

/// Callers have refused every string over [`STRING_BYTES_MAX`].
fn put_string(out: &mut Vec<u8>, text: Option<&str>) {
    let len = text.map_or(-1, |t| t.len() as i16);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_uvarint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
