//! The limits that an operator sets: each has the effect that it has in Kafka.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use klamm::wire::messages::ApiVersionsRequest;

use crate::common::{Server, Wire, until};
use crate::{alone, connect, metric, refused, server};

const PATIENCE: Duration = Duration::from_mins(1);

/// Whether a connection is answered within `wait`.
fn is_served(wire: &mut Wire, wait: Duration) -> bool {
    wire.socket.set_read_timeout(Some(wait)).unwrap();
    wire.send(&ApiVersionsRequest::default(), 0);
    wire.frame().is_ok_and(|frame| frame.is_some())
}

/// Whether the broker has closed it.
fn is_closed(socket: &mut TcpStream) -> bool {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    match socket.read(&mut [0]) {
        Ok(0) => true,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
        Ok(_) => false,
    }
}

#[test]
fn over_max_connections_a_client_waits_and_comes_in_when_another_leaves() {
    let _alone = alone();
    let server = Server::with(&[
        ("node.count", "1"),
        ("max.connections", "2"),
        ("socket.listen.backlog.size", "1"),
    ]);
    let mut first = connect(&server);
    let mut second = connect(&server);
    assert!(is_served(&mut first, PATIENCE) && is_served(&mut second, PATIENCE));
    let mut third = connect(&server);
    third.send(&ApiVersionsRequest::default(), 0);
    third.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(third.frame().is_err(), "it waits");
    assert!(connect(&server).is_closed(), "one waits, one too many is closed");
    drop(first);
    third.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(third.frame().unwrap().is_some());
}

#[test]
fn connections_come_in_at_the_rate_that_is_set_and_no_faster() {
    let _alone = alone();
    let server =
        server(&[("max.connection.creation.rate", "10"), ("socket.listen.backlog.size", "40")]);
    let start = Instant::now();
    let mut open: Vec<_> = (0..25).map(|_| connect(&server)).collect();
    for wire in &mut open {
        assert!(is_served(wire, PATIENCE));
    }
    // Ten at once and fifteen more at ten a second.
    assert!(start.elapsed() > Duration::from_millis(1300), "{:?}", start.elapsed());
    assert!(refused(&server, "max_connection_creation_rate") > 0.0);
}

#[test]
fn an_idle_connection_is_closed_and_one_that_works_is_not() {
    let _alone = alone();
    let server = server(&[("connections.max.idle.ms", "1000")]);
    let mut busy = connect(&server);
    let mut idle = TcpStream::connect(server.address(0)).unwrap();
    // Bytes that never make a request are no traffic.
    idle.write_all(&100_u32.to_be_bytes()).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        assert!(is_served(&mut busy, PATIENCE));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(is_closed(&mut idle));
    assert!(refused(&server, "idle") > 0.0);
}

#[test]
fn large_requests_wait_for_queued_max_request_bytes_and_small_ones_do_not() {
    let _alone = alone();
    let server =
        server(&[("socket.request.max.bytes", "4000000"), ("queued.max.request.bytes", "4000000")]);
    let begin = || {
        let mut socket = TcpStream::connect(server.address(0)).unwrap();
        socket.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        socket.write_all(&4_000_000_u32.to_be_bytes()).unwrap();
        let _ = socket.write_all(&vec![0; 3_000_000]);
        socket
    };
    let mut begun = Vec::new();
    let used = || metric(&server, "kafka_network_socketserver_memorypoolused{node=\"0\"}");
    for _ in 0..20 {
        begun.push(begin());
    }
    until(PATIENCE, "a pause", || {
        (metric(&server, "klamm_memory_pauses_total{node=\"0\"}") > 0.0).then_some(())
    });
    // The bound, one that goes over it, and a small buffer for each connection.
    assert!(used() < 4e6 + 4.2e6 + 40.0 * 65_536.0, "{}", used());
    assert!(is_served(&mut connect(&server), PATIENCE));
    drop(begun);
}
