//! Frames, headers, batches, records and codecs against damaged bytes: an error, never a panic, and
//! never more memory than the limit.

use super::batch::{self, BatchHeader, HEADER_BYTES};
use super::codec::Codec;
use super::frame::{self, Reader, RequestHeader};
use super::record::{self, BatchBuilder, ProducerStamp};
use crate::base::fuzzing::{corpus, fuzz};

const LIMIT: usize = 1 << 20;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn batches() -> Vec<(String, Vec<u8>)> {
    let of = |codec: Codec| {
        let mut builder = BatchBuilder::default();
        let header = ("h", Some(b"v".as_slice()));
        builder.push(1_700_000_000_000, Some(b"key"), Some(&[b'x'; 300]), &[header]);
        builder.push(1_700_000_000_007, None, None, &[]);
        builder.push(1_700_000_000_009, Some(b""), Some(b""), &[]);
        (codec.name().to_owned(), builder.build(codec, ProducerStamp::NONE).unwrap().to_vec())
    };
    [CODECS.map(of).to_vec(), corpus("batches.txt")].concat()
}

#[test]
fn frames_and_headers_of_any_bytes_are_read_or_refused() {
    let header = b"\0\0\0\x11\0\x12\0\x03\0\0\0\x07\0\x04test\0";
    let valid = [("header", header.to_vec()), ("nothing", vec![])];
    fuzz(&valid, |_, bytes| {
        for limit in [0, 100, usize::MAX] {
            if let Ok(Some(size)) = frame::frame_bytes(bytes, limit) {
                assert!(size <= limit.saturating_add(frame::SIZE_BYTES));
            }
        }
        let body = bytes.get(frame::SIZE_BYTES..).unwrap_or_default();
        for flexible in [false, true] {
            if let Ok((_, rest)) = RequestHeader::parse(body, |_, _| flexible) {
                assert!(rest.len() < body.len());
            }
        }
        let mut reader = Reader::new(bytes);
        for compact in [true, false] {
            let _ = reader.array_len(compact).map(|n| assert!(n <= bytes.len()));
            let _ = reader.nullable_string_of(compact);
            let _ = reader.nullable_bytes(compact);
            let _ = reader.skip_tags();
        }
    });
}

#[test]
fn batches_of_any_bytes_are_read_or_refused() {
    fuzz(&batches(), |_, bytes| {
        if let Ok((header, whole)) = BatchHeader::parse_whole(bytes) {
            assert!(whole.len() >= HEADER_BYTES && whole.len() <= bytes.len());
            let _ = header.check_crc(whole);
            let _ = (header.last_offset(), header.next_offset(), header.last_sequence());
            let body = &whole[HEADER_BYTES..];
            let opened = Codec::from_id(header.codec_id()).map(|c| c.decompress(body, LIMIT));
            if let Some(Ok(plain)) = opened {
                assert!(plain.len() <= LIMIT);
                let read = record::records(&plain, header.count).take_while(Result::is_ok);
                for record in read.flatten() {
                    assert!(record.headers().count() <= plain.len());
                }
            }
        }
        let covered: usize = batch::iter(bytes).map(|(_, whole)| whole.len()).sum();
        assert!(covered <= bytes.len());
    });
}

#[test]
fn every_codec_refuses_or_stays_inside_the_limit() {
    let text = b"to be or not to be, that is the question ".repeat(100);
    let of = |codec: Codec| (codec, codec.compress(&text, codec.default_level()).unwrap());
    let mut valid = CODECS.map(of).to_vec();
    for (_, batch) in corpus("batches.txt") {
        let header = BatchHeader::parse(&batch).unwrap();
        let codec = Codec::from_id(header.codec_id()).unwrap();
        valid.push((codec, batch[HEADER_BYTES..].to_vec()));
    }
    fuzz(&valid, |codec, bytes| {
        for limit in [100, LIMIT] {
            if let Ok(plain) = codec.decompress(bytes, limit) {
                assert!(plain.len() <= limit);
            }
        }
    });
}
