//! The fetch response, put together of small pieces of our own and of stored batches as they lie.

use std::mem;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::api::fetch::{FLEXIBLE_FROM, SESSION_FROM, TOPIC_ID_FROM, records_len};
use crate::api::leaders::{CurrentLeader, Leaders};
use crate::base::{LeaderEpoch, Offset};
use crate::image::Image;
use crate::shard::Call;
use crate::shard::sessions::{TopicKey, Wanted};
use crate::wire::ErrorCode;
use crate::wire::frame::Answer;
use crate::wire::writer::Writer;

const LOG_START_FROM: i16 = 5;
const PREFERRED_REPLICA_FROM: i16 = 11;
const CURRENT_LEADER_FROM: i16 = 16;
const DIVERGING_EPOCH_TAG: u32 = 0;
const CURRENT_LEADER_TAG: u32 = 1;

/// One partition of the answer.
#[derive(Debug)]
pub(super) struct PartitionData {
    pub(super) code: ErrorCode,
    pub(super) high_watermark: Offset,
    pub(super) stable: Offset,
    pub(super) log_start: Offset,
    /// Number of aborted transactions; `None` is null, as for read_uncommitted.
    pub(super) aborted: Option<usize>,
    pub(super) diverging: Option<(LeaderEpoch, Offset)>,
    /// Who leads it, where the error is that another does, or did before.
    pub(super) leader: Option<CurrentLeader>,
    /// A session has to look at it again, whatever its client says.
    pub(super) has_more: bool,
    pub(super) records: Vec<Bytes>,
}

impl PartitionData {
    pub(super) fn failed(code: ErrorCode) -> Self {
        let none = Offset(-1);
        Self {
            code,
            high_watermark: none,
            stable: none,
            log_start: none,
            aborted: None,
            diverging: None,
            leader: None,
            has_more: true,
            records: Vec::new(),
        }
    }

    /// For a partition that does not exist when it is asked for, Kafka sends an empty list, not null.
    pub(super) fn unknown(code: ErrorCode) -> Self {
        Self { aborted: Some(0), ..Self::failed(code) }
    }

    pub(super) fn has_records(&self) -> bool {
        !self.records.is_empty()
    }

    /// What a session remembers of it. After an error the partition is sent again whatever comes.
    pub(super) fn tells(&self) -> (Offset, Offset) {
        if self.code == ErrorCode::NONE && self.diverging.is_none() {
            (self.high_watermark, self.log_start)
        } else {
            (Offset(-1), Offset(-1))
        }
    }
}

/// Groups partitions by topic and writes the response.
pub(super) struct Encoder<'a> {
    call: &'a Call,
    code: ErrorCode,
    session_id: i32,
    topics: Vec<(TopicKey, Vec<(i32, PartitionData)>)>,
    leaders: Leaders,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(call: &'a Call, code: ErrorCode, session_id: i32) -> Self {
        Self { call, code, session_id, topics: Vec::new(), leaders: Leaders::default() }
    }

    pub(super) fn push(&mut self, image: &Image, wanted: &Wanted, mut data: PartitionData) {
        data.leader = leader_of(self.call, &mut self.leaders, image, wanted, data.code);
        match self.topics.last_mut() {
            Some((topic, partitions)) if *topic == wanted.topic => {
                partitions.push((wanted.partition, data));
            }
            _ => self.topics.push((wanted.topic.clone(), vec![(wanted.partition, data)])),
        }
    }

    pub(super) fn finish(mut self) -> Answer {
        let version = self.call.version;
        let partitions: usize = self.topics.iter().map(|(_, p)| p.len()).sum();
        let capacity = 64 + 64 * partitions + 32 * self.topics.len();
        let (mut w, _) = head(self.call, self.code, self.session_id, self.topics.len(), capacity);
        let mut pieces = Vec::with_capacity(1 + 2 * partitions);
        for (topic, partitions) in mem::take(&mut self.topics) {
            push_topic(&mut w, version, &topic, partitions.len());
            for (index, data) in partitions {
                push_partition(&mut w, &mut pieces, version, index, data);
            }
            w.no_tags();
        }
        self.leaders.end(&mut w);
        Answer { parts: with_size(pieces, w), is_lost: false }
    }
}

