//! Scripts for the fetcher: what it asks for, and where each partition stands.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;
use crate::client::testing;
use crate::wire::batch::set_base_offset;
use crate::wire::codec::Codec;
use crate::wire::messages::fetch_response::FetchableTopicResponse;
use crate::wire::messages::list_offsets_response::ListOffsetsTopicResponse;
use crate::wire::messages::{FetchResponse, ListOffsetsResponse};
use crate::wire::record::{BatchBuilder, ProducerStamp};

/// Runs a script, one event a line, on topic `t` of 2 partitions led by node 1:
///
/// `at <partition> <offset>` | `time <partition> <time>` | `clear` | `poll <ms>` |
/// `found <request> <partition>=<offset or error code, negative> ...` | `fail <request>` |
/// `fetched <request> <partition>=<number of records or error code, negative> ...` |
/// `session <id>`: answers that follow name it | `lost <request>`: the broker has no such session
#[track_caller]
fn check(options: FetcherOptions, script: &str, expect: &Expect) {
    let mut cluster = Cluster::new(false, Duration::MAX, Duration::ZERO);
    cluster.apply(&testing::one_broker(&[("t", 2)]));
    let mut fetcher = Fetcher::new(options);
    let mut now = Moment::default();
    let mut session = 0;
    let mut trace = String::new();
    for line in script.lines().map(str::trim) {
        let (mut out, mut events) = (Vec::new(), Vec::new());
        writeln!(trace, "{line}").unwrap();
        let words: Vec<_> = line.split(' ').collect();
        let name = |p: &str| PartitionName::new("t", p.parse().unwrap());
        match words[..] {
            ["at", p, offset] => {
                fetcher.assign(name(p), Position::At(Offset(offset.parse().unwrap())));
            }
            ["time", p, time] => fetcher.assign(name(p), Position::Time(time.parse().unwrap())),
            ["clear"] => fetcher.clear(),
            ["session", id] => session = id.parse().unwrap(),
            ["poll", ms] => {
                now = Moment::default().plus_ms(ms.parse().unwrap());
                fetcher.poll(&mut cluster, now, &mut out);
            }
            [kind, id, ref partitions @ ..] => {
                let id = id.parse().unwrap();
                let answer = match kind {
                    "found" => Ok(found_at(partitions)),
                    "fetched" => Ok(fetched_from(&fetcher, session, partitions)),
                    "lost" => Ok(testing::answer::<FetchRequest>(
                        &msg!(FetchResponse { error_code: 70 }),
                        12,
                    )),
                    _ => Err(ClientError::Closed { address: "h:9".to_owned(), waiting: 1 }),
                };
                let told = fetcher.on_answer(id, answer, &mut cluster, now, &mut events);
                told.unwrap_or_else(|e| writeln!(trace, "    told: {e}").unwrap());
            }
            _ => panic!("unknown event: {line}"),
        }
        trace.extend(out.iter().map(sent));
        for event in events {
            match event {
                Fetched::Batch(b) => {
                    let (count, next) = (b.records().count(), b.next_offset());
                    writeln!(trace, "    {count} of {}, next {next}", b.partition).unwrap();
                }
                Fetched::Failed { partition, error } => {
                    writeln!(trace, "    {partition} failed: {error}").unwrap();
                }
            }
        }
    }
    expect.assert_eq(&trace);
}

fn sent(outgoing: &Outgoing) -> String {
    let mut line = format!("    {} #{}", outgoing.call.api(), outgoing.id);
    if outgoing.call.api() == "Fetch" {
        let request: FetchRequest = testing::request(outgoing);
        if request.session_epoch > 0 {
            write!(line, " in {} {}", request.session_id, request.session_epoch).unwrap();
        }
        for p in request.topics.iter().flat_map(|t| &t.partitions) {
            write!(line, " t-{}@{}", p.partition, p.fetch_offset).unwrap();
        }
        for p in request.forgotten_topics_data.iter().flat_map(|t| &t.partitions) {
            write!(line, " not t-{p}").unwrap();
        }
    } else {
        let request: ListOffsetsRequest = testing::request(outgoing);
        for p in &request.topics[0].partitions {
            write!(line, " t-{} at {}", p.partition_index, p.timestamp).unwrap();
        }
    }
    line + "\n"
}

fn pairs(partitions: &[&str]) -> Vec<(i32, i64)> {
    let pair = |text: &&str| {
        let (partition, value) = text.split_once('=').unwrap();
        (partition.parse().unwrap(), value.parse().unwrap())
    };
    partitions.iter().map(pair).collect()
}

fn found_at(partitions: &[&str]) -> Answer {
    let partition = |(partition_index, value): (i32, i64)| {
        let error_code = if value < -1 { -value as i16 } else { 0 };
        msg!(ListOffsetsPartitionResponse { partition_index, error_code, offset: value })
    };
    let partitions = pairs(partitions).into_iter().map(partition).collect();
    let topic = msg!(ListOffsetsTopicResponse { name: "t".into(), partitions });
    testing::answer::<ListOffsetsRequest>(&msg!(ListOffsetsResponse { topics: vec![topic] }), 7)
}

