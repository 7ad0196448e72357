//! Keys of idempotent and transactional producers.

use super::prelude::*;

keys! {
    /// Keys of idempotent and transactional producers.
    TRANSACTION:
    "producer.id.expiration.ms"                  Int   "86400000"  min(1), Cluster  Acts   "How long a partition remembers a producer that sends nothing.";
    "producer.id.expiration.check.interval.ms"   Int   "600000"    min(1), ReadOnly Hidden "Period of the search for expired producers.";
    "add.partitions.to.txn.retry.backoff.max.ms" Int   "100"       min(0), ReadOnly Inert  "Longest time spent on adding a partition to a transaction.";
    "add.partitions.to.txn.retry.backoff.ms"     Int   "20"        min(1), ReadOnly Inert  "Pause between attempts to add a partition to a transaction.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms" Int   "10000"     min(1), ReadOnly Inert  "Period of the search for transactions that timed out.";
    "transaction.max.timeout.ms"                 Int   "900000"    min(1), ReadOnly Inert  "Longest timeout that a transaction may ask for.";
    "transaction.partition.verification.enable"  Bool  "true"      Any,    Cluster  Inert  "Whether leaders ask the coordinator before they write for a transaction.";
    "transaction.remove.expired.transaction.cleanup.interval.ms" Int   "3600000"   min(1), ReadOnly Inert  "Period of the search for expired transactional ids.";
    "transaction.state.log.load.buffer.size"     Int   "5242880"   min(1), ReadOnly Inert  "Bytes read at a time when transactions are loaded.";
    "transaction.state.log.min.isr"              Int   "2"         min(1), ReadOnly Inert  "In-sync replicas that the transaction topic needs.";
    "transaction.state.log.num.partitions"       Int   "50"        min(1), ReadOnly Inert  "Partitions of the transaction topic.";
    "transaction.state.log.replication.factor"   Short "3"         min(1), ReadOnly Inert  "Replicas of the transaction topic.";
    "transaction.state.log.segment.bytes"        Int   "104857600" min(1), ReadOnly Inert  "Segment size of the transaction topic.";
    "transaction.two.phase.commit.enable"        Bool  "false"     Any,    ReadOnly Inert  "Whether transactions of a two-phase commit are offered.";
    "transactional.id.expiration.ms"             Int   "604800000" min(1), ReadOnly Inert  "How long a transactional id without transactions is kept.";
}
