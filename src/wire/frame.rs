//! Frames and headers: what surrounds every request and response.
//!
//! ```text
//! request:  size i32 | api key i16 | version i16 | correlation i32 | client id | [tags] | body
//! response: size i32 | correlation i32 | [tags] | body
//! ```
//!
//! `size` counts what follows it. The tag byte is there when the API version is flexible (KIP-482),
//! but for ApiVersions, whose response header never has one. The client id keeps its 2-byte length
//! in both forms.

use bytes::{Bytes, BytesMut};
use kafka_wire_core::{ApiVersion, DecodeLimits, Decoder, KafkaDecode};
use smallvec::{SmallVec, smallvec};

use crate::wire::codes::{Coded, Codes};

/// Bytes of the size field.
pub const SIZE_BYTES: usize = 4;

/// The head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// Numeric API key.
    pub api_key: i16,
    /// Version of that API.
    pub version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
}

/// The frame cannot be read; the connection is closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The size field is negative or over `socket.request.max.bytes`.
    #[error("a frame of {size_bytes} B is outside 0..={limit_bytes}")]
    Size {
        /// What the field says.
        size_bytes: i32,
        /// The limit in force.
        limit_bytes: usize,
    },
    /// More elements than one request may have.
    #[error("the request names more than {limit} things")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The header ends early or holds no UTF-8.
    #[error("the request header is malformed")]
    Header,
    /// The body is not what its version says.
    #[error("the request body is malformed: {0}")]
    Body(#[from] kafka_wire_core::DecodeError),
}

/// Size of the frame that begins at `bytes`, size field included; `None` while that is not there.
///
/// # Errors
/// [`FrameError::Size`].
pub fn frame_bytes(bytes: &[u8], limit_bytes: usize) -> Result<Option<usize>, FrameError> {
    let Some((size, _)) = bytes.split_first_chunk::<SIZE_BYTES>() else { return Ok(None) };
    let size_bytes = i32::from_be_bytes(*size);
    match usize::try_from(size_bytes) {
        Ok(size) if size <= limit_bytes => Ok(Some(size + SIZE_BYTES)),
        _ => Err(FrameError::Size { size_bytes, limit_bytes }),
    }
}

impl<'a> RequestHeader<'a> {
    /// Reads the header of a frame (without its size field) and returns it with the rest.
    /// `is_flexible` says of (key, version) whether the header has tags.
    ///
    /// # Errors
    /// [`FrameError::Header`].
    pub fn parse(
        frame: &'a [u8],
        is_flexible: impl Fn(i16, i16) -> bool,
    ) -> Result<(Self, &'a [u8]), FrameError> {
        let mut reader = Reader::new(frame);
        let header = Self {
            api_key: reader.i16()?,
            version: reader.i16()?,
            correlation_id: reader.i32()?,
            client_id: reader.nullable_string()?,
        };
        if is_flexible(header.api_key, header.version) {
            reader.skip_tags()?;
        }
        Ok((header, reader.rest()))
    }
}

/// A cursor over a request of the hot path, which is read without an allocation.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`FrameError::Header`] when fewer are left; so for all readers below.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], FrameError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(FrameError::Header)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(FrameError::Header)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn i8(&mut self) -> Result<i8, FrameError> {
        self.array().map(i8::from_be_bytes)
    }

    /// Two bytes, big-endian.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn i16(&mut self) -> Result<i16, FrameError> {
        self.array().map(i16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn i32(&mut self) -> Result<i32, FrameError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn i64(&mut self) -> Result<i64, FrameError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A topic id.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn uuid(&mut self) -> Result<[u8; 16], FrameError> {
        self.array()
    }

    /// An unsigned varint of at most five bytes.
    ///
    /// # Errors
    /// As [`Self::take`], also when it does not end.
    pub fn uvarint(&mut self) -> Result<u32, FrameError> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| FrameError::Header);
            }
        }
        Err(FrameError::Header)
    }

    /// A length, compact (varint, plus one) or plain of `plain_bytes` 2 or 4; -1 is null.
    fn len(&mut self, compact: bool, plain_bytes: usize) -> Result<Option<usize>, FrameError> {
        let len = match (compact, plain_bytes) {
            (true, _) => i64::from(self.uvarint()?) - 1,
            (false, 2) => i64::from(self.i16()?),
            (false, _) => i64::from(self.i32()?),
        };
        if len == -1 {
            return Ok(None);
        }
        usize::try_from(len).map(Some).map_err(|_| FrameError::Header)
    }

    /// The count of an array that is not null; never above the bytes that are left.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn array_len(&mut self, compact: bool) -> Result<usize, FrameError> {
        self.nullable_array_len(compact)?.ok_or(FrameError::Header)
    }

    /// The count of an array that may be null; never above the bytes that are left.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn nullable_array_len(&mut self, compact: bool) -> Result<Option<usize>, FrameError> {
        match self.len(compact, 4)? {
            Some(n) if n > self.rest.len() => Err(FrameError::Header),
            len => Ok(len),
        }
    }

    /// A string that is not null.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn string(&mut self, compact: bool) -> Result<&'a str, FrameError> {
        let len = self.len(compact, 2)?.ok_or(FrameError::Header)?;
        std::str::from_utf8(self.take(len)?).map_err(|_| FrameError::Header)
    }

    /// A string that may be null, with a 2-byte length.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn nullable_string(&mut self) -> Result<Option<&'a str>, FrameError> {
        self.nullable_string_of(false)
    }

    /// A string that may be null.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn nullable_string_of(&mut self, compact: bool) -> Result<Option<&'a str>, FrameError> {
        let Some(len) = self.len(compact, 2)? else { return Ok(None) };
        std::str::from_utf8(self.take(len)?).map(Some).map_err(|_| FrameError::Header)
    }

    /// Bytes that may be null.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn nullable_bytes(&mut self, compact: bool) -> Result<Option<&'a [u8]>, FrameError> {
        match self.len(compact, 4)? {
            None => Ok(None),
            Some(len) => self.take(len).map(Some),
        }
    }

    /// Tagged fields of which none is needed.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn skip_tags(&mut self) -> Result<(), FrameError> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let size = self.uvarint()?;
            self.take(size as usize)?;
        }
        Ok(())
    }
}

