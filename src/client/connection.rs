//! One connection to a broker, without the socket: bytes in, answers out, and the other way round.
//!
//! Flow: `call` -> **connection** -> a driver's socket -> **connection** -> the machine that asked.
//!
//! The first request is ApiVersions. A broker that does not know its version answers in version 0
//! with error 35 and, mostly, its own range; then ApiVersions is asked once more, in a version it has.
//!
//! Invariants:
//! - C1. Answers come in the order of the requests (Kafka's rule); another correlation id ends the
//!   connection, since nothing after it can be trusted.
//! - C2. Memory: at most `answer_bytes_max` of an unfinished answer, taken as it arrives, and
//!   `in_flight_max` requests without an answer.
//!
//! Deliberately absent: sockets, time, retries, TLS and SASL. After an error the connection is
//! dropped, and whoever waits on it is told so by the driver.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::client::error::ClientError;
use crate::client::versions::{Versions, api_name};
use crate::msg;
use crate::wire::frame::{self, SIZE_BYTES};
use crate::wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, KafkaMessage, KafkaRequest, OutboundFrameLimits,
    RequestResponsePair, encode_request, response_header_version_for,
};
use crate::wire::{ApiVersion, ErrorCode, StrBytes};

/// ApiVersions is asked in this version first; 5 also wants to know whom it speaks to.
const API_VERSIONS_FIRST: i16 = 4;

/// Names and limits of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// How the client calls itself (`client.id`).
    pub client_id: String,
    /// Longest answer that is taken.
    pub answer_bytes_max: usize,
    /// Longest request that is sent.
    pub request_bytes_max: usize,
    /// Requests that may wait for an answer.
    pub in_flight_max: usize,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            client_id: "klamm".to_owned(),
            answer_bytes_max: 128 << 20,
            request_bytes_max: 100 << 20,
            in_flight_max: 64,
        }
    }
}

/// What came in.
#[derive(Debug)]
pub enum Event {
    /// The versions are known; requests may be sent.
    Ready,
    /// An answer to [`Connection::send`].
    Answer(Answer),
}

/// A whole answer, still encoded.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Correlation id of the request.
    pub correlation_id: i32,
    api: &'static str,
    version: i16,
    body: Bytes,
}

/// A request that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its correlation id.
    pub correlation_id: i32,
    /// Whether an answer will come.
    pub answered: bool,
}

#[derive(Debug)]
struct InFlight {
    correlation_id: i32,
    api: &'static str,
    version: i16,
    has_tags: bool,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Connection {
    options: ConnectionOptions,
    client_id: StrBytes,
    versions: Option<Versions>,
    next_correlation_id: i32,
    in_flight: VecDeque<InFlight>,
    outgoing: BytesMut,
    incoming: BytesMut,
}

impl Connection {
    /// A new connection, with ApiVersions already in [`Self::outgoing`].
    pub fn new(options: ConnectionOptions) -> Self {
        let client_id = StrBytes::from(options.client_id.as_str());
        let mut connection = Self {
            options,
            client_id,
            versions: None,
            next_correlation_id: 0,
            in_flight: VecDeque::new(),
            outgoing: BytesMut::new(),
            incoming: BytesMut::new(),
        };
        // A request this small is always within the limits; were it not, `Ready` would not come.
        let _ = connection.ask_versions(API_VERSIONS_FIRST);
        connection
    }

    /// Versions of the broker, once they are known.
    pub fn versions(&self) -> Option<&Versions> {
        self.versions.as_ref()
    }

    /// Whether [`Self::send`] takes a request now.
    pub fn can_send(&self) -> bool {
        self.versions.is_some() && self.in_flight.len() < self.options.in_flight_max
    }

    /// Requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Bytes for the socket.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// The socket took the first `n` bytes of [`Self::outgoing`].
    pub fn on_written(&mut self, n: usize) {
        self.outgoing.advance(n);
    }

