//! Kafka's performance and system-test tools, against a broker: what they print and exit with.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Command;

use crate::broker::{Broker, Ran};
use crate::load::{dir, json};

/// The tools, each with arguments for a topic.
fn tools(topic: &str) -> [(&'static str, String); 5] {
    let all = "--throughput -1 --record-size 10";
    [
        ("producer-perf-test", format!("--topic {topic} --num-records 5 {all}")),
        ("consumer-perf-test", format!("--topic {topic} --num-records 5 --timeout 1000")),
        (
            "e2e-latency",
            format!("--topic {topic} --num-records 5 --producer-acks all --record-size 9"),
        ),
        ("verifiable-producer", format!("--topic {topic} --max-messages 5")),
        ("verifiable-consumer", format!("--topic {topic} --group-id {topic} --max-messages 5")),
    ]
}

#[test]
fn a_broker_that_is_not_there_gets_one_line_and_an_exit_code() {
    for (tool, args) in tools("t") {
        let output = Command::new(env!("CARGO_BIN_EXE_klamm"))
            .args([tool, "--bootstrap-server", "127.0.0.1:1"])
            .args(args.split_whitespace())
            .output();
        let ran = Ran::from(output.unwrap());
        assert_eq!(ran.code, Some(1), "{tool}: {ran:?}");
        assert!(
            ran.err.starts_with("connecting to 127.0.0.1:1: Connection refused"),
            "{tool}: {ran:?}"
        );
        assert_eq!(ran.err.lines().count(), 1, "{tool}: {ran:?}");
    }
}

#[test]
fn a_topic_that_cannot_be_gets_one_line_and_an_exit_code() {
    let broker = Broker::get();
    for (tool, args) in tools("a?b") {
        let ran = broker.run(tool, &args);
        assert_eq!(ran.code, Some(1), "{tool}: {ran:?}");
        let last = ran.err.lines().last().unwrap();
        assert_eq!(last, "topic a?b: INVALID_TOPIC_EXCEPTION (17)", "{tool}: {ran:?}");
    }
}

#[test]
fn a_consumer_without_records_warns_and_ends_well_as_kafkas_does() {
    let broker = Broker::get();
    let args = format!("--topic {} --num-records 5 --timeout 500", broker.name("none"));
    let text = broker.run("consumer-perf-test", &args).ok();
    let wants = "WARNING: Exiting before consuming the expected number of records: timeout (500 ms) \
                 exceeded. You can use the --timeout option to increase the timeout.";
    assert_eq!(text.lines().nth(1), Some(wants), "{text}");
}

#[test]
fn mistakes_in_the_arguments_are_named_in_kafkas_words() {
    let broker = Broker::get();
    for (tool, args) in tools("t") {
        let ran = broker.run(tool, &format!("{args} --no-such-flag"));
        assert_eq!(ran.code, Some(1), "{tool}: {ran:?}");
        assert!(ran.err.lines().next().unwrap().contains("no-such-flag"), "{tool}: {ran:?}");
    }
    let few = "The value for --warmup-records must be strictly fewer than the number of records in \
               the test, --num-records.";
    let mib = "--topic t --throughput -1 --record-size 9 --num-records";
    let one = "--topic t --producer-acks all --record-size 9 --num-records";
    for (tool, args, wants) in [
        ("producer-perf-test", format!("{mib} 0"), "--num-records should be greater than zero."),
        ("producer-perf-test", format!("{mib} 5 --warmup-records 5"), few),
        (
            "producer-perf-test",
            format!("{mib} 5 --reporting-interval 0"),
            "--reporting-interval should be greater than zero.",
        ),
        (
            "producer-perf-test",
            "--topic t --throughput -1 --record-size 0 --num-records 5".to_owned(),
            "--record-size should be greater than zero.",
        ),
        (
            "producer-perf-test",
            "--topic t --throughput 0 --record-size 9 --num-records 5".to_owned(),
            "--throughput 0 sends nothing; -1 has no limit",
        ),
        (
            "verifiable-producer",
            "--topic t --throughput 0".to_owned(),
            "--throughput 0 sends nothing; -1 has no limit",
        ),
        (
            "consumer-perf-test",
            "--topic t --num-records 1 --reporting-interval 0".to_owned(),
            "Reporting interval must be greater than 0.",
        ),
        ("e2e-latency", format!("{one} 0"), "Value for --num-records must be a positive integer."),
        (
            "e2e-latency",
            format!("{one} 1 --num-headers -1"),
            "Value for --num-headers must be a non-negative integer.",
        ),
        (
            "e2e-latency",
            format!("{one} 1 --record-header-size -2"),
            "Value for --record-header-size must be a non-negative integer or -1 for null header value.",
        ),
    ] {
        let ran = broker.run(tool, &args);
        assert_eq!(ran.code, Some(1), "{tool} {args}: {ran:?}");
        assert_eq!(ran.err.lines().next(), Some(wants), "{tool} {args}");
    }
    // What reads nothing and sends nothing is no mistake, as with Kafka's.
    for (tool, args) in [
        ("consumer-perf-test", "--topic t --num-records 0"),
        ("verifiable-producer", "--topic t --max-messages 0"),
        ("verifiable-consumer", "--topic t --group-id g --max-messages 0"),
    ] {
        broker.run(tool, args).ok();
    }
}

#[test]
fn a_consumer_that_loses_its_broker_does_not_end_well() {
    let Some(mut broker) = Broker::own() else { return };
    let topic = broker.name("t");
    broker.run("topics", &format!("--create --topic {topic}")).ok();
    let stats = "--num-records 5 --timeout 1500 --show-detailed-stats --reporting-interval 100";
    let mut reading = broker.start("consumer-perf-test", &format!("--topic {topic} {stats}"));
    let mut out = BufReader::new(reading.stdout.take().unwrap());
    for _ in 0..2 {
        out.read_line(&mut String::new()).unwrap();
    }
    broker.kill();
    let mut said = String::new();
    out.read_to_string(&mut said).unwrap();
    let ran = Ran::from(reading.wait_with_output().unwrap());
    assert!(said.contains("WARNING: Exiting before consuming"), "{said}");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let lines: Vec<_> = ran.err.lines().collect();
    let (last, lost) = lines.split_last().unwrap();
    assert!(last.contains(": Connection refused"), "{ran:?}");
    assert!(lost.len() == 1 && lost[0].ends_with("; trying again"), "{ran:?}");
}

#[test]
fn a_verifiable_producer_that_loses_its_broker_tells_of_each_record() {
    let Some(mut broker) = Broker::own() else { return };
    let topic = broker.name("t");
    let config = dir(&broker).with_extension("properties");
    fs::write(&config, "delivery.timeout.ms=2000\nrequest.timeout.ms=1000\n").unwrap();
    let args = format!("--topic {topic} --max-messages 400 --throughput 200 --command-config");
    let mut child = broker.start("verifiable-producer", &format!("{args} {}", config.display()));
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..2 {
        out.read_line(&mut String::new()).unwrap();
    }
    broker.kill();
    let mut said = String::new();
    out.read_to_string(&mut said).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.lines().count() == 1 && ran.err.ends_with("; trying again\n"), "{ran:?}");
    let lines: Vec<_> = said.lines().map(json).collect();
    let of = |name: &str| lines.iter().filter(|l| l["name"] == name).count();
    let (good, bad) = (1 + of("producer_send_success"), of("producer_send_error"));
    assert!(bad > 0, "{said}");
    let data = lines.last().unwrap();
    assert_eq!((&data["sent"], &data["acked"]), (&400.into(), &good.into()));
    assert_eq!(good + bad, 400);
    fs::remove_file(config).unwrap();
}

