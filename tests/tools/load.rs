//! `klamm load` and the performance tools, against a broker: what they print, write and exit with.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use crate::broker::{Broker, Ran};

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
fn dir(broker: &Broker) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(broker.name("out"))
}

fn json(text: &str) -> serde_json::Value {
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
    for latency in ["ack_ns", "e2e_ns"] {
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
    let ran = load(&broker, "--no-such-flag");
    assert!(ran.err.contains("unexpected argument '--no-such-flag'"), "{}", ran.err);
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
    let args = "--max --slo p99=60s --rate 50 --warmup-seconds 0 --duration-seconds 1";
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

/// Latencies in a histogram log.
fn logged(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let packed = text.lines().filter_map(|l| l.split_once(",HISTFA").map(|(_, rest)| rest));
    let count = |packed: &str| {
        let bytes = STANDARD.decode(format!("HISTFA{packed}")).unwrap();
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        histogram.len()
    };
    packed.map(count).sum()
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
fn a_tool_that_loses_its_broker_says_so_once_and_what_it_has_measured() {
    let Some(mut broker) = Broker::own() else { return };
    let topic = broker.name("t");
    broker.run("topics", &format!("--create --topic {topic}")).ok();
    let config = dir(&broker).with_extension("properties");
    fs::write(&config, "delivery.timeout.ms=2000\nrequest.timeout.ms=1000\n").unwrap();
    let sizes = format!("--topic {topic} --num-records 400 --record-size 10 --throughput 200");
    let config_at = config.display();
    let producer = format!("{sizes} --reporting-interval 100 --command-config {config_at}");
    let e2e = format!("--topic {topic} --num-records 1000000 --producer-acks all --record-size 10");
    let e2e = format!("{e2e} --command-config {config_at}");
    let tools = [("producer-perf-test", producer), ("e2e-latency", e2e)].map(|(name, args)| {
        let mut child = broker.start(name, &args);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        (child, out)
    });
    broker.kill();
    let not_acknowledged = format!("records for {topic}-0 were not acknowledged within 2000 ms");
    let wants: [(&str, &[&str]); 2] = [
        ("of 400 records failed", &["records sent, "]),
        (&not_acknowledged, &["Avg latency: ", "Percentiles: ", "Percentiles in us: "]),
    ];
    for ((child, mut out), (last_error, last_lines)) in tools.into_iter().zip(wants) {
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let lines: Vec<_> = said.lines().collect();
        let last = &lines[lines.len() - last_lines.len()..];
        assert!(last.iter().zip(last_lines).all(|(has, wants)| has.contains(wants)), "{said}");
        let (lost, failed): (Vec<_>, Vec<_>) =
            ran.err.lines().partition(|line| line.ends_with("; trying again"));
        assert!(!lost.is_empty() && failed.len() <= 2, "{}", ran.err);
        assert!(failed[0] == not_acknowledged, "{}", ran.err);
        assert!(failed.last().unwrap().ends_with(last_error), "{}", ran.err);
    }
    fs::remove_file(config).unwrap();
}

#[test]
fn the_performance_tools_print_kafkas_lines() {
    let broker = Broker::get();
    let topic = broker.name("t");
    let args = format!(
        "--topic {topic} --num-records 300 --throughput 1000 --record-size 100 --producer-props \
         acks=all linger.ms=0 --warmup-records 100"
    );
    let text = broker.run("producer-perf-test", &args).ok();
    let lines: Vec<_> = text.lines().collect();
    let total = r"^300 records sent, [0-9]+\.[0-9]{6} records/sec \([0-9.]+ MB/sec\), [0-9.]+ ms avg latency, [0-9.]+ ms max latency, [0-9]+ ms 50th, [0-9]+ ms 95th, [0-9]+ ms 99th, [0-9]+ ms 99.9th\.$";
    let matches = |pattern: &str, line: &str| {
        assert!(regex::Regex::new(pattern).unwrap().is_match(line), "{line}");
    };
    matches(total, lines[lines.len() - 2]);
    matches(r"^200 steady state records sent, ", lines[lines.len() - 1]);

    let args = format!("--topic {topic} --num-records 300");
    let text = broker.run("consumer-perf-test", &args).ok();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("start.time, end.time, data.consumed.in.MB, MB.sec, "));
    matches(r"^[-0-9]{10} [0-9:]{12}, [-0-9]{10} [0-9:]{12}, 0\.0286, [0-9.]+, 300, ", lines[1]);

    let text = broker
        .run(
            "e2e-latency",
            &format!("--topic {topic} --num-records 20 --producer-acks all --record-size 50"),
        )
        .ok();
    let lines: Vec<_> = text.lines().collect();
    matches(r"^0\t[0-9.]+$", lines[0]);
    matches(r"^Avg latency: [0-9]+\.[0-9]{4} ms$", lines[1]);
    matches(r"^Percentiles: 50th = [0-9]+, 99th = [0-9]+, 99.9th = [0-9]+$", lines[2]);
}

#[test]
fn what_the_verifiable_producer_tells_the_verifiable_consumer_reads() {
    let broker = Broker::get();
    let topic = broker.name("t");
    let args = format!("--topic {topic} --max-messages 5 --repeating-keys 2 --value-prefix 9");
    let text = broker.run("verifiable-producer", &args).ok();
    let lines: Vec<_> = text.lines().map(json).collect();
    let names: Vec<_> = lines.iter().map(|l| l["name"].as_str().unwrap()).collect();
    let success = "producer_send_success";
    let wants =
        [&["startup_complete"][..], &[success; 5], &["shutdown_complete", "tool_data"]].concat();
    assert_eq!(names, wants);
    assert_eq!((&lines[2]["key"], &lines[2]["value"]), (&"1".into(), &"9.1".into()));
    assert_eq!((&lines[7]["sent"], &lines[7]["acked"]), (&5.into(), &5.into()));

    let args = format!("--topic {topic} --group-id {topic} --max-messages 5 --verbose");
    let text = broker.run("verifiable-consumer", &args).ok();
    let lines: Vec<_> = text.lines().map(json).collect();
    let of = |name: &str| lines.iter().filter(|l| l["name"] == name).cloned().collect::<Vec<_>>();
    let mut values: Vec<_> =
        of("record_data").iter().map(|l| l["value"].as_str().unwrap().to_owned()).collect();
    values.sort();
    assert_eq!(values, ["9.0", "9.1", "9.2", "9.3", "9.4"]);
    let read = of("records_consumed").iter().map(|l| l["count"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(read, 5);
    assert!(of("offsets_committed").iter().all(|l| l["success"] == true));
    assert_eq!(lines.last().unwrap()["name"], "shutdown_complete");
}
