//! How long a start takes with much data: `cargo test --release --test faults -- --ignored --nocapture
//! start`. `GIB=n` sets how much (10).

use std::time::{Duration, Instant};

use bytes::Bytes;
use klamm::wire::codec::Codec;
use klamm::wire::messages::ProduceRequest;
use klamm::wire::record::ProducerStamp;

use crate::common::wire::{One as _, batch, batch_of, produce_request};
use crate::common::{Server, Wire, median};
use crate::number;

const PARTITIONS: i32 = 16;
/// Requests under way.
const PIPELINED: usize = 16;
const CLEAN: Duration = Duration::from_millis(200);
const KILLED: Duration = Duration::from_secs(2);

/// Produces `bytes` as batches of about 250 KiB, 1 KiB a record.
fn fill(server: &Server, bytes: u64) {
    let values: Vec<_> = (0..240).map(|i| format!("{i:01024}")).collect();
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    let batch = batch_of(&values, Codec::None, ProducerStamp::NONE);
    let mut wire = Wire::connect(server.address(0));
    let count = (bytes / batch.len() as u64) as usize;
    let mut answered = 0;
    for i in 0..count + PIPELINED {
        if i < count {
            send(&mut wire, i as i32 % PARTITIONS, &batch);
        }
        if i >= PIPELINED && answered < count {
            assert_eq!(answer(&mut wire), 0);
            answered += 1;
        }
    }
}

fn send(wire: &mut Wire, partition: i32, batch: &Bytes) {
    wire.send(&produce_request("much", partition, -1, batch.clone()), 9);
}

/// The answer to the oldest request under way; its error code.
fn answer(wire: &mut Wire) -> i16 {
    let frame = wire.frame().unwrap().expect("an answer");
    let answer: <ProduceRequest as klamm::wire::messages::RequestResponsePair>::Response =
        klamm::wire::frame::decode(frame.slice(5..), 9).unwrap();
    answer.one().error_code
}

/// Starts the stopped server; how long until a produce to a partition with data is acknowledged.
fn start(server: &mut Server) -> Duration {
    let began = Instant::now();
    server.start_again();
    let mut wire = Wire::connect(server.address(0));
    let produced = wire.produce("much", 3, batch(&["the first"]));
    assert_eq!(produced.error_code, 0);
    began.elapsed()
}

#[test]
#[ignore = "writes 10 GiB; timed, so for a release build on a quiet machine"]
fn a_start_with_10_gib_takes_under_200_ms_after_a_stop_and_under_2_s_after_a_kill() {
    let gib = number("GIB", 10);
    let mut server = Server::with(&[("node.count", "1"), ("journal.bytes", "268435456")]);
    Wire::connect(server.address(0)).create("much", PARTITIONS, &[]);
    let began = Instant::now();
    fill(&server, gib << 30);
    println!("{gib} GiB produced in {:?}", began.elapsed());
    let mut killed = Vec::new();
    for _ in 0..3 {
        fill(&server, 600 << 20);
        server.kill();
        killed.push(start(&mut server));
    }
    let mut clean = Vec::new();
    for _ in 0..3 {
        assert!(server.signal(libc::SIGTERM).0.success());
        clean.push(start(&mut server));
    }
    println!("first acknowledged produce after a clean stop {clean:?}, after a kill {killed:?}");
    assert!(median(clean) < CLEAN && median(killed) < KILLED, "too slow");
}
