//! Keys of share groups and their coordinator.

use super::prelude::*;

keys! {
    /// Keys of share groups and their coordinator.
    SHARE:
    "group.share.assignment.interval.ms"         Int   "1000"                                       min(0),                     Cluster  Inert  "Shortest time between two assignments of a share group.";
    "group.share.assignor.offload.enable"        Bool  "true"                                       Any,                        Cluster  Hidden "Whether assignors of share groups run beside the coordinator.";
    "group.share.assignors"                      List  "simple"                                     Filled,                     ReadOnly Inert  "Assignors of share groups.";
    "group.share.delivery.count.limit"           Int   "5"                                          between(2, 10),             ReadOnly Inert  "How often a record is delivered before it is given up.";
    "group.share.dlq.manager.class.name"         Text  "org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager" Any,                        ReadOnly Hidden "Plug-in that writes dead letters of share groups.";
    "group.share.heartbeat.interval.ms"          Int   "5000"                                       min(1),                     ReadOnly Inert  "Heartbeat interval of share group members.";
    "group.share.initialize.retry.interval.ms"   Int   "30000"                                      min(1),                     ReadOnly Hidden "Pause between attempts to make the state of a share partition.";
    "group.share.max.assignment.interval.ms"     Int   "15000"                                      min(0),                     ReadOnly Inert  "Largest assignment interval that a share group may set.";
    "group.share.max.delivery.count.limit"       Int   "10"                                         between(5, 25),             ReadOnly Inert  "Largest delivery limit that a share group may set.";
    "group.share.max.heartbeat.interval.ms"      Int   "15000"                                      min(1),                     ReadOnly Inert  "Largest heartbeat interval that a share group may set.";
    "group.share.max.partition.max.record.locks" Int   "4000"                                       between(2_000, 10_000),     ReadOnly Inert  "Largest lock limit that a share group may set.";
    "group.share.max.record.lock.duration.ms"    Int   "60000"                                      between(30_000, 3_600_000), ReadOnly Inert  "Longest record lock that a share group may set.";
    "group.share.max.session.timeout.ms"         Int   "60000"                                      min(1),                     ReadOnly Inert  "Largest session timeout that a share group may set.";
    "group.share.max.share.sessions"             Int   "2000"                                       min(1),                     ReadOnly Inert  "Share sessions that one node keeps.";
    "group.share.max.size"                       Int   "200"                                        between(1, 1_000),          ReadOnly Inert  "Members that a share group may have.";
    "group.share.min.assignment.interval.ms"     Int   "0"                                          min(0),                     ReadOnly Inert  "Smallest assignment interval that a share group may set.";
    "group.share.min.delivery.count.limit"       Int   "2"                                          between(2, 5),              ReadOnly Inert  "Smallest delivery limit that a share group may set.";
    "group.share.min.heartbeat.interval.ms"      Int   "5000"                                       min(1),                     ReadOnly Inert  "Smallest heartbeat interval that a share group may set.";
    "group.share.min.partition.max.record.locks" Int   "100"                                        between(100, 2_000),        ReadOnly Inert  "Smallest lock limit that a share group may set.";
    "group.share.min.record.lock.duration.ms"    Int   "15000"                                      between(1_000, 30_000),     ReadOnly Inert  "Shortest record lock that a share group may set.";
    "group.share.min.session.timeout.ms"         Int   "45000"                                      min(1),                     ReadOnly Inert  "Smallest session timeout that a share group may set.";
    "group.share.partition.max.record.locks"     Int   "2000"                                       between(100, 10_000),       ReadOnly Inert  "Records of a share partition that may be locked at a time.";
    "group.share.persister.class.name"           Text  "org.apache.kafka.server.share.persister.DefaultStatePersister" Any,                        ReadOnly Hidden "Plug-in that keeps the state of share partitions.";
    "group.share.record.lock.duration.ms"        Int   "30000"                                      between(1_000, 3_600_000),  ReadOnly Inert  "How long an acquired record stays locked.";
    "group.share.session.timeout.ms"             Int   "45000"                                      min(1),                     ReadOnly Inert  "Session timeout of share group members.";
    "share.coordinator.append.linger.ms"         Int   "-1"                                         min(-1),                    ReadOnly Inert  "How long share state waits for more to be written with it.";
    "share.coordinator.cached.buffer.max.bytes"  Int   "1048588"                                    min(524_288),               Cluster  Inert  "Largest buffer that the share coordinator keeps for the next write.";
    "share.coordinator.cold.partition.snapshot.interval.ms" Int   "300000"                                     min(1),                     ReadOnly Hidden "Period of snapshots of share partitions without traffic.";
    "share.coordinator.load.buffer.size"         Int   "5242880"                                    min(1),                     ReadOnly Inert  "Bytes read at a time when share state is loaded.";
    "share.coordinator.snapshot.update.records.per.snapshot" Int   "500"                                        between(0, 500),            ReadOnly Inert  "Updates of a share partition between two snapshots.";
    "share.coordinator.state.topic.compression.codec" Int   "0"                                          Any,                        ReadOnly Inert  "Codec of the share state topic.";
    "share.coordinator.state.topic.min.isr"      Short "2"                                          min(1),                     ReadOnly Inert  "In-sync replicas that the share state topic needs.";
    "share.coordinator.state.topic.num.partitions" Int   "50"                                         min(1),                     ReadOnly Inert  "Partitions of the share state topic.";
    "share.coordinator.state.topic.prune.interval.ms" Int   "300000"                                     min(1),                     ReadOnly Hidden "Period of pruning the share state topic.";
    "share.coordinator.state.topic.replication.factor" Short "3"                                          min(1),                     ReadOnly Inert  "Replicas of the share state topic.";
    "share.coordinator.state.topic.segment.bytes" Int   "104857600"                                  min(1),                     ReadOnly Inert  "Segment size of the share state topic.";
    "share.coordinator.threads"                  Int   "1"                                          min(1),                     ReadOnly Inert  "Threads of the share coordinator.";
    "share.coordinator.write.timeout.ms"         Int   "5000"                                       min(1),                     ReadOnly Inert  "How long a write of share state may take.";
    "share.fetch.purgatory.purge.interval.requests" Int   "1000"                                       Any,                        ReadOnly Inert  "Finished share fetches between two clean-ups of the waiting list.";
}
