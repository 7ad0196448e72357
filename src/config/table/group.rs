//! Keys of the group coordinator: committed offsets; classic, consumer and streams groups.

use super::prelude::*;

keys! {
    /// Keys of the group coordinator: committed offsets; classic, consumer and streams groups.
    GROUP:
    "group.initial.rebalance.delay.ms"           Int   "3000"                     Any,                     ReadOnly Acts   "How long the first rebalance of an empty group waits for more members.";
    "group.max.session.timeout.ms"               Int   "1800000"                  Any,                     ReadOnly Acts   "Longest session timeout that a member may ask for.";
    "group.max.size"                             Int   "2147483647"               min(1),                  ReadOnly Acts   "Members that one group may have.";
    "group.min.session.timeout.ms"               Int   "6000"                     Any,                     ReadOnly Acts   "Shortest session timeout that a member may ask for.";
    "offset.metadata.max.bytes"                  Int   "4096"                     Any,                     ReadOnly Acts   "Longest text that may be committed beside an offset, in characters.";
    "offsets.retention.check.interval.ms"        Long  "600000"                   min(1),                  ReadOnly Acts   "Period of the search for expired offsets.";
    "offsets.retention.minutes"                  Int   "10080"                    min(1),                  ReadOnly Acts   "How long offsets are kept after their group has become empty.";
    "offsets.topic.num.partitions"               Int   "50"                       min(1),                  ReadOnly Acts   "Partitions of the topic that holds committed offsets; fixed once that topic is there.";
    "offsets.topic.segment.bytes"                Int   "104857600"                min(1),                  ReadOnly Acts   "Segment size of the topic that holds committed offsets.";
    "offsets.topic.replication.factor"           Short "3"                        min(1),                  ReadOnly Inert  "Replicas of the topic that holds committed offsets.";
    "offsets.topic.compression.codec"            Int   "0"                        Any,                     ReadOnly Inert  "Codec of the topic that holds committed offsets.";
    "offsets.commit.timeout.ms"                  Int   "5000"                     min(1),                  ReadOnly Acts   "How long a change of a group waits to be safe in the log before it is answered as failed.";
    "offsets.load.buffer.size"                   Int   "5242880"                  min(1),                  ReadOnly Inert  "Bytes read at a time when groups are loaded.";
    "group.coordinator.append.linger.ms"         Int   "-1"                       min(-1),                 ReadOnly Inert  "How long group state waits for more to be written with it.";
    "group.coordinator.background.threads"       Int   "2"                        min(1),                  ReadOnly Inert  "Threads for assignments computed beside the coordinator.";
    "group.coordinator.cached.buffer.max.bytes"  Int   "1048588"                  min(524_288),            Cluster  Inert  "Largest buffer that the coordinator keeps for the next write.";
    "group.coordinator.rebalance.protocols"      List  "classic,consumer,streams" ListOf(GROUP_PROTOCOLS), ReadOnly Inert  "Group protocols that are offered.";
    "group.coordinator.threads"                  Int   "4"                        min(1),                  ReadOnly Inert  "Threads of the group coordinator.";
    "group.consumer.assignment.interval.ms"      Int   "1000"                     min(0),                  Cluster  Inert  "Shortest time between two assignments of a consumer group.";
    "group.consumer.assignor.offload.enable"     Bool  "true"                     Any,                     Cluster  Hidden "Whether assignors of consumer groups run beside the coordinator.";
    "group.consumer.assignors"                   List  "uniform,range"            Filled,                  ReadOnly Inert  "Assignors of consumer groups, the default first.";
    "group.consumer.heartbeat.interval.ms"       Int   "5000"                     min(1),                  ReadOnly Inert  "Heartbeat interval of consumer group members.";
    "group.consumer.max.assignment.interval.ms"  Int   "15000"                    min(0),                  ReadOnly Inert  "Largest assignment interval that a consumer group may set.";
    "group.consumer.max.heartbeat.interval.ms"   Int   "15000"                    min(1),                  ReadOnly Inert  "Largest heartbeat interval that a consumer group may set.";
    "group.consumer.max.session.timeout.ms"      Int   "60000"                    min(1),                  ReadOnly Inert  "Largest session timeout that a consumer group may set.";
    "group.consumer.max.size"                    Int   "2147483647"               min(1),                  ReadOnly Inert  "Members that a consumer group may have.";
    "group.consumer.migration.policy"            Text  "bidirectional"            AnyCase(MIGRATION),      ReadOnly Inert  "Which way groups may change between the classic and the consumer protocol.";
    "group.consumer.min.assignment.interval.ms"  Int   "0"                        min(0),                  ReadOnly Inert  "Smallest assignment interval that a consumer group may set.";
    "group.consumer.min.heartbeat.interval.ms"   Int   "5000"                     min(1),                  ReadOnly Inert  "Smallest heartbeat interval that a consumer group may set.";
    "group.consumer.min.session.timeout.ms"      Int   "45000"                    min(1),                  ReadOnly Inert  "Smallest session timeout that a consumer group may set.";
    "group.consumer.regex.refresh.interval.ms"   Int   "600000"                   min(10_000),             ReadOnly Hidden "How often subscription patterns are matched anew.";
    "group.consumer.session.timeout.ms"          Int   "45000"                    min(1),                  ReadOnly Inert  "Session timeout of consumer group members.";
    "group.streams.acceptable.recovery.lag"      Long  "10000"                    min(0),                  ReadOnly Hidden "Lag up to which a streams task counts as caught up.";
    "group.streams.assignment.interval.ms"       Int   "1000"                     min(0),                  Cluster  Inert  "Shortest time between two assignments of a streams group.";
    "group.streams.assignor.offload.enable"      Bool  "true"                     Any,                     Cluster  Hidden "Whether assignors of streams groups run beside the coordinator.";
    "group.streams.assignors"                    List  "sticky"                   Filled,                  ReadOnly Hidden "Assignors of streams groups, the default first.";
    "group.streams.heartbeat.interval.ms"        Int   "5000"                     min(1),                  ReadOnly Inert  "Heartbeat interval of streams group members.";
    "group.streams.initial.rebalance.delay.ms"   Int   "3000"                     min(0),                  ReadOnly Inert  "How long a new streams group waits for more members.";
    "group.streams.max.assignment.interval.ms"   Int   "15000"                    min(0),                  ReadOnly Inert  "Largest assignment interval that a streams group may set.";
    "group.streams.max.heartbeat.interval.ms"    Int   "15000"                    min(1),                  ReadOnly Inert  "Largest heartbeat interval that a streams group may set.";
    "group.streams.max.session.timeout.ms"       Int   "60000"                    min(1),                  ReadOnly Inert  "Largest session timeout that a streams group may set.";
    "group.streams.max.size"                     Int   "2147483647"               min(1),                  ReadOnly Inert  "Members that a streams group may have.";
    "group.streams.max.standby.replicas"         Int   "2"                        min(0),                  ReadOnly Inert  "Most standby replicas that a streams group may set.";
    "group.streams.max.warmup.replicas"          Int   "20"                       min(0),                  ReadOnly Hidden "Most warm-up replicas that a streams group may set.";
    "group.streams.min.assignment.interval.ms"   Int   "0"                        min(0),                  ReadOnly Inert  "Smallest assignment interval that a streams group may set.";
    "group.streams.min.heartbeat.interval.ms"    Int   "5000"                     min(1),                  ReadOnly Inert  "Smallest heartbeat interval that a streams group may set.";
    "group.streams.min.session.timeout.ms"       Int   "45000"                    min(1),                  ReadOnly Inert  "Smallest session timeout that a streams group may set.";
    "group.streams.min.task.offset.interval.ms"  Int   "15000"                    min(1),                  ReadOnly Hidden "Smallest task offset interval that a streams group may set.";
    "group.streams.num.standby.replicas"         Int   "0"                        min(0),                  ReadOnly Inert  "Standby replicas of each streams task.";
    "group.streams.num.warmup.replicas"          Int   "2"                        min(0),                  ReadOnly Hidden "Warm-up replicas of a streams group at a time.";
    "group.streams.rack.aware.assignment.tags"   List  ""                         Distinct,                ReadOnly Hidden "Client tags that streams replicas are spread over.";
    "group.streams.session.timeout.ms"           Int   "45000"                    min(1),                  ReadOnly Inert  "Session timeout of streams group members.";
    "group.streams.task.offset.interval.ms"      Int   "60000"                    min(1),                  ReadOnly Hidden "How often streams members report the offsets of their tasks.";
    "group.streams.topology.description.plugin.class" Class null                       Any,                     ReadOnly Hidden "Plug-in that keeps descriptions of streams topologies.";
    "errors.deadletterqueue.auto.create.topics.enable" Bool  "false"                    Any,                     Cluster  Hidden "Whether dead-letter topics are created when needed.";
    "errors.deadletterqueue.topic.name.prefix"   Text  "dlq."                     Any,                     Cluster  Hidden "Prefix that the names of dead-letter topics must have.";
}
