//! ListOffsets (key 2): the offset at a time, or at one of the named places of a log.
//!
//! | timestamp | what is asked for | from version |
//! |---|---|---|
//! | -1 | the high watermark, or the last stable offset for read_committed | 1 |
//! | -2 | the log start offset | 1 |
//! | -3 | the record with the largest timestamp (KIP-734) | 7 |
//! | -4 | the start of what is stored locally (KIP-405): the log start here | 8 |
//! | -5, -6 | tiered offsets (KIP-405, KIP-1023): there is no tiering | 9, 11 |
//! | >= 0 | the first record that is not older | 1 |
//!
//! A lookup that needs the disk parks the request until the back has read.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::Outcome;
use crate::base::{LeaderEpoch, Moment, Offset};
use crate::msg;
use crate::runtime::network::ConnectionId;
use crate::shard::park::ParkedFetch;
use crate::shard::{Call, Shard, Slot};
use crate::storage::{Find, Log, LogId};
use crate::wire::ErrorCode;
use crate::wire::frame::Answer;
use crate::wire::messages::list_offsets_request::ListOffsetsPartition as Asked;
use crate::wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse as Row, ListOffsetsTopicResponse as Topic,
};
use crate::wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
const READ_COMMITTED: i8 = 1;
const LEADER_EPOCH_FROM: i16 = 4;
/// A lookup that the disk does not answer for this long is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, request: ListOffsetsRequest) -> Outcome {
    let deadline = shard.now + GIVE_UP_AFTER;
    let mut parked = Parked { call: call.clone(), request, deadline };
    if let Some(answer) = parked.look(shard, false) {
        Outcome::Answer(answer)
    } else {
        shard.fetches.park(Box::new(parked));
        Outcome::Parked
    }
}

struct Parked {
    call: Call,
    request: ListOffsetsRequest,
    deadline: Moment,
}

impl ParkedFetch for Parked {
    fn slot(&self) -> Slot {
        self.call.slot
    }

    fn deadline(&self) -> Moment {
        self.deadline
    }

    fn size_bytes(&self) -> usize {
        let asked: usize = self.request.topics.iter().map(|t| t.partitions.len()).sum();
        asked * size_of::<Asked>()
    }

    fn look(&mut self, shard: &mut Shard, expired: bool) -> Option<Answer> {
        let mut topics = Vec::new();
        let mut waits = false;
        for topic in &self.request.topics {
            let mut seen = BTreeSet::new();
            let mut twice = BTreeSet::new();
            for asked in &topic.partitions {
                if !seen.insert(asked.partition_index) {
                    twice.insert(asked.partition_index);
                }
            }
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                if twice.contains(&asked.partition_index) {
                    continue;
                }
                match self.partition(shard, &topic.name, asked) {
                    Ok(Some(row)) => partitions.push(row),
                    Ok(None) if expired => {
                        partitions
                            .push(failed(asked.partition_index, ErrorCode::REQUEST_TIMED_OUT));
                    }
                    Ok(None) => waits = true,
                    Err(code) => partitions.push(failed(asked.partition_index, code)),
                }
            }
            let refused = twice.iter().map(|&p| failed(p, ErrorCode::INVALID_REQUEST));
            partitions.extend(refused);
            topics.push(msg!(Topic { name: topic.name.clone(), partitions }));
        }
        (!waits).then(|| self.call.answer(&msg!(ListOffsetsResponse { topics })))
    }
}

fn failed(partition_index: i32, code: ErrorCode) -> Row {
    msg!(Row { partition_index, error_code: code.0, timestamp: -1, offset: -1, leader_epoch: -1 })
}

impl Parked {
    fn partition(
        &self,
        shard: &mut Shard,
        topic: &str,
        asked: &Asked,
    ) -> Result<Option<Row>, ErrorCode> {
        let log = shard.partitions.find(topic, asked.partition_index)?;
        let partition = shard.partitions.get(log).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
        let leader = &partition.leader;
        leader.check_epoch(LeaderEpoch(asked.current_leader_epoch))?;
        let state = shard.store.log(log).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
        let is_readable = asked.timestamp == EARLIEST && state.readable_end() > state.log_start();
        if state.is_failed() && !is_readable {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        let committed = self.request.isolation_level == READ_COMMITTED;
        let end = if committed { leader.last_stable_offset() } else { leader.high_watermark() };
        let since = |version| self.call.version >= version;
        let row = |offset: Offset, timestamp: i64, epoch: Option<LeaderEpoch>| {
            let leader_epoch = epoch.filter(|_| since(LEADER_EPOCH_FROM)).map_or(-1, |e| e.0);
            let partition_index = asked.partition_index;
            Ok(Some(msg!(Row { partition_index, offset: offset.0, timestamp, leader_epoch })))
        };
        match asked.timestamp {
            LATEST => row(end, -1, Some(leader.epoch())),
            EARLIEST => row(state.log_start(), -1, start_epoch(state)),
            EARLIEST_LOCAL if since(8) => row(state.log_start(), -1, start_epoch(state)),
            LATEST_TIERED if since(9) => row(Offset(-1), -1, None),
            EARLIEST_PENDING_UPLOAD if since(11) => row(Offset(-1), -1, None),
            MAX_TIMESTAMP if since(7) => {
                let found = shard.store.max_timestamp(log, end).map_err(|e| ErrorCode::from(&e))?;
                self.found(shard, log, found, row)
            }
            at if at >= 0 => {
                let found = shard.store.find_timestamp(log, at, end);
                self.found(shard, log, found.map_err(|e| ErrorCode::from(&e))?, row)
            }
            _ => Err(ErrorCode::UNSUPPORTED_VERSION),
        }
    }

    fn found(
        &self,
        shard: &mut Shard,
        log: LogId,
        found: Find,
        row: impl Fn(Offset, i64, Option<LeaderEpoch>) -> Result<Option<Row>, ErrorCode>,
    ) -> Result<Option<Row>, ErrorCode> {
        match found {
            Find::Ready(None) => row(Offset(-1), -1, None),
            Find::Ready(Some((offset, timestamp, epoch))) => row(offset, timestamp, Some(epoch)),
            Find::Pending => {
                if let Some(partition) = shard.partitions.get_mut(log) {
                    partition.watch(ConnectionId(self.call.slot.connection));
                }
                Ok(None)
            }
        }
    }
}

/// Epoch of the earliest record; the first one that is known covers the log start.
fn start_epoch(log: &Log) -> Option<LeaderEpoch> {
    let (epoch, start) = log.epochs().earliest()?;
    (start <= log.log_start()).then_some(epoch)
}
