//! `klamm load` and the performance tools, against a broker: what they print, write and exit with.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use crate::broker::{Broker, Ran};
use crate::wait_for;

/// Why the other client does not verify: it cannot, or it is not in this build.
const LIBRDKAFKA: &str = if cfg!(feature = "librdkafka") {
    "--verify and backlogs need our own client (--client klamm)"
} else {
    "this build has no librdkafka: build it with `cargo build --features librdkafka`"
};
/// Short runs; the machine may be slow, so nothing here depends on its speed.
const SHORT: &str = "--warmup-seconds 0 --duration-seconds 1";

fn load(broker: &Broker, args: &str) -> Ran {
    broker.run("load", &format!("{SHORT} {args}"))
}

/// A directory of this test.
pub(crate) fn dir(broker: &Broker) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(broker.name("out"))
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_run_writes_what_it_measured() {
    let broker = Broker::get();
    let out = dir(&broker);
    let name = broker.name("load");
    let args = format!("--name {name} --rate 500 --partitions 4 --out {}", out.display());
    let table = load(&broker, &args).ok();
    assert!(table.contains("offered 500/s"), "{table}");
    let result = json(&fs::read_to_string(out.join("result.json")).unwrap());
    assert_eq!(result["format"], 1);
    assert_eq!(result["counts"]["acked"], 500);
    assert_eq!(result["counts"]["consumed"], 500);
    assert_eq!(result["counts"]["lost"], serde_json::Value::Null);
    assert_eq!(result["error"], serde_json::Value::Null);
    assert_eq!(result["ack_ns"]["count"], 500);
    let at = |latency: &str, percentile: &str| result[latency][percentile].as_u64().unwrap();
    for latency in ["late_ns", "ack_ns", "e2e_ns"] {
        let [p50, p99, max] = ["p50", "p99", "max"].map(|p| at(latency, p));
        assert!(0 < p50 && p50 <= p99 && p99 <= max, "{latency}: {result}");
    }
    let sent = result["series"].as_array().unwrap().iter().map(|s| s["sent"].as_u64().unwrap());
    // What a busy machine sends behind the end is in no second.
    assert!((1..=500).contains(&sent.sum::<u64>()), "{result}");
    for log in ["ack.hdr", "e2e.hdr"] {
        let text = fs::read_to_string(out.join(log)).unwrap();
        assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
        assert!(text.lines().any(|l| l.contains(",HISTFA")), "{text}");
    }
    let picture = fs::read_to_string(out.join("picture.svg")).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    let lines = picture.lines().filter(|line| line.starts_with("<path "));
    let drawn: Vec<_> = lines.map(|line| line.matches('L').count()).collect();
    let curve = |latency: &str| {
        let curve = result[latency]["curve"].as_array().unwrap();
        curve.iter().filter(|point| point[0].as_f64().unwrap() < 1.0).count()
    };
    let series = result["series"].as_array().unwrap();
    let seconds = |what: &str| series.iter().filter(|s| s[what].as_u64().unwrap() > 0).count();
    let percentiles = ["ack_ns", "e2e_ns"].map(curve);
    let latencies =
        ["ack_max_ns", "ack_p99_ns", "ack_p50_ns", "e2e_max_ns", "e2e_p99_ns", "e2e_p50_ns"]
            .map(seconds);
    let rates = [2, series.len(), series.len()];
    assert_eq!(drawn, [&percentiles[..], &latencies, &rates].concat(), "{picture}");
    assert!(percentiles.iter().chain(&latencies).all(|&points| points > 0), "{drawn:?}");
    fs::remove_dir_all(out).unwrap();
    let topics = broker.run("topics", "--list").ok();
    assert!(!topics.contains(&name), "its topics are gone: {topics}");
}

