//! Starting and stopping: what is refused and how that is said, and signals.

use std::fs;
use std::net::TcpStream;
use std::process::Output;
use std::thread;
use std::time::Duration;

use klamm::msg;
use klamm::wire::messages::DescribeConfigsRequest;
use klamm::wire::messages::describe_configs_request::DescribeConfigsResource;

use crate::common::server::{Place, STOP, run, run_as, without_io_uring};
use crate::common::wire::batch;
use crate::common::{Server, Wire, until};
use crate::traffic::Traffic;

const LIMIT: Duration = Duration::from_secs(20);
/// The resource type of a broker in DescribeConfigs.
const BROKER: i8 = 4;

/// Starts a server that must refuse to; what it says.
fn refusal(place: &Place, settings: &[(&str, &str)]) -> String {
    refused(run(&place.arguments(settings), LIMIT))
}

fn refused(Output { status, stdout, stderr }: Output) -> String {
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!String::from_utf8(stdout).unwrap().contains("ready"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn assert_names(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
}

#[test]
fn a_second_server_on_the_same_port_is_refused() {
    let mut first = Server::start();
    let place = Place::take();
    let listeners = format!("PLAINTEXT://{}", first.bootstrap());
    let said = refusal(&place, &[("node.count", "1"), ("listeners", &listeners)]);
    assert_names(&said, &[&listeners, "another server has the port"]);
    assert!(first.is_running());
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let mut first = Server::start();
    let data = first.place.data().display().to_string();
    let said = refusal(&Place::take(), &[("node.count", "1"), ("log.dirs", &data)]);
    assert_names(&said, &[&data, "another"]);
    assert!(first.is_running());
    first.restart();
}

#[test]
fn a_machine_that_forbids_io_uring_is_told_how_to_allow_it() {
    let place = Place::take();
    let arguments = place.arguments(&[("node.count", "2")]);
    let said = refused(run_as(&arguments, LIMIT, without_io_uring));
    assert_names(&said, &["kernel.io_uring_disabled=0", "seccomp", "not permitted"]);
    let server = Server::start();
    let load = ["load", "--bootstrap-server", &server.bootstrap()];
    let said = refused(run_as(&load, LIMIT, without_io_uring));
    assert_names(&said, &["kernel.io_uring_disabled=0"]);
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_one_named() {
    let place = Place::take();
    assert_names(&refusal(&place, &[("listners", "x")]), &["listners", "listeners"]);
    assert_names(&refusal(&place, &[("num.partition", "1")]), &["num.partition", "num.partitions"]);
    let said = refusal(&place, &[("log.retention.day", "1")]);
    assert_names(&said, &["log.retention.day", "log.retention."]);
}

#[test]
fn a_bad_value_is_refused_with_what_the_key_takes() {
    let place = Place::take();
    for (key, value) in [
        ("num.partitions", "many"),
        ("num.partitions", "0"),
        ("node.count", "0"),
        ("listeners", "PLAINTEXT:/127.0.0.1"),
        ("listeners", "PLAINTEXT://127.0.0.1:99999"),
        ("compression.type", "zip"),
        ("auto.create.topics.enable", "perhaps"),
        ("log.segment.bytes", "-1"),
        ("message.max.bytes", "99999999999999999999"),
    ] {
        assert_names(&refusal(&place, &[(key, value)]), &[key]);
    }
}

#[test]
fn a_properties_file_is_read_and_overrides_go_over_it() {
    let place = Place::take();
    let file = place.dir.join("server.properties");
    fs::write(&file, "num.partitions=3\n# a comment\nbogus.key=1\n").unwrap();
    let mut arguments = place.arguments(&[("node.count", "1")]);
    arguments.insert(1, file.display().to_string());
    let said = String::from_utf8(run(&arguments, LIMIT).stderr).unwrap();
    assert_names(&said, &["bogus.key"]);
    arguments[1] = place.dir.join("missing").display().to_string();
    let said = String::from_utf8(run(&arguments, LIMIT).stderr).unwrap();
    assert_names(&said, &["missing", "No such file"]);
}

/// As [`refusal`], with the log in JSON; its last line.
fn json_refusal(place: &Place, settings: &[(&str, &str)]) -> serde_json::Value {
    let mut arguments = place.arguments(settings);
    arguments.push("--log-format=json".into());
    let Output { status, stderr, .. } = run(&arguments, LIMIT);
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    let lines = said.lines().map(|line| serde_json::from_str(line).expect(line));
    let lines: Vec<serde_json::Value> = lines.collect();
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{field} in {line}");
        }
    }
    lines.last().expect("a line").clone()
}

#[test]
fn why_it_does_not_start_is_one_line_of_a_json_log_and_in_the_catalogue() {
    let catalogue = String::from_utf8(run(&["server", "--errors"], LIMIT).stdout).unwrap();
    let mut running = Server::start();
    let mut stopped = Server::start();
    stopped.signal(libc::SIGTERM);
    let (taken, in_use) = (running.bootstrap(), running.place.data().display().to_string());
    let listeners = format!("PLAINTEXT://{taken}");
    let node = stopped.place.data().join("node-0");
    let file = stopped.place.dir.join("out").join("data").display().to_string();
    let fresh = Place::take();
    let check = |place: &Place, setting: (&str, &str), message: &str, names: &str| {
        let line = json_refusal(place, &[setting]);
        assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &message.into()));
        assert!(line["error"].as_str().unwrap().contains(names), "{names} in {line}");
        let entry = format!("\nerror: {message}\n    {}\n", line["remedy"].as_str().unwrap());
        assert!(catalogue.contains(&entry), "{entry} in {catalogue}");
    };
    let config = "the configuration is not valid";
    check(&fresh, ("num.partitions", "many"), config, "num.partitions");
    let port = "a port cannot be opened";
    check(&fresh, ("listeners", &listeners), port, "another server has the port");
    check(&fresh, ("admin.listener", &taken), port, "another server has the port");
    check(&fresh, ("log.dirs", &in_use), "the data directory is in use", &in_use);
    check(&fresh, ("log.dirs", &file), "the data directory cannot be used", &file);
    let other = "the data directory belongs to another server";
    check(&stopped.place, ("node.id", "7"), other, "node.id=0");
    fs::remove_dir_all(&node).unwrap();
    fs::write(&node, "no directory").unwrap();
    check(&stopped.place, ("node.count", "1"), "the storage of a node failed", "node 0: ");
    let meta = stopped.place.data().join("meta.properties");
    fs::write(meta, "version=1\n").unwrap();
    check(&stopped.place, ("node.count", "1"), "the data directory is damaged", "cluster.id");
    assert!(running.is_running());
}

