//! Current librdkafka, through the rdkafka crate.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::common::until;

const PATIENCE: Duration = Duration::from_secs(30);
const RECORDS: usize = 500;

type Pairs = BTreeMap<String, Vec<String>>;

/// The lines of this client.
#[derive(Default)]
struct Facts(Vec<String>);

impl Facts {
    fn check(&mut self, what: &str, ok: bool) {
        let line = format!("rdkafka: {}: {what}", if ok { "ok" } else { "FAILED" });
        println!("{line}");
        self.0.push(line);
        assert!(ok, "{what}");
    }
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

fn producing(facts: &mut Facts, broker: &str) {
    let mut round_trip = |what: &str, settings: &[(&str, &str)]| {
        let topic = what.replace(' ', "-");
        produce(broker, &topic, settings);
        let (keys, headers) = consume(broker, &topic);
        facts.check(what, keys == expected());
        headers
    };
    for acks in ["0", "1", "all"] {
        round_trip(&format!("acks {acks}"), &[("acks", acks)]);
    }
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        round_trip(codec, &[("compression.type", codec)]);
    }
    let headers = round_trip("idempotent producer", &[("enable.idempotence", "true")]);
    facts.check("keys and headers", headers);
}

type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Sends records to partition 0, each a second after the one before when `made` is given.
fn send(broker: &str, topic: &str, records: &[Pair<'_>], made: Option<i64>) {
    let producer: ThreadedProducer<_> = config(broker).create().unwrap();
    for (&(key, value), i) in records.iter().zip(0..) {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(0);
        record.key = key;
        record.payload = value;
        record.timestamp = made.map(|made| made + 1000 * i);
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

fn reader(broker: &str, topic: &str, from: Offset) -> BaseConsumer {
    let consumer: BaseConsumer = config(broker).set("group.id", "not-joined").create().unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, from).unwrap();
    consumer.assign(&partitions).unwrap();
    consumer
}

fn reads(broker: &str, topic: &str, from: Offset, wanted: &[Pair<'_>]) -> bool {
    let consumer = reader(broker, topic, from);
    wanted.iter().all(|&wanted| {
        let message = consumer.poll(PATIENCE).expect("another record").unwrap();
        (message.key(), message.payload()) == wanted
    })
}

const fn pair<'a>(key: &'a str, value: &'a str) -> Pair<'a> {
    (Some(key.as_bytes()), Some(value.as_bytes()))
}

fn edges(facts: &mut Facts, broker: &str) {
    let large: Vec<_> =
        (0..900_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let cases: [(&str, &[Pair<'_>]); 3] = [
        ("null values", &[(pair("k", "").0, None), (None, pair("", "v").1)]),
        ("empty records", &[pair("", ""), pair("k", "")]),
        ("900 kB records", &[(pair("k", "").0, Some(&large))]),
    ];
    for (what, records) in cases {
        let topic = what.replace(' ', "-");
        send(broker, &topic, records, None);
        facts.check(what, reads(broker, &topic, Offset::Beginning, records));
    }
}

fn consuming(facts: &mut Facts, broker: &str) {
    let values: Vec<_> = (0..10).map(|i| format!("value-{i}")).collect();
    let timed: Vec<Pair<'_>> = values.iter().map(|v| (None, Some(v.as_bytes()))).collect();
    let made = klamm::client::blocking::Clock::wall().0 - 3_600_000;
    send(broker, "timed", &timed, Some(made));
    facts.check("from the earliest", reads(broker, "timed", Offset::Beginning, &timed));
    facts.check("from an offset", reads(broker, "timed", Offset::Offset(7), &timed[7..]));
    let mut at = TopicPartitionList::new();
    at.add_partition_offset("timed", 0, Offset::Offset(made + 4500)).unwrap();
    let consumer = reader(broker, "timed", Offset::Beginning);
    let found = consumer.offsets_for_times(at, PATIENCE).unwrap().elements()[0].offset();
    let ends = consumer.fetch_watermarks("timed", 0, PATIENCE).unwrap();
    facts.check("list offsets", found == Offset::Offset(5) && ends == (0, 10));
    facts.check("by timestamp", reads(broker, "timed", found, &timed[5..]));
    let consumer = reader(broker, "timed", Offset::End);
    let late = until(PATIENCE, "a record made while a consumer waits at the end", || {
        send(broker, "timed", &[pair("", "late")], None);
        Some(consumer.poll(Duration::from_millis(100))?.unwrap().payload().unwrap().to_vec())
    });
    facts.check("from the latest", late == b"late");
}

/// Counts how often a member was given partitions.
#[derive(Default)]
struct Assigned(AtomicUsize);

impl ClientContext for Assigned {}

impl ConsumerContext for Assigned {
    fn post_rebalance(&self, _: &Member, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

type Member = BaseConsumer<Assigned>;

fn member(broker: &str, assignor: &str, instance: &str) -> Member {
    let consumer: Member = config(broker)
        .set(
            "group.id",
            format!("rd-{assignor}{}", if instance.is_empty() { "" } else { "-static" }),
        )
        .set("group.instance.id", instance)
        .set("partition.assignment.strategy", assignor)
        .set("auto.offset.reset", if instance.is_empty() { "earliest" } else { "latest" })
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", if instance.is_empty() { "6000" } else { "30000" })
        .set("heartbeat.interval.ms", "500")
        .create_with_context(Assigned::default())
        .unwrap();
    consumer.subscribe(&[assignor]).unwrap();
    consumer
}

/// Polls all members until they have read `count` records between them.
fn drain(members: &[&Member], count: usize) -> (Pairs, Vec<usize>) {
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

fn shares(members: &[&Member], wanted: &[usize]) {
    until(PATIENCE, "partitions for the members", || {
        for member in members {
            let message = member.poll(Duration::from_millis(20));
            assert!(message.is_none(), "a record came twice: {message:?}");
        }
        let counts = members.iter().map(|m| m.assignment().unwrap().count());
        counts.eq(wanted.iter().copied()).then_some(())
    });
}

fn a_group(facts: &mut Facts, broker: &str, assignor: &str) {
    let mut check = |what: &str, ok| facts.check(&format!("{what}, {assignor}"), ok);
    create(broker, assignor, 4);
    produce(broker, assignor, &[]);
    let one = member(broker, assignor, "");
    check("join: a group of one reads everything", drain(&[&one], RECORDS).0 == expected());
    one.commit_consumer_state(CommitMode::Sync).unwrap();
    let two = member(broker, assignor, "");
    shares(&[&one, &two], &[2, 2]);
    produce(broker, assignor, &[]);
    let (keys, counts) = drain(&[&one, &two], RECORDS);
    check("rebalance: each record comes to one of two members", keys == expected());
    check("rebalance: both members read", counts.iter().all(|&n| n > 0));
    one.commit_consumer_state(CommitMode::Sync).unwrap();
    two.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(two);
    shares(&[&one], &[4]);
    check("leave: the first member gets everything back", true);
    drop(one);
    produce(broker, assignor, &[]);
    let again = member(broker, assignor, "");
    let rest = drain(&[&again], RECORDS).0;
    check("commit and resume: a group goes on where it committed", rest == expected());
}

/// A static member that goes and comes back has its partitions again, and nobody rebalances.
fn static_members(facts: &mut Facts, broker: &str) {
    let partitions = |member: &Member| {
        let assigned = member.assignment().unwrap();
        let mut ids: Vec<_> =
            assigned.elements().iter().map(TopicPartitionListElem::partition).collect();
        ids.sort_unstable();
        ids
    };
    let (one, two) = (member(broker, "range", "one"), member(broker, "range", "two"));
    shares(&[&one, &two], &[2, 2]);
    let assigned = || one.context().0.load(Ordering::Relaxed);
    let (before, mine) = (assigned(), partitions(&two));
    drop(two);
    let two = member(broker, "range", "two");
    shares(&[&one, &two], &[2, 2]);
    let stays = partitions(&two) == mine && assigned() == before;
    facts.check("static member: comes back to its partitions without a rebalance", stays);
}

fn create(broker: &str, topic: &str, partitions: i32) {
    let admin: AdminClient<_> = config(broker).create().unwrap();
    let topic =
        NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "1000000");
    let created = admin.create_topics([&topic], &AdminOptions::new());
    futures_executor::block_on(created).unwrap()[0].as_ref().unwrap();
}

fn administration(facts: &mut Facts, broker: &str) {
    let admin: AdminClient<_> = config(broker).create().unwrap();
    let options = AdminOptions::new();
    let partitions = || {
        let metadata = admin.inner().fetch_metadata(None, PATIENCE).unwrap();
        metadata.topics().iter().find(|t| t.name() == "made").map(|t| t.partitions().len())
    };
    let retention = || {
        let described = admin.describe_configs(&[ResourceSpecifier::Topic("made")], &options);
        let described = futures_executor::block_on(described).unwrap().remove(0).unwrap();
        described.get("retention.ms").unwrap().value.clone()
    };
    create(broker, "made", 3);
    until(PATIENCE, "the topic", &partitions);
    facts.check("create topic", partitions() == Some(3));
    facts.check("describe", retention().as_deref() == Some("1000000"));
    let change = AlterConfig::new(ResourceSpecifier::Topic("made")).set("retention.ms", "2000000");
    let altered = admin.alter_configs([&change], &options);
    futures_executor::block_on(altered).unwrap()[0].as_ref().unwrap();
    facts.check("alter configs", retention().as_deref() == Some("2000000"));
    let deleted = admin.delete_topics(&["made"], &options);
    futures_executor::block_on(deleted).unwrap()[0].as_ref().unwrap();
    until(PATIENCE, "the end of the topic", || partitions().is_none().then_some(()));
    facts.check("delete topic", true);
}

#[test]
fn rdkafka_does_what_it_can() {
    let server = super::server();
    let broker = server.bootstrap();
    let (mut facts, librdkafka) = (Facts::default(), rdkafka::util::get_rdkafka_version().1);
    facts.0.push(format!("rdkafka: version: librdkafka {librdkafka}"));
    producing(&mut facts, &broker);
    edges(&mut facts, &broker);
    consuming(&mut facts, &broker);
    for assignor in ["range", "roundrobin", "cooperative-sticky"] {
        a_group(&mut facts, &broker, assignor);
    }
    static_members(&mut facts, &broker);
    administration(&mut facts, &broker);
    super::matrix::keep("rdkafka", &facts.0);
}
