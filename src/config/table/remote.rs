//! Keys of tiered storage.

use super::prelude::*;

keys! {
    /// Keys of tiered storage.
    REMOTE:
    "log.local.retention.bytes"                  Long   "-2"                                         min(-2),         Cluster  Inert  "Bytes of a tiered partition that stay on local disks; -2 is retention.bytes.";
    "log.local.retention.ms"                     Long   "-2"                                         min(-2),         Cluster  Inert  "Time that records of a tiered partition stay on local disks; -2 is retention.ms.";
    "log.remote.copy.lag.bytes"                  Long   "-1"                                         min(-2),         Cluster  Hidden "Bytes that stay untiered at the end of a log.";
    "log.remote.copy.lag.ms"                     Long   "0"                                          min(-2),         Cluster  Hidden "Time that records stay untiered.";
    "remote.fetch.max.wait.ms"                   Int    "500"                                        min(1),          Cluster  Inert  "How long a fetch waits for tiered data.";
    "remote.list.offsets.request.timeout.ms"     Long   "30000"                                      min(1),          Cluster  Inert  "How long a search by timestamp waits for tiered data.";
    "remote.log.index.file.cache.total.size.bytes" Long   "1073741824"                                 min(1),          Cluster  Inert  "Disk space for indexes of tiered segments.";
    "remote.log.index.file.cache.ttl.ms"         Long   "900000"                                     min(-1),         ReadOnly Hidden "How long an index of a tiered segment is kept.";
    "remote.log.manager.copier.thread.pool.size" Int    "10"                                         min(1),          Cluster  Inert  "Threads that copy segments to the tier.";
    "remote.log.manager.copy.max.bytes.per.second" Long   "9223372036854775807"                        min(1),          Cluster  Inert  "Bytes a second copied to the tier.";
    "remote.log.manager.copy.quota.window.num"   Int    "11"                                         min(1),          ReadOnly Inert  "Windows over which the copy quota is averaged.";
    "remote.log.manager.copy.quota.window.size.seconds" Int    "1"                                          min(1),          ReadOnly Inert  "Length of one window of the copy quota.";
    "remote.log.manager.expiration.thread.pool.size" Int    "10"                                         min(1),          Cluster  Inert  "Threads that delete expired tiered segments.";
    "remote.log.manager.fetch.max.bytes.per.second" Long   "9223372036854775807"                        min(1),          Cluster  Inert  "Bytes a second fetched from the tier.";
    "remote.log.manager.fetch.quota.window.num"  Int    "11"                                         min(1),          ReadOnly Inert  "Windows over which the fetch quota is averaged.";
    "remote.log.manager.fetch.quota.window.size.seconds" Int    "1"                                          min(1),          ReadOnly Inert  "Length of one window of the fetch quota.";
    "remote.log.manager.follower.thread.pool.size" Int    "2"                                          min(1),          Cluster  Inert  "Threads that follow tiered partitions.";
    "remote.log.manager.task.interval.ms"        Long   "30000"                                      min(1),          ReadOnly Inert  "Period of the tiering tasks.";
    "remote.log.manager.task.retry.backoff.max.ms" Long   "30000"                                      min(1),          ReadOnly Hidden "Longest pause of a tiering task after an error.";
    "remote.log.manager.task.retry.backoff.ms"   Long   "500"                                        min(1),          ReadOnly Hidden "First pause of a tiering task after an error.";
    "remote.log.manager.task.retry.jitter"       Double "0.2"                                        Float(0.0, 0.5), ReadOnly Hidden "Random share of the pause of a tiering task.";
    "remote.log.manager.thread.pool.size"        Int    "2"                                          min(1),          ReadOnly Inert  "Threads of the tiering tasks.";
    "remote.log.metadata.custom.metadata.max.bytes" Int    "128"                                        min(0),          ReadOnly Inert  "Largest custom metadata of a tiered segment.";
    "remote.log.metadata.manager.class.name"     Text   "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager" NonEmpty,        ReadOnly Inert  "Plug-in that keeps the list of tiered segments.";
    "remote.log.metadata.manager.class.path"     Text   null                                         Any,             ReadOnly Inert  "Where the plug-in for the list of tiered segments lies.";
    "remote.log.metadata.manager.impl.prefix"    Text   "rlmm.config."                               NonEmpty,        ReadOnly Inert  "Prefix of keys for the plug-in that lists tiered segments.";
    "remote.log.metadata.manager.listener.name"  Text   null                                         NonEmpty,        ReadOnly Inert  "Listener that the plug-in for tiered segments connects to.";
    "remote.log.reader.max.pending.tasks"        Int    "100"                                        min(1),          ReadOnly Inert  "Reads from the tier that may wait.";
    "remote.log.reader.threads"                  Int    "10"                                         min(1),          Cluster  Inert  "Threads that read from the tier.";
    "remote.log.storage.manager.class.name"      Text   null                                         NonEmpty,        ReadOnly Inert  "Plug-in that stores tiered segments.";
    "remote.log.storage.manager.class.path"      Text   null                                         Any,             ReadOnly Inert  "Where the plug-in that stores tiered segments lies.";
    "remote.log.storage.manager.impl.prefix"     Text   "rsm.config."                                NonEmpty,        ReadOnly Inert  "Prefix of keys for the plug-in that stores tiered segments.";
    "remote.log.storage.system.enable"           Bool   "false"                                      Any,             ReadOnly Inert  "Whether tiering is on.";
}