/// A batch of so many records from where each partition stands.
fn fetched_from(fetcher: &Fetcher, session_id: i32, partitions: &[&str]) -> Answer {
    let partition = |(partition_index, value): (i32, i64)| {
        let mut builder = BatchBuilder::default();
        (0..value).for_each(|_| builder.push(0, None, Some(b"v"), &[]));
        let mut batch = builder.build(Codec::Lz4, ProducerStamp::NONE).unwrap().to_vec();
        let at = fetcher.position(&PartitionName::new("t", partition_index));
        if let Some(Position::At(at)) = at {
            set_base_offset(&mut batch, at);
        }
        let records = if value > 0 { Some(batch.into()) } else { None };
        let error_code = if value < 0 { -value as i16 } else { 0 };
        msg!(PartitionData { partition_index, error_code, records })
    };
    let partitions = pairs(partitions).into_iter().map(partition).collect();
    let topic = msg!(FetchableTopicResponse { topic: "t".into(), partitions });
    testing::answer::<FetchRequest>(&msg!(FetchResponse { session_id, responses: vec![topic] }), 12)
}

#[test]
fn positions_are_looked_up_and_then_move_with_what_is_fetched() {
    check(
        FetcherOptions::default(),
        "at 0 5
         time 1 -2
         poll 0
         found 1 1=3
         poll 0
         fetched 2 0=2
         poll 0
         fetched 3 0=0 1=4
         poll 0",
        &expect![[r"
            at 0 5
            time 1 -2
            poll 0
                ListOffsets #1 t-1 at -2
                Fetch #2 t-0@5
            found 1 1=3
            poll 0
            fetched 2 0=2
                2 of t-0, next 7
            poll 0
                Fetch #3 t-0@7 t-1@3
            fetched 3 0=0 1=4
                4 of t-1, next 7
            poll 0
                Fetch #4 t-0@7 t-1@7
        "]],
    );
}

#[test]
fn an_offset_out_of_range_is_reset_as_asked_and_a_time_after_all_records_is_the_end() {
    check(
        FetcherOptions { reset: Some(EARLIEST), ..FetcherOptions::default() },
        "at 0 99
         poll 0
         fetched 1 0=-1
         poll 0
         found 2 0=-1
         poll 0
         found 3 0=7
         poll 0",
        &expect![[r"
            at 0 99
            poll 0
                Fetch #1 t-0@99
            fetched 1 0=-1
            poll 0
                ListOffsets #2 t-0 at -2
            found 2 0=-1
            poll 0
                ListOffsets #3 t-0 at -1
            found 3 0=7
            poll 0
                Fetch #4 t-0@7
        "]],
    );
    check(
        FetcherOptions { reset: None, ..FetcherOptions::default() },
        "at 0 99
         poll 0
         fetched 1 0=-1
         poll 0",
        &expect![[r"
            at 0 99
            poll 0
                Fetch #1 t-0@99
            fetched 1 0=-1
                t-0 failed: Fetch was refused: OFFSET_OUT_OF_RANGE for t-0
            poll 0
        "]],
    );
}

#[test]
fn what_passes_is_asked_again_after_the_backoff_and_what_was_taken_away_is_dropped() {
    check(
        FetcherOptions::default(),
        "at 0 0
         poll 0
         fail 1
         poll 99
         poll 100
         fetched 2 0=-6
         poll 200
         clear
         at 0 40
         fetched 3 0=2
         poll 201",
        &expect![[r"
            at 0 0
            poll 0
                Fetch #1 t-0@0
            fail 1
                told: h:9 closed the connection with 1 requests unanswered; see its log
            poll 99
            poll 100
                Fetch #2 t-0@0
            fetched 2 0=-6
            poll 200
                Fetch #3 t-0@0
            clear
            at 0 40
            fetched 3 0=2
            poll 201
                Fetch #4 t-0@40
        "]],
    );
}

#[test]
fn in_a_session_only_what_changed_is_named_and_a_lost_one_begins_anew() {
    check(
        FetcherOptions::default(),
        "at 0 5
         at 1 9
         session 77
         poll 0
         fetched 1 0=2
         poll 0
         fetched 2
         poll 0
         at 1 30
         fetched 3 1=4
         poll 0
         clear
         at 0 7
         fetched 4
         poll 0
         lost 5
         poll 0",
        &expect![[r"
            at 0 5
            at 1 9
            session 77
            poll 0
                Fetch #1 t-0@5 t-1@9
            fetched 1 0=2
                2 of t-0, next 7
            poll 0
                Fetch #2 in 77 1 t-0@7
            fetched 2
            poll 0
                Fetch #3 in 77 2
            at 1 30
            fetched 3 1=4
            poll 0
                Fetch #4 in 77 3 t-1@30
            clear
            at 0 7
            fetched 4
            poll 0
                Fetch #5 in 77 4 not t-1
            lost 5
            poll 0
                Fetch #6 t-0@7
        "]],
    );
}
