//! A client of raw frames: what a test sends is exactly what it says, in the version that it says.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use klamm::msg;
use klamm::wire::codec::Codec;
use klamm::wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm::wire::messages::fetch_response::PartitionData;
use klamm::wire::messages::metadata_request::MetadataRequestTopic;
use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm::wire::messages::produce_response::PartitionProduceResponse;
use klamm::wire::messages::{
    CreateTopicsRequest, FetchRequest, FetchResponse, MetadataRequest, OutboundFrameLimits,
    ProduceRequest, ProduceResponse, RequestResponsePair, encode_request,
    response_header_version_for,
};
use klamm::wire::record::{BatchBuilder, ProducerStamp};
use klamm::wire::{ApiVersion, StrBytes, frame};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// One connection.
pub struct Wire {
    /// The socket.
    pub socket: TcpStream,
    correlation_id: i32,
}

impl Wire {
    /// Connects.
    pub fn connect(address: (&str, u16)) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(ANSWER)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, correlation_id: 0 }
    }

    /// A request as it goes over the wire.
    pub fn encode<R: RequestResponsePair>(&mut self, request: &R, version: i16) -> BytesMut {
        self.correlation_id += 1;
        let mut out = BytesMut::new();
        let (client, limits) = (Some(StrBytes::from("wire")), OutboundFrameLimits::new(1 << 30));
        let version = ApiVersion::new(version);
        encode_request(&mut out, self.correlation_id, client, request, version, limits).unwrap();
        out
    }

    /// Sends a request without waiting.
    pub fn send<R: RequestResponsePair>(&mut self, request: &R, version: i16) {
        let bytes = self.encode(request, version);
        self.socket.write_all(&bytes).unwrap();
    }

    /// Asks and waits.
    pub fn ask<R: RequestResponsePair>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        self.answer::<R>(version)
    }

    /// The next answer, to an `R`.
    pub fn answer<R: RequestResponsePair>(&mut self, version: i16) -> R::Response {
        let frame = self.frame().unwrap().expect("an answer, not the end of the connection");
        assert_eq!(frame[..4], self.correlation_id.to_be_bytes(), "correlation id");
        let tags = response_header_version_for::<R>(ApiVersion::new(version)).unwrap() > 0;
        frame::decode(frame.slice(4 + usize::from(tags)..), version).unwrap()
    }

    /// The next frame without its size; `None` when the broker has closed the connection.
    pub fn frame(&mut self) -> io::Result<Option<Bytes>> {
        let mut size = [0; 4];
        match self.socket.read_exact(&mut size) {
            Ok(()) => {}
            Err(e) if is_end(&e) => return Ok(None),
            Err(e) => return Err(e),
        }
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        self.socket.read_exact(&mut frame)?;
        Ok(Some(frame.into()))
    }

    /// Whether the broker closes the connection without another answer.
    pub fn is_closed(&mut self) -> bool {
        self.frame().expect("the end of the connection, not silence").is_none()
    }

    /// Creates a topic whose partitions all live on the first node.
    pub fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let config = |&(name, value): &(&str, &str)| {
            msg!(CreatableTopicConfig { name: name.into(), value: Some(value.into()) })
        };
        let topic = msg!(CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
        });
        let request = msg!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000 });
        let answer = self.ask(&request, 7);
        assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
        let named = msg!(MetadataRequestTopic { name: Some(name.into()) });
        let metadata =
            msg!(MetadataRequest { topics: Some(vec![named]), allow_auto_topic_creation: false });
        super::until(ANSWER, "the topic in the metadata", || {
            let answer = self.ask(&metadata, 12);
            (answer.topics[0].error_code == 0).then_some(())
        });
    }

    /// Produces `records` (one batch as a rule) to a partition, acks=all.
    pub fn produce(&mut self, topic: &str, partition: i32, records: Bytes) -> Produced {
        self.produce_at(9, topic, partition, records)
    }

    /// The same, in a version.
    pub fn produce_at(&mut self, version: i16, topic: &str, at: i32, records: Bytes) -> Produced {
        self.ask(&produce_request(topic, at, -1, records), version).one()
    }

    /// Fetches from `offset`, at once.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        self.ask(&fetch_request(topic, partition, offset), 12).one()
    }
}

/// Whether this error is what the end of a connection looks like.
fn is_end(e: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    [BrokenPipe, ConnectionReset, UnexpectedEof].contains(&e.kind())
}

/// What a Produce of one partition answers.
pub type Produced = PartitionProduceResponse;

/// The one partition of an answer about one.
pub trait One {
    /// What it is.
    type Part;
    /// Takes it out.
    fn one(self) -> Self::Part;
}

impl One for ProduceResponse {
    type Part = Produced;
    fn one(mut self) -> Produced {
        self.responses[0].partition_responses.remove(0)
    }
}

impl One for FetchResponse {
    type Part = PartitionData;
    fn one(mut self) -> PartitionData {
        assert_eq!(self.error_code, 0, "{self:?}");
        self.responses[0].partitions.remove(0)
    }
}

/// A Produce of one partition, for versions below 13.
pub fn produce_request(topic: &str, index: i32, acks: i16, records: Bytes) -> ProduceRequest {
    let data = msg!(PartitionProduceData { index, records: Some(records) });
    let topic = msg!(TopicProduceData { name: topic.into(), partition_data: vec![data] });
    msg!(ProduceRequest { acks, timeout_ms: 10_000, topic_data: vec![topic] })
}

/// A Fetch of one partition that does not wait, for versions below 13.
pub fn fetch_request(topic: &str, partition: i32, fetch_offset: i64) -> FetchRequest {
    let asked = msg!(FetchPartition { partition, fetch_offset, partition_max_bytes: 10 << 20 });
    let topic = msg!(FetchTopic { topic: topic.into(), partitions: vec![asked] });
    msg!(FetchRequest { max_bytes: 50 << 20, topics: vec![topic] })
}

/// An uncompressed batch without keys, from no idempotent producer, created now.
pub fn batch(values: &[&str]) -> Bytes {
    batch_of(values, Codec::None, ProducerStamp::NONE)
}

/// A batch without keys, created now.
pub fn batch_of(values: &[&str], codec: Codec, producer: ProducerStamp) -> Bytes {
    let now = klamm::client::blocking::Clock::wall().0;
    let mut builder = BatchBuilder::default();
    for value in values {
        builder.push(now, None, Some(value.as_bytes()), &[]);
    }
    builder.build(codec, producer).unwrap()
}

/// A batch with `bytes` put over it at `at`, and a checksum that fits.
pub fn patched(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut batch = batch.to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    klamm::wire::batch::set_crc(&mut batch);
    batch.into()
}

/// The fields of an idempotent producer's batch.
pub fn stamp(id: i64, epoch: i16, sequence: i32) -> ProducerStamp {
    ProducerStamp { id, epoch, sequence, transactional: false }
}
