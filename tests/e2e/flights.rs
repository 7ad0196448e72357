//! Real records with real keys through real clients: every flight from New York in 2013, keyed by
//! carrier and number, over 8 partitions of 2 nodes, read by a group while a member joins and another
//! one is killed. Per key, the byte-exact sequence comes back. The repository has a sample; the whole
//! file is used where it lies beside the clone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use crate::common::server::dies_with_us;
use crate::common::{Server, Wire, until};
use crate::{client, shared};

const TOPIC: &str = "flights";
const GROUP: &str = "boards";
const PARTITIONS: i32 = 8;
const PATIENCE: Duration = Duration::from_mins(2);
/// Where a member process finds its orders: bootstrap server, tab, file for what it reads.
const ORDERS: &str = "FLIGHTS_MEMBER";

fn flights() -> String {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/flights-20k.tsv.zst");
    let path = shared("data/flights.tsv.zst").unwrap_or(sample);
    let plain = zstd::decode_all(File::open(&path).unwrap()).unwrap();
    String::from_utf8(plain).unwrap()
}

fn split(line: &str) -> (&str, &str) {
    line.split_once('\t').unwrap()
}

fn produce(bootstrap: &str, codec: &str, lines: &[&str]) {
    let settings = [("acks", "all"), ("compression.type", codec), ("linger.ms", "5")];
    let producer: ThreadedProducer<_> = client(bootstrap, &settings).create().unwrap();
    for (key, value) in lines.iter().map(|line| split(line)) {
        let mut record = BaseRecord::to(TOPIC).key(key).payload(value);
        while let Err((e, back)) = producer.send(record) {
            let full = rdkafka::types::RDKafkaErrorCode::QueueFull;
            assert_eq!(e.rdkafka_error_code(), Some(full), "{e}");
            record = back;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// A member of the group in a process of its own, so that it can be killed.
struct Member {
    child: Child,
    file: PathBuf,
}

impl Member {
    fn start(server: &Server, name: &str) -> Self {
        let file = server.place.dir.join(name);
        fs::write(&file, "").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "flights::a_member_of_the_group"]);
        command.env(ORDERS, format!("{}\t{}", server.bootstrap(), file.display()));
        dies_with_us(&mut command).stdin(Stdio::null()).stdout(Stdio::null());
        Self { child: command.spawn().unwrap(), file }
    }

    /// Whole lines of what it has written.
    fn text(&mut self) -> String {
        assert!(self.child.try_wait().unwrap().is_none(), "a member ended");
        self.written()
    }

    fn written(&self) -> String {
        let mut text = fs::read_to_string(&self.file).unwrap();
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text
    }

    /// Partitions that it has, by its last word on it.
    fn share(&mut self) -> usize {
        let text = self.text();
        let mut shares = text.lines().filter_map(|line| line.strip_prefix("share\t"));
        shares.next_back().map_or(0, |share| share.parse().unwrap())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs only as a process that [`Member`] starts: writes what it reads, and commits what it has
/// written.
#[test]
#[ignore = "a part of the tests of this file"]
fn a_member_of_the_group() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let (bootstrap, file) = split(&orders);
    let mut out = BufWriter::new(File::options().append(true).open(file).unwrap());
    let settings = [
        ("group.id", GROUP),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "300"),
    ];
    let consumer: BaseConsumer = client(bootstrap, &settings).create().unwrap();
    consumer.subscribe(&[TOPIC]).unwrap();
    let (mut share, mut read, mut committed) = (0, 0, Instant::now());
    loop {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(m)) => {
                write!(out, "{}\t{}\t", m.partition(), m.offset()).unwrap();
                out.write_all(m.key().unwrap()).unwrap();
                out.write_all(b"\t").unwrap();
                out.write_all(m.payload().unwrap()).unwrap();
                out.write_all(b"\n").unwrap();
                read += 1;
            }
            Some(Err(e)) => eprintln!("{e}"),
            None => {}
        }
        if committed.elapsed() > Duration::from_millis(100) {
            committed = Instant::now();
            let now = consumer.assignment().unwrap().count();
            if now != share {
                share = now;
                writeln!(out, "share\t{share}").unwrap();
            }
            out.flush().unwrap();
            if read > 0 {
                // Refused while the group is being balanced; the next one counts then.
                let _ = consumer.commit_consumer_state(CommitMode::Sync);
                read = 0;
            }
        }
    }
}

