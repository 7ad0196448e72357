//! Writes the responses of the hot path: plain and compact forms of the same fields.

use bytes::{BufMut, BytesMut};

use crate::wire::frame::SIZE_BYTES;

/// Bytes of a response as they are put together.
#[derive(Debug)]
pub struct Writer {
    out: BytesMut,
    compact: bool,
}

impl Writer {
    /// Starts with an empty size field and the response header.
    pub fn response(correlation_id: i32, compact: bool, capacity: usize) -> Self {
        let mut out = BytesMut::with_capacity(capacity);
        out.put_i32(0);
        out.put_i32(correlation_id);
        let mut writer = Self { out, compact };
        writer.no_tags();
        writer
    }

    /// One byte.
    pub fn i8(&mut self, v: i8) {
        self.out.put_i8(v);
    }

    /// Two bytes.
    pub fn i16(&mut self, v: i16) {
        self.out.put_i16(v);
    }

    /// Four bytes.
    pub fn i32(&mut self, v: i32) {
        self.out.put_i32(v);
    }

    /// Eight bytes.
    pub fn i64(&mut self, v: i64) {
        self.out.put_i64(v);
    }

    /// Bytes as they are.
    pub fn raw(&mut self, v: &[u8]) {
        self.out.put_slice(v);
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self, mut v: u32) {
        while v >= 0x80 {
            self.out.put_u8((v & 0x7f) as u8 | 0x80);
            v >>= 7;
        }
        self.out.put_u8(v as u8);
    }

    /// Count of an array; `None` is null.
    pub fn array_len(&mut self, n: Option<usize>) {
        self.len(n, BufMut::put_i32);
    }

    /// Size of a blob whose bytes follow.
    pub fn bytes_len(&mut self, n: usize) {
        self.array_len(Some(n));
    }

    /// A string; `None` is null.
    pub fn string(&mut self, v: Option<&str>) {
        self.len(v.map(str::len), |out, n| out.put_i16(n as i16));
        self.raw(v.unwrap_or_default().as_bytes());
    }

    fn len(&mut self, n: Option<usize>, plain: impl Fn(&mut BytesMut, i32)) {
        if self.compact {
            self.uvarint(n.map_or(0, |n| n as u32 + 1));
        } else {
            plain(&mut self.out, n.map_or(-1, |n| n as i32));
        }
    }

    /// The end of a struct that has no tagged field to write.
    pub fn no_tags(&mut self) {
        if self.compact {
            self.out.put_u8(0);
        }
    }

    /// Starts a value of a tagged field; see [`Self::tag`].
    pub fn tag_value(&self) -> Self {
        Self { out: BytesMut::new(), compact: self.compact }
    }

    /// Writes one tagged field; the caller has written their number.
    pub fn tag(&mut self, tag: u32, value: &Self) {
        self.uvarint(tag);
        self.uvarint(value.out.len() as u32);
        self.raw(&value.out);
    }

    /// Bytes since the start.
    pub fn written(&self) -> usize {
        self.out.len()
    }

    /// Writes a value of four bytes anew, `at` bytes from the start.
    pub fn set_i32(&mut self, at: usize, v: i32) {
        self.out[at..at + size_of::<i32>()].copy_from_slice(&v.to_be_bytes());
    }

    /// Fills in the size field of `first`, the part that [`Self::response`] began, for a response of
    /// `total` bytes, size field included.
    pub fn set_size(first: &mut BytesMut, total: usize) {
        first[..SIZE_BYTES].copy_from_slice(&((total - SIZE_BYTES) as i32).to_be_bytes());
    }

    /// A response without parts that lie elsewhere.
    pub fn finish(mut self) -> bytes::Bytes {
        let total = self.out.len();
        Self::set_size(&mut self.out, total);
        self.out.freeze()
    }

    /// The bytes, to be put together by the caller.
    pub fn into_inner(self) -> BytesMut {
        self.out
    }
}
