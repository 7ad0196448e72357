//! What goes into a producer and what comes out: settings, records, refusals, deliveries.

use std::time::Duration;

use crate::base::{Moment, Offset};
use crate::client::cluster::PartitionName;
use crate::client::error::ClientError;
use crate::wire::codec::Codec;
use crate::wire::record::RecordHeader;

/// What a record may add to a batch beyond its key, value and headers.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 32;
/// What a header may add beyond its key and value.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// Settings, in the words of Kafka's producer.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// `acks`: -1 for all in-sync replicas, 1 for the leader, 0 for no answer.
    pub acks: i16,
    /// `compression.type`.
    pub codec: Codec,
    /// `enable.idempotence`.
    pub idempotent: bool,
    /// `batch.size`.
    pub batch_bytes: usize,
    /// `max.request.size`, for one record and for one request.
    pub request_bytes_max: usize,
    /// `buffer.memory`.
    pub buffer_bytes_max: usize,
    /// `linger.ms`.
    pub linger: Duration,
    /// `request.timeout.ms`.
    pub request_timeout_ms: u64,
    /// `retries`.
    pub retries_max: u32,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `delivery.timeout.ms`.
    pub delivery_timeout: Duration,
    /// `max.in.flight.requests.per.connection`.
    pub in_flight_max: usize,
    /// Where records without a key begin.
    pub seed: u64,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: -1,
            codec: Codec::None,
            idempotent: true,
            batch_bytes: 16 << 10,
            request_bytes_max: 1 << 20,
            buffer_bytes_max: 32 << 20,
            linger: Duration::from_millis(5),
            request_timeout_ms: 30_000,
            retries_max: u32::MAX,
            retry_backoff: Duration::from_millis(100),
            delivery_timeout: Duration::from_mins(2),
            in_flight_max: 5,
            seed: 0,
        }
    }
}

/// A record to produce.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; `None` leaves it to the key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key, or null.
    pub key: Option<&'a [u8]>,
    /// Value, or null.
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [RecordHeader<'a>],
}

impl NewRecord<'_> {
    /// The most bytes that it adds to a batch.
    pub fn bytes_max(&self) -> usize {
        let len = |b: Option<&[u8]>| b.map_or(0, <[u8]>::len);
        let header =
            |(key, value): &RecordHeader<'_>| key.len() + len(*value) + HEADER_OVERHEAD_BYTES;
        len(self.key)
            + len(self.value)
            + self.headers.iter().map(header).sum::<usize>()
            + RECORD_OVERHEAD_BYTES
    }
}

/// Why a record was not taken. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushRefused {
    /// Wait for deliveries, then push it again.
    #[error("{buffered} B wait to be sent, the buffer has {limit} B")]
    BufferFull {
        /// Bytes that wait.
        buffered: usize,
        /// `buffer.memory`.
        limit: usize,
    },
    /// The cluster has not described the topic; want it, and push again when it has.
    #[error("topic {0} is not in the metadata")]
    TopicUnknown(String),
    /// The topic has no such partition.
    #[error("topic {topic} has {count} partitions, not one with index {partition}")]
    PartitionUnknown {
        /// The topic.
        topic: String,
        /// The index asked for.
        partition: i32,
        /// The number it has.
        count: usize,
    },
    /// It would not fit into a request by itself.
    #[error("a record of {size} B is over max.request.size, {limit} B")]
    TooLarge {
        /// Bytes of the record.
        size: usize,
        /// `max.request.size`.
        limit: usize,
    },
}

/// What became of a batch.
#[derive(Debug)]
pub struct Delivery {
    /// Where it was to go.
    pub partition: PartitionName,
    /// Number of records.
    pub count: i32,
    /// When the first of them was pushed.
    pub since: Moment,
    /// Offset of the first (-1 when the broker does not say, as for acks=0), or why there is none.
    pub result: Result<Offset, ClientError>,
}
