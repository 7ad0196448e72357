//! Kafka's families on `/metrics` against the list of Kafka's beans, by the rules of the JMX exporter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use klamm::msg;
use klamm::wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm::wire::messages::{FindCoordinatorRequest, OffsetCommitRequest};

use crate::common::http::{admin, get};
use crate::common::wire::batch;
use crate::common::{Server, Wire, until};
use crate::{PATIENCE, shared};

/// Beans of Kafka 4.3.1 that its documentation does not list in full: as JmxTool shows them.
const BESIDE: &[&str] = &[
    "kafka.controller:type=KafkaController,name=ActiveBrokerCount",
    "kafka.controller:type=KafkaController,name=GlobalPartitionCount",
    "kafka.controller:type=KafkaController,name=GlobalTopicCount",
    "kafka.controller:type=KafkaController,name=OfflinePartitionsCount",
    "kafka.network:type=SocketServer,name=MemoryPoolUsed",
    "kafka.server:type=FetchSessionCache,name=NumIncrementalFetchPartitionsCached",
    "kafka.server:type=FetchSessionCache,name=NumIncrementalFetchSessions",
    // Kafka tells it by listener and network processor; a node is one processor for all of its listeners.
    "kafka.server:type=socket-server-metrics,name=connection-count",
];

/// Kind and names of labels, `node` left out.
type Shape = (String, BTreeSet<String>);

/// The families of a page.
fn shapes(page: &str) -> BTreeMap<String, Shape> {
    let mut found = BTreeMap::<String, Shape>::new();
    for line in page.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            assert_eq!(found.insert(name.into(), (kind.into(), BTreeSet::new())), None, "{name}");
        } else if let Some((name, rest)) = line.split_once('{')
            && let Some((_, labels)) = found.get_mut(name)
        {
            let text = rest.rsplit_once('}').unwrap().0;
            let names = text.split("\",").map(|label| label.split('=').next().unwrap());
            labels.extend(names.filter(|&name| name != "node").map(str::to_owned));
        }
    }
    found
}

/// Splits at the commas that are in no brackets.
fn fields(text: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut found) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[begin..]);
    found
}

/// `A{B|C}` and `A[B,C]` are AB and AC; a list of names ("NumGroups") may begin with A itself.
fn alternatives(name: &str) -> Vec<String> {
    match name.split_once(['{', '[']) {
        None => vec![name.into()],
        Some((before, rest)) => {
            let (inside, after) = rest.split_once(['}', ']']).unwrap();
            inside.split(['|', ',']).map(|one| format!("{before}{one}{after}")).collect()
        }
    }
}

/// What the exporter makes of a bean.
fn families(bean: &str) -> Vec<(String, Shape)> {
    let (domain, rest) = bean.split_once(':').unwrap();
    let pairs: Vec<_> = fields(rest).iter().map(|f| f.split_once('=').unwrap()).collect();
    let value = |key| pairs.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
    let labels: BTreeSet<String> = pairs.iter().map(|(k, _)| (*k).to_owned()).collect();
    let labels: BTreeSet<_> =
        labels.into_iter().filter(|k| !["type", "name"].contains(&k.as_str())).collect();
    let Some(name) = value("name") else {
        return vec![("kafka_server_quota".into(), ("gauge".into(), labels))];
    };
    let kind = value("type").unwrap();
    // The documentation says `kafka.server`; Kafka 4.3.1 does not.
    let domain = if kind == "GroupMetadataManager" { "kafka.coordinator.group" } else { domain };
    let full =
        |name: &str| format!("{domain}_{kind}_{name}").to_lowercase().replace(['.', '-'], "_");
    let gauge = |name: String| (name, ("gauge".to_owned(), labels.clone()));
    let counter = |name: String| (name, ("counter".to_owned(), labels.clone()));
    let each = |name: String| {
        if let Some(meter) = name.strip_suffix("PerSec") {
            return vec![counter(full(meter) + "_total")];
        }
        let is_histogram =
            name.ends_with("TimeMs") || kind == "RequestMetrics" && name.ends_with("Bytes");
        if is_histogram {
            let (name, (kind, mut labels)) = gauge(full(&name));
            labels.insert("quantile".into());
            return vec![counter(format!("{name}_count")), (name, (kind, labels))];
        }
        match name.strip_suffix("Percent").filter(|_| kind == "KafkaRequestHandlerPool") {
            // A meter, of which the mean rate is shown; other percentages are plain gauges.
            Some(meter) => vec![gauge(full(meter) + "_percent")],
            None if name.ends_with("-total") => vec![counter(full(&name))],
            None => vec![gauge(full(&name))],
        }
    };
    alternatives(name).into_iter().flat_map(each).collect()
}

