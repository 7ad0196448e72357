//! Current librdkafka, through the rdkafka crate.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::common::until;

const PATIENCE: Duration = Duration::from_secs(30);
const RECORDS: usize = 500;

type Pairs = BTreeMap<String, Vec<String>>;

fn check(what: &str, ok: bool) {
    println!("librdkafka: {}: {what}", if ok { "ok" } else { "FAILED" });
    assert!(ok, "{what}");
}

fn config(broker: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker);
    config
}

fn records() -> impl Iterator<Item = (String, String)> {
    (0..RECORDS).map(|i| (format!("key-{}", i % 50), format!("value-{i}")))
}

fn expected() -> Pairs {
    let mut keys = Pairs::new();
    records().for_each(|(key, value)| keys.entry(key).or_default().push(value));
    keys
}

fn produce(broker: &str, topic: &str, settings: &[(&str, &str)]) {
    let mut config = config(broker);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let producer: ThreadedProducer<_> = config.set("linger.ms", "5").create().unwrap();
    for (key, value) in records() {
        let headers = OwnedHeaders::new()
            .insert(Header { key: "first", value: Some("1") })
            .insert(Header { key: "null", value: None::<&str> })
            .insert(Header { key: "first", value: Some("again") });
        let record = BaseRecord::to(topic).key(&key).payload(&value).headers(headers);
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

fn take(keys: &mut Pairs, message: &BorrowedMessage<'_>) {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    keys.entry(text(message.key())).or_default().push(text(message.payload()));
}

fn consume(broker: &str, topic: &str) -> (Pairs, bool) {
    let mut config = config(broker);
    let consumer: BaseConsumer = config.set("group.id", "not-joined").create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        partitions.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let (mut keys, mut headers) = (Pairs::new(), true);
    for _ in 0..RECORDS {
        let message = consumer.poll(PATIENCE).expect("another record").unwrap();
        take(&mut keys, &message);
        let read: Vec<_> = message.headers().unwrap().iter().map(|h| (h.key, h.value)).collect();
        headers &=
            read == [("first", Some(&b"1"[..])), ("null", None), ("first", Some(&b"again"[..]))];
    }
    (keys, headers)
}

#[test]
fn librdkafka_produces_with_every_codec_and_acks_and_reads_it_back() {
    println!("librdkafka {}", rdkafka::util::get_rdkafka_version().1);
    let server = super::server();
    let broker = server.bootstrap();
    let round_trip = |what: &str, topic: &str, settings: &[(&str, &str)]| {
        produce(&broker, topic, settings);
        let (keys, headers) = consume(&broker, topic);
        check(what, keys == expected());
        check(&format!("{what}: headers"), headers);
    };
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for acks in ["0", "1", "all"] {
            let settings = [("compression.type", codec), ("acks", acks)];
            let what = format!("codec {codec}, acks {acks}");
            round_trip(&what, &format!("rd-{codec}-{acks}"), &settings);
        }
    }
    round_trip("idempotent producer", "rd-idempotent", &[("enable.idempotence", "true")]);
}

#[test]
fn librdkafka_null_keys_and_values_stay_null() {
    let server = super::server();
    let producer: ThreadedProducer<_> = config(&server.bootstrap()).create().unwrap();
    let send = |record| producer.send(record).map_err(|(e, _): (_, BaseRecord<'_, _, _>)| e);
    let to = || BaseRecord::<str, str>::to("nulls").partition(0);
    send(to().key("k")).unwrap();
    send(to().payload("v")).unwrap();
    send(to().key("").payload("")).unwrap();
    producer.flush(PATIENCE).unwrap();
    let mut config = config(&server.bootstrap());
    let consumer: BaseConsumer = config.set("group.id", "not-joined").create().unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset("nulls", 0, Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let next = || {
        let message = consumer.poll(PATIENCE).unwrap().unwrap();
        (message.key().map(<[u8]>::to_vec), message.payload().map(<[u8]>::to_vec))
    };
    assert_eq!(next(), (Some(b"k".to_vec()), None));
    assert_eq!(next(), (None, Some(b"v".to_vec())));
    assert_eq!(next(), (Some(vec![]), Some(vec![])));
}

fn member(broker: &str, assignor: &str) -> BaseConsumer {
    let consumer: BaseConsumer = config(broker)
        .set("group.id", format!("rd-{assignor}"))
        .set("partition.assignment.strategy", assignor)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500")
        .create()
        .unwrap();
    consumer.subscribe(&[assignor]).unwrap();
    consumer
}

/// Polls all members until they have read `count` records between them.
fn drain(members: &[&BaseConsumer], count: usize) -> (Pairs, Vec<usize>) {
    let (mut keys, mut counts) = (Pairs::new(), vec![0; members.len()]);
    until(PATIENCE, "records for the members", || {
        for (member, count) in members.iter().zip(&mut counts) {
            while let Some(message) = member.poll(Duration::from_millis(20)) {
                take(&mut keys, &message.unwrap());
                *count += 1;
            }
        }
        (counts.iter().sum::<usize>() >= count).then_some(())
    });
    (keys, counts)
}

fn shares(members: &[&BaseConsumer], wanted: &[usize]) {
    until(PATIENCE, "partitions for the members", || {
        for member in members {
            let message = member.poll(Duration::from_millis(20));
            assert!(message.is_none(), "a record came twice: {message:?}");
        }
        let counts = members.iter().map(|m| m.assignment().unwrap().count());
        counts.eq(wanted.iter().copied()).then_some(())
    });
}

fn a_group(broker: &str, assignor: &str) {
    let check = |what: &str, ok| check(&format!("{assignor}: {what}"), ok);
    let admin: AdminClient<_> = config(broker).create().unwrap();
    let topic = NewTopic::new(assignor, 4, TopicReplication::Fixed(1));
    let created = admin.create_topics([&topic], &AdminOptions::new());
    futures_executor::block_on(created).unwrap()[0].as_ref().unwrap();
    produce(broker, assignor, &[]);
    let one = member(broker, assignor);
    check("a group of one reads everything", drain(&[&one], RECORDS).0 == expected());
    one.commit_consumer_state(CommitMode::Sync).unwrap();
    let two = member(broker, assignor);
    shares(&[&one, &two], &[2, 2]);
    produce(broker, assignor, &[]);
    let (keys, counts) = drain(&[&one, &two], RECORDS);
    check("each record comes to one of two members", keys == expected());
    check("both members read", counts.iter().all(|&n| n > 0));
    one.commit_consumer_state(CommitMode::Sync).unwrap();
    two.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(two);
    shares(&[&one], &[4]);
    drop(one);
    produce(broker, assignor, &[]);
    let again = member(broker, assignor);
    check("a group goes on where it committed", drain(&[&again], RECORDS).0 == expected());
}

#[test]
fn librdkafka_groups_join_commit_rebalance_and_go_on() {
    let server = super::server();
    for assignor in ["range", "roundrobin", "cooperative-sticky"] {
        a_group(&server.bootstrap(), assignor);
    }
}