#[test]
fn a_verifiable_consumer_that_loses_its_broker_says_so_and_waits_for_it() {
    let Some(mut broker) = Broker::own() else { return };
    let topic = broker.name("t");
    broker.run("topics", &format!("--create --topic {topic}")).ok();
    let args = format!("--topic {topic} --group-id {topic}");
    let mut child = broker.start("verifiable-consumer", &args);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("partitions_assigned") {
        assert!(out.read_line(&mut said).unwrap() > 0, "{said}");
    }
    broker.kill();
    let mut lost = String::new();
    err.read_line(&mut lost).unwrap();
    assert!(lost.ends_with("; trying again\n"), "{lost}");
    assert_eq!(child.try_wait().unwrap(), None, "it goes on");
    // SAFETY: the child has not been waited for, so the id is still its own.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
    out.read_to_string(&mut said).unwrap();
    let names: Vec<_> =
        said.lines().map(|l| json(l)["name"].as_str().unwrap().to_owned()).collect();
    let at = |name: &str| names.iter().position(|n| n == name).unwrap();
    assert!(at("shutdown_requested") < at("partitions_revoked"), "{said}");
    assert_eq!(at("shutdown_complete") + 1, names.len(), "{said}");
    child.wait().unwrap();
}

#[test]
fn records_of_the_latency_test_have_keys_and_headers_and_its_topic_is_made() {
    let broker = Broker::get();
    let topic = broker.name("t");
    let sizes = "--record-size 6 --record-key-size 5 --num-headers 2 --record-header-key-size 3";
    let args = format!("--topic {topic} --num-records 3 --producer-acks all {sizes}");
    let text = broker.run("e2e-latency", &format!("{args} --record-header-size 4")).ok();
    let made = format!(
        "Topic \"{topic}\" does not exist. Will create topic with 1 partition(s) and replication \
         factor = 1"
    );
    assert_eq!(text.lines().next(), Some(made.as_str()));
    let old = Command::new(env!("CARGO_BIN_EXE_klamm"))
        .args(["e2e-latency", &broker.bootstrap, &topic, "2", "1", "6"])
        .output();
    let text = Ran::from(old.unwrap()).ok();
    assert!(
        text.starts_with("WARNING: Positional argument usage is deprecated and will be "),
        "{text}"
    );
    let args = format!(
        "--topic {topic} --from-beginning --max-messages 5 --formatter-property print.key=true \
         --formatter-property print.headers=true"
    );
    let text = broker.run("console-consumer", &args).ok();
    let header = "[A-Z]{3}:[A-Z]{4}";
    let pattern = format!(
        r"^({header},{header}\t[A-Z]{{5}}\t[A-Z]{{6}}\n){{3}}(NO_HEADERS\tnull\t[A-Z]{{6}}\n){{2}}$"
    );
    assert!(regex::Regex::new(&pattern).unwrap().is_match(&text), "{text}");
}