    /// Takes [`Self::outgoing`] without a copy, for a driver that sends it from where it lies.
    pub fn take_outgoing(&mut self) -> Bytes {
        self.outgoing.split().freeze()
    }

    /// Encodes `request` at the highest common version, at most `version_max`. `answered` is false
    /// for the one request that gets no answer, Produce with acks=0.
    ///
    /// # Errors
    /// [`ClientError::NotReady`], [`ClientError::InFlight`], [`ClientError::Unsupported`] and
    /// [`ClientError::Request`]. Nothing was sent, and the connection stays good.
    pub fn send<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version_max: i16,
        answered: bool,
    ) -> Result<Sent, ClientError> {
        let Some(versions) = &self.versions else {
            return Err(ClientError::NotReady(api_name::<R>()));
        };
        let version = versions.pick::<R>(version_max)?;
        let (waiting, limit) = (self.in_flight.len(), self.options.in_flight_max);
        if waiting >= limit {
            return Err(ClientError::InFlight { waiting, limit });
        }
        self.write(request, version, answered)
    }

    fn write<R: KafkaRequest>(
        &mut self,
        request: &R,
        version: i16,
        answered: bool,
    ) -> Result<Sent, ClientError> {
        let api = api_name::<R>();
        let refused = |e| ClientError::Request { api, what: format!("{e}") };
        let correlation_id = self.next_correlation_id;
        let limits = OutboundFrameLimits::new(self.options.request_bytes_max);
        let client_id = Some(self.client_id.clone());
        let api_version = ApiVersion::new(version);
        let header = response_header_version_for::<R>(api_version).map_err(refused)?;
        let out = &mut self.outgoing;
        encode_request(out, correlation_id, client_id, request, api_version, limits)
            .map_err(refused)?;
        self.next_correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
        if answered {
            let has_tags = header > 0;
            self.in_flight.push_back(InFlight { correlation_id, api, version, has_tags });
        }
        Ok(Sent { correlation_id, answered })
    }

    /// Takes bytes off the socket and appends what they complete to `out`.
    ///
    /// # Errors
    /// [`ClientError::Answer`]: drop the connection.
    pub fn on_bytes(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), ClientError> {
        self.incoming.extend_from_slice(bytes);
        while let Some(size) = self.incoming_frame()? {
            if self.incoming.len() < size {
                break;
            }
            let mut whole = self.incoming.split_to(size);
            whole.advance(SIZE_BYTES);
            let answer = self.take_answer(whole.freeze())?;
            if self.versions.is_some() {
                out.push(Event::Answer(answer));
            } else if self.on_versions(&answer)? {
                out.push(Event::Ready);
            }
        }
        Ok(())
    }

    /// Size of the frame that `incoming` begins with.
    fn incoming_frame(&self) -> Result<Option<usize>, ClientError> {
        let api = self.in_flight.front().map_or("nothing", |f| f.api);
        frame::frame_bytes(&self.incoming, self.options.answer_bytes_max)
            .map_err(|e| ClientError::Answer { api, what: e.to_string() })
    }

    fn take_answer(&mut self, mut frame: Bytes) -> Result<Answer, ClientError> {
        let unasked =
            || ClientError::Answer { api: "nothing", what: "no request waits".to_owned() };
        let InFlight { correlation_id, api, version, has_tags } =
            self.in_flight.pop_front().ok_or_else(unasked)?;
        let bad = |what: String| ClientError::Answer { api, what };
        let got = frame.try_get_i32().map_err(|_| bad("the header is cut".to_owned()))?;
        if got != correlation_id {
            return Err(bad(format!("correlation id {got} in place of {correlation_id}")));
        }
        if has_tags {
            let mut reader = frame::Reader::new(&frame);
            reader.skip_tags().map_err(|e| bad(e.to_string()))?;
            let tags = frame.len() - reader.rest().len();
            frame.advance(tags);
        }
        Ok(Answer { correlation_id, api, version, body: frame })
    }

