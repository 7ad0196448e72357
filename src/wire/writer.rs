//! Writes the responses of the hot path: plain and compact forms of the same fields.

use bytes::Bytes;

use crate::wire::frame::SIZE_BYTES;

/// Bytes of a response as they are put together.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    compact: bool,
}

impl Writer {
    /// Starts with an empty size field and the response header.
    pub fn response(correlation_id: i32, compact: bool, capacity: usize) -> Self {
        let mut writer = Self { out: Vec::with_capacity(capacity), compact };
        writer.i32(0);
        writer.i32(correlation_id);
        writer.no_tags();
        writer
    }

    /// One byte.
    pub fn i8(&mut self, v: i8) {
        self.raw(&v.to_be_bytes());
    }

    /// Two bytes.
    pub fn i16(&mut self, v: i16) {
        self.raw(&v.to_be_bytes());
    }

    /// Four bytes.
    pub fn i32(&mut self, v: i32) {
        self.raw(&v.to_be_bytes());
    }

    /// Eight bytes.
    pub fn i64(&mut self, v: i64) {
        self.raw(&v.to_be_bytes());
    }

    /// Bytes as they are.
    pub fn raw(&mut self, v: &[u8]) {
        self.out.extend_from_slice(v);
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self, mut v: u32) {
        while v >= 0x80 {
            self.out.push((v & 0x7f) as u8 | 0x80);
            v >>= 7;
        }
        self.out.push(v as u8);
    }

    /// Count of an array; `None` is null.
    pub fn array_len(&mut self, n: Option<usize>) {
        self.len(n, Self::i32);
    }

    /// Writes the count of an array anew, which [`Self::array_len`] wrote `at` bytes from the start as
    /// `before`; returns by how many bytes what follows it has moved.
    pub fn set_array_len(&mut self, at: usize, before: usize, n: usize) -> isize {
        if n == before {
            return 0;
        }
        let len = |n| {
            let mut w = Self { out: Vec::new(), compact: self.compact };
            w.array_len(Some(n));
            w.out
        };
        let (old, new) = (len(before), len(n));
        let moved = new.len() as isize - old.len() as isize;
        self.out.splice(at..at + old.len(), new);
        moved
    }

    /// Size of a blob whose bytes follow.
    pub fn bytes_len(&mut self, n: usize) {
        self.array_len(Some(n));
    }

    /// A string; `None` is null.
    pub fn string(&mut self, v: Option<&str>) {
        self.len(v.map(str::len), |w, n| w.i16(n as i16));
        self.raw(v.unwrap_or_default().as_bytes());
    }

    fn len(&mut self, n: Option<usize>, plain: impl Fn(&mut Self, i32)) {
        if self.compact {
            self.uvarint(n.map_or(0, |n| n as u32 + 1));
        } else {
            plain(self, n.map_or(-1, |n| n as i32));
        }
    }

    /// The end of a struct that has no tagged field to write.
    pub fn no_tags(&mut self) {
        if self.compact {
            self.out.push(0);
        }
    }

    /// Starts a value of a tagged field; see [`Self::tag`].
    pub fn tag_value(&self) -> Self {
        Self { out: Vec::new(), compact: self.compact }
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
    pub fn set_size(first: &mut [u8], total: usize) {
        first[..SIZE_BYTES].copy_from_slice(&((total - SIZE_BYTES) as i32).to_be_bytes());
    }

    /// A response without parts that lie elsewhere.
    pub fn finish(mut self) -> Bytes {
        let total = self.out.len();
        Self::set_size(&mut self.out, total);
        self.out.into()
    }

    /// The bytes, to be put together by the caller.
    pub fn into_inner(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_is_written_anew_moves_what_follows_it() {
        for compact in [false, true] {
            for (before, n) in [(1, 1), (1, 126), (1, 127), (300, 5), (127, 70_000)] {
                let written = |n| {
                    let mut w = Writer::response(7, compact, 0);
                    let at = w.written();
                    w.array_len(Some(n));
                    w.i64(-1);
                    (w, at)
                };
                let ((mut w, at), (expected, _)) = (written(before), written(n));
                let len = w.written() as isize;
                let moved = w.set_array_len(at, before, n);
                assert_eq!((len + moved) as usize, expected.written());
                assert_eq!(w.finish(), expected.finish(), "{before} to {n}");
            }
        }
    }
}