/// Decodes a whole body; bytes left over are an error.
///
/// # Errors
/// [`FrameError::Body`].
pub fn decode<M: KafkaDecode>(body: Bytes, version: i16) -> Result<M, FrameError> {
    let (message, decoder) = decode_front(body, version, DecodeLimits::default())?;
    decoder.finish()?;
    Ok(message)
}

/// Decodes the body of a request. As in Kafka, bytes left over mean nothing: librdkafka 2.16 sends
/// three of them when it asks for the metadata of all topics. A list may have `items_max` items.
///
/// # Errors
/// [`FrameError::Body`].
pub fn decode_request<M: KafkaDecode>(
    body: Bytes,
    version: i16,
    items_max: usize,
) -> Result<M, FrameError> {
    let mut limits = DecodeLimits::default();
    limits.max_array_elements = items_max;
    Ok(decode_front(body, version, limits)?.0)
}

fn decode_front<M: KafkaDecode>(
    body: Bytes,
    version: i16,
    limits: DecodeLimits,
) -> Result<(M, Decoder), FrameError> {
    let mut decoder = Decoder::new(body, limits)?;
    let message = M::decode(&mut decoder, ApiVersion::new(version))?;
    Ok((message, decoder))
}

/// One response, whole: size, header and body. Parts after the first are stored batches, which go
/// to the socket from where they lie.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Bytes in the order of the wire: nearly always our own, those of one partition, our own.
    pub parts: SmallVec<[Bytes; 3]>,
    /// The response could not be encoded, which is a defect of its handler: the connection must be
    /// closed, since the client would wait for ever.
    pub is_lost: bool,
    /// The error codes in it.
    pub errors: Codes,
}

impl Answer {
    /// One that could not be encoded.
    pub fn lost() -> Self {
        Self { is_lost: true, ..Self::default() }
    }

    /// The same answer to another request; what follows the correlation id is shared.
    #[must_use]
    pub fn again(&self, correlation_id: i32) -> Self {
        let mut again = self.clone();
        if let [first, ..] = &mut again.parts[..] {
            let rest = first.split_off(SIZE_BYTES + size_of::<i32>());
            let head = [&first[..SIZE_BYTES], &correlation_id.to_be_bytes()].concat();
            *first = head.into();
            again.parts.insert(1, rest);
        }
        again
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to send, as for acks=0.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Encodes `message` with the response header that its version asks for.
    pub fn of<M: Coded>(correlation_id: i32, version: i16, message: &M) -> Self {
        let version = ApiVersion::new(version);
        Self::with_header(correlation_id, M::is_flexible(version), message, version)
    }

    /// Encodes `message` after a header with or without tags (ApiVersions never has them).
    pub fn with_header<M: Coded>(
        correlation_id: i32,
        tags: bool,
        message: &M,
        version: ApiVersion,
    ) -> Self {
        let mut out = BytesMut::with_capacity(256);
        out.extend_from_slice(&[0; SIZE_BYTES]);
        out.extend_from_slice(&correlation_id.to_be_bytes());
        if tags {
            out.extend_from_slice(&[0]);
        }
        if let Err(error) = message.encode_into(&mut out, version) {
            tracing::error!(message = M::NAME, %version, %error, "a response does not fit");
            return Self::lost();
        }
        let size = u32::try_from(out.len() - SIZE_BYTES).unwrap_or(u32::MAX);
        out[..SIZE_BYTES].copy_from_slice(&size.to_be_bytes());
        let mut errors = Codes::default();
        message.count(&mut errors);
        Self { parts: smallvec![out.freeze()], errors, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_waits_for_its_size_and_is_refused_over_the_limit() {
        assert_eq!(frame_bytes(&[0, 0, 0], 100), Ok(None));
        assert_eq!(frame_bytes(&[0, 0, 0, 100], 100), Ok(Some(104)));
        for bad in [101_i32, -1] {
            let refused = FrameError::Size { size_bytes: bad, limit_bytes: 100 };
            assert_eq!(frame_bytes(&bad.to_be_bytes(), 100), Err(refused));
        }
    }

    #[test]
    fn a_header_is_read_in_both_forms() {
        let plain = [0, 3, 0, 1, 0, 0, 0, 9, 0, 2, b'm', b'e', 42];
        let (header, rest) = RequestHeader::parse(&plain, |_, _| false).unwrap();
        assert_eq!((header.api_key, header.version, header.correlation_id), (3, 1, 9));
        assert_eq!((header.client_id, rest), (Some("me"), &[42][..]));
        let tagged = [0, 3, 0, 9, 0, 0, 0, 9, 0xff, 0xff, 1, 7, 1, 0, 42];
        let (header, rest) = RequestHeader::parse(&tagged, |_, _| true).unwrap();
        assert_eq!((header.client_id, rest), (None, &[42][..]));
        for cut in 0..tagged.len() - 1 {
            let cut = RequestHeader::parse(&tagged[..cut], |_, _| true);
            assert_eq!(cut.map(|_| ()), Err(FrameError::Header));
        }
    }
}
