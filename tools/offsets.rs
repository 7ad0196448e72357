//! Offsets of partitions, asked of their leaders: what `get-offsets` and `consumer-groups` share.

use std::collections::BTreeMap;

use klamm::base::{NodeId, Offset};
use klamm::client::blocking::{Client, Topics};
use klamm::client::{ClientError, PartitionName, To, admin};
use klamm::wire::ErrorCode;

const TIMEOUT_MS: i32 = 30_000;

/// The offset of each partition at its timestamp (special ones: -1 latest, -2 earliest, ...). A
/// partition without a leader has the error LEADER_NOT_AVAILABLE; one that is not known, Kafka's.
pub(crate) fn list(
    client: &mut Client,
    wanted: &BTreeMap<PartitionName, i64>,
) -> Result<BTreeMap<PartitionName, Result<Offset, ErrorCode>>, ClientError> {
    let mut topics: Vec<&str> = wanted.keys().map(|p| &*p.topic).collect();
    topics.dedup();
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    client.retry(|client| {
        let cluster = client.refresh(Topics::Named(&topics))?;
        let mut by_leader = BTreeMap::<NodeId, Vec<(PartitionName, i64)>>::new();
        let mut found = BTreeMap::new();
        for (name, &timestamp) in wanted {
            let known = cluster.partition(&name.topic, name.partition).is_some();
            match cluster.leader(name) {
                Some(leader) => {
                    by_leader.entry(leader).or_default().push((name.clone(), timestamp));
                }
                None if known => {
                    found.insert(name.clone(), Err(ErrorCode::LEADER_NOT_AVAILABLE));
                }
                None => {
                    found.insert(name.clone(), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
                }
            }
        }
        for (leader, partitions) in by_leader {
            let call = admin::list_offsets(&partitions, TIMEOUT_MS);
            let answer = client.ask(To::Node(leader), call)?;
            found.extend(admin::listed_offsets(&answer));
        }
        // The leader has moved: look for it again.
        let moved = found.values().find(|f| **f == Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        match moved {
            Some(Err(code)) => ClientError::check("ListOffsets", code.0, None).map(|()| found),
            _ => Ok(found),
        }
    })
}

/// The same timestamp for every partition.
pub(crate) fn list_all(
    client: &mut Client,
    partitions: impl IntoIterator<Item = PartitionName>,
    timestamp: i64,
) -> Result<BTreeMap<PartitionName, Result<Offset, ErrorCode>>, ClientError> {
    let wanted = partitions.into_iter().map(|p| (p, timestamp)).collect();
    list(client, &wanted)
}