#[test]
fn each_codec_and_key_distribution_is_read_back_whole_and_in_order() {
    let broker = Broker::get();
    let spreads = ["none", "uniform", "zipf", "round-robin", "none"];
    for (codec, keys) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().zip(spreads) {
        let args = format!(
            "--rate 1000 --partitions 3 --producers 2 --groups 2 --consumers 2 --verify --json \
             --record-bytes 200 --codec {codec} --keys {keys}"
        );
        let counts = json(&load(&broker, &args).ok())["counts"].clone();
        for (count, wants) in [
            ("acked", 1000),
            ("consumed", 2000),
            ("lost", 0),
            ("duplicated", 0),
            ("reordered", 0),
            ("corrupted", 0),
        ] {
            assert_eq!(counts[count], wants, "{codec} {keys}: {count}");
        }
    }
}

#[test]
fn every_workload_of_the_repository_is_understood() {
    let broker = Broker::get();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/workloads");
    let mut seen = 0;
    for file in fs::read_dir(dir).unwrap() {
        let file = file.unwrap().path();
        // The topic is not there, which is said after the workload is read.
        let args = format!("--workload {} --topic no-such-topic", file.display());
        let ran = load(&broker, &args);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains("topic no-such-topic does not exist"), "{file:?}: {}", ran.err);
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn a_file_and_flags_make_a_workload_and_a_file_has_the_payloads() {
    let broker = Broker::get();
    let out = dir(&broker);
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("payloads.tsv"), "a\tone\nb\ttwo\n").unwrap();
    let file = out.join("mine.toml");
    fs::write(&file, "rate = 50\npartitions = 2\npayload_file = \"payloads.tsv\"\n").unwrap();
    let topic = broker.name("t");
    broker.run("topics", &format!("--create --topic {topic} --partitions 2")).ok();
    let args = format!("--workload {} --rate 20 --topic {topic} --json", file.display());
    let result = json(&load(&broker, &args).ok());
    assert_eq!(result["workload"]["name"], "mine");
    assert_eq!(result["workload"]["rate"], 20.0);
    assert_eq!(result["counts"]["acked"], 20);
    assert_eq!(result["workload"]["record_bytes"], 16 + 3, "the file's, behind the head");
    let args = format!(
        "--topic {topic} --from-beginning --max-messages 20 --formatter-property print.key=true"
    );
    let text = broker.run("console-consumer", &args).ok();
    // The time in a payload may hold the byte of a line's end.
    let is_ours = |l: &&str| l.ends_with("one") || l.ends_with("two");
    assert_eq!(text.lines().filter(is_ours).count(), 20, "{text}");
    assert!(text.contains("a\t") && text.contains("b\t"), "{text}");
    fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_backlog_is_sent_before_and_read_up() {
    let broker = Broker::get();
    let result = json(&load(&broker, "--rate 100 --backlog-bytes 1000000 --json").ok());
    let records = 1_000_000_u64.div_ceil(1024);
    assert_eq!(result["backlog"]["records"], records);
    assert_eq!(result["counts"]["consumed"], records + 100);
    assert!(result["backlog"]["drain_seconds"].is_f64(), "they caught up: {result}");
    let latencies = ["ack_ns", "e2e_ns"].map(|latency| result[latency]["count"].clone());
    assert_eq!(latencies, [100, 100], "the backlog has no intended times");
    assert!(result["achieved_rate"].as_f64().unwrap() <= 100.0, "nor is it of the rate: {result}");
}

#[test]
fn the_highest_rate_that_holds_a_bound_is_searched() {
    let broker = Broker::get();
    let ran = load(&broker, "--rate 8 --max --slo ack-p50=1us --json");
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.ends_with("no rate meets ack-p50=1us\n"), "{}", ran.err);
    assert_eq!(ran.err.lines().filter(|l| l.ends_with("misses")).count(), 4, "{}", ran.err);
}

