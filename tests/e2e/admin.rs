//! Metrics, health and the log, as an operator sees them from outside.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use klamm::msg;
use klamm::wire::ErrorCode;
use klamm::wire::codec::Codec;
use klamm::wire::messages::produce_request::PartitionProduceData;
use klamm::wire::record::ProducerStamp;

use crate::PATIENCE;
use crate::common::http::{admin, ask, get};
use crate::common::server::{Place, dies_with_us, klamm, run};
use crate::common::wire::{batch, batch_of, fetch_request, patched, produce_request};
use crate::common::{Server, Wire, until};

/// All samples of a page by name with labels; fails on what Prometheus would refuse.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    let mut family = "";
    for line in page.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            family = typed.split(' ').next().unwrap();
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            let suffix = bare.strip_prefix(family);
            let known = ["", "_bucket", "_sum", "_count"];
            assert!(suffix.is_some_and(|s| known.contains(&s)), "{line} below {family}");
            let twice = found.insert(name.to_owned(), value.parse().unwrap());
            assert_eq!(twice, None, "{line}");
        }
    }
    found
}

#[test]
fn the_metrics_tell_what_clients_did_under_kafkas_names_and_our_own() {
    let server = Server::with(&[("node.count", "2"), ("admin.listener", "127.0.0.1:0")]);
    let address = admin(&server);
    let mut wire = Wire::connect(server.address(0));
    wire.create("counted", 2, &[]);
    let leader = until(PATIENCE, "a leader", || {
        (0..2).find(|&node| {
            let mut wire = Wire::connect(server.address(node));
            let produced = wire.produce("counted", 0, batch(&["a", "b", "c"]));
            produced.error_code == 0
        })
    });
    let mut wire = Wire::connect(server.address(leader));
    assert_eq!(wire.produce("counted", 0, batch(&["d"])).base_offset, 3);
    let broken = {
        let mut bytes = patched(&batch(&["e"]), 0, &[0; 8]).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes.into()
    };
    assert_eq!(wire.produce("counted", 0, broken).error_code, 2);
    let fetched = wire.fetch("counted", 0, 0).records.unwrap().len() as f64;
    let (status, page) = get(&address, "/metrics");
    assert_eq!(status, 200);
    let all = samples(&page);
    let is = |name: &str, value: f64| {
        let name = name.replace("NODE", &format!("node=\"{leader}\""));
        let told = all.get(&name).copied();
        assert_eq!(told, Some(value), "{name} in\n{page}");
    };
    let topic = "{NODE,topic=\"counted\"}";
    let of_topic = |name: &str, value: f64| {
        is(&format!("kafka_server_brokertopicmetrics_{name}_total{topic}"), value);
        is(&format!("kafka_server_brokertopicmetrics_{name}_total{{NODE}}"), value);
    };
    of_topic("messagesin", 4.0);
    of_topic("bytesin", fetched);
    of_topic("bytesout", fetched);
    of_topic("totalfetchrequests", 1.0);
    of_topic("failedproducerequests", 1.0);
    is("kafka_server_brokertopicmetrics_invalidmessagecrcrecords_total{NODE}", 1.0);
    is("kafka_network_requestmetrics_requests_total{NODE,request=\"Produce\",version=\"9\"}", 3.0);
    is("kafka_network_requestmetrics_totaltimems_count{NODE,request=\"FetchConsumer\"}", 1.0);
    let log = "{NODE,topic=\"counted\",partition=\"0\"}";
    is(&format!("kafka_log_log_logendoffset{log}"), 4.0);
    is(&format!("kafka_log_log_size{log}"), fetched);
    is(&format!("kafka_log_log_numlogsegments{log}"), 1.0);
    let committed = all[&format!("klamm_journal_committed_bytes_total{{node=\"{leader}\"}}")];
    assert!(committed >= fetched, "{committed}");
    is("klamm_node_up{place=\"1\"}", 1.0);
    is("kafka_controller_kafkacontroller_globaltopiccount{node=\"0\"}", 1.0);
    for name in [
        "klamm_journal_commit_seconds_count",
        "klamm_turn_seconds_count",
        "klamm_turn_cpu_seconds_count",
    ] {
        assert!(all[&format!("{name}{{node=\"{leader}\"}}")] > 0.0, "{name} in\n{page}");
    }
}

