//! Keys of the metadata quorum; those that only KRaft needs are accepted.

use super::prelude::*;

keys! {
    /// Keys of the metadata quorum; those that only KRaft needs are accepted.
    QUORUM:
    "process.roles"                              List null                  ListOf(ROLES),  ReadOnly Inert  "Roles of a KRaft process; a Klamm server has all.";
    "broker.heartbeat.interval.ms"               Int  "2000"                Any,            ReadOnly Inert  "How often a broker tells the controller that it is alive.";
    "broker.session.timeout.ms"                  Int  "9000"                Any,            ReadOnly Inert  "A broker that is silent for longer is fenced.";
    "controller.listener.names"                  List null                  Filled,         ReadOnly Inert  "Listeners of a KRaft controller; Klamm does not open them.";
    "controller.performance.always.log.threshold.ms" Long "2000"                min(0),         ReadOnly Hidden "Controller events slower than this are logged.";
    "controller.performance.sample.period.ms"    Long "60000"               min(100),       ReadOnly Hidden "Period of the summary of controller events.";
    "controller.quorum.append.linger.ms"         Int  "25"                  min(0),         ReadOnly Inert  "How long metadata waits for more to be written with it.";
    "controller.quorum.auto.join.enable"         Bool "false"               Any,            ReadOnly Inert  "Whether a controller adds itself to the voters.";
    "controller.quorum.bootstrap.servers"        List ""                    Any,            ReadOnly Inert  "Where a node finds the controllers.";
    "controller.quorum.election.backoff.max.ms"  Int  "1000"                min(0),         ReadOnly Inert  "Longest pause before a new election.";
    "controller.quorum.election.timeout.ms"      Int  "1000"                min(0),         ReadOnly Inert  "How long an election may take.";
    "controller.quorum.fetch.max.bytes"          Int  "1048576"             min(1),         ReadOnly Inert  "Bytes of one metadata fetch.";
    "controller.quorum.fetch.snapshot.max.bytes" Int  "1048576"             min(1),         ReadOnly Inert  "Bytes of one metadata snapshot fetch.";
    "controller.quorum.fetch.timeout.ms"         Int  "2000"                min(0),         ReadOnly Inert  "A voter that hears nothing for longer starts an election.";
    "controller.quorum.request.timeout.ms"       Int  "2000"                min(0),         ReadOnly Inert  "How long a request of the quorum may take.";
    "controller.quorum.retry.backoff.ms"         Int  "20"                  min(0),         ReadOnly Inert  "Pause between requests of the quorum.";
    "controller.quorum.voters"                   List ""                    Any,            ReadOnly Inert  "Ids and addresses of the controllers.";
    "initial.broker.registration.timeout.ms"     Int  "60000"               Any,            ReadOnly Inert  "How long a starting broker waits for its registration.";
    "internal.metadata.delete.delay.millis"      Long "60000"               Any,            ReadOnly Hidden "Time between dropping and deleting metadata segments.";
    "internal.metadata.log.segment.bytes"        Int  null                  Any,            ReadOnly Hidden "Segment size of the metadata log in tests.";
    "internal.metadata.max.batch.size.in.bytes"  Int  "8388608"             Any,            ReadOnly Hidden "Largest batch of metadata records.";
    "metadata.log.dir"                           Text null                  Any,            ReadOnly Inert  "Directory of the metadata log.";
    "metadata.log.max.record.bytes.between.snapshots" Long "20971520"            min(1),         ReadOnly Inert  "Bytes of metadata between two snapshots.";
    "metadata.log.max.snapshot.interval.ms"      Long "3600000"             min(0),         ReadOnly Inert  "Longest time between two metadata snapshots.";
    "metadata.log.segment.bytes"                 Int  "1073741824"          min(8_388_608), ReadOnly Inert  "Size at which the metadata log rolls.";
    "metadata.log.segment.ms"                    Long "604800000"           Any,            ReadOnly Inert  "Time after which the metadata log rolls.";
    "metadata.max.idle.interval.ms"              Int  "500"                 min(0),         ReadOnly Inert  "How often an idle controller writes a record.";
    "metadata.max.retention.bytes"               Long "104857600"           Any,            ReadOnly Inert  "Bytes of metadata log and snapshots that are kept.";
    "metadata.max.retention.ms"                  Long "604800000"           Any,            ReadOnly Inert  "Time that metadata log and snapshots are kept.";
    "server.max.startup.time.ms"                 Long "9223372036854775807" min(0),         ReadOnly Hidden "Longest time that a start may take.";
}
