//! Keys of replication and leader election.

use super::prelude::*;

keys! {
    /// Keys of replication and leader election.
    REPLICATION:
    "default.replication.factor"                 Int  "1"        Any,    ReadOnly Acts   "Replicas of a topic that is created without a count. Only 1 works until replication exists.";
    "auto.leader.rebalance.enable"               Bool "true"     Any,    ReadOnly Inert  "Whether leadership goes back to preferred replicas by itself.";
    "controller.socket.timeout.ms"               Int  "30000"    Any,    ReadOnly Inert  "How long a request to the controller may take.";
    "delete.records.purgatory.purge.interval.requests" Int  "1"        Any,    ReadOnly Inert  "Finished DeleteRecords requests between two clean-ups of the waiting list.";
    "fetch.purgatory.purge.interval.requests"    Int  "1000"     Any,    ReadOnly Inert  "Finished fetches between two clean-ups of the waiting list.";
    "producer.purgatory.purge.interval.requests" Int  "1000"     Any,    ReadOnly Inert  "Finished produce requests between two clean-ups of the waiting list.";
    "follower.fetch.last.tiered.offset.enable"   Bool "false"    Any,    Cluster  Inert  "Whether a new follower starts after what is tiered.";
    "leader.imbalance.check.interval.seconds"    Long "300"      min(1), ReadOnly Inert  "Period of the check for leaders that are not preferred.";
    "num.replica.fetchers"                       Int  "1"        min(1), Cluster  Inert  "Threads that copy from one leader.";
    "replica.fetch.backoff.ms"                   Int  "1000"     min(0), ReadOnly Inert  "Pause of a follower after an error.";
    "replica.fetch.max.bytes"                    Int  "1048576"  min(0), ReadOnly Inert  "Bytes of one partition that a follower asks for.";
    "replica.fetch.min.bytes"                    Int  "1"        Any,    ReadOnly Inert  "Bytes that a follower waits for.";
    "replica.fetch.response.max.bytes"           Int  "10485760" min(0), ReadOnly Inert  "Bytes of one response that a follower asks for.";
    "replica.fetch.wait.max.ms"                  Int  "500"      Any,    ReadOnly Inert  "How long a follower waits at the leader.";
    "replica.high.watermark.checkpoint.interval.ms" Long "5000"     Any,    ReadOnly Inert  "Period of the high watermark checkpoint.";
    "replica.lag.time.max.ms"                    Long "30000"    Any,    ReadOnly Inert  "A follower that is behind for longer leaves the in-sync set.";
    "replica.selector.class"                     Text null       Any,    ReadOnly Inert  "Plug-in that chooses the replica a consumer reads from.";
    "replica.socket.receive.buffer.bytes"        Int  "65536"    Any,    ReadOnly Inert  "Receive buffer of follower sockets.";
    "replica.socket.timeout.ms"                  Int  "30000"    Any,    ReadOnly Inert  "How long a request of a follower may take.";
    "unclean.leader.election.enable"             Bool "false"    Any,    Cluster  Inert  "Whether a replica outside the in-sync set may become leader.";
    "unclean.leader.election.interval.ms"        Long "300000"   min(1), ReadOnly Hidden "Period of the search for partitions that need an unclean election.";
}
