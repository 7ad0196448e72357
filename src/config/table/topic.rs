//! Keys of a topic, each with the broker key that is its default.

use super::prelude::*;

keys! {
    /// Keys of a topic, each with the broker key that is its default.
    TOPIC:
    "cleanup.policy"                          List   "delete"              ListOf(CLEANUP),       Cluster Acts   "What happens to old records: delete, compact or both. On compacted topics every record needs a key; compaction itself does not run yet." = "log.cleanup.policy";
    "compression.gzip.level"                  Int    "-1"                  GzipLevel,             Cluster Acts   "Level when compression.type is gzip." = "compression.gzip.level";
    "compression.lz4.level"                   Int    "9"                   between(1, 17),        Cluster Acts   "Level when compression.type is lz4." = "compression.lz4.level";
    "compression.type"                        Text   "producer"            OneOf(COMPRESSION),    Cluster Acts   "Codec that batches are stored with: producer keeps what was sent, any other recompresses." = "compression.type";
    "compression.zstd.level"                  Int    "3"                   between(-131_072, 22), Cluster Acts   "Level when compression.type is zstd." = "compression.zstd.level";
    "delete.retention.ms"                     Long   "86400000"            min(0),                Cluster Inert  "How long tombstones are kept by compaction." = "log.cleaner.delete.retention.ms";
    "errors.deadletterqueue.group.enable"     Bool   "false"               Any,                   Cluster Hidden "Whether share groups may use this topic for dead letters.";
    "file.delete.delay.ms"                    Long   "60000"               min(0),                Cluster Inert  "Time between dropping a segment and deleting its files." = "log.segment.delete.delay.ms";
    "flush.messages"                          Long   "1"                   min(1),                Cluster Acts   "Records that may be acknowledged before they are synced. Klamm's default is 1: every acknowledged record is on stable storage." = "log.flush.interval.messages";
    "flush.ms"                                Long   "9223372036854775807" min(0),                Cluster Acts   "Longest time that an acknowledged record may be unsynced." = "log.flush.interval.ms";
    "follower.replication.throttled.replicas" List   ""                    Throttled,             Cluster Inert  "Replicas whose copying is throttled: partition:broker pairs, or *.";
    "index.interval.bytes"                    Int    "4096"                min(0),                Cluster Acts   "Bytes of batches between two entries of the offset index." = "log.index.interval.bytes";
    "internal.segment.bytes"                  Int    null                  Any,                   Cluster Hidden "Segment size that tests may set below the limit of segment.bytes.";
    "leader.replication.throttled.replicas"   List   ""                    Throttled,             Cluster Inert  "Replicas whose serving to followers is throttled: partition:broker pairs, or *.";
    "local.retention.bytes"                   Long   "-2"                  min(-2),               Cluster Inert  "Bytes that stay on local disks when the topic is tiered; -2 is retention.bytes." = "log.local.retention.bytes";
    "local.retention.ms"                      Long   "-2"                  min(-2),               Cluster Inert  "Time that records stay on local disks when the topic is tiered; -2 is retention.ms." = "log.local.retention.ms";
    "max.compaction.lag.ms"                   Long   "9223372036854775807" min(1),                Cluster Inert  "Longest time that a record stays out of compaction." = "log.cleaner.max.compaction.lag.ms";
    "max.message.bytes"                       Int    "1048588"             min(0),                Cluster Acts   "Largest record batch accepted, header included." = "message.max.bytes";
    "message.timestamp.after.max.ms"          Long   "3600000"             min(0),                Cluster Acts   "How far in the future a create time may lie." = "log.message.timestamp.after.max.ms";
    "message.timestamp.before.max.ms"         Long   "9223372036854775807" min(0),                Cluster Acts   "How far in the past a create time may lie." = "log.message.timestamp.before.max.ms";
    "message.timestamp.type"                  Text   "CreateTime"          OneOf(TIMESTAMP),      Cluster Acts   "Whether record timestamps are the producer's or the time of the append." = "log.message.timestamp.type";
    "min.cleanable.dirty.ratio"               Double "0.5"                 Float(0.0, 1.0),       Cluster Inert  "Share of uncleaned bytes from which the log is cleaned." = "log.cleaner.min.cleanable.ratio";
    "min.compaction.lag.ms"                   Long   "0"                   min(0),                Cluster Inert  "Shortest time that a record stays out of compaction." = "log.cleaner.min.compaction.lag.ms";
    "min.insync.replicas"                     Int    "1"                   min(1),                Cluster Acts   "In-sync replicas that a write with acks=all needs." = "min.insync.replicas";
    "preallocate"                             Bool   "false"               Any,                   Cluster Inert  "Whether segment files are allocated in full when they are made." = "log.preallocate";
    "remote.copy.lag.bytes"                   Long   "-1"                  min(-2),               Cluster Hidden "Bytes that stay untiered at the end of the log." = "log.remote.copy.lag.bytes";
    "remote.copy.lag.ms"                      Long   "0"                   min(-2),               Cluster Hidden "Time that records stay untiered." = "log.remote.copy.lag.ms";
    "remote.log.copy.disable"                 Bool   "false"               Any,                   Cluster Inert  "Whether tiering of new segments is paused.";
    "remote.log.delete.on.disable"            Bool   "false"               Any,                   Cluster Inert  "Whether tiered data is deleted when tiering is switched off.";
    "remote.storage.enable"                   Bool   "false"               Any,                   Cluster Inert  "Whether the topic is tiered.";
    "retention.bytes"                         Long   "-1"                  Any,                   Cluster Acts   "Bytes of each partition that are kept; -1 is no limit." = "log.retention.bytes";
    "retention.ms"                            Long   "604800000"           min(-1),               Cluster Acts   "Time that records are kept; -1 is no limit." = "log.retention.ms";
    "segment.bytes"                           Int    "1073741824"          min(1_048_576),        Cluster Acts   "Size at which a segment rolls." = "log.segment.bytes";
    "segment.index.bytes"                     Int    "10485760"            min(4),                Cluster Acts   "Size at which an index is full and the segment rolls." = "log.index.size.max.bytes";
    "segment.jitter.ms"                       Long   "0"                   min(0),                Cluster Acts   "Random time taken off segment.ms, so that not all partitions roll at once." = "log.roll.jitter.ms";
    "segment.ms"                              Long   "604800000"           min(1),                Cluster Acts   "Time after which a segment rolls." = "log.roll.ms";
    "unclean.leader.election.enable"          Bool   "false"               Any,                   Cluster Inert  "Whether a replica outside the in-sync set may become leader." = "unclean.leader.election.enable";
}
