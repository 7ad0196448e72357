//! Keys of the other resources: a group, a client-metrics subscription.

use super::prelude::*;

keys! {
    /// Keys of a client-metrics subscription.
    CLIENT_METRICS:
    "interval.ms" Int  "300000" between(100, 3_600_000), Cluster Inert "How often a client pushes its metrics.";
    "match"       List ""       ClientMatch,             Cluster Inert "Which clients push: name=pattern pairs.";
    "metrics"     List ""       Distinct,                Cluster Inert "Prefixes of the metrics that are pushed; * is all.";
}

keys! {
    /// Keys of one group, each with the broker key that is its default.
    GROUP_RESOURCE:
    "consumer.assignment.interval.ms"           Int  "1000"             min(0),             Cluster Inert  "Shortest time between two assignments of the group." = "group.consumer.assignment.interval.ms";
    "consumer.assignor.offload.enable"          Bool "true"             Any,                Cluster Hidden "Whether the assignor runs beside the coordinator." = "group.consumer.assignor.offload.enable";
    "consumer.heartbeat.interval.ms"            Int  "5000"             min(1),             Cluster Inert  "Heartbeat interval of the members." = "group.consumer.heartbeat.interval.ms";
    "consumer.session.timeout.ms"               Int  "45000"            min(1),             Cluster Inert  "Session timeout of the members." = "group.consumer.session.timeout.ms";
    "errors.deadletterqueue.copy.record.enable" Bool "false"            Any,                Cluster Hidden "Whether a dead letter holds the whole record.";
    "errors.deadletterqueue.topic.name"         Text ""                 Any,                Cluster Hidden "Topic that takes the dead letters of the group.";
    "share.assignment.interval.ms"              Int  "1000"             min(0),             Cluster Inert  "Shortest time between two assignments of the share group." = "group.share.assignment.interval.ms";
    "share.assignor.offload.enable"             Bool "true"             Any,                Cluster Hidden "Whether the assignor of the share group runs beside the coordinator." = "group.share.assignor.offload.enable";
    "share.auto.offset.reset"                   Text "latest"           OffsetReset,        Cluster Inert  "Where a new share group starts: earliest, latest or by_duration:<ISO 8601 duration>.";
    "share.delivery.count.limit"                Int  "5"                min(2),             Cluster Inert  "How often a record is delivered before it is given up." = "group.share.delivery.count.limit";
    "share.heartbeat.interval.ms"               Int  "5000"             min(1),             Cluster Inert  "Heartbeat interval of share members." = "group.share.heartbeat.interval.ms";
    "share.isolation.level"                     Text "read_uncommitted" AnyCase(ISOLATION), Cluster Inert  "Whether share members see records of open transactions.";
    "share.partition.max.record.locks"          Int  "2000"             min(100),           Cluster Inert  "Records of a share partition that may be locked at a time." = "group.share.partition.max.record.locks";
    "share.record.lock.duration.ms"             Int  "30000"            min(1_000),         Cluster Inert  "How long an acquired record stays locked." = "group.share.record.lock.duration.ms";
    "share.renew.acknowledge.enable"            Bool "true"             Any,                Cluster Inert  "Whether share members may renew locks.";
    "share.session.timeout.ms"                  Int  "45000"            min(1),             Cluster Inert  "Session timeout of share members." = "group.share.session.timeout.ms";
    "streams.acceptable.recovery.lag"           Long "10000"            min(0),             Cluster Hidden "Lag up to which a task counts as caught up." = "group.streams.acceptable.recovery.lag";
    "streams.assignment.interval.ms"            Int  "1000"             min(0),             Cluster Inert  "Shortest time between two assignments of the streams group." = "group.streams.assignment.interval.ms";
    "streams.assignor.name"                     Text null               Any,                Cluster Hidden "Assignor of the streams group.";
    "streams.assignor.offload.enable"           Bool "true"             Any,                Cluster Hidden "Whether the assignor of the streams group runs beside the coordinator." = "group.streams.assignor.offload.enable";
    "streams.heartbeat.interval.ms"             Int  "5000"             min(1),             Cluster Inert  "Heartbeat interval of streams members." = "group.streams.heartbeat.interval.ms";
    "streams.initial.rebalance.delay.ms"        Int  "3000"             min(0),             Cluster Inert  "How long a new streams group waits for more members." = "group.streams.initial.rebalance.delay.ms";
    "streams.num.standby.replicas"              Int  "0"                min(0),             Cluster Inert  "Standby replicas of each task." = "group.streams.num.standby.replicas";
    "streams.num.warmup.replicas"               Int  "2"                min(0),             Cluster Hidden "Warm-up replicas at a time." = "group.streams.num.warmup.replicas";
    "streams.rack.aware.assignment.tags"        List ""                 Distinct,           Cluster Hidden "Client tags that replicas are spread over." = "group.streams.rack.aware.assignment.tags";
    "streams.session.timeout.ms"                Int  "45000"            min(1),             Cluster Inert  "Session timeout of streams members." = "group.streams.session.timeout.ms";
    "streams.task.offset.interval.ms"           Int  "60000"            min(1),             Cluster Hidden "How often members report the offsets of their tasks." = "group.streams.task.offset.interval.ms";
}