#[test]
fn mistakes_get_one_line_and_an_exit_code() {
    let broker = Broker::get();
    for (args, wants) in [
        ("--rate 0", "rate is 0; records per second, above 0 to 1e9"),
        (
            "--rate 5 --record-bytes 8",
            "record_bytes is 8; 16 (the clock and what verifies) to 1 GiB",
        ),
        ("--acks 7", "acks is 7; all, 1 or 0"),
        ("--codec brotli", "codec is brotli; none, gzip, snappy, lz4 or zstd"),
        ("--topic nowhere", "topic nowhere does not exist"),
        ("--workload nowhere.toml", "nowhere.toml: No such file or directory (os error 2)"),
        ("--max", "--max needs a bound: --slo p99=5ms"),
        ("--max --slo 5ms", "slo is 5ms; a percentile and its bound"),
        ("--client librdkafka --verify", LIBRDKAFKA),
    ] {
        let ran = load(&broker, args);
        assert_eq!(ran.code, Some(1), "{args}: {ran:?}");
        let last = ran.err.lines().last().unwrap();
        assert!(last.contains(wants), "{args}: {last}");
    }
    for (args, wants) in [
        ("--no-such-flag", "unexpected argument '--no-such-flag' found"),
        ("--rates 5", "unexpected argument '--rates' found; a similar argument exists: '--rate'"),
        (
            "--producers x",
            "invalid value 'x' for '--producers <PRODUCERS>': invalid digit found in string",
        ),
        (
            "--client x",
            "invalid value 'x' for '--client <CLIENT>' [possible values: klamm, librdkafka]",
        ),
        ("--rate", "a value is required for '--rate <RATE>' but none was supplied"),
    ] {
        let ran = load(&broker, args);
        let wants = format!("klamm load: {wants}; see --help\n");
        assert_eq!((ran.code, ran.err), (Some(1), wants), "{args}");
    }
    let nobody = Command::new(env!("CARGO_BIN_EXE_klamm"))
        .args(["load", "--bootstrap-server", "127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    let text = String::from_utf8(nobody.stderr).unwrap();
    assert!(text.starts_with("klamm load: connecting to 127.0.0.1:1: "), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_broker_that_dies_ends_the_run_and_what_was_measured_is_kept() {
    let Some(mut broker) = Broker::own() else { return };
    let out = dir(&broker);
    let args = format!(
        "--rate 200 --warmup-seconds 0 --duration-seconds 60 --give-up-after 1 --out {}",
        out.display()
    );
    let child = broker.start("load", &args);
    let log = out.join("ack.hdr");
    let has_seconds = || fs::read_to_string(&log).is_ok_and(|t| t.lines().count() >= 5);
    while !has_seconds() {
        sleep(Duration::from_millis(50));
    }
    broker.kill();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.starts_with("klamm load: ") && ran.err.lines().count() == 1, "{}", ran.err);
    let result = json(&fs::read_to_string(out.join("result.json")).unwrap());
    assert!(result["error"].is_string() && result["missed"].is_boolean());
    let acked = result["ack_ns"]["count"].as_u64().unwrap();
    assert!(acked > 0 && logged(&log) == acked, "{acked}");
    fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_key_that_no_workload_has_is_named_with_the_one_that_is_meant() {
    let broker = Broker::get();
    let file = dir(&broker).with_extension("toml");
    fs::write(&file, "rate = 100\nduration_second = 1\n").unwrap();
    let ran = load(&broker, &format!("--workload {}", file.display()));
    let wants = format!(
        "klamm load: {}: there is no key duration_second; did you mean duration_seconds?\n",
        file.display()
    );
    assert_eq!((ran.code, ran.err), (Some(1), wants));
    fs::remove_file(file).unwrap();
}

#[test]
fn a_search_that_loses_its_broker_keeps_the_best_run_so_far() {
    let Some(mut broker) = Broker::own() else { return };
    let out = dir(&broker);
    // The second record has half a second to be acknowledged in.
    let args = "--max --slo p99=60s --rate 2 --warmup-seconds 0 --duration-seconds 1";
    let args = format!("{args} --give-up-after 1 --out {}", out.display());
    let mut child = broker.start("load", &args);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.ends_with("meets"), "{first}");
    broker.kill();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    assert!(rest.last().unwrap().starts_with("klamm load: "), "{rest:?}");
    let result = json(&fs::read_to_string(out.join("result.json")).unwrap());
    assert!(result["error"].is_string());
    assert_eq!(result["search"][0]["meets"], true);
    assert_eq!(result["ack_ns"]["count"].as_u64(), result["counts"]["acked"].as_u64());
    fs::remove_dir_all(out).unwrap();
}

/// The histograms of a log.
fn histograms(path: &Path) -> Vec<Histogram<u64>> {
    let text = fs::read_to_string(path).unwrap();
    let packed = text.lines().filter_map(|l| l.split_once(",HISTFA").map(|(_, rest)| rest));
    let unpack = |packed: &str| {
        let bytes = STANDARD.decode(format!("HISTFA{packed}")).unwrap();
        Deserializer::new().deserialize(&mut &bytes[..]).unwrap()
    };
    packed.map(unpack).collect()
}

/// Latencies in a histogram log.
fn logged(path: &Path) -> u64 {
    histograms(path).iter().map(Histogram::len).sum()
}

#[test]
fn a_search_that_is_interrupted_ends_with_the_files_of_its_best_run() {
    let broker = Broker::get();
    let out = dir(&broker);
    let args = "--max --slo p99=60s --rate 2 --warmup-seconds 0 --duration-seconds 3";
    let mut child = broker.start("load", &format!("{args} --out {}", out.display()));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.ends_with("meets"), "{first}");
    // The logs of the next run are there as long as it lasts.
    let next = out.join("trial/ack.hdr");
    while !fs::read_to_string(&next).is_ok_and(|log| log.contains(",HISTFA")) {
        assert_eq!(child.try_wait().unwrap(), None, "it goes on");
        sleep(Duration::from_millis(20));
    }
    // SAFETY: the child has not been waited for, so the id is still its own.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    assert_eq!(rest.last().unwrap(), "klamm load: interrupted", "{rest:?}");
    let result = json(&fs::read_to_string(out.join("result.json")).unwrap());
    let search = result["search"].as_array().unwrap();
    let (last, met) = search.split_last().unwrap();
    assert!(last["meets"] == false && met.iter().all(|t| t["meets"] == true), "{search:?}");
    let best = &met.last().unwrap()["rate"];
    assert_eq!(&result["offered_rate"], best);
    let records = (best.as_f64().unwrap() * 3.0) as u64;
    assert_eq!(result["ack_ns"]["count"], records);
    assert_eq!(logged(&out.join("ack.hdr")), records);
    assert_eq!(logged(&out.join("e2e.hdr")), records);
    let mut files: Vec<_> = fs::read_dir(&out).unwrap().map(|f| f.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["ack.hdr", "e2e.hdr", "picture.svg", "result.json"]);
    fs::remove_dir_all(out).unwrap();
}

#[test]
fn records_of_the_warm_up_are_in_the_logs_but_not_in_the_percentiles() {
    let broker = Broker::get();
    let out = dir(&broker);
    let before = SystemTime::now();
    let args = "--rate 200 --warmup-seconds 1 --duration-seconds 1";
    broker.run("load", &format!("{args} --out {}", out.display())).ok();
    let result = json(&fs::read_to_string(out.join("result.json")).unwrap());
    assert_eq!((&result["counts"]["due"], &result["counts"]["acked"]), (&400.into(), &400.into()));
    for (latency, log) in [("ack_ns", "ack.hdr"), ("e2e_ns", "e2e.hdr")] {
        assert_eq!(result[latency]["count"], 200, "{latency}");
        assert_eq!(logged(&out.join(log)), 400, "{log}");
        let text = fs::read_to_string(out.join(log)).unwrap();
        let start = text.lines().find_map(|l| l.strip_prefix("#[StartTime: ")).unwrap();
        let seconds: f64 = start.split(' ').next().unwrap().parse().unwrap();
        let started = result["started_ms"].as_u64().unwrap();
        assert_eq!((seconds * 1e3).round() as u64, started);
        let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        assert!((since(before)..=since(SystemTime::now()) - 2000).contains(&started), "{started}");
    }
    fs::remove_dir_all(out).unwrap();
}

/// Sends a signal to a process that has not been waited for.
fn signal(pid: i32, signal: i32) {
    // SAFETY: the id is that of a process of this test, which it has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Stops a process, all of it.
fn stop(pid: i32) {
    signal(pid, libc::SIGSTOP);
    wait_for(|| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('T')
    });
}

/// The process of a broker that this test has started.
fn pid_of(broker: &Broker) -> i32 {
    let listener = format!("listeners=PLAINTEXT://{}", broker.bootstrap);
    let is_it = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|word| word == listener.as_bytes())
    };
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).find(is_it).unwrap()
}

