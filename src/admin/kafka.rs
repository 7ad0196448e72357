//! Kafka's metrics under the names that dashboards know: those that the JMX exporter makes of the
//! beans, by the rules that come with it for Kafka.
//!
//! `kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec` is `kafka_server_brokertopicmetrics_messagesin_total`,
//! and so on: lower case, rates as their counters, percentiles as `quantile`. Each node is a broker
//! and has the label `node`. Quantiles are those since the start (Kafka's lean to the last minutes);
//! `klamm_request_seconds` has the buckets from which any period can be worked out. The same goes for
//! maxima and means. A node's one thread is its network processor and its request handler.
//!
//! What this broker has no counterpart of is left out rather than told as zero; what it has and never
//! happens is zero ([`NEVER`]). `tests/e2e/metrics.rs` holds both against the list of Kafka's beans;
//! `tests/data/metrics_left_out.tsv` says what is left out, and why.

use std::collections::BTreeMap;

use super::Seen;
use crate::api::table;
use crate::metrics::text::{Kind, Labels, Page};
use crate::metrics::{Histogram, NodeMetrics, Requests, Traffic};
use crate::shard::observe::LogCounts;
use crate::wire::ErrorCode;

type Gauge = (&'static str, &'static str, fn(&Seen<'_>) -> Option<f64>);

/// Those that Kafka tells, as a label has them.
const QUANTILES: &[(&str, f64)] =
    &[("0.50", 0.5), ("0.75", 0.75), ("0.95", 0.95), ("0.99", 0.99), ("0.999", 0.999)];

type OfTraffic = fn(&Traffic) -> u64;
type OfLog = fn(&LogCounts) -> f64;

/// Families that are the same for all topics and for each one: name in the bean, value.
const BY_TOPIC: &[(&str, OfTraffic)] = &[
    ("messagesin", |t| t.messages_in),
    ("bytesin", |t| t.bytes_in),
    ("bytesout", |t| t.bytes_out),
    ("bytesrejected", |t| t.bytes_rejected),
    ("totalproducerequests", |t| t.produces),
    ("totalfetchrequests", |t| t.fetches),
    ("failedproducerequests", |t| t.produces_failed),
    ("failedfetchrequests", |t| t.fetches_failed),
];
/// Those of all topics only.
const OF_ALL: &[(&str, OfTraffic)] = &[
    ("nokeycompactedtopicrecords", |t| t.no_key),
    ("invalidmagicnumberrecords", |t| t.invalid_magic),
    ("invalidmessagecrcrecords", |t| t.invalid_crc),
    ("invalidoffsetorsequencerecords", |t| t.invalid_sequence),
];

type OfNode = fn(&NodeMetrics) -> f64;

/// Attributes of the group coordinator, which the exporter takes for gauges, those too that only grow.
const OF_GROUPS: &[(&str, &str, OfNode)] = &[
    ("offset_commit_count", "Offsets committed since the start.", |m| m.groups.commits as f64),
    ("offset_deletion_count", "Offsets deleted since the start.", |m| m.groups.deletions as f64),
    ("offset_expiration_count", "Offsets expired since the start.", |m| {
        m.groups.expirations as f64
    }),
    ("group_completed_rebalance_count", "Rebalances completed since the start.", |m| {
        m.groups.rebalances as f64
    }),
    ("partition_load_time_max", "Longest time to read a partition back, in milliseconds.", |m| {
        m.longest_group_load.as_secs_f64() * 1e3
    }),
    ("partition_load_time_avg", "Mean time to read a partition back, in milliseconds.", |m| {
        m.group_loads.sum_s() * 1e3 / m.group_loads.count().max(1) as f64
    }),
];

/// What cannot happen yet: a node is the only replica of what it leads, so replicas are never out of sync
/// nor moved, and nobody is elected; a client cannot authenticate, so no session of one runs out.
const NEVER: &[(&str, Kind, &str)] = &[
    (
        "kafka_server_replicamanager_isrshrinks_total",
        Kind::Counter,
        "Replicas that fell out of sync.",
    ),
    (
        "kafka_server_replicamanager_isrexpands_total",
        Kind::Counter,
        "Replicas that came back into sync.",
    ),
    (
        "kafka_server_replicamanager_failedisrupdates_total",
        Kind::Counter,
        "Changes of replicas in sync that failed.",
    ),
    (
        "kafka_server_replicamanager_reassigningpartitions",
        Kind::Gauge,
        "Partitions that are being moved.",
    ),
    (
        "kafka_controller_controllerstats_uncleanleaderelections_total",
        Kind::Counter,
        "Leaders that were out of sync when they were elected.",
    ),
    (
        "kafka_network_socketserver_expiredconnectionskilledcount",
        Kind::Gauge,
        "Connections closed since their client did not authenticate again.",
    ),
];

const GAUGES: &[Gauge] = &[
    ("kafka_server_replicamanager_partitioncount", "Partitions on the node.", |n| {
        Some(n.counts.led.logs.len() as f64)
    }),
    ("kafka_server_replicamanager_leadercount", "Partitions led by the node.", |n| {
        Some(n.counts.led.logs.len() as f64)
    }),
    (
        "kafka_server_replicamanager_underreplicatedpartitions",
        "Partitions with fewer replicas in sync than they have.",
        |n| Some(n.counts.led.under_replicated as f64),
    ),
    (
        "kafka_server_replicamanager_underminisrpartitioncount",
        "Partitions with fewer replicas in sync than min.insync.replicas.",
        |n| Some(n.counts.led.under_min_in_sync as f64),
    ),
    (
        "kafka_server_replicamanager_atminisrpartitioncount",
        "Partitions with exactly min.insync.replicas in sync.",
        |n| Some(n.counts.led.at_min_in_sync as f64),
    ),
    (
        "kafka_server_replicamanager_offlinereplicacount",
        "Partitions that are not served after a failure or damage.",
        |n| Some(n.counts.led.offline as f64),
    ),
    ("kafka_server_replicamanager_produceridcount", "Producers that the logs know.", |n| {
        Some(n.counts.led.producers as f64)
    }),
    (
        "kafka_server_fetchsessioncache_numincrementalfetchsessions",
        "Incremental fetch sessions.",
        |n| Some(n.counts.sessions.0 as f64),
    ),
    (
        "kafka_server_fetchsessioncache_numincrementalfetchpartitionscached",
        "Partitions in incremental fetch sessions.",
        |n| Some(n.counts.sessions.1 as f64),
    ),
    ("kafka_log_logmanager_offlinelogdirectorycount", "1 when the node's directory failed.", |n| {
        Some(f64::from(u8::from(n.node.failed)))
    }),
    ("kafka_log_logmanager_logdirectoryoffline", "Whether the node's directory failed.", |n| {
        Some(f64::from(u8::from(n.node.failed)))
    }),
    (
        "kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent",
        "Part of its time that the node's thread does nothing, lately; 1 is all of it.",
        |n| Some(n.counts.metrics.idle.share()),
    ),
    (
        "kafka_network_socketserver_networkprocessoravgidlepercent",
        "Part of its time that the node's thread does nothing, lately; 1 is all of it.",
        |n| Some(n.counts.metrics.idle.share()),
    ),
    (
        "kafka_controller_kafkacontroller_activecontrollercount",
        "1 on the node that holds the controller.",
        |n| Some(f64::from(u8::from(n.counts.controller.is_some()))),
    ),
    ("kafka_controller_kafkacontroller_globaltopiccount", "Topics of the cluster.", |n| {
        Some(n.controller?.topics as f64)
    }),
    ("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions of the cluster.", |n| {
        Some(n.controller?.partitions as f64)
    }),
    ("kafka_controller_kafkacontroller_activebrokercount", "Nodes of the cluster.", |n| {
        Some(n.controller?.nodes as f64)
    }),
    (
        "kafka_controller_kafkacontroller_offlinepartitionscount",
        "Partitions whose leader is no node of the cluster.",
        |n| Some(n.controller?.leaderless as f64),
    ),
    ("kafka_coordinator_group_groupmetadatamanager_numoffsets", "Committed offsets.", |n| {
        Some(n.counts.groups.offsets as f64)
    }),
    ("kafka_server_group_coordinator_metrics_offset_count", "Committed offsets.", |n| {
        Some(n.counts.groups.offsets as f64)
    }),
    ("kafka_server_socket_server_metrics_connection_count", "Open connections.", |n| {
        Some(n.counts.connections as f64)
    }),
    ("kafka_network_socketserver_memorypoolused", "Bytes in which requests arrive.", |n| {
        Some(n.counts.memory.requests as f64)
    }),
];

/// All families of all nodes.
pub(super) fn write(page: &mut Page, nodes: &[Seen<'_>]) {
    traffic(page, nodes);
    requests(page, nodes);
    for (name, help, value) in GAUGES {
        page.family(name, Kind::Gauge, help);
        for node in nodes {
            if let Some(value) = value(node) {
                page.sample(&[("node", &node.id)], value);
            }
        }
    }
    for (name, kind, help) in NEVER {
        page.family(name, *kind, help);
        for node in nodes {
            page.sample(&[("node", &node.id)], 0.0);
        }
    }
    let name = "kafka_server_delayedoperationpurgatory_purgatorysize";
    page.family(name, Kind::Gauge, "Requests that wait.");
    for node in nodes {
        for (operation, n) in
            [("Produce", node.counts.parked_acks), ("Fetch", node.counts.parked_fetches)]
        {
            page.sample(&[("node", &node.id), ("delayedOperation", operation)], n as f64);
        }
    }
    groups(page, nodes);
    let name = "kafka_log_logflushstats_logflushrateandtimems";
    page.family(name, Kind::Gauge, "Syncs of the journal, in milliseconds.");
    for node in nodes {
        quantiles(page, &[("node", &node.id)], &node.counts.store.sync_time);
    }
    page.family(&format!("{name}_count"), Kind::Counter, "Syncs of the journal.");
    for node in nodes {
        page.sample(&[("node", &node.id)], node.counts.store.sync_time.count() as f64);
    }
    logs(page, nodes);
}

fn traffic(page: &mut Page, nodes: &[Seen<'_>]) {
    let by_topic: Vec<BTreeMap<&str, Traffic>> = nodes.iter().map(topics).collect();
    for (name, value) in BY_TOPIC {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        page.family(&name, Kind::Counter, "Of all topics, and of each.");
        for (node, topics) in nodes.iter().zip(&by_topic) {
            page.sample(&[("node", &node.id)], value(&node.counts.metrics.traffic) as f64);
            for (topic, traffic) in topics {
                page.sample(&[("node", &node.id), ("topic", topic)], value(traffic) as f64);
            }
        }
    }
    for (name, value) in OF_ALL {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        page.family(&name, Kind::Counter, "Batches that were refused for this.");
        for node in nodes {
            page.sample(&[("node", &node.id)], value(&node.counts.metrics.traffic) as f64);
        }
    }
}

fn topics<'a>(node: &'a Seen<'_>) -> BTreeMap<&'a str, Traffic> {
    let mut topics = BTreeMap::<&str, Traffic>::new();
    for log in &node.counts.led.logs {
        topics.entry(&log.topic).or_default().add(&log.traffic);
    }
    topics
}

fn requests(page: &mut Page, nodes: &[Seen<'_>]) {
    let name = "kafka_network_requestmetrics_requests_total";
    page.family(name, Kind::Counter, "Requests, by version.");
    each_request(nodes, |node, request, counts| {
        for (version, n) in counts.versions() {
            let version = version.to_string();
            let labels = [("node", node), ("request", request), ("version", &version)];
            page.sample(&labels, n as f64);
        }
    });
    let name = "kafka_network_requestmetrics_errors_total";
    page.family(name, Kind::Counter, "Error codes in answers; NONE is not counted.");
    for node in nodes {
        for (key, counts) in node.counts.metrics.requests() {
            let request = table::find(key).map_or("", table::Api::name);
            for &(code, n) in counts.errors() {
                let error = ErrorCode(code).name();
                let labels = [("node", &*node.id), ("request", request), ("error", error)];
                page.sample(&labels, n as f64);
            }
        }
    }
    let name = "kafka_network_requestmetrics_requestbytes";
    page.family(name, Kind::Gauge, "Sizes of requests, in bytes.");
    each_request(nodes, |node, request, counts| {
        for (text, q) in QUANTILES {
            let labels = [("node", node), ("request", request), ("quantile", text)];
            page.sample(&labels, counts.sizes.quantile_bytes(*q));
        }
    });
    page.family(&format!("{name}_count"), Kind::Counter, "Requests.");
    each_request(nodes, |node, request, counts| {
        page.sample(&[("node", node), ("request", request)], counts.sizes.count() as f64);
    });
    for (which, help, of) in TIMES {
        let name = format!("kafka_network_requestmetrics_{which}timems");
        page.family(&name, Kind::Gauge, help);
        each_request(nodes, |node, request, counts| {
            quantiles(page, &[("node", node), ("request", request)], of(counts));
        });
        page.family(&format!("{name}_count"), Kind::Counter, "Requests that were answered.");
        each_request(nodes, |node, request, counts| {
            let n = of(counts).count() as f64;
            page.sample(&[("node", node), ("request", request)], n);
        });
    }
}

/// A time of requests: its name, what it is, and where it is counted.
type Time = (&'static str, &'static str, fn(&Requests) -> &Histogram);

const TIMES: [Time; 3] = [
    ("total", "Time from a request to its answer, in milliseconds.", |r| &r.total),
    ("remote", "Of that, the time until the turn of its answer.", |r| &r.remote),
    ("local", "Of that, the turn of its answer.", |r| &r.local),
];

/// Calls with node, request and its counts. As in Kafka, a fetch of a consumer counts twice: as
/// Fetch and as FetchConsumer.
fn each_request(nodes: &[Seen<'_>], mut write: impl FnMut(&str, &str, &Requests)) {
    for node in nodes {
        for (key, counts) in node.counts.metrics.requests() {
            let name = table::find(key).map_or("", table::Api::name);
            write(&node.id, name, counts);
            if name == "Fetch" {
                write(&node.id, "FetchConsumer", counts);
            }
        }
    }
}

fn groups(page: &mut Page, nodes: &[Seen<'_>]) {
    let prefix = "kafka_coordinator_group_groupmetadatamanager_numgroups";
    page.family(prefix, Kind::Gauge, "Groups.");
    for node in nodes {
        page.sample(&[("node", &node.id)], all_groups(node));
    }
    for at in 0..5 {
        let Some(first) = nodes.first() else { return };
        let state = first.counts.groups.states[at].0;
        page.family(
            &format!("{prefix}{}", state.to_lowercase()),
            Kind::Gauge,
            "Groups in this state.",
        );
        for node in nodes {
            page.sample(&[("node", &node.id)], node.counts.groups.states[at].1 as f64);
        }
    }
    let prefix = "kafka_server_group_coordinator_metrics";
    page.family(&format!("{prefix}_group_count"), Kind::Gauge, "Groups, by protocol.");
    for node in nodes {
        page.sample(&[("node", &node.id), ("protocol", "classic")], all_groups(node));
    }
    page.family(&format!("{prefix}_classic_group_count"), Kind::Gauge, "Groups, by state.");
    for node in nodes {
        for (state, n) in &node.counts.groups.states {
            page.sample(&[("node", &node.id), ("state", state)], *n as f64);
        }
    }
    let help = "Partitions of the offsets topic, by state.";
    page.family(&format!("{prefix}_num_partitions"), Kind::Gauge, help);
    for node in nodes {
        let (groups, failed) = (&node.counts.groups, node.counts.metrics.groups.failed);
        let loading = groups.loading.saturating_sub(failed);
        for (state, n) in [("loading", loading), ("active", groups.active), ("failed", failed)] {
            page.sample(&[("node", &node.id), ("state", state)], n as f64);
        }
    }
    for (name, help, value) in OF_GROUPS {
        page.family(&format!("{prefix}_{name}"), Kind::Gauge, help);
        for node in nodes {
            page.sample(&[("node", &node.id)], value(&node.counts.metrics));
        }
    }
}

fn all_groups(node: &Seen<'_>) -> f64 {
    node.counts.groups.states.iter().map(|(_, n)| *n).sum::<usize>() as f64
}

fn quantiles(page: &mut Page, labels: Labels<'_>, histogram: &Histogram) {
    for (text, q) in QUANTILES {
        let labels = [labels, &[("quantile", text)]].concat();
        page.sample(&labels, histogram.quantile_s(*q) * 1e3);
    }
}

fn logs(page: &mut Page, nodes: &[Seen<'_>]) {
    let families: [(&str, &str, OfLog); 4] = [
        ("kafka_log_log_size", "Bytes of the partition.", |l| l.size as f64),
        ("kafka_log_log_logstartoffset", "Its oldest offset.", |l| l.start as f64),
        ("kafka_log_log_logendoffset", "Its next offset.", |l| l.end as f64),
        ("kafka_log_log_numlogsegments", "Its segments.", |l| l.segments as f64),
    ];
    for (name, help, value) in families {
        page.family(name, Kind::Gauge, help);
        for node in nodes {
            for log in &node.counts.led.logs {
                let partition = log.partition.to_string();
                let labels =
                    [("node", &*node.id), ("topic", &*log.topic), ("partition", &partition)];
                page.sample(&labels, value(log));
            }
        }
    }
}