/// Who leads the partition, where the code says that it is not here.
pub(super) fn leader_of(
    call: &Call,
    leaders: &mut Leaders,
    image: &Image,
    wanted: &Wanted,
    code: ErrorCode,
) -> Option<CurrentLeader> {
    let moved = [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH];
    match wanted.topic {
        TopicKey::Id(topic) if moved.contains(&code) && call.version >= CURRENT_LEADER_FROM => {
            leaders.find(image, topic, wanted.partition)
        }
        _ => None,
    }
}

/// Everything before the topics, and where in it the session's id is.
pub(super) fn head(
    call: &Call,
    code: ErrorCode,
    session_id: i32,
    topics: usize,
    capacity: usize,
) -> (Writer, usize) {
    let compact = call.version >= FLEXIBLE_FROM;
    let mut w = Writer::response(call.correlation_id, compact, capacity);
    w.i32(0);
    let mut session_at = 0;
    if call.version >= SESSION_FROM {
        w.i16(code.0);
        session_at = w.written();
        w.i32(session_id);
    }
    w.array_len(Some(topics));
    (w, session_at)
}

/// The beginning of a topic of so many partitions.
pub(super) fn push_topic(w: &mut Writer, version: i16, topic: &TopicKey, partitions: usize) {
    match topic {
        TopicKey::Id(id) if version >= TOPIC_ID_FROM => w.raw(&id.0),
        TopicKey::Id(_) => w.string(Some("")),
        TopicKey::Name(name) => w.string(Some(name)),
    }
    w.array_len(Some(partitions));
}

/// One partition; its records go to `pieces`.
pub(super) fn push_partition(
    w: &mut Writer,
    pieces: &mut Vec<Piece>,
    version: i16,
    index: i32,
    data: PartitionData,
) {
    w.i32(index);
    w.i16(data.code.0);
    w.i64(data.high_watermark.0);
    w.i64(data.stable.0);
    if version >= LOG_START_FROM {
        w.i64(data.log_start.0);
    }
    w.array_len(data.aborted);
    if version >= PREFERRED_REPLICA_FROM {
        w.i32(-1);
    }
    w.bytes_len(records_len(&data.records));
    for part in data.records {
        pieces.push(Piece { own_before: w.written(), records: part });
    }
    match (data.diverging, data.leader) {
        (None, None) => w.no_tags(),
        (None, Some(leader)) => leader.write(w, CURRENT_LEADER_TAG),
        (Some((epoch, end)), _) => {
            let mut value = w.tag_value();
            value.i32(epoch.0);
            value.i64(end.0);
            value.no_tags();
            w.uvarint(1);
            w.tag(DIVERGING_EPOCH_TAG, &value);
        }
    }
}

/// Stored bytes, and how many of our own bytes come before them.
pub(super) struct Piece {
    own_before: usize,
    records: Bytes,
}

/// Sets the size field and cuts our own bytes where the stored ones go in between.
pub(super) fn with_size(pieces: Vec<Piece>, w: Writer) -> SmallVec<[Bytes; 3]> {
    let mut own = w.into_inner();
    let stored: usize = pieces.iter().map(|p| p.records.len()).sum();
    let total = own.len() + stored;
    Writer::set_size(&mut own, total);
    let own = own.freeze();
    let mut parts = SmallVec::with_capacity(2 * pieces.len() + 1);
    let mut at = 0;
    for piece in pieces {
        if piece.own_before > at {
            parts.push(own.slice(at..piece.own_before));
            at = piece.own_before;
        }
        parts.push(piece.records);
    }
    if at < own.len() {
        parts.push(own.slice(at..));
    }
    parts
}