    /// Whether the versions are now known; if not, they were asked for once more.
    fn on_versions(&mut self, answer: &Answer) -> Result<bool, ClientError> {
        let code = answer.body.get(..2).map(|b| ErrorCode(i16::from_be_bytes([b[0], b[1]])));
        if code == Some(ErrorCode::UNSUPPORTED_VERSION) && answer.version > 0 {
            let table: ApiVersionsResponse = answer.decode_as(0)?;
            let offered = Versions::of(&table).offered(ApiVersionsRequest::API_KEY.value());
            let lower = offered.map_or(0, |(_, max)| max.clamp(0, answer.version - 1));
            self.ask_versions(lower)?;
            return Ok(false);
        }
        let table: ApiVersionsResponse = answer.decode_as(answer.version)?;
        ClientError::check("ApiVersions", table.error_code, None)?;
        self.versions = Some(Versions::of(&table));
        Ok(true)
    }

    fn ask_versions(&mut self, version: i16) -> Result<(), ClientError> {
        let request = msg!(ApiVersionsRequest {
            client_software_name: "klamm".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        });
        self.write(&request, version, true).map(|_| ())
    }
}

impl Answer {
    /// What comes of a request that gets no answer, once it is written.
    pub fn nothing() -> Self {
        Self { correlation_id: -1, api: "nothing", version: -1, body: Bytes::new() }
    }

    /// Whether this is an answer of the broker.
    pub fn is_something(&self) -> bool {
        self.version >= 0
    }

    #[cfg(test)]
    pub(super) fn of(api: &'static str, version: i16, body: Bytes) -> Self {
        Self { correlation_id: 0, api, version, body }
    }

    /// Decodes the answer to a request of type `R`.
    ///
    /// # Errors
    /// [`ClientError::Answer`].
    pub fn decode<R: RequestResponsePair>(&self) -> Result<R::Response, ClientError> {
        debug_assert_eq!(self.api, api_name::<R>());
        self.decode_as(self.version)
    }

