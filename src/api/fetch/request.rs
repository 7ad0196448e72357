//! A fetch request as it lies in its bytes.

use std::sync::Arc;
use std::time::Duration;

use super::{FLEXIBLE_FROM, SESSION_FROM, TOPIC_ID_FROM};
use crate::api::pieces::PIECE_MAX;
use crate::base::{LeaderEpoch, Offset, TopicId};
use crate::shard::partition::{LocalTopic, Partitions};
use crate::shard::sessions::{TopicKey, Wanted};
use crate::wire::frame::{FrameError, Reader};

const LOG_START_FROM: i16 = 5;
const LEADER_EPOCH_FROM: i16 = 9;
const RACK_FROM: i16 = 11;
const REPLICA_STATE_FROM: i16 = 15;
const READ_COMMITTED: i8 = 1;
/// Partitions that a request which goes on with a session may name.
const GOING_ON_MAX: usize = 8192;
pub(super) const FINAL_EPOCH: i32 = -1;

/// What a fetch request says before its partitions.
pub(super) struct Head {
    pub(super) max_wait: Duration,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) read_committed: bool,
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
}

/// A fetch request.
pub(super) struct Request {
    pub(super) head: Head,
    pub(super) wanted: Vec<Wanted>,
    pub(super) forgotten: Vec<(TopicKey, i32)>,
}

impl Head {
    pub(super) fn read(version: i16, r: &mut Reader<'_>) -> Result<Self, FrameError> {
        if version < REPLICA_STATE_FROM {
            r.i32()?;
        }
        let max_wait = Duration::from_millis(u64::try_from(r.i32()?).unwrap_or(0));
        let (min_bytes, max_bytes) = (r.i32()?, r.i32()?);
        let read_committed = r.i8()? == READ_COMMITTED;
        let (session_id, session_epoch) =
            if version >= SESSION_FROM { (r.i32()?, r.i32()?) } else { (0, FINAL_EPOCH) };
        Ok(Self { max_wait, min_bytes, max_bytes, read_committed, session_id, session_epoch })
    }

    /// Whether the request goes on with a session.
    pub(super) fn goes_on(&self) -> bool {
        ![0, FINAL_EPOCH].contains(&self.session_epoch)
    }
}

impl Request {
    /// All of it, unless it names more partitions than one turn can do with: [`PIECE_MAX`], or, when it
    /// goes on with a session, as many as a consumer may have read from at once.
    pub(super) fn read(
        version: i16,
        body: &[u8],
        partitions: &Partitions,
    ) -> Result<Self, FrameError> {
        let compact = version >= FLEXIBLE_FROM;
        let mut r = Reader::new(body);
        let head = Head::read(version, &mut r)?;
        let limit = if head.goes_on() { GOING_ON_MAX } else { PIECE_MAX };
        let at_most = |count| {
            if count > limit { Err(FrameError::TooMany { limit }) } else { Ok(count) }
        };
        let (mut wanted, mut forgotten) = (Vec::new(), Vec::new());
        for _ in 0..at_most(r.array_len(compact)?)? {
            let (topic, local) = read_topic(&mut r, version, partitions)?;
            let count = r.array_len(compact)?;
            at_most(wanted.len() + count)?;
            for _ in 0..count {
                let mut partition = read_partition(&mut r, version, topic.clone())?;
                partition.log = local.and_then(|topic| topic.log(partition.partition).ok());
                wanted.push(partition);
            }
            skip_tags(&mut r, compact)?;
        }
        if version >= SESSION_FROM {
            for _ in 0..at_most(r.array_len(compact)?)? {
                let (topic, _) = read_topic(&mut r, version, partitions)?;
                for _ in 0..at_most(r.array_len(compact)?)? {
                    at_most(forgotten.len())?;
                    forgotten.push((topic.clone(), r.i32()?));
                }
                skip_tags(&mut r, compact)?;
            }
        }
        if version >= RACK_FROM {
            r.string(compact)?;
        }
        skip_tags(&mut r, compact)?;
        Ok(Self { head, wanted, forgotten })
    }
}

/// The topic as the request names it, and here.
pub(super) fn read_topic<'a>(
    r: &mut Reader<'_>,
    version: i16,
    partitions: &'a Partitions,
) -> Result<(TopicKey, Option<&'a Arc<LocalTopic>>), FrameError> {
    if version >= TOPIC_ID_FROM {
        let id = TopicId(r.uuid()?);
        return Ok((TopicKey::Id(id), partitions.topic_by_id(id).ok()));
    }
    let name = r.string(version >= FLEXIBLE_FROM)?;
    let local = partitions.topic(name).ok();
    let name = local.map_or_else(|| name.into(), |topic| Arc::clone(&topic.name));
    Ok((TopicKey::Name(name), local))
}

pub(super) fn read_partition(
    r: &mut Reader<'_>,
    version: i16,
    topic: TopicKey,
) -> Result<Wanted, FrameError> {
    let partition = r.i32()?;
    let current_epoch = if version >= LEADER_EPOCH_FROM { r.i32()? } else { -1 };
    let offset = Offset(r.i64()?);
    let last_epoch = if version >= FLEXIBLE_FROM { r.i32()? } else { -1 };
    if version >= LOG_START_FROM {
        r.i64()?;
    }
    let bytes_max = r.i32()?;
    skip_tags(r, version >= FLEXIBLE_FROM)?;
    Ok(Wanted {
        topic,
        partition,
        log: None,
        offset,
        bytes_max,
        current_epoch: LeaderEpoch(current_epoch),
        last_epoch: LeaderEpoch(last_epoch),
        told_high_watermark: Offset(-1),
        told_log_start: Offset(-1),
    })
}

pub(super) fn skip_tags(r: &mut Reader<'_>, compact: bool) -> Result<(), FrameError> {
    if compact { r.skip_tags() } else { Ok(()) }
}