#[test]
fn journal_cache_memory_and_core_are_told_as_they_were_used() {
    let mut server = Server::with(&[("node.count", "1"), ("admin.listener", "127.0.0.1:0")]);
    let mut wire = Wire::connect(server.address(0));
    wire.create("worked", 1, &[]);
    let value = "x".repeat(1000);
    let produce = |wire: &mut Wire| {
        for _ in 0..20 {
            assert_eq!(wire.produce("worked", 0, batch(&[&value])).error_code, 0);
        }
    };
    produce(&mut wire);
    server.signal(libc::SIGTERM);
    server.start_again();
    let address = admin(&server);
    let number = |name: &str| {
        let page = get(&address, "/metrics").1;
        let samples = samples(&page);
        *samples.get(name).unwrap_or_else(|| panic!("{name} in\n{page}"))
    };
    let of_node = |name: &str| number(&format!("{name}{{node=\"0\"}}"));
    let memory = |of: &str| number(&format!("klamm_memory_bytes{{node=\"0\",of=\"{of}\"}}"));
    // What was written before the start is on disk, what comes after it in memory.
    let mut wire = Wire::connect(server.address(0));
    let (misses, hits) = (of_node("klamm_cache_misses_total"), of_node("klamm_cache_hits_total"));
    assert_eq!(wire.fetch("worked", 0, 0).error_code, 0);
    assert!(of_node("klamm_cache_misses_total") > misses);
    let batches = of_node("klamm_journal_batches_total");
    let commits = of_node("klamm_journal_commits_total");
    produce(&mut wire);
    assert_eq!(Some(of_node("klamm_journal_batches_total")), Some(batches + 20.0));
    // Each batch waited for its commit.
    assert!(of_node("klamm_journal_commits_total") >= commits + 20.0);
    assert_eq!(Some(of_node("klamm_journal_pending_bytes")), Some(0.0));
    wire.create("lazy", 1, &[("flush.messages", "1000")]);
    // They are committed after a second, so a look may come too late.
    until(PATIENCE, "records that are not durable", || {
        assert_eq!(wire.produce("lazy", 0, batch(&[&value])).error_code, 0);
        (of_node("klamm_journal_pending_bytes") > 1000.0).then_some(())
    });
    assert_eq!(wire.fetch("worked", 0, 39).error_code, 0);
    assert!(of_node("klamm_cache_hits_total") > hits);
    assert!(memory("cache") >= 20_000.0, "{}", memory("cache"));
    assert!(memory("requests") > 0.0, "of a connection that is open");
    assert!(memory("answers") >= 0.0 && memory("sessions") >= 0.0);
    let serving = number("klamm_step_seconds_total{node=\"0\",step=\"requests\"}");
    assert!(serving > 0.0 && serving < 10.0, "{serving}");
    let syncs = of_node("klamm_journal_sync_seconds_count");
    assert!(syncs >= 20.0 && syncs <= of_node("klamm_journal_commit_seconds_count"), "{syncs}");
    until(PATIENCE, "a wait for the core", || {
        (of_node("klamm_run_queue_delay_seconds_total") > 0.0).then_some(())
    });
}

#[test]
fn the_longest_turn_is_named_after_the_step_and_the_request_that_took_long() {
    let server = Server::with(&[("node.count", "1"), ("admin.listener", "127.0.0.1:0")]);
    let address = admin(&server);
    let mut wire = Wire::connect(server.address(0));
    wire.create("narrow", 1, &[]);
    let records = batch(&[&"x".repeat(400)]);
    let mut request = produce_request("narrow", 0, 1, records.clone());
    let unknown =
        (1..500).map(|index| msg!(PartitionProduceData { index, records: Some(records.clone()) }));
    request.topic_data[0].partition_data.extend(unknown);
    // Whatever else has the core in another step takes the name, so it is tried more than once.
    until(PATIENCE, "the name of the step", || {
        get(&address, "/metrics");
        assert_eq!(wire.ask(&request, 9).responses[0].partition_responses.len(), 500);
        let page = samples(&get(&address, "/metrics").1);
        let name = "klamm_longest_turn_seconds{node=\"0\",step=\"requests\",request=\"Produce\"}";
        page.get(name).filter(|seconds| **seconds > 0.0).map(|_| ())
    });
}

