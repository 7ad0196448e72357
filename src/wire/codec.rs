//! Compression of record batches, in Kafka's framings. Decompression is bounded by the caller.
//!
//! gzip (RFC 1952), snappy (xerial framing as Kafka's Java clients write it; plain blocks are read
//! too), lz4 (frame format), zstd.

use std::io::{Read, Write};

/// How the records of a batch are compressed; the discriminant is the wire's codec id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// Not compressed.
    None = 0,
    /// gzip.
    Gzip = 1,
    /// snappy.
    Snappy = 2,
    /// lz4.
    Lz4 = 3,
    /// zstd.
    Zstd = 4,
}

/// Compression or decompression failed.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not what the codec writes.
    #[error("the {codec} data is damaged: {what}")]
    Damaged {
        /// Name of the codec.
        codec: &'static str,
        /// What the library said.
        what: String,
    },
    /// Decompressed, the data is over the bound.
    #[error("decompressed size is over {limit_bytes} B")]
    TooLarge {
        /// The bound.
        limit_bytes: usize,
    },
}

const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

impl Codec {
    /// All codecs.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Codec of a wire id (`BatchHeader::codec_id`).
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// Codec of a config name; `uncompressed` is Kafka's topic value for none.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "uncompressed" {
            return Some(Self::None);
        }
        Self::ALL.into_iter().find(|c| c.name() == name)
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        ["none", "gzip", "snappy", "lz4", "zstd"][self as usize]
    }

    /// Kafka's default level (`compression.*.level`); codecs without levels ignore it.
    pub fn default_level(self) -> i32 {
        match self {
            Self::Gzip => -1,
            Self::Lz4 => 9,
            Self::Zstd => 3,
            Self::None | Self::Snappy => 0,
        }
    }

    /// Compresses `data`. `level` is the codec's own scale; gzip's -1 is its default.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] carries what the library said.
    pub fn compress(self, data: &[u8], level: i32) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::None => Ok(data.to_vec()),
            Self::Gzip => {
                let level = u32::try_from(level)
                    .map_or(flate2::Compression::default(), |l| flate2::Compression::new(l.min(9)));
                let mut out = flate2::write::GzEncoder::new(Vec::new(), level);
                out.write_all(data).and_then(|()| out.finish()).map_err(|e| self.damaged(&e))
            }
            Self::Snappy => self.compress_xerial(data),
            Self::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max64KB)
                    .block_mode(lz4_flex::frame::BlockMode::Independent);
                let mut out = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
                out.write_all(data).map_err(|e| self.damaged(&e))?;
                out.finish().map_err(|e| self.damaged(&e))
            }
            Self::Zstd => zstd::encode_all(data, level).map_err(|e| self.damaged(&e)),
        }
    }

    /// Decompresses `data` into at most `limit_bytes`.
    ///
    /// # Errors
    /// [`CodecError::Damaged`], or [`CodecError::TooLarge`] before more than the bound is taken.
    pub fn decompress(self, data: &[u8], limit_bytes: usize) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::None if data.len() > limit_bytes => Err(CodecError::TooLarge { limit_bytes }),
            Self::None => Ok(data.to_vec()),
            Self::Gzip => self.read_bounded(flate2::read::MultiGzDecoder::new(data), limit_bytes),
            Self::Snappy => self.decompress_snappy(data, limit_bytes),
            Self::Lz4 => self.read_bounded(lz4_flex::frame::FrameDecoder::new(data), limit_bytes),
            Self::Zstd => {
                let decoder = zstd::Decoder::new(data).map_err(|e| self.damaged(&e))?;
                self.read_bounded(decoder, limit_bytes)
            }
        }
    }

    fn damaged(self, e: &dyn std::fmt::Display) -> CodecError {
        CodecError::Damaged { codec: self.name(), what: e.to_string() }
    }

    fn read_bounded(self, from: impl Read, limit_bytes: usize) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::new();
        let mut from = from.take(limit_bytes as u64 + 1);
        from.read_to_end(&mut out).map_err(|e| self.damaged(&e))?;
        if out.len() > limit_bytes {
            return Err(CodecError::TooLarge { limit_bytes });
        }
        Ok(out)
    }

    fn compress_xerial(self, data: &[u8]) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::with_capacity(XERIAL_HEADER_BYTES + data.len() / 2);
        out.extend_from_slice(XERIAL_MAGIC);
        out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        let mut encoder = snap::raw::Encoder::new();
        for block in data.chunks(XERIAL_BLOCK_BYTES) {
            let packed = encoder.compress_vec(block).map_err(|e| self.damaged(&e))?;
            out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
            out.extend_from_slice(&packed);
        }
        Ok(out)
    }

    fn decompress_snappy(self, data: &[u8], limit_bytes: usize) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::new();
        if !data.starts_with(XERIAL_MAGIC) {
            self.snappy_block(data, limit_bytes, &mut out)?;
            return Ok(out);
        }
        let mut rest = data.get(XERIAL_HEADER_BYTES..).unwrap_or_default();
        while !rest.is_empty() {
            let cut = || self.damaged(&"a block is cut");
            let (size, tail) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            let size = u32::from_be_bytes(*size) as usize;
            let (block, tail) = tail.split_at_checked(size).ok_or_else(cut)?;
            self.snappy_block(block, limit_bytes, &mut out)?;
            rest = tail;
        }
        Ok(out)
    }

    fn snappy_block(
        self,
        block: &[u8],
        limit_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let size = snap::raw::decompress_len(block).map_err(|e| self.damaged(&e))?;
        if out.len() + size > limit_bytes {
            return Err(CodecError::TooLarge { limit_bytes });
        }
        let plain =
            snap::raw::Decoder::new().decompress_vec(block).map_err(|e| self.damaged(&e))?;
        out.extend_from_slice(&plain);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_refused_at_the_bound() {
        let zeros = vec![0; 1 << 20];
        for codec in Codec::ALL {
            let packed = codec.compress(&zeros, codec.default_level()).unwrap();
            assert_eq!(codec.decompress(&packed, zeros.len()).unwrap(), zeros);
            let refused = codec.decompress(&packed, zeros.len() - 1);
            assert!(matches!(refused, Err(CodecError::TooLarge { .. })), "{codec:?}");
        }
    }
}
