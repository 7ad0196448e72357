//! For the tests of this folder: requests read back from what a machine wants sent, and answers.

use bytes::Bytes;

use crate::client::call::Outgoing;
use crate::client::connection::{Answer, Connection, ConnectionOptions, Event};
use crate::client::versions::api_name;
use crate::msg;
use crate::wire::frame::{self, RequestHeader, SIZE_BYTES};
use crate::wire::messages::api_versions_response::ApiVersion as Offer;
use crate::wire::messages::{ApiVersionsResponse, KafkaMessage, RequestResponsePair};
use crate::wire::{ApiVersion, messages};

/// Reads a request back, from the bytes that a connection to a broker of our own versions makes.
pub(super) fn request<R: RequestResponsePair>(outgoing: &Outgoing) -> R {
    request_up_to(outgoing, R::SUPPORTED_VERSIONS.max().value())
}

/// As [`request`], with a broker that knows no version above `version_max`.
pub(super) fn request_up_to<R: RequestResponsePair>(outgoing: &Outgoing, version_max: i16) -> R {
    assert_eq!(outgoing.call.api(), api_name::<R>());
    let mut connection = Connection::new(ConnectionOptions::default());
    let greeting = connection.outgoing().len();
    connection.on_written(greeting);
    let offer = msg!(Offer {
        api_key: R::API_KEY.value(),
        min_version: R::SUPPORTED_VERSIONS.min().value(),
        max_version: version_max,
    });
    let table = msg!(ApiVersionsResponse { api_keys: vec![offer] });
    let hello = frame::Answer::with_header(0, false, &table, ApiVersion::new(4)).parts.concat();
    let mut out = Vec::new();
    connection.on_bytes(&hello, &mut out).unwrap();
    assert!(matches!(out[..], [Event::Ready]));
    outgoing.call.write(&mut connection).unwrap();
    let bytes = &connection.outgoing()[SIZE_BYTES..];
    let flexible = |_, version| R::is_flexible(ApiVersion::new(version));
    let (header, body) = RequestHeader::parse(bytes, flexible).unwrap();
    frame::decode(Bytes::copy_from_slice(body), header.version).unwrap()
}

/// An answer to `R`, encoded at `version`.
pub(super) fn answer<R: RequestResponsePair>(response: &R::Response, version: i16) -> Answer {
    let mut body = messages_bytes(response, version);
    Answer::of(api_name::<R>(), version, body.split_off(0))
}

fn messages_bytes<M: KafkaMessage>(message: &M, version: i16) -> Bytes {
    let mut out = bytes::BytesMut::new();
    message.encode_into(&mut out, ApiVersion::new(version)).unwrap();
    out.freeze()
}

/// One broker, node 1, that leads every partition of the topics with these counts.
pub(super) fn one_broker(topics: &[(&str, i32)]) -> messages::MetadataResponse {
    use messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    let partition = |partition_index| {
        msg!(MetadataResponsePartition { partition_index, leader_id: 1, leader_epoch: 0 })
    };
    let topic = |&(name, count): &(&str, i32)| {
        msg!(MetadataResponseTopic {
            name: Some(name.into()),
            partitions: (0..count).map(partition).collect(),
        })
    };
    msg!(messages::MetadataResponse {
        brokers: vec![msg!(MetadataResponseBroker { node_id: 1, host: "h".into(), port: 9 })],
        controller_id: 1,
        topics: topics.iter().map(topic).collect(),
    })
}
