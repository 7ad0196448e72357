//! Keys of the server as a whole: nodes, limits, codecs, metrics, quotas.

use super::prelude::*;

keys! {
    /// Keys of the server as a whole: nodes, limits, codecs, metrics, quotas.
    SERVER:
    "node.count"                                 Int    null                                         between(1, 1024),      ReadOnly Acts   "Nodes that this server runs, one broker id and one port each. Fixed when the data directory is made; when unset, the cores that the process may use.";
    "journal.bytes"                              Long   "268435456"                                  min(50_331_648),       ReadOnly Acts   "Size that the journal of each node may reach, in bytes.";
    "cache.bytes"                                Long   "67108864"                                   min(1_048_576),        ReadOnly Acts   "Memory of each node for recently written and read batches, in bytes.";
    "scrub.bytes.per.second"                     Long   "1048576"                                    min(0),                ReadOnly Acts   "Bytes of old segments that each node reads back in a second, to find damage before a reader does; 0 is none.";
    "node.memory.bytes"                          Long   null                                         min(1_048_576),        ReadOnly Acts   "Memory of each node for requests, answers, cache and fetch sessions, in bytes. Where it is used up, the node stops reading from sockets; a connection that has held a large unfinished request or unread answer for 10 s is closed then. When unset, cache.bytes and twice socket.request.max.bytes, which is 48 MiB at least.";
    "admin.listener"                             Text   ""                                           Any,                   ReadOnly Acts   "host:port where /metrics (Prometheus), /healthz and /readyz are served over HTTP, for all nodes of the server; empty serves none. It has no authentication: keep it on an address that only operators reach.";
    "node.id"                                    Int    "0"                                          min(0),                ReadOnly Acts   "Broker id of the first node of this server; the others follow without gaps.";
    "broker.id"                                  Int    "-1"                                         Any,                   ReadOnly Acts   "Old name of node.id; when both are set they must agree.";
    "broker.rack"                                Text   null                                         Any,                   ReadOnly Acts   "Rack of all nodes of this server, as clients and replica placement see it.";
    "auto.create.topics.enable"                  Bool   "true"                                       Any,                   ReadOnly Acts   "Whether asking for the metadata of a topic that is missing creates it.";
    "delete.topic.enable"                        Bool   "true"                                       Any,                   ReadOnly Acts   "Whether topics may be deleted.";
    "compression.type"                           Text   "producer"                                   OneOf(COMPRESSION),    Cluster  Acts   "Codec for topics that name none: producer keeps what was sent, any other recompresses.";
    "compression.gzip.level"                     Int    "-1"                                         GzipLevel,             Cluster  Acts   "Level used when the broker compresses with gzip.";
    "compression.lz4.level"                      Int    "9"                                          between(1, 17),        Cluster  Acts   "Level used when the broker compresses with lz4.";
    "compression.zstd.level"                     Int    "3"                                          between(-131_072, 22), Cluster  Acts   "Level used when the broker compresses with zstd.";
    "message.max.bytes"                          Int    "1048588"                                    min(0),                Cluster  Acts   "Largest record batch accepted, header included, for topics without max.message.bytes.";
    "fetch.max.bytes"                            Int    "57671680"                                   min(1_024),            ReadOnly Acts   "Most bytes of records that one fetch response carries, whatever the client asks for.";
    "max.incremental.fetch.session.cache.slots"  Int    "1000"                                       min(0),                ReadOnly Acts   "Incremental fetch sessions that one node keeps.";
    "max.request.partition.size.limit"           Int    "2000"                                       min(1),                ReadOnly Acts   "Most partitions that one DescribeTopicPartitions response lists.";
    "background.threads"                         Int    "10"                                         min(1),                Cluster  Inert  "Threads for housekeeping.";
    "config.providers"                           List   ""                                           Distinct,              Cluster  Inert  "Names of plug-ins that fetch values from elsewhere.";
    "controlled.shutdown.enable"                 Bool   "true"                                       Any,                   ReadOnly Inert  "Whether leadership is handed over before a clean stop.";
    "num.io.threads"                             Int    "8"                                          min(1),                Cluster  Inert  "Threads that process requests.";
    "num.replica.alter.log.dirs.threads"         Int    null                                         Any,                   ReadOnly Inert  "Threads that move replicas between log directories.";
    "request.timeout.ms"                         Int    "30000"                                      Any,                   ReadOnly Inert  "How long a request of the broker itself may take.";
    "socket.connection.setup.timeout.ms"         Long   "10000"                                      Any,                   ReadOnly Inert  "First wait for a connection that the broker opens.";
    "socket.connection.setup.timeout.max.ms"     Long   "30000"                                      Any,                   ReadOnly Inert  "Longest wait for a connection that the broker opens, after back-off.";
    "unstable.api.versions.enable"               Bool   "false"                                      Any,                   ReadOnly Hidden "Whether unfinished protocol versions are offered.";
    "unstable.feature.versions.enable"           Bool   "false"                                      Any,                   ReadOnly Hidden "Whether unfinished feature levels may be enabled.";
    "authorizer.class.name"                      Text   ""                                           Any,                   ReadOnly Inert  "Plug-in that decides who may do what.";
    "early.start.listeners"                      List   null                                         Distinct,              ReadOnly Inert  "Listeners that open before the authorizer is ready.";
    "kafka.metrics.polling.interval.secs"        Int    "10"                                         min(1),                ReadOnly Inert  "Period of metrics reporters that poll.";
    "kafka.metrics.reporters"                    List   ""                                           Distinct,              ReadOnly Inert  "Old-style metrics reporter plug-ins.";
    "metric.reporters"                           List   "org.apache.kafka.common.metrics.JmxReporter" Distinct,              Cluster  Inert  "Metrics reporter plug-ins.";
    "metrics.num.samples"                        Int    "2"                                          min(1),                ReadOnly Inert  "Samples that a metric keeps.";
    "metrics.recording.level"                    Text   "INFO"                                       Any,                   ReadOnly Inert  "Least important metrics that are recorded.";
    "metrics.sample.window.ms"                   Long   "30000"                                      min(1),                ReadOnly Inert  "Time that one sample of a metric covers.";
    "telemetry.max.bytes"                        Int    "1048576"                                    min(1),                ReadOnly Inert  "Largest telemetry push accepted from a client.";
    "quota.window.num"                           Int    "11"                                         min(1),                ReadOnly Inert  "Windows over which client quotas are averaged.";
    "quota.window.size.seconds"                  Int    "1"                                          min(1),                ReadOnly Inert  "Length of one client quota window.";
    "replication.quota.window.num"               Int    "11"                                         min(1),                ReadOnly Inert  "Windows over which replication quotas are averaged.";
    "replication.quota.window.size.seconds"      Int    "1"                                          min(1),                ReadOnly Inert  "Length of one replication quota window.";
    "controller.quota.window.num"                Int    "11"                                         min(1),                ReadOnly Inert  "Windows over which quotas on metadata changes are averaged.";
    "controller.quota.window.size.seconds"       Int    "1"                                          min(1),                ReadOnly Inert  "Length of one window for quotas on metadata changes.";
    "alter.log.dirs.replication.quota.window.num" Int    "11"                                         min(1),                ReadOnly Inert  "Windows over which the quota for moves between log directories is averaged.";
    "alter.log.dirs.replication.quota.window.size.seconds" Int    "1"                                          min(1),                ReadOnly Inert  "Length of one window of the quota for moves between log directories.";
    "client.quota.callback.class"                Class  null                                         Any,                   ReadOnly Inert  "Plug-in that computes client quotas.";
    "connection_creation_rate"                   Int    "2147483647"                                 min(0),                ReadOnly Hidden "Quota of new connections a second, for an address.";
    "consumer_byte_rate"                         Long   "9223372036854775807"                        Any,                   ReadOnly Hidden "Quota of fetched bytes a second, for a client.";
    "producer_byte_rate"                         Long   "9223372036854775807"                        Any,                   ReadOnly Hidden "Quota of produced bytes a second, for a client.";
    "controller_mutation_rate"                   Double "2147483647.0"                               Any,                   ReadOnly Hidden "Quota of partitions created or deleted a second, for a client.";
    "request_percentage"                         Double "2147483647.0"                               Any,                   ReadOnly Hidden "Quota of request time, in per cent of one thread, for a client.";
    "mechanismName"                              Text   null                                         Any,                   ReadOnly Hidden "Name under which a SCRAM credential is kept.";
    "follower.replication.throttled.rate"        Long   "9223372036854775807"                        min(0),                Cluster  Hidden "Bytes a second that throttled followers may copy.";
    "leader.replication.throttled.rate"          Long   "9223372036854775807"                        min(0),                Cluster  Hidden "Bytes a second that leaders may serve to throttled followers.";
    "replica.alter.log.dirs.io.max.bytes.per.second" Long   "9223372036854775807"                        min(0),                Cluster  Hidden "Bytes a second for moves between log directories.";
}