#[test]
fn payloads_are_random_or_of_a_file_or_numbers() {
    let broker = Broker::get();
    let file = dir(&broker).with_extension("txt");
    fs::write(&file, "one\ntwo\n\nthree\n").unwrap();
    let send = |what: &str, args: &str| {
        let topic = broker.name(what);
        let config = "--num-records 200 --throughput -1 --command-property buffer.memory=2000";
        let text =
            broker.run("producer-perf-test", &format!("--topic {topic} {config} {args}")).ok();
        let args = format!("--topic {topic} --from-beginning --max-messages 200");
        (text, broker.run("console-consumer", &args).ok())
    };
    let different = |read: &str| {
        let mut lines: Vec<_> = read.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        lines.len()
    };
    let (_, read) = send("random", "--record-size 20");
    assert_eq!(different(&read), 200, "{read}");
    let (said, read) = send("file", &format!("--payload-file {}", file.display()));
    let wants = format!("Reading payloads from: {}\nNumber of records read: 4\n", file.display());
    assert!(said.starts_with(&wants), "{said}");
    assert_eq!(different(&read), 4, "{read}");
    let (_, read) = send("numbers", "--payload-monotonic");
    let numbers: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(read.lines().collect::<Vec<_>>(), numbers);
    fs::remove_file(file).unwrap();
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
        (&not_acknowledged, &["Avg latency: ", "Percentiles: "]),
    ];
    for ((child, mut out), (last_error, last_lines)) in tools.into_iter().zip(wants) {
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let lines: Vec<_> = said.lines().collect();
        let last = &lines[lines.len() - last_lines.len()..];
        assert!(last.iter().zip(last_lines).all(|(has, wants)| has.contains(wants)), "{said}");
        let err = ran.err.lines().filter(|line| !line.starts_with("Percentiles in us: "));
        let (lost, failed): (Vec<_>, Vec<_>) =
            err.partition(|line| line.ends_with("; trying again"));
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

    let ran = broker.run(
        "e2e-latency",
        &format!("--topic {topic} --num-records 20 --producer-acks all --record-size 50"),
    );
    matches(r"^Percentiles in us: 50th = [0-9]+, 99th = [0-9]+, 99.9th = [0-9]+\n$", &ran.err);
    let text = ran.ok();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
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
    let [.., complete, requested] = &lines[..] else { panic!("{text}") };
    assert_eq!(complete["name"], "shutdown_complete");
    assert_eq!(requested["name"], "shutdown_requested");
}