#[test]
fn health_and_readiness_are_told_and_nothing_else_is_there() {
    let server = Server::with(&[("node.count", "1"), ("admin.listener", "127.0.0.1:0")]);
    let address = admin(&server);
    assert_eq!(get(&address, "/healthz"), (200, "ok\n".into()));
    assert_eq!(get(&address, "/readyz"), (200, "ok\n".into()));
    assert_eq!(get(&address, "/").0, 404);
    assert_eq!(
        ask(&address, "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").0,
        405
    );
    let mut garbage = TcpStream::connect(&address).unwrap();
    garbage.write_all(&[0, 0, 0, 9, 0, 18, 0, 0, 0, 0]).unwrap();
    assert_eq!(get(&address, "/healthz").0, 200);
}

/// A node reads the mark of its last clean stop when it starts; a named pipe in its place holds it up until
/// somebody writes.
#[test]
fn a_server_that_starts_is_not_ready_and_says_which_node_does_not_answer() {
    let mut server = Server::start();
    server.signal(libc::SIGTERM);
    let mark = server.place.data().join("node-0/.kafka_cleanshutdown");
    fs::remove_file(&mark).unwrap();
    let name = std::ffi::CString::new(mark.to_str().unwrap()).unwrap();
    // SAFETY: a text that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let address = format!("127.0.0.1:{}", server.place.port + 7);
    let settings = [("node.count", "1"), ("admin.listener", address.as_str())];
    let mut command = klamm(&server.place.arguments(&settings));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = dies_with_us(&mut command).spawn().unwrap();
    until(PATIENCE, "the admin port", || TcpStream::connect(&address).ok());
    let silent = (503, "the node at place 0 does not answer\n".to_owned());
    assert_eq!(get(&address, "/readyz"), silent);
    assert_eq!(get(&address, "/healthz"), silent);
    let (status, page) = get(&address, "/metrics");
    assert_eq!((status, samples(&page)["klamm_node_up{place=\"0\"}"]), (200, 0.0));
    drop(fs::File::options().write(true).open(&mark).unwrap());
    let ready = (200, "ok\n".to_owned());
    until(PATIENCE, "readiness", || (get(&address, "/readyz") == ready).then_some(()));
    assert_eq!(get(&address, "/healthz"), ready);
    Wire::connect(server.address(0)).create("served", 1, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A stop waits some seconds for a client that takes its time to read an answer.
#[test]
fn a_server_that_stops_is_healthy_and_not_ready() {
    let mut server = Server::with(&[("node.count", "1"), ("admin.listener", "127.0.0.1:0")]);
    let address = admin(&server);
    let mut wire = Wire::connect(server.address(0));
    wire.create("long", 1, &[]);
    let value = "x".repeat(1_000_000);
    for _ in 0..40 {
        assert_eq!(wire.produce("long", 0, batch(&[&value])).error_code, 0);
    }
    let mut fetch = fetch_request("long", 0, 0);
    fetch.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    wire.send(&fetch, 12);
    // It has begun to come.
    wire.socket.peek(&mut [0]).unwrap();
    server.send(libc::SIGTERM);
    let refuses = (503, "node 0 does not accept connections\n".to_owned());
    until(PATIENCE, "the stop", || (get(&address, "/readyz") == refuses).then_some(()));
    assert_eq!(get(&address, "/healthz"), (200, "ok\n".to_owned()));
    let told = wire.frame().unwrap().map(|frame| frame.len());
    assert!(told.is_some_and(|bytes| bytes > 39_000_000), "{told:?}");
    assert!(server.ended().success(), "{}", server.log());
}

#[test]
fn refusals_are_counted_by_reason() {
    let settings = [
        ("node.count", "1"),
        ("admin.listener", "127.0.0.1:0"),
        ("max.connections.per.ip", "2"),
        ("socket.request.max.bytes", "1000"),
    ];
    let server = Server::with(&settings);
    let address = admin(&server);
    let mut held = Wire::connect(server.address(0));
    held.socket.write_all(&1001_i32.to_be_bytes()).unwrap();
    assert!(held.is_closed());
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Wire::connect(server.address(0)));
    }
    assert!(held.pop().unwrap().is_closed());
    assert_counted(&address, &[("frame_size", 1.0), ("max_connections_per_ip", 1.0)]);
}

/// Waits until exactly these refusals are counted, and no others.
fn assert_counted(address: &str, expected: &[(&str, f64)]) {
    let expected: BTreeMap<String, f64> =
        expected.iter().map(|&(reason, n)| (reason.to_owned(), n)).collect();
    let counted = || {
        let refusals = samples(&get(address, "/metrics").1).into_iter().filter(|(_, n)| *n > 0.0);
        let reason = |(name, n): (String, f64)| {
            let labels = name.strip_prefix("klamm_refusals_total{node=\"0\",reason=\"")?;
            Some((labels.strip_suffix("\"}")?.to_owned(), n))
        };
        refusals.filter_map(reason).collect::<BTreeMap<_, _>>()
    };
    let mut last = BTreeMap::new();
    until(PATIENCE, &format!("{expected:?}"), || {
        last = counted();
        (last == expected).then_some(())
    });
}