#[test]
fn help_lists_every_key_of_a_broker() {
    let help = run(&["server", "--help"], LIMIT);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    let server = Server::start();
    let resource = msg!(DescribeConfigsResource {
        resource_type: BROKER,
        resource_name: "0".into(),
        configuration_keys: None,
    });
    let request = msg!(DescribeConfigsRequest { resources: vec![resource] });
    let answer = Wire::connect(server.address(0)).ask(&request, 4);
    let configs = &answer.results[0].configs;
    assert!(configs.len() > 200, "{}", configs.len());
    for config in configs {
        let line = format!("\n  {}\n", config.name.as_str());
        assert!(help.contains(&line), "{} is not in the help", config.name.as_str());
    }
}

#[test]
fn signals_stop_a_busy_server_cleanly_and_nothing_acknowledged_is_lost() {
    let mut server = Server::with(&[("node.count", "2")]);
    let traffic = Traffic::start(&server);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGTERM] {
        thread::sleep(Duration::from_millis(700));
        traffic.check();
        let (status, took) = server.signal(signal);
        assert_eq!(status.code(), Some(0), "signal {signal}: {}", server.log());
        assert!(took < STOP, "signal {signal}: a stop took {took:?}: {}", server.log());
        server.start_again();
    }
    traffic.finish();
}

#[test]
fn a_low_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    const FILES: u64 = 256;
    let mut server = Server::stopped(&[("node.count", "1")]);
    server.open_files = Some((FILES, u64::MAX));
    server.start_again();
    let mut wires: Vec<_> = (0..FILES + 50).map(|_| Wire::connect(server.address(0))).collect();
    wires[0].create("many", 200, &[]);
    for (at, wire) in wires.iter_mut().enumerate() {
        let produced = wire.produce("many", at as i32 % 200, batch(&["x"]));
        assert_eq!((produced.error_code, produced.base_offset), (0, at as i64 / 200));
    }
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count() as u64;
    assert!(open > FILES, "{open} open files");
}

#[test]
fn without_free_descriptors_connections_are_closed_and_the_node_does_not_spin() {
    const FILES: u64 = 256;
    let mut server = Server::stopped(&[("node.count", "1")]);
    server.open_files = Some((FILES, FILES));
    server.start_again();
    let address = server.address(0);
    let crowd: Vec<_> = (0..FILES).filter_map(|_| TcpStream::connect(address).ok()).collect();
    let warning = "connections cannot be accepted";
    until(LIMIT, "the warning", || server.log().contains(warning).then_some(()));
    let before = run_ticks(server.pid());
    thread::sleep(Duration::from_secs(1));
    let used = run_ticks(server.pid()) - before;
    assert!(used < 50, "{used} ticks of a hundred");
    drop(crowd);
    let open = || fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    until(LIMIT, "room", || (open() < 100).then_some(()));
    Wire::connect(address).create("room", 1, &[]);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Ticks (10 ms) that a process has run.
fn run_ticks(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = text.rsplit_once(") ").unwrap().1;
    after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