#[test]
fn what_a_flag_says_wins_over_properties_as_with_kafkas() {
    let broker = Broker::get();
    let topic = broker.name("t");
    broker.run("verifiable-producer", &format!("--topic {topic} --max-messages 5")).ok();
    let config = dir(&broker).with_extension("properties");
    fs::write(&config, "group.id=other\nauto.offset.reset=latest\nacks=none\n").unwrap();
    let file = config.display();

    let args =
        format!("--topic {topic} --group-id {topic} --max-messages 3 --command-config {file}");
    let text = broker.run("verifiable-consumer", &args).ok();
    let read = text.lines().map(json).find(|l| l["name"] == "records_consumed").unwrap();
    assert_eq!((&read["count"], &read["partitions"][0]["count"]), (&5.into(), &3.into()), "{text}");

    let group = broker.name("perf");
    for named in ["", &format!("--group {group}")] {
        let args = format!("--topic {topic} --num-records 5 {named} --command-config {file}");
        let text = broker.run("consumer-perf-test", &args).ok();
        assert!(text.lines().nth(1).unwrap().contains(", 5, "), "{text}");
    }
    let groups = broker.run("consumer-groups", "--list").ok();
    let has = |group: &str| groups.lines().any(|line| line == group);
    assert!(has(&topic) && has(&group) && !has("other"), "{groups}");
    // But the verifiable producer's file wins over its flags.
    let args = format!("--topic {topic} --acks 1 --max-messages 1 --command-config {file}");
    let ran = broker.run("verifiable-producer", &args);
    assert!(
        ran.code == Some(1) && ran.err.contains("Invalid value none for configuration acks"),
        "{ran:?}"
    );
    fs::write(&config, "enable.idempotence=true\n").unwrap();
    let ran = broker.run("verifiable-producer", &args);
    assert!(ran.code == Some(1) && ran.err.contains("Must set retries to non-zero"), "{ran:?}");
    fs::remove_file(config).unwrap();
}

#[test]
fn old_names_of_flags_are_told_of_in_kafkas_words() {
    let broker = Broker::get();
    let topic = broker.name("t");
    let no_longer = |old: &str| {
        format!(
            "Option --{old} has been deprecated and will be removed in a future version. Use \
             --command-config instead."
        )
    };
    let both = |old: &str| format!("Options --{old} and --command-config are mutually exclusive.");
    for (tool, args, old) in [
        ("verifiable-producer", "--max-messages 5", "producer.config"),
        ("verifiable-consumer", "--group-id g --max-messages 5", "consumer.config"),
    ] {
        let args = format!("--topic {topic} {args} --{old} /dev/null");
        let text = broker.run(tool, &args).ok();
        assert_eq!(text.lines().next(), Some(no_longer(old).as_str()), "{tool}");
        let ran = broker.run(tool, &format!("{args} --command-config /dev/null"));
        assert_eq!((ran.code, ran.err.lines().next()), (Some(1), Some(both(old).as_str())));
    }
    let args = format!("--topic {topic} --messages 5 --consumer.config /dev/null");
    let text = broker.run("consumer-perf-test", &args).ok();
    let wants = [
        "Warning: --messages is deprecated. Use --num-records instead.",
        "Warning: --consumer.config is deprecated. Use --command-config instead.",
    ];
    assert_eq!(text.lines().take(2).collect::<Vec<_>>(), wants);
}