/// What is on the page of a server that has been used.
fn page() -> String {
    let server = Server::with(&[("node.count", "1"), ("admin.listener", "127.0.0.1:0")]);
    let address = admin(&server);
    let mut wire = Wire::connect(server.address(0));
    wire.create("used", 1, &[]);
    assert_eq!(wire.produce("used", 0, batch(&["a"])).error_code, 0);
    assert_eq!(wire.produce("used", 7, batch(&["a"])).error_code, 3);
    assert_eq!(wire.fetch("used", 0, 9).error_code, 1);
    let partition = msg!(OffsetCommitRequestPartition { partition_index: 0, committed_offset: 1 });
    let topic = msg!(OffsetCommitRequestTopic { name: "used".into(), partitions: vec![partition] });
    let commit = msg!(OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
    });
    let find = msg!(FindCoordinatorRequest { key: "g".into() });
    until(PATIENCE, "a coordinator", || (wire.ask(&find, 3).error_code == 0).then_some(()));
    until(PATIENCE, "its log is read", || {
        let answer = wire.ask(&commit, 8);
        (answer.topics[0].partitions[0].error_code == 0).then_some(())
    });
    get(&address, "/metrics").1
}

#[test]
fn kafkas_families_are_those_that_the_exporter_makes_and_each_gap_has_its_reason() {
    let page = page();
    let is = |sample: &str| assert!(page.lines().any(|l| l == sample), "{sample} in\n{page}");
    let errors = "kafka_network_requestmetrics_errors_total{node=\"0\",request=";
    is(&format!("{errors}\"Produce\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"}} 1"));
    is(&format!("{errors}\"Fetch\",error=\"OFFSET_OUT_OF_RANGE\"}} 1"));
    is("kafka_server_group_coordinator_metrics_offset_commit_count{node=\"0\"} 1");
    is("kafka_server_group_coordinator_metrics_num_partitions{node=\"0\",state=\"failed\"} 0");
    let ours: BTreeMap<_, _> =
        shapes(&page).into_iter().filter(|(name, _)| name.starts_with("kafka_")).collect();
    let table = include_str!("../data/metrics_left_out.tsv");
    let left_out: Vec<_> = table.lines().skip(1).map(|l| l.split_once('\t').unwrap()).collect();
    let covers = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    for (pattern, why) in &left_out {
        assert!(!why.is_empty() && !ours.keys().any(|name| covers(pattern, name)), "{pattern}");
    }
    // Further checks need the list, which lies beside the repository.
    let Some(path) = shared("reference/metrics.tsv") else { return };
    let list = fs::read_to_string(path).unwrap();
    let of_brokers = ["kafka.server:", "kafka.network:", "kafka.log:", "kafka.controller:"];
    let beans = list.lines().filter(|l| of_brokers.iter().any(|domain| l.starts_with(domain)));
    let listed: BTreeMap<_, _> = beans.flat_map(families).collect();
    assert!(listed.len() > 150, "{}", listed.len());
    let beside: BTreeMap<_, _> = BESIDE.iter().copied().flat_map(families).collect();
    let mut offences = Vec::new();
    for (name, shape) in &ours {
        match listed.get(name).or_else(|| beside.get(name)) {
            None => offences.push(format!("Kafka has no {name}")),
            Some(known) if known != shape => {
                offences.push(format!("{name} is {shape:?}, and {known:?} in Kafka"));
            }
            Some(_) => {}
        }
    }
    for name in listed.keys().filter(|name| !ours.contains_key(*name)) {
        if !left_out.iter().any(|(pattern, _)| covers(pattern, name)) {
            offences.push(format!("{name} is missing, without a reason in metrics_left_out.tsv"));
        }
    }
    for (pattern, _) in &left_out {
        if !listed.keys().any(|name| covers(pattern, name)) {
            offences.push(format!("{pattern} in metrics_left_out.tsv is no family of Kafka"));
        }
    }
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}
