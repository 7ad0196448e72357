//! Bytes that no client sends: the connection that sends them is answered or closed, memory is taken
//! only for what arrives, and another client goes on all the time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use klamm::msg;
use klamm::wire::messages::{ApiVersionsRequest, MetadataRequest, RequestResponsePair};
use klamm::wire::messages::{
    CreateTopicsRequest, DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest,
    IncrementalAlterConfigsRequest, JoinGroupRequest, ListOffsetsRequest, OffsetCommitRequest,
    OffsetFetchRequest, ProduceRequest,
};

use crate::common::wire::{batch, fetch_request, produce_request};
use crate::common::{Chance, Server, Wire};

const MB: u64 = 1 << 20;
/// `socket.request.max.bytes`, as Kafka has it.
const FRAME_BYTES_MAX: i32 = 100 << 20;
const CORRUPT_MESSAGE: i16 = 2;
/// How long the bystander's slowest round trip may take, on a machine where all else runs too.
const BYSTANDER_MAX: Duration = Duration::from_secs(5);

/// A client that produces and reads back all the time, and notes its slowest round trip.
struct Bystander {
    stop: Arc<AtomicBool>,
    slowest_us: Arc<AtomicU64>,
    thread: JoinHandle<i64>,
}

impl Bystander {
    fn start(server: &Server) -> Self {
        let mut wire = Wire::connect(server.address(0));
        wire.create("bystander", 1, &[]);
        let (stop, slowest_us) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, slowest) = (stop.clone(), slowest_us.clone());
        let run = move || {
            let mut next = 0;
            loop {
                let start = Instant::now();
                let produced = wire.produce("bystander", 0, batch(&["x"]));
                assert_eq!((produced.error_code, produced.base_offset), (0, next));
                let fetched = wire.fetch("bystander", 0, next);
                next += 1;
                assert_eq!((fetched.error_code, fetched.high_watermark), (0, next));
                assert!(fetched.records.is_some_and(|r| r.len() > 61));
                slowest.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
                // At least one round trip, however short the harm was.
                if stopped.load(Ordering::Relaxed) {
                    return next;
                }
            }
        };
        Self { stop, slowest_us, thread: thread::spawn(run) }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let rounds = self.thread.join().expect("the bystander goes on");
        let slowest = Duration::from_micros(self.slowest_us.load(Ordering::Relaxed));
        println!("the bystander made {rounds} round trips, the slowest took {slowest:?}");
        assert!(rounds > 0 && slowest < BYSTANDER_MAX);
    }
}