    fn decode_as<M: KafkaMessage>(&self, version: i16) -> Result<M, ClientError> {
        frame::decode(self.body.clone(), version)
            .map_err(|e| ClientError::Answer { api: self.api, what: e.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codes::Coded;
    use crate::wire::frame::Answer as Frame;
    use crate::wire::messages::api_versions_response::ApiVersion as Offer;
    use crate::wire::messages::{HeartbeatRequest, HeartbeatResponse, MetadataRequest};

    fn offers(error_code: i16, entries: &[(i16, i16, i16)]) -> ApiVersionsResponse {
        let key = |&(api_key, min_version, max_version): &(i16, i16, i16)| {
            msg!(Offer { api_key, min_version, max_version })
        };
        let api_keys = entries.iter().map(key).collect();
        msg!(ApiVersionsResponse { error_code, api_keys })
    }

    fn answer<M: Coded>(id: i32, tags: bool, version: i16, message: &M) -> Vec<u8> {
        Frame::with_header(id, tags, message, ApiVersion::new(version)).parts.concat()
    }

    /// Key, version and correlation id of the one request in `outgoing`, which is taken.
    fn asked(connection: &mut Connection) -> (i16, i16, i32) {
        let bytes = connection.outgoing().to_vec();
        connection.on_written(bytes.len());
        let mut reader = frame::Reader::new(&bytes[SIZE_BYTES..]);
        (reader.i16().unwrap(), reader.i16().unwrap(), reader.i32().unwrap())
    }

    fn ready(entries: &[(i16, i16, i16)]) -> Connection {
        let mut connection = Connection::new(ConnectionOptions::default());
        assert_eq!(asked(&mut connection), (18, 4, 0));
        let mut out = Vec::new();
        connection.on_bytes(&answer(0, false, 4, &offers(0, entries)), &mut out).unwrap();
        assert!(matches!(out[..], [Event::Ready]));
        connection
    }

    #[test]
    fn versions_are_asked_first_and_nothing_is_sent_before_they_are_known() {
        let mut connection = Connection::new(ConnectionOptions::default());
        let early = connection.send(&MetadataRequest::default(), i16::MAX, true);
        assert!(matches!(early, Err(ClientError::NotReady("Metadata"))));
        let mut connection = ready(&[(3, 0, 9)]);
        connection.send(&MetadataRequest::default(), i16::MAX, true).unwrap();
        assert_eq!(asked(&mut connection), (3, 9, 1));
    }

    #[test]
    fn a_broker_without_our_version_of_api_versions_is_asked_in_one_it_has() {
        for (offered, then) in [(&[(18, 0, 2)][..], 2), (&[][..], 0), (&[(18, 0, 9)][..], 3)] {
            let mut connection = Connection::new(ConnectionOptions::default());
            asked(&mut connection);
            let mut out = Vec::new();
            connection.on_bytes(&answer(0, false, 0, &offers(35, offered)), &mut out).unwrap();
            assert!(out.is_empty());
            assert_eq!(asked(&mut connection), (18, then, 1));
            let table = offers(0, &[(3, 0, 1)]);
            connection.on_bytes(&answer(1, false, then, &table), &mut out).unwrap();
            assert!(matches!(out[..], [Event::Ready]));
        }
    }

    #[test]
    fn answers_are_cut_from_the_stream_wherever_it_is_split() {
        for version in [3, 4] {
            let bytes: Vec<u8> = (1..=2)
                .flat_map(|id| {
                    let beat = msg!(HeartbeatResponse { error_code: 20 + id });
                    answer(i32::from(id), version == 4, version, &beat)
                })
                .collect();
            for cut in 0..bytes.len() {
                let mut connection = ready(&[(12, 0, version)]);
                let mut out = Vec::new();
                for _ in 0..2 {
                    connection.send(&HeartbeatRequest::default(), i16::MAX, true).unwrap();
                }
                connection.on_bytes(&bytes[..cut], &mut out).unwrap();
                connection.on_bytes(&bytes[cut..], &mut out).unwrap();
                let codes: Vec<_> = out
                    .iter()
                    .map(|event| match event {
                        Event::Answer(a) => a.decode::<HeartbeatRequest>().unwrap().error_code,
                        Event::Ready => panic!("ready twice"),
                    })
                    .collect();
                assert_eq!(codes, [21, 22], "cut at {cut}");
                assert_eq!(connection.in_flight(), 0);
            }
        }
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        let beat = answer(7, false, 3, &HeartbeatResponse::default());
        let mut connection = ready(&[(12, 0, 3)]);
        assert!(connection.on_bytes(&beat, &mut Vec::new()).is_err());
        let mut connection = ready(&[(12, 0, 3)]);
        connection.send(&HeartbeatRequest::default(), i16::MAX, true).unwrap();
        let refused = connection.on_bytes(&beat, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(
            refused,
            "the answer to Heartbeat cannot be read: correlation id 7 in place of 1"
        );
    }

    #[test]
    fn a_length_above_the_limit_is_refused_and_takes_no_memory() {
        let mut connection = ready(&[(12, 0, 3)]);
        let huge = i32::MAX.to_be_bytes();
        assert!(connection.on_bytes(&huge, &mut Vec::new()).is_err());
    }

    #[test]
    fn requests_in_flight_are_bounded() {
        let mut connection = ready(&[(12, 0, 3)]);
        while connection.can_send() {
            connection.send(&HeartbeatRequest::default(), i16::MAX, true).unwrap();
        }
        assert_eq!(connection.in_flight(), ConnectionOptions::default().in_flight_max);
        let more = connection.send(&HeartbeatRequest::default(), i16::MAX, true);
        assert!(matches!(more, Err(ClientError::InFlight { waiting: 64, limit: 64 })));
    }
}
