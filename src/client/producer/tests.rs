//! Scripts for the producer: what it sends, when, and what becomes of the records.

use std::fmt::Write as _;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::client::testing;
use crate::wire::batch::BatchHeader;
use crate::wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use crate::wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

/// Runs a script, one event a line, against topic `t` of two partitions on node 1:
///
/// `push <partition> <value>` | `poll <ms>` | `identity <request> <producer id>` |
/// `answer <request> <partition>=<offset or error code, negative> ...` | `fail <request>` | `flush`
#[track_caller]
fn check(options: ProducerOptions, script: &str, expect: &Expect) {
    let mut cluster = Cluster::new(false, Duration::MAX, Duration::ZERO);
    cluster.apply(&testing::one_broker(&[("t", 2)]));
    let mut producer = Producer::new(options);
    let mut now = Moment::default();
    let mut trace = String::new();
    for line in script.lines().map(str::trim) {
        let (mut out, mut done) = (Vec::new(), Vec::new());
        writeln!(trace, "{line}").unwrap();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["push", partition, value] => {
                let record = NewRecord {
                    topic: "t",
                    partition: Some(partition.parse().unwrap()),
                    timestamp: 0,
                    key: None,
                    value: Some(value.as_bytes()),
                    headers: &[],
                };
                if let Err(refused) = producer.push(&cluster, &record, now) {
                    writeln!(trace, "    refused: {refused}").unwrap();
                }
            }
            ["poll", ms] => {
                now = Moment::default().plus_ms(ms.parse().unwrap());
                producer.poll(&mut cluster, now, &mut out, &mut done);
                let next = producer.deadline(now).since(now).as_millis();
                let next = if next > 1_000_000 { "never".into() } else { format!("in {next} ms") };
                trace.extend(out.iter().map(sent));
                writeln!(trace, "    next {next}").unwrap();
            }
            ["identity", id, producer_id] => {
                let producer_id = producer_id.parse().unwrap();
                let answer = msg!(InitProducerIdResponse { producer_id, producer_epoch: 0 });
                let answer = testing::answer::<InitProducerIdRequest>(&answer, 4);
                let id = id.parse().unwrap();
                producer.on_answer(id, Ok(answer), &mut cluster, now, &mut done).unwrap();
            }
            ["answer", id, ref partitions @ ..] => {
                let answer = testing::answer::<ProduceRequest>(&answer(partitions), 9);
                let id = id.parse().unwrap();
                producer.on_answer(id, Ok(answer), &mut cluster, now, &mut done).unwrap();
            }
            ["fail", id] => {
                let closed = ClientError::Closed { address: "h:9".to_owned(), waiting: 1 };
                let id = id.parse().unwrap();
                producer.on_answer(id, Err(closed), &mut cluster, now, &mut done).unwrap();
            }
            ["flush"] => producer.flush(),
            _ => panic!("unknown event: {line}"),
        }
        for d in done {
            let result = d.result.map_or_else(|e| e.to_string(), |o| format!("at {o}"));
            writeln!(trace, "    {} of {} {result}", d.count, d.partition).unwrap();
        }
    }
    let left = producer.buffered_bytes();
    assert_eq!(left == 0, producer.is_idle(), "P4: bytes are counted out as they were counted in");
    expect.assert_eq(&trace);
}

fn sent(outgoing: &Outgoing) -> String {
    let mut line = format!("    {} #{} to {:?}", outgoing.call.api(), outgoing.id, outgoing.to);
    if outgoing.call.api() == "Produce" {
        let request: ProduceRequest = testing::request(outgoing);
        for partition in &request.topic_data[0].partition_data {
            let header = BatchHeader::parse(partition.records.as_ref().unwrap()).unwrap();
            let (count, id, sequence) = (header.count, header.producer_id, header.base_sequence);
            write!(line, "; t-{}: {count} of {id} from {sequence}", partition.index).unwrap();
        }
    }
    line + "\n"
}

fn answer(partitions: &[&str]) -> ProduceResponse {
    let partition = |text: &&str| {
        let (index, value) = text.split_once('=').unwrap();
        let value: i64 = value.parse().unwrap();
        msg!(PartitionProduceResponse {
            index: index.parse().unwrap(),
            error_code: if value < 0 { -value as i16 } else { 0 },
            base_offset: value.max(-1),
            error_message: None,
        })
    };
    let partition_responses = partitions.iter().map(partition).collect();
    let topic = msg!(TopicProduceResponse { name: "t".into(), partition_responses });
    msg!(ProduceResponse { responses: vec![topic] })
}

fn options(idempotent: bool) -> ProducerOptions {
    ProducerOptions {
        idempotent,
        linger: Duration::from_millis(10),
        retries_max: 2,
        ..ProducerOptions::default()
    }
}