/// (partition, offset) -> (key, value); what two members read must be the same.
fn collect(texts: &[String]) -> BTreeMap<(i32, i64), (&str, &str)> {
    let mut read = BTreeMap::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let (partition, rest) = split(line);
        if partition == "share" {
            continue;
        }
        let (offset, record) = split(rest);
        let record = split(record);
        let place = (partition.parse().unwrap(), offset.parse().unwrap());
        let old = read.insert(place, record);
        assert!(old.is_none_or(|old| old == record), "two values at {place:?}");
    }
    read
}

fn by_key<'a>(
    records: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
    records.for_each(|(key, value)| keys.entry(key).or_default().push(value));
    keys
}

fn flights_with(codec: &str) {
    let server = Server::with(&[("node.count", "2")]);
    Wire::connect(server.address(0)).create(TOPIC, PARTITIONS, &[]);
    let bootstrap = server.bootstrap();
    let flights = flights();
    let lines: Vec<_> = flights.lines().collect();
    let (half, rest) = lines.split_at(lines.len() / 2);
    let (third_quarter, last_quarter) = rest.split_at(rest.len() / 2);
    let start = Instant::now();

    let (mut a, mut b) = (Member::start(&server, "a"), Member::start(&server, "b"));
    until(PATIENCE, "both members have a share", || {
        (a.share() == 4 && b.share() == 4).then_some(())
    });
    produce(&bootstrap, codec, half);
    until(PATIENCE, "both members read", || {
        [&mut a, &mut b].into_iter().all(|m| m.text().lines().count() > 100).then_some(())
    });
    let mut c = Member::start(&server, "c");
    until(PATIENCE, "the third member has a share", || (c.share() > 0).then_some(()));
    produce(&bootstrap, codec, third_quarter);
    until(PATIENCE, "the third member reads", || (c.text().lines().count() > 100).then_some(()));
    b.child.kill().unwrap();
    produce(&bootstrap, codec, last_quarter);

    let texts = until(PATIENCE, "everything is read", || {
        std::thread::sleep(Duration::from_millis(300));
        let texts = [a.text(), b.written(), c.text()];
        let enough = texts.iter().flat_map(|t| t.lines()).count() >= lines.len();
        (enough && collect(&texts).len() == lines.len()).then_some(texts)
    });
    let read = collect(&texts);
    let members = texts.each_ref().map(|t| t.lines().count());
    let took = start.elapsed();
    println!("{codec}: {} records, the members read {members:?}, {took:?}", lines.len());
    for partition in 0..PARTITIONS {
        let offsets = read.range((partition, 0)..(partition + 1, 0)).map(|(place, _)| place.1);
        assert!(offsets.enumerate().all(|(i, offset)| i as i64 == offset), "a gap in {partition}");
    }
    let same = by_key(read.into_values()) == by_key(lines.iter().map(|line| split(line)));
    assert!(same, "a key has another sequence");
}

#[test]
fn flights_come_back_byte_exact_without_compression() {
    flights_with("none");
}

#[test]
fn flights_come_back_byte_exact_with_gzip() {
    flights_with("gzip");
}

#[test]
fn flights_come_back_byte_exact_with_snappy() {
    flights_with("snappy");
}

#[test]
fn flights_come_back_byte_exact_with_lz4() {
    flights_with("lz4");
}

#[test]
fn flights_come_back_byte_exact_with_zstd() {
    flights_with("zstd");
}
