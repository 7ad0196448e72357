//! The fetch response, put together of small pieces of our own and of stored batches as they lie.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::api::fetch::{FLEXIBLE_FROM, SESSION_FROM, TOPIC_ID_FROM, records_len};
use crate::api::leaders::{CurrentLeader, Leaders};
use crate::base::{LeaderEpoch, Offset};
use crate::image::Image;
use crate::shard::Call;
use crate::shard::sessions::{TopicKey, Wanted};
use crate::wire::ErrorCode;
use crate::wire::codes::Codes;
use crate::wire::frame::Answer;
use crate::wire::writer::Writer;

const LOG_START_FROM: i16 = 5;
const PREFERRED_REPLICA_FROM: i16 = 11;
const CURRENT_LEADER_FROM: i16 = 16;
/// Bytes of a response without partitions, and of a partition's row.
const ROOM: usize = 96;
const ROOM_OF_ROW: usize = 64;
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

/// The response as it grows; partitions of one topic that come in a row are one topic in it.
pub(super) struct Encoder {
    version: i16,
    w: Writer,
    /// Where the session's id is.
    session_at: usize,
    /// Where the number of topics is, and how many there are.
    topics_at: usize,
    topics: usize,
    last: Option<LastTopic>,
    pieces: Vec<Piece>,
    leaders: Leaders,
    errors: Codes,
}

/// The topic that goes on.
struct LastTopic {
    key: TopicKey,
    /// Where its number of partitions is, and how many there are.
    count_at: usize,
    count: usize,
    /// What was written as their number.
    expected: usize,
}

/// What is written as the number of topics before it is known.
const TOPICS_EXPECTED: usize = 1;

impl Encoder {
    /// A response for which `rows` partitions are expected.
    pub(super) fn new(call: &Call, code: ErrorCode, session_id: i32, rows: usize) -> Self {
        let version = call.version;
        let compact = version >= FLEXIBLE_FROM;
        let mut w = Writer::response(call.correlation_id, compact, ROOM + ROOM_OF_ROW * rows);
        w.i32(0);
        let mut session_at = 0;
        if version >= SESSION_FROM {
            w.i16(code.0);
            session_at = w.written();
            w.i32(session_id);
        }
        let topics_at = w.written();
        w.array_len(Some(TOPICS_EXPECTED));
        let (pieces, leaders, mut errors) = (Vec::new(), Leaders::default(), Codes::default());
        errors.add(code.0);
        Self { version, w, session_at, topics_at, topics: 0, last: None, pieces, leaders, errors }
    }

    /// Appends a partition; `rows` more of its topic, itself among them, are expected.
    pub(super) fn push(
        &mut self,
        image: &Image,
        wanted: &Wanted,
        mut data: PartitionData,
        rows: usize,
    ) {
        self.errors.add(data.code.0);
        data.leader = self.leader_of(image, wanted, data.code);
        if self.last.as_ref().is_none_or(|topic| topic.key != wanted.topic) {
            self.end_topic();
            self.begin_topic(&wanted.topic, rows);
        }
        if let Some(topic) = &mut self.last {
            topic.count += 1;
        }
        self.push_partition(wanted.partition, data);
    }

    fn begin_topic(&mut self, key: &TopicKey, rows: usize) {
        let w = &mut self.w;
        match key {
            TopicKey::Id(id) if self.version >= TOPIC_ID_FROM => w.raw(&id.0),
            TopicKey::Id(_) => w.string(Some("")),
            TopicKey::Name(name) => w.string(Some(name)),
        }
        let count_at = w.written();
        w.array_len(Some(rows));
        self.topics += 1;
        self.last = Some(LastTopic { key: key.clone(), count_at, count: 0, expected: rows });
    }

    fn end_topic(&mut self) {
        if let Some(topic) = self.last.take() {
            self.set_count(topic.count_at, topic.expected, topic.count);
            self.w.no_tags();
        }
    }

    fn set_count(&mut self, at: usize, expected: usize, count: usize) {
        let moved = self.w.set_array_len(at, expected, count);
        for piece in self.pieces.iter_mut().rev().take_while(|p| moved != 0 && p.own_before > at) {
            piece.own_before = piece.own_before.saturating_add_signed(moved);
        }
    }

    /// The session that the response opens after all.
    pub(super) fn set_session(&mut self, id: i32) {
        self.w.set_i32(self.session_at, id);
    }

    /// Bytes of our own so far.
    pub(super) fn written(&self) -> usize {
        self.w.written()
    }

    pub(super) fn finish(mut self) -> Answer {
        self.end_topic();
        self.set_count(self.topics_at, TOPICS_EXPECTED, self.topics);
        self.leaders.end(&mut self.w);
        let parts = with_size(self.pieces, self.w);
        Answer { parts, errors: self.errors, ..Answer::default() }
    }

    /// Who leads the partition, where the code says that it is not here.
    fn leader_of(
        &mut self,
        image: &Image,
        wanted: &Wanted,
        code: ErrorCode,
    ) -> Option<CurrentLeader> {
        let moved = [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH];
        match wanted.topic {
            TopicKey::Id(topic) if moved.contains(&code) && self.version >= CURRENT_LEADER_FROM => {
                self.leaders.find(image, topic, wanted.partition)
            }
            _ => None,
        }
    }

    fn push_partition(&mut self, index: i32, data: PartitionData) {
        let w = &mut self.w;
        w.i32(index);
        w.i16(data.code.0);
        w.i64(data.high_watermark.0);
        w.i64(data.stable.0);
        if self.version >= LOG_START_FROM {
            w.i64(data.log_start.0);
        }
        w.array_len(data.aborted);
        if self.version >= PREFERRED_REPLICA_FROM {
            w.i32(-1);
        }
        w.bytes_len(records_len(&data.records));
        for part in data.records {
            self.pieces.push(Piece { own_before: w.written(), records: part });
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
}

/// Stored bytes, and how many of our own bytes come before them.
struct Piece {
    own_before: usize,
    records: Bytes,
}

/// Sets the size field and cuts our own bytes where the stored ones go in between.
fn with_size(pieces: Vec<Piece>, w: Writer) -> SmallVec<[Bytes; 3]> {
    let mut own = w.into_inner();
    let stored: usize = pieces.iter().map(|p| p.records.len()).sum();
    let total = own.len() + stored;
    Writer::set_size(&mut own, total);
    let own = Bytes::from(own);
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