/// Lines of a run's progress: waits for the next one.
fn next_second(lines: &mut impl Iterator<Item = std::io::Result<String>>) {
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains(" behind "), "{line}");
}

#[test]
fn a_broker_that_stands_still_is_seen_by_every_record_that_was_due() {
    let Some(broker) = Broker::own() else { return };
    let (out, pid) = (dir(&broker), pid_of(&broker));
    // A buffer of few records, so that most of them cannot even be handed to the producer in time.
    let args = "--rate 200 --warmup-seconds 0 --duration-seconds 8 --buffer-bytes 20000 --progress";
    let mut child = broker.start("load", &format!("{args} --out {}", out.display()));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    next_second(&mut lines);
    stop(pid);
    let since = Instant::now();
    sleep(Duration::from_millis(1500));
    let stopped = since.elapsed().as_secs_f64();
    signal(pid, libc::SIGCONT);
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
    let result = json(&fs::read_to_string(out.join("result.json")).unwrap());
    // A record is due every 5 ms; all threads may stand still a little later than the first one.
    let stopped = stopped - 0.1;
    let longest = result["ack_ns"]["max"].as_f64().unwrap() / 1e9;
    assert!(longest > stopped, "{longest} s, stopped for {stopped} s");
    // Those of the first half of it waited for all of the second.
    let half = stopped / 2.0;
    let late = histograms(&out.join("ack.hdr"))
        .iter()
        .map(|h| h.count_between((half * 1e9) as u64, u64::MAX))
        .sum::<u64>();
    assert!(late as f64 >= 200.0 * half - 2.0, "{late} late records, stopped for {stopped} s");
    fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_rate_that_the_broker_does_not_take_is_missed_and_what_is_left_is_told() {
    let Some(broker) = Broker::own() else { return };
    let (out, pid) = (dir(&broker), pid_of(&broker));
    let args = "--rate 200 --warmup-seconds 0 --duration-seconds 2 --buffer-bytes 20000 --progress";
    let args = format!("{args} --give-up-after 30 --out {}", out.display());
    let mut child = broker.start("load", &args);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    next_second(&mut lines);
    stop(pid);
    // The time of the run is over when its second second is, and so is the next one.
    (0..2).for_each(|_| next_second(&mut lines));
    signal(pid, libc::SIGCONT);
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{rest:?}");
    let result = json(&fs::read_to_string(out.join("result.json")).unwrap());
    assert_eq!(result["missed"], true);
    let count = |name: &str| result["counts"][name].as_u64().unwrap();
    let (due, sent, unsent) = (count("due"), count("sent"), count("unsent"));
    assert_eq!((due, sent + unsent, count("acked")), (400, 400, sent));
    assert!(unsent > 0, "{result}");
    assert_eq!(result["ack_ns"]["count"], sent);
    assert!(result["achieved_rate"].as_f64().unwrap() < 198.0, "{result}");
    assert!(ran.out.contains("MISSED") && ran.out.contains(&format!("unsent {unsent}")), "{ran:?}");
    fs::remove_dir_all(out).unwrap();
}

#[test]
fn an_interrupted_run_has_the_rate_of_the_time_that_it_ran() {
    let broker = Broker::get();
    let args = "--rate 100 --warmup-seconds 0 --duration-seconds 3600 --progress --json";
    let mut child = broker.start("load", args);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    next_second(&mut lines);
    sleep(Duration::from_millis(600));
    signal(child.id().cast_signed(), libc::SIGINT);
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{rest:?}");
    let result = json(&ran.out);
    let seconds = result["duration_seconds"].as_f64().unwrap();
    assert!(seconds > 1.5, "{seconds}");
    let due = result["counts"]["due"].as_f64().unwrap();
    assert!((due - 100.0 * seconds).abs() < 2.0, "{due} records in {seconds} s");
    assert!(result["achieved_rate"].as_f64().unwrap() <= due / seconds + 0.1, "{result}");
}

#[test]
fn a_search_that_finds_its_rate_ends_well() {
    let Some(broker) = Broker::own() else { return };
    let (out, pid) = (dir(&broker), pid_of(&broker));
    let args = "--max --slo p99=60s --rate 2 --warmup-seconds 0 --duration-seconds 3";
    let mut child = broker.start("load", &format!("{args} --out {}", out.display()));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.ends_with("meets"), "{first}");
    // The broker stands still until the time of the next run, at twice the rate, is over.
    let next = out.join("trial/ack.hdr");
    wait_for(|| fs::read_to_string(&next).is_ok_and(|log| log.contains(",HISTFA")));
    stop(pid);
    sleep(Duration::from_secs(4));
    signal(pid, libc::SIGCONT);
    let second = lines.next().unwrap().unwrap();
    assert!(second.ends_with("misses"), "{second}");
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, rest.len()), (Some(0), 1), "{rest:?}");
    let result = json(&fs::read_to_string(out.join("result.json")).unwrap());
    assert_eq!(result["error"], serde_json::Value::Null);
    let rates: Vec<_> = result["search"].as_array().unwrap().iter().map(|t| &t["rate"]).collect();
    assert_eq!(rates, [2.0, 4.0, 3.0]);
    assert!(result["offered_rate"] == 2.0 || result["offered_rate"] == 3.0, "{result}");
    fs::remove_dir_all(out).unwrap();
}

