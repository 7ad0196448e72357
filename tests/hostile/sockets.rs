//! Attacks with connections and bytes, below any request.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::wire::fetch_request;
use crate::common::{Wire, until};
use crate::{
    MEMORY, MIB, alone, connect, metric, raise_descriptors, refused, server, survives, until_told,
};

const ANNOUNCED: i32 = 90 << 20;

fn socket(wire_to: (&str, u16)) -> TcpStream {
    let socket = TcpStream::connect(wire_to).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

#[test]
fn a_frame_of_90_mib_announced_on_200_connections_and_never_sent() {
    let _alone = alone();
    survives(server(&[]), |server, stop| {
        let open = |_| {
            let mut socket = socket(server.address(0));
            socket.write_all(&ANNOUNCED.to_be_bytes()).unwrap();
            socket.write_all(&[0, 0, 0, 9, 0, 0, 0, 1]).unwrap();
            socket
        };
        let _silent: Vec<_> = (0..200).map(open).collect();
        until_told(stop);
    });
}

#[test]
fn frames_begun_with_a_mebibyte_each_and_never_finished_stop_at_the_budget() {
    let _alone = alone();
    survives(server(&[]), |server, stop| {
        let part = vec![0; 1 << 20];
        let mut begun = Vec::new();
        for _ in 0..200 {
            let mut socket = socket(server.address(0));
            socket.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
            socket.write_all(&ANNOUNCED.to_be_bytes()).unwrap();
            // What the broker does not read stays in the sockets.
            let _ = socket.write_all(&part);
            begun.push(socket);
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        until_told(stop);
    });
}

#[test]
fn a_budget_held_by_unfinished_frames_is_given_to_others_in_the_end() {
    let _alone = alone();
    let server = server(&[]);
    let part = vec![0; 3 << 20];
    let mut begun = Vec::new();
    while metric(&server, "klamm_memory_pauses_total{node=\"0\"}") < 1.0 {
        let mut socket = socket(server.address(0));
        socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        socket.write_all(&ANNOUNCED.to_be_bytes()).unwrap();
        let _ = socket.write_all(&part);
        begun.push(socket);
        assert!(begun.len() as u64 * 3 * MIB < 2 * MEMORY, "the budget is never used up");
    }
    // A large request waits for room, and gets it when the first of the others is closed.
    let mut wire = connect(&server);
    wire.socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut request = vec![0; 20 << 20];
    request[..8].copy_from_slice(&[0x7f, 0xff, 0, 0, 0, 0, 0, 1]);
    let mut bytes = (request.len() as u32).to_be_bytes().to_vec();
    bytes.append(&mut request);
    let sent = wire.socket.write_all(&bytes);
    let (unsupported, memory) = (refused(&server, "unsupported"), refused(&server, "memory"));
    assert!(sent.is_ok(), "{sent:?}: {unsupported} unsupported, {memory} for want of memory");
    assert!(wire.is_closed(), "it names an API that is not there");
    until(Duration::from_mins(1), "the count of it", || {
        (refused(&server, "unsupported") > 0.0).then_some(())
    });
    assert!(refused(&server, "memory") > 0.0);
}

#[test]
fn bytes_that_come_one_by_one() {
    let _alone = alone();
    survives(server(&[]), |server, stop| {
        let mut slow: Vec<_> = (0..200).map(|_| socket(server.address(0))).collect();
        let request = [&1000_u32.to_be_bytes()[..], &[0; 1000]].concat();
        for byte in request {
            for socket in &mut slow {
                let _ = socket.write_all(&[byte]);
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn two_thousand_idle_connections() {
    let _alone = alone();
    raise_descriptors(4096);
    let server = server(&[("socket.listen.backlog.size", "1000")]);
    survives(server, |server, stop| {
        let _idle: Vec<_> = (0..2000).map(|_| socket(server.address(0))).collect();
        until_told(stop);
    });
}

#[test]
fn two_hundred_connections_a_second_opened_and_dropped() {
    let _alone = alone();
    survives(server(&[]), |server, stop| {
        let (start, mut count) = (Instant::now(), 0);
        while !stop.load(Ordering::Relaxed) {
            drop(socket(server.address(0)));
            count += 1;
            let next = start + Duration::from_millis(5) * count;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let rate = f64::from(count) / start.elapsed().as_secs_f64();
        assert!(rate > 190.0, "only {rate} connections a second");
    });
}

#[test]
fn bytes_of_http_and_tls() {
    let _alone = alone();
    survives(server(&[]), |server, stop| {
        let garbage: [&[u8]; 3] = [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ];
        for bytes in garbage.iter().cycle() {
            let mut wire = connect(server);
            wire.socket.write_all(bytes).unwrap();
            assert!(wire.is_closed());
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    });
}

#[test]
fn clients_that_never_read_their_answers() {
    let _alone = alone();
    let server = server(&[]);
    let mut wire = connect(&server);
    wire.create("large", 1, &[]);
    let value = "y".repeat(900_000);
    for _ in 0..48 {
        let produced = wire.produce("large", 0, crate::batch(&[&value]));
        assert_eq!(produced.error_code, 0);
    }
    survives(server, |server, stop| {
        let ask = |i: i64| {
            let mut wire: Wire = connect(server);
            wire.socket.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
            let fetch = fetch_request("large", 0, i % 8);
            for _ in 0..20 {
                let bytes = wire.encode(&fetch, 12);
                if wire.socket.write_all(&bytes).is_err() {
                    break;
                }
            }
            wire
        };
        let _deaf: Vec<_> = (0..64).map(ask).collect();
        until_told(stop);
    });
}
