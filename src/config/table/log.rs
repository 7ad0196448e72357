//! Keys of logs: segments, retention, syncing, the cleaner.

use super::prelude::*;

keys! {
    /// Keys of logs: segments, retention, syncing, the cleaner.
    LOG:
    "log.dirs"                                   List   null                     Filled,           ReadOnly Acts   "Data directories, separated by commas; node i lives in directory i modulo their number.";
    "log.dir"                                    List   "klamm-data"             Filled,           ReadOnly Acts   "Data directory when log.dirs is not set.";
    "num.partitions"                             Int    "1"                      min(1),           ReadOnly Acts   "Partitions of a topic that is created without a count.";
    "min.insync.replicas"                        Int    "1"                      min(1),           Cluster  Acts   "In-sync replicas that a write with acks=all needs, for topics that set none.";
    "log.cleanup.policy"                         List   "delete"                 ListOf(CLEANUP),  Cluster  Acts   "Cleanup of topics that set none: delete, compact or both. Compaction itself does not run yet.";
    "log.flush.interval.messages"                Long   "1"                      min(1),           Cluster  Acts   "Records that may be acknowledged before they are synced. Klamm's default is 1: every acknowledged record is on stable storage.";
    "log.flush.interval.ms"                      Long   null                     Any,              Cluster  Acts   "Longest time that an acknowledged record may be unsynced.";
    "log.flush.scheduler.interval.ms"            Long   "9223372036854775807"    Any,              ReadOnly Acts   "Stands in for log.flush.interval.ms when that is not set.";
    "log.index.interval.bytes"                   Int    "4096"                   min(0),           Cluster  Acts   "Bytes of batches between two entries of an offset index.";
    "log.index.size.max.bytes"                   Int    "10485760"               min(4),           Cluster  Acts   "Size at which an index is full and the segment rolls.";
    "log.message.timestamp.after.max.ms"         Long   "3600000"                min(0),           Cluster  Acts   "How far in the future a create time may lie.";
    "log.message.timestamp.before.max.ms"        Long   "9223372036854775807"    min(0),           Cluster  Acts   "How far in the past a create time may lie.";
    "log.message.timestamp.type"                 Text   "CreateTime"             OneOf(TIMESTAMP), Cluster  Acts   "Whether record timestamps are the producer's or the time of the append.";
    "log.retention.bytes"                        Long   "-1"                     Any,              Cluster  Acts   "Bytes of a partition that are kept; -1 is no limit.";
    "log.retention.check.interval.ms"            Long   "300000"                 min(1),           ReadOnly Acts   "Period of the search for segments to delete.";
    "log.retention.hours"                        Int    "168"                    Any,              ReadOnly Acts   "Hours that records are kept, unless minutes or ms say otherwise.";
    "log.retention.minutes"                      Int    null                     Any,              ReadOnly Acts   "Minutes that records are kept, unless ms says otherwise.";
    "log.retention.ms"                           Long   null                     Any,              Cluster  Acts   "Milliseconds that records are kept; -1 is no limit.";
    "log.roll.hours"                             Int    "168"                    min(1),           ReadOnly Acts   "Hours after which a segment rolls, unless log.roll.ms is set.";
    "log.roll.jitter.hours"                      Int    "0"                      min(0),           ReadOnly Acts   "Random hours taken off log.roll.hours, unless log.roll.jitter.ms is set.";
    "log.roll.jitter.ms"                         Long   null                     Any,              Cluster  Acts   "Random milliseconds taken off log.roll.ms.";
    "log.roll.ms"                                Long   null                     Any,              Cluster  Acts   "Milliseconds after which a segment rolls.";
    "log.segment.bytes"                          Int    "1073741824"             min(1_048_576),   Cluster  Acts   "Size at which a segment rolls.";
    "log.segment.delete.delay.ms"                Long   "60000"                  min(0),           Cluster  Inert  "Time between dropping a segment and deleting its files.";
    "log.cleaner.backoff.ms"                     Long   "15000"                  min(0),           Cluster  Inert  "Pause of the cleaner when there is nothing to clean.";
    "log.cleaner.dedupe.buffer.size"             Long   "134217728"              Any,              Cluster  Inert  "Memory for the keys of one cleaning.";
    "log.cleaner.delete.retention.ms"            Long   "86400000"               min(0),           Cluster  Inert  "How long tombstones are kept in compacted topics.";
    "log.cleaner.enable"                         Bool   "true"                   Any,              ReadOnly Inert  "Whether the cleaner runs.";
    "log.cleaner.io.buffer.load.factor"          Double "0.9"                    Any,              Cluster  Inert  "How full the key memory of the cleaner may get.";
    "log.cleaner.io.buffer.size"                 Int    "524288"                 min(0),           Cluster  Inert  "Memory of the cleaner for reading and writing.";
    "log.cleaner.io.max.bytes.per.second"        Double "1.7976931348623157E308" Any,              Cluster  Inert  "Bytes a second that the cleaner may read and write.";
    "log.cleaner.max.compaction.lag.ms"          Long   "9223372036854775807"    min(1),           Cluster  Inert  "Longest time that a record stays out of compaction.";
    "log.cleaner.min.cleanable.ratio"            Double "0.5"                    Float(0.0, 1.0),  Cluster  Inert  "Share of uncleaned bytes from which a log is cleaned.";
    "log.cleaner.min.compaction.lag.ms"          Long   "0"                      min(0),           Cluster  Inert  "Shortest time that a record stays out of compaction.";
    "log.cleaner.threads"                        Int    "1"                      min(0),           Cluster  Inert  "Threads of the cleaner.";
    "log.dir.failure.timeout.ms"                 Long   "30000"                  min(1),           ReadOnly Inert  "How long a node may go on when the loss of a log directory cannot be reported.";
    "log.flush.offset.checkpoint.interval.ms"    Int    "60000"                  min(0),           ReadOnly Inert  "Period of the recovery point checkpoint.";
    "log.flush.start.offset.checkpoint.interval.ms" Int    "60000"                  min(0),           ReadOnly Inert  "Period of the log start offset checkpoint.";
    "log.initial.task.delay.ms"                  Long   "30000"                  min(0),           ReadOnly Hidden "Delay of the first background tasks on logs after a start.";
    "log.preallocate"                            Bool   "false"                  Any,              Cluster  Inert  "Whether segment files are allocated in full when they are made.";
    "num.recovery.threads.per.data.dir"          Int    "2"                      min(1),           Cluster  Inert  "Threads that recover logs, for each directory.";
    "cordoned.log.dirs"                          List   ""                       Distinct,         Node     Inert  "Log directories that get no new replicas.";
    "create.topic.policy.class.name"             Class  null                     Any,              ReadOnly Inert  "Plug-in that may refuse new topics.";
    "alter.config.policy.class.name"             Class  null                     Any,              ReadOnly Inert  "Plug-in that may refuse changes of configuration.";
}