#[test]
fn a_connection_over_max_connections_is_counted() {
    let settings =
        [("node.count", "1"), ("admin.listener", "127.0.0.1:0"), ("max.connections", "2")];
    let server = Server::with(&settings);
    let address = admin(&server);
    let held: Vec<_> = (0..2).map(|_| Wire::connect(server.address(0))).collect();
    let mut waits = Wire::connect(server.address(0));
    assert_counted(&address, &[("max_connections", 1.0)]);
    drop(held);
    waits.create("room", 1, &[]);
    assert_counted(&address, &[("max_connections", 1.0)]);
}

#[test]
fn what_is_refused_of_a_request_is_counted_by_reason_too() {
    let settings = [
        ("node.count", "1"),
        ("admin.listener", "127.0.0.1:0"),
        ("max.incremental.fetch.session.cache.slots", "1"),
    ];
    let server = Server::with(&settings);
    let address = admin(&server);
    let mut wire = Wire::connect(server.address(0));
    wire.create("small", 1, &[("max.message.bytes", "100")]);
    wire.create("packed", 1, &[("compression.type", "lz4")]);
    let large = wire.produce("small", 0, batch(&["x".repeat(100).as_str()]));
    assert_eq!(ErrorCode(large.error_code), ErrorCode::MESSAGE_TOO_LARGE);
    assert_counted(&address, &[("batch_size", 1.0)]);
    let zeros = "0".repeat(32 << 20);
    let bomb = batch_of(&[&zeros], Codec::Zstd, ProducerStamp::NONE);
    let refused = wire.produce("packed", 0, bomb);
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::INVALID_RECORD);
    assert_counted(&address, &[("batch_size", 1.0), ("decompressed_size", 1.0)]);
    let mut open = fetch_request("packed", 0, 0);
    open.session_epoch = 0;
    assert_ne!(wire.ask(&open, 12).session_id, 0);
    assert_eq!(wire.ask(&open, 12).session_id, 0, "the one slot is in use");
    let all = [("batch_size", 1.0), ("decompressed_size", 1.0), ("fetch_session", 1.0)];
    assert_counted(&address, &all);
    let magic = wire.produce("packed", 0, patched(&batch(&["x"]), 16, &[1]));
    assert_eq!(ErrorCode(magic.error_code), ErrorCode::INVALID_RECORD);
    let page = samples(&get(&address, "/metrics").1);
    let name = "kafka_server_brokertopicmetrics_invalidmagicnumberrecords_total{node=\"0\"}";
    assert_eq!(page.get(name), Some(&1.0));
}

#[test]
fn a_log_in_json_has_one_object_a_line() {
    let place = Place::take();
    let mut arguments = place.arguments(&[("node.count", "1")]);
    arguments.extend(["--log-format", "json", "--log-level", "debug"].map(str::to_owned));
    let log = place.dir.join("log");
    let mut command = klamm(&arguments);
    command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let mut child = dies_with_us(&mut command).spawn().unwrap();
    let mut wire =
        until(PATIENCE, "the port", || TcpStream::connect(("127.0.0.1", place.port)).ok());
    wire.write_all(&(-1_i32).to_be_bytes()).unwrap();
    let text = until(PATIENCE, "a line about the frame", || {
        let text = fs::read_to_string(&log).unwrap();
        (text.contains("connection closed") && text.ends_with('\n')).then_some(text)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    for line in text.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object["level"].is_string() && object["message"].is_string(), "{line}");
    }
}

#[test]
fn what_is_wrong_with_the_admin_port_is_said_at_the_start() {
    let place = Place::take();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (value, expected) in
        [(address.as_str(), "another server has the port"), ("9644", "host:port")]
    {
        let arguments = place.arguments(&[("node.count", "1"), ("admin.listener", value)]);
        let output = run(&arguments, Duration::from_mins(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
    let listed = String::from_utf8(run(&["server", "--errors"], PATIENCE).stdout).unwrap();
    assert!(listed.contains("error: storage failed\n    "), "{listed}");
}
