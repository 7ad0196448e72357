//! Keys of listeners, connections and sockets.

use super::prelude::*;

keys! {
    /// Keys of listeners, connections and sockets.
    NETWORK:
    "listeners"                                 List "PLAINTEXT://127.0.0.1:9092"                 Filled,          ReadOnly Acts  "Where clients connect: NAME://host:port. The port is that of the first node; node i listens on port + i.";
    "advertised.listeners"                      List null                                         Filled,          ReadOnly Acts  "What clients are told to connect to, if not the same as listeners; node i again gets port + i.";
    "listener.security.protocol.map"            Text "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT" Any,             ReadOnly Acts  "Security protocol of each listener name. Only PLAINTEXT works so far.";
    "max.connections"                           Int  "2147483647"                                 min(0),          Cluster  Acts  "Open connections of one node; more wait until others are gone, as many as socket.listen.backlog.size.";
    "max.connections.per.ip"                    Int  "2147483647"                                 min(0),          Cluster  Acts  "Open connections of one client address on one node; more are closed at once.";
    "max.connections.per.ip.overrides"          Text ""                                           Any,             Cluster  Acts  "Other limits for single addresses: address:limit,address:limit.";
    "connections.max.idle.ms"                   Long "600000"                                     Any,             ReadOnly Acts  "A connection without traffic for this long is closed.";
    "queued.max.request.bytes"                  Long "-1"                                         Any,             ReadOnly Acts  "Bytes of large requests that a node holds before it stops reading further ones; -1 leaves it to node.memory.bytes.";
    "socket.listen.backlog.size"                Int  "50"                                         min(1),          ReadOnly Acts  "Connections that wait to be accepted.";
    "socket.receive.buffer.bytes"               Int  "102400"                                     Any,             ReadOnly Acts  "Receive buffer of client sockets (SO_RCVBUF); -1 leaves it to the system.";
    "socket.request.max.bytes"                  Int  "104857600"                                  min(1),          ReadOnly Acts  "Largest request frame accepted.";
    "socket.send.buffer.bytes"                  Int  "102400"                                     Any,             ReadOnly Acts  "Send buffer of client sockets (SO_SNDBUF); -1 leaves it to the system.";
    "max.connection.creation.rate"              Int  "2147483647"                                 min(0),          Cluster  Acts  "New connections a second that a node takes; more wait, as many as socket.listen.backlog.size.";
    "num.network.threads"                       Int  "3"                                          min(1),          Cluster  Inert "Threads that read and write sockets.";
    "queued.max.requests"                       Int  "500"                                        min(1),          ReadOnly Inert "Requests that wait for a processing thread.";
    "connection.failed.authentication.delay.ms" Int  "100"                                        min(0),          ReadOnly Inert "Delay before a connection that failed to authenticate is closed.";
    "connections.max.reauth.ms"                 Long "0"                                          Any,             ReadOnly Inert "Longest time between authentications of a connection.";
    "inter.broker.listener.name"                Text null                                         Any,             ReadOnly Inert "Listener that brokers use among themselves.";
    "security.inter.broker.protocol"            Text "PLAINTEXT"                                  OneOf(SECURITY), ReadOnly Inert "Security protocol that brokers use among themselves.";
}