#[test]
fn records_wait_for_the_linger_and_go_out_together() {
    check(
        options(false),
        "push 0 a
         push 1 b
         push 0 c
         poll 9
         poll 10
         push 0 d
         poll 20
         answer 1 0=7 1=3
         poll 21",
        &expect![[r"
            push 0 a
            push 1 b
            push 0 c
            poll 9
                next in 1 ms
            poll 10
                Produce #1 to Node(NodeId(1)); t-0: 2 of -1 from -1; t-1: 1 of -1 from -1
                next in 119990 ms
            push 0 d
            poll 20
                Produce #2 to Node(NodeId(1)); t-0: 1 of -1 from -1
                next in 119980 ms
            answer 1 0=7 1=3
                2 of t-0 at 7
                1 of t-1 at 3
            poll 21
                next in 119979 ms
        "]],
    );
}

#[test]
fn an_idempotent_producer_numbers_its_records_and_repeats_a_batch_as_it_was() {
    check(
        options(true),
        "push 0 a
         push 0 b
         flush
         poll 0
         identity 1 77
         poll 1
         push 0 c
         answer 2 0=-6
         poll 50
         poll 101
         fail 3
         poll 250
         answer 4 0=-46
         poll 251",
        &expect![[r"
            push 0 a
            push 0 b
            flush
            poll 0
                InitProducerId #1 to Any
                next in 120000 ms
            identity 1 77
            poll 1
                Produce #2 to Node(NodeId(1)); t-0: 2 of 77 from 0
                next in 119999 ms
            push 0 c
            answer 2 0=-6
            poll 50
                next in 51 ms
            poll 101
                Produce #3 to Node(NodeId(1)); t-0: 2 of 77 from 0
                next in 119899 ms
            fail 3
            poll 250
                Produce #4 to Node(NodeId(1)); t-0: 2 of 77 from 0
                next in 119750 ms
            answer 4 0=-46
                2 of t-0 at -1
            poll 251
                Produce #5 to Node(NodeId(1)); t-0: 1 of 77 from 2
                next in 119749 ms
        "]],
    );
}

#[test]
fn a_batch_that_fails_for_good_is_told_and_the_next_one_has_a_new_producer_id() {
    check(
        options(true),
        "push 0 a
         flush
         poll 0
         identity 1 77
         poll 0
         answer 2 0=-10
         push 0 b
         flush
         poll 1
         identity 3 78
         poll 2
         answer 4 0=5",
        &expect![[r"
            push 0 a
            flush
            poll 0
                InitProducerId #1 to Any
                next in 120000 ms
            identity 1 77
            poll 0
                Produce #2 to Node(NodeId(1)); t-0: 1 of 77 from 0
                next in 120000 ms
            answer 2 0=-10
                1 of t-0 Produce was refused: MESSAGE_TOO_LARGE
            push 0 b
            flush
            poll 1
                InitProducerId #3 to Any
                next in 119999 ms
            identity 3 78
            poll 2
                Produce #4 to Node(NodeId(1)); t-0: 1 of 78 from 0
                next in 119998 ms
            answer 4 0=5
                1 of t-0 at 5
        "]],
    );
}

#[test]
fn retries_and_time_are_bounded() {
    check(
        options(false),
        "push 0 a
         flush
         poll 0
         fail 1
         poll 100
         fail 2
         poll 200
         fail 3",
        &expect![[r"
            push 0 a
            flush
            poll 0
                Produce #1 to Node(NodeId(1)); t-0: 1 of -1 from -1
                next in 120000 ms
            fail 1
            poll 100
                Produce #2 to Node(NodeId(1)); t-0: 1 of -1 from -1
                next in 119900 ms
            fail 2
            poll 200
                Produce #3 to Node(NodeId(1)); t-0: 1 of -1 from -1
                next in 119800 ms
            fail 3
                1 of t-0 h:9 closed the connection with 1 requests unanswered; see its log
        "]],
    );
    let patient = ProducerOptions { retries_max: 99, ..options(false) };
    check(
        patient,
        "push 0 a
         flush
         poll 0
         fail 1
         poll 120000",
        &expect![[r"
            push 0 a
            flush
            poll 0
                Produce #1 to Node(NodeId(1)); t-0: 1 of -1 from -1
                next in 120000 ms
            fail 1
            poll 120000
                next never
                1 of t-0 records for t-0 were not acknowledged within 120000 ms
        "]],
    );
}

#[test]
fn what_does_not_fit_is_refused_and_a_full_batch_goes_out_at_once() {
    let small = ProducerOptions {
        batch_bytes: 100,
        buffer_bytes_max: 70,
        request_bytes_max: 50,
        ..options(false)
    };
    check(
        small,
        "push 0 aaaaaaaaaa
         push 0 bbbbbbbbbb
         push 0 cccccccccc
         push 0 a-value-that-is-longer-than-a-request-may-be
         push 9 x
         poll 0
         answer 1 0=0
         poll 10
         answer 2 0=1",
        &expect![[r"
            push 0 aaaaaaaaaa
            push 0 bbbbbbbbbb
            push 0 cccccccccc
                refused: 34 B wait to be sent, the buffer has 70 B
            push 0 a-value-that-is-longer-than-a-request-may-be
                refused: a record of 76 B is over max.request.size, 50 B
            push 9 x
                refused: topic t has 2 partitions, not one with index 9
            poll 0
                Produce #1 to Node(NodeId(1)); t-0: 1 of -1 from -1
                next in 10 ms
            answer 1 0=0
                1 of t-0 at 0
            poll 10
                Produce #2 to Node(NodeId(1)); t-0: 1 of -1 from -1
                next in 119990 ms
            answer 2 0=1
                1 of t-0 at 1
        "]],
    );
}

#[test]
fn without_acks_a_request_is_done_when_it_is_written() {
    let mut cluster = Cluster::new(false, Duration::MAX, Duration::ZERO);
    cluster.apply(&testing::one_broker(&[("t", 1)]));
    let mut producer = Producer::new(ProducerOptions { acks: 0, ..options(false) });
    let record = NewRecord {
        topic: "t",
        partition: None,
        timestamp: 0,
        key: None,
        value: None,
        headers: &[],
    };
    producer.push(&cluster, &record, Moment::default()).unwrap();
    producer.flush();
    let (mut out, mut done) = (Vec::new(), Vec::new());
    producer.poll(&mut cluster, Moment::default(), &mut out, &mut done);
    assert!(done.is_empty() && !producer.is_idle());
    let written = Ok(Answer::nothing());
    producer.on_answer(out[0].id, written, &mut cluster, Moment::default(), &mut done).unwrap();
    assert!(matches!(done[..], [Delivery { count: 1, result: Ok(Offset(-1)), .. }]));
    assert!(producer.is_idle());
}

#[test]
fn batches_of_a_partition_follow_each_other_once_the_broker_knows_the_producer() {
    check(
        options(true),
        "push 0 a
         flush
         poll 0
         identity 1 77
         poll 0
         push 0 b
         poll 10
         answer 2 0=0
         poll 10
         push 0 c
         poll 20
         fail 3
         answer 4 0=-45
         poll 20
         poll 120
         answer 5 0=1
         answer 6 0=2",
        &expect![[r"
            push 0 a
            flush
            poll 0
                InitProducerId #1 to Any
                next in 120000 ms
            identity 1 77
            poll 0
                Produce #2 to Node(NodeId(1)); t-0: 1 of 77 from 0
                next in 120000 ms
            push 0 b
            poll 10
                next in 119990 ms
            answer 2 0=0
                1 of t-0 at 0
            poll 10
                Produce #3 to Node(NodeId(1)); t-0: 1 of 77 from 1
                next in 119990 ms
            push 0 c
            poll 20
                Produce #4 to Node(NodeId(1)); t-0: 1 of 77 from 2
                next in 119980 ms
            fail 3
            answer 4 0=-45
            poll 20
                next in 100 ms
            poll 120
                Produce #5 to Node(NodeId(1)); t-0: 1 of 77 from 1
                Produce #6 to Node(NodeId(1)); t-0: 1 of 77 from 2
                next in 119880 ms
            answer 5 0=1
                1 of t-0 at 1
            answer 6 0=2
                1 of t-0 at 2
        "]],
    );
}

#[test]
fn a_batch_behind_one_that_failed_for_good_gets_a_new_number() {
    check(
        options(true),
        "push 0 a
         flush
         poll 0
         identity 1 77
         poll 0
         answer 2 0=0
         push 0 b
         poll 10
         push 0 c
         poll 20
         answer 3 0=-10
         answer 4 0=-45
         poll 20
         identity 5 78
         poll 120
         answer 6 0=1",
        &expect![[r"
            push 0 a
            flush
            poll 0
                InitProducerId #1 to Any
                next in 120000 ms
            identity 1 77
            poll 0
                Produce #2 to Node(NodeId(1)); t-0: 1 of 77 from 0
                next in 120000 ms
            answer 2 0=0
                1 of t-0 at 0
            push 0 b
            poll 10
                Produce #3 to Node(NodeId(1)); t-0: 1 of 77 from 1
                next in 119990 ms
            push 0 c
            poll 20
                Produce #4 to Node(NodeId(1)); t-0: 1 of 77 from 2
                next in 119980 ms
            answer 3 0=-10
                1 of t-0 Produce was refused: MESSAGE_TOO_LARGE
            answer 4 0=-45
            poll 20
                InitProducerId #5 to Any
                next in 119980 ms
            identity 5 78
            poll 120
                Produce #6 to Node(NodeId(1)); t-0: 1 of 78 from 0
                next in 119880 ms
            answer 6 0=1
                1 of t-0 at 1
        "]],
    );
}