/// Runs `harm` while a bystander works; the server and the bystander must survive, without a panic.
fn survives(harm: impl FnOnce(&Server)) {
    let mut server = Server::start();
    let bystander = Bystander::start(&server);
    harm(&server);
    bystander.finish();
    assert!(server.is_running(), "{}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let (status, _) = server.signal(libc::SIGTERM);
    assert!(status.success(), "{status}: {}", server.log());
}

fn connect(server: &Server) -> Wire {
    Wire::connect(server.address(0))
}

/// Sends `bytes` and says whether the broker closes the connection without an answer.
fn is_refused(server: &Server, bytes: &[u8]) -> bool {
    let mut wire = connect(server);
    // The broker may close before all is sent.
    let _ = wire.socket.write_all(bytes);
    wire.is_closed()
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

#[test]
fn a_negative_frame_length_closes_the_connection() {
    survives(|server| {
        for size in [-1, i32::MIN, -4] {
            assert!(is_refused(server, &size.to_be_bytes()), "{size}");
        }
    });
}

#[test]
fn a_frame_length_above_the_limit_closes_the_connection_at_once() {
    survives(|server| {
        for size in [FRAME_BYTES_MAX + 1, i32::MAX] {
            assert!(is_refused(server, &size.to_be_bytes()), "{size}");
        }
    });
}

#[test]
fn bytes_of_http_close_the_connection() {
    survives(|server| {
        assert!(is_refused(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(is_refused(server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"));
    });
}

#[test]
fn frames_that_are_announced_and_never_sent_take_no_memory() {
    survives(|server| {
        let before = server.resident_bytes();
        let mut silent = Vec::new();
        for _ in 0..64 {
            let mut socket = TcpStream::connect(server.address(0)).unwrap();
            socket.write_all(&FRAME_BYTES_MAX.to_be_bytes()).unwrap();
            socket.write_all(&[0, 0, 0, 9]).unwrap();
            silent.push(socket);
        }
        thread::sleep(Duration::from_millis(500));
        let after = server.resident_bytes();
        let grown = after.saturating_sub(before);
        println!("64 x 100 MiB announced: {} KiB more", grown / 1024);
        assert!(grown < 32 * MB, "{grown} B more");
    });
}

#[test]
fn three_hundred_idle_connections_disturb_nobody() {
    survives(|server| {
        let before = server.resident_bytes();
        let idle: Vec<_> =
            (0..300).map(|_| TcpStream::connect(server.address(0)).unwrap()).collect();
        thread::sleep(Duration::from_millis(500));
        let grown = server.resident_bytes().saturating_sub(before);
        println!("300 idle connections: {} KiB more", grown / 1024);
        assert!(grown < 32 * MB, "{grown} B more");
        let mut late = connect(server);
        late.ask(&ApiVersionsRequest::default(), 0);
        drop(idle);
        late.ask(&ApiVersionsRequest::default(), 0);
    });
}

#[test]
fn a_request_that_is_cut_anywhere_is_refused_and_a_longer_one_is_not() {
    survives(|server| {
        let mut wire = connect(server);
        let produce = produce_request("bystander", 0, -1, batch(&["y"]));
        let whole = [
            wire.encode(&produce, 9),
            wire.encode(&produce, 3),
            wire.encode(&fetch_request("bystander", 0, 0), 12),
            wire.encode(&fetch_request("bystander", 0, 0), 4),
            wire.encode(&MetadataRequest::default(), 9),
            wire.encode(&JoinGroupRequest::default(), 5),
        ];
        for request in whole {
            let body = &request[4..];
            for cut in 0..body.len() {
                assert!(is_refused(server, &frame(&body[..cut])), "cut at {cut} of {}", body.len());
            }
        }
        let nowhere = produce_request("nowhere", 0, -1, batch(&["y"]));
        for request in [wire.encode(&nowhere, 9), wire.encode(&MetadataRequest::default(), 9)] {
            assert!(!is_refused(server, &frame(&[&request[4..], b"\0\0"].concat())));
        }
    });
}

/// A request header, version 1.
fn header(key: i16, version: i16) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i16(key);
    out.put_i16(version);
    out.put_i32(1);
    out.put_i16(4);
    out.put_slice(b"wire");
    out
}

#[test]
fn unknown_keys_and_versions_close_the_connection() {
    survives(|server| {
        for (key, version) in [(-1, 0), (4, 0), (1000, 0), (i16::MAX, 0), (i16::MIN, i16::MIN)] {
            assert!(is_refused(server, &frame(&header(key, version))), "{key} {version}");
        }
        // Of Fetch, Metadata, ListOffsets and Produce, versions that are gone or are not there yet.
        for (key, version) in [(1, 3), (1, 99), (3, -1), (3, 14), (2, 0), (0, 2), (0, 14)] {
            assert!(is_refused(server, &frame(&header(key, version))), "{key} {version}");
        }
    });
}

/// The same request with an array length of its own: what stands in front of the array, then `length`.
fn with_length(key: i16, version: i16, before: &[u8], length: i32) -> Vec<u8> {
    let mut body = header(key, version);
    body.put_slice(before);
    body.put_i32(length);
    frame(&body)
}

#[test]
fn negative_and_huge_array_lengths_take_no_memory_and_close_the_connection() {
    survives(|server| {
        let before = server.resident_bytes();
        // key, version that is not flexible, bytes in front of its first array
        let produce = [&(-1_i16).to_be_bytes()[..], &[0, 1, 0, 0, 0, 9]].concat();
        let fetch = [&(-1_i32).to_be_bytes()[..], &[0; 4], &[0; 4], &[0, 0, 0, 9], &[0]].concat();
        let list_offsets = [&(-1_i32).to_be_bytes()[..], &[0]].concat();
        let group = b"\0\x01g".to_vec();
        let commit = [&group[..], &(-1_i32).to_be_bytes(), b"\0\0"].concat();
        let join = [&group[..], &[0, 0, 0x75, 0x30], &[0, 0, 0x75, 0x30], b"\0\0", b"\0\x01c"];
        let sync = [&group[..], &[0; 4], b"\0\x01m"].concat();
        let requests: [(i16, i16, Vec<u8>); 12] = [
            (0, 3, produce),
            (1, 4, fetch),
            (2, 2, list_offsets),
            (3, 4, vec![]),
            (8, 3, commit),
            (9, 3, group.clone()),
            (11, 4, join.concat()),
            (13, 3, group.clone()),
            (14, 1, sync),
            (15, 3, vec![]),
            (19, 4, vec![]),
            (32, 2, vec![]),
        ];
        for (key, version, before) in requests {
            // null where null means something, then far too many
            for length in [i32::MIN, -2, i32::MAX, 1 << 30, 100_000_000] {
                let request = with_length(key, version, &before, length);
                assert!(is_refused(server, &request), "key {key}, length {length}");
            }
        }
        let grown = server.resident_bytes().saturating_sub(before);
        println!("after lengths of 2^31: {} KiB more", grown / 1024);
        assert!(grown < 32 * MB, "{grown} B more");
    });
}

#[test]
fn huge_lengths_in_flexible_versions_close_the_connection() {
    survives(|server| {
        let before = server.resident_bytes();
        let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
        // ListOffsets, Metadata, OffsetFetch, FindCoordinator, DescribeGroups, CreateTopics, ... whose
        // body begins with an array, after a header with tags.
        for (key, version) in [(3, 9), (9, 8), (15, 5), (19, 5), (20, 6), (32, 4), (42, 2), (44, 1)]
        {
            for tail in [&huge[..], &[0xff; 10], &[0xff, 0xff, 0xff, 0x7f]] {
                let mut body = header(key, version);
                body.put_u8(0);
                body.put_slice(tail);
                assert!(is_refused(server, &frame(&body)), "key {key}");
            }
            // The tags of the header.
            let mut body = header(key, version);
            body.put_slice(&huge);
            assert!(is_refused(server, &frame(&body)), "tags of key {key}");
        }
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 32 * MB, "{grown} B more");
    });
}

#[test]
fn a_batch_with_a_wrong_checksum_is_refused_and_nothing_is_appended() {
    survives(|server| {
        let mut wire = connect(server);
        wire.create("checked", 1, &[]);
        let good = batch(&["one", "two"]);
        for at in 21..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 0x40;
            let code = wire.produce("checked", 0, bad.into()).error_code;
            assert_ne!(code, 0, "a flipped bit at {at}");
            if at >= 61 {
                assert_eq!(code, CORRUPT_MESSAGE, "a flipped bit at {at}");
            }
        }
        assert_eq!(wire.fetch("checked", 0, 0).high_watermark, 0);
        assert_eq!(wire.produce("checked", 0, good).base_offset, 0);
    });
}

/// A valid request with a few of its bytes changed.
fn mangled<R: RequestResponsePair>(
    wire: &mut Wire,
    chance: &mut Chance,
    request: &R,
    version: i16,
) -> BytesMut {
    let mut bytes = wire.encode(request, version);
    for _ in 0..=chance.below(3) {
        // Behind the size, the key and the version.
        let at = 8 + chance.below(bytes.len() as u64 - 8) as usize;
        bytes[at] = [0, 1, 0x7f, 0x80, 0xff, chance.below(256) as u8][chance.below(6) as usize];
    }
    bytes
}

#[test]
fn requests_with_random_bytes_changed_never_hurt_the_broker() {
    let mut chance = Chance::of_run();
    survives(|server| {
        let produce = produce_request("bystander-2", 0, 1, batch(&["y"]));
        let fetch = fetch_request("bystander-2", 0, 0);
        for _ in 0..1500 {
            let mut wire = connect(server);
            let (w, c) = (&mut wire, &mut chance);
            let bytes = match c.below(11) {
                0 => mangled(w, c, &produce, 9),
                1 => mangled(w, c, &produce, 7),
                2 => mangled(w, c, &fetch, 12),
                3 => mangled(w, c, &fetch, 11),
                4 => mangled(w, c, &msg!(JoinGroupRequest { group_id: "g".into() }), 7),
                5 => mangled(w, c, &OffsetCommitRequest::default(), 8),
                6 => mangled(w, c, &OffsetFetchRequest::default(), 8),
                7 => mangled(w, c, &CreateTopicsRequest::default(), 7),
                8 => mangled(w, c, &msg!(FindCoordinatorRequest { key: "g".into() }), 3),
                9 => mangled(w, c, &IncrementalAlterConfigsRequest::default(), 1),
                _ => mangled(w, c, &ListOffsetsRequest::default(), 7),
            };
            wire.socket.write_all(&bytes).unwrap();
            if c.below(4) == 0 {
                let _ = wire.socket.set_read_timeout(Some(Duration::from_millis(20)));
                let _ = wire.socket.read(&mut [0; 64]);
            }
        }
        let mut wire = connect(server);
        wire.ask(&DescribeGroupsRequest::default(), 5);
        wire.ask(&FetchRequest::default(), 12);
        wire.ask(&msg!(ProduceRequest { acks: -1 }), 9);
    });
}