#[test]
fn records_that_are_gone_before_they_are_read_are_lost_and_fail_a_run_that_verifies() {
    let broker = Broker::get();
    let topic = broker.name("t");
    broker.run("topics", &format!("--create --topic {topic} --partitions 1")).ok();
    // The consumers wait while the backlog of 1000 records is sent, which takes 5 s: every 100 ms as
    // many as the buffer holds.
    let args = "--rate 10 --verify --json --backlog-bytes 1024000 --buffer-bytes 20000";
    let args = format!("{args} --linger-ms 100");
    let args = format!("{SHORT} {args} --give-up-after 3 --topic {topic}");
    let child = broker.start("load", &args);
    let pid = child.id().cast_signed();
    let end = || {
        let text = broker.run("get-offsets", &format!("--topic {topic}")).ok();
        text.trim().rsplit(':').next().unwrap().parse::<u64>().unwrap()
    };
    wait_for(|| end() >= 10);
    stop(pid);
    assert!(end() < 1000, "the backlog is not all there yet");
    let file = dir(&broker).with_extension("json");
    let partition = format!(r#"{{"topic": "{topic}", "partition": 0, "offset": 10}}"#);
    fs::write(&file, format!(r#"{{"partitions": [{partition}], "version": 1}}"#)).unwrap();
    broker.run("delete-records", &format!("--offset-json-file {}", file.display())).ok();
    fs::remove_file(file).unwrap();
    signal(pid, libc::SIGCONT);
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let counts = &json(&ran.out)["counts"];
    let verdict = ["lost", "duplicated", "reordered", "corrupted"].map(|what| counts[what].clone());
    assert_eq!(verdict, [10, 0, 0, 0], "{ran:?}");
    assert!(ran.err.contains("10 not read within 3 s"), "{}", ran.err);
}
