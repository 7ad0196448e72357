//! Which nodes get a partition: leaders go round the nodes, so that each has as many as the others.

use super::ControllerError;
use crate::base::{LeaderEpoch, NodeId};
use crate::image::{Image, Partition};

/// Checks a replication factor; -1 is the default.
pub(super) fn check_replication_factor(
    asked: i16,
    default: i16,
    image: &Image,
) -> Result<(), ControllerError> {
    if asked < -1 || asked == 0 {
        return Err(ControllerError::NoReplicas);
    }
    let wanted = usize::try_from(if asked == -1 { default } else { asked }).unwrap_or(0);
    check_replica_count(wanted, image)
}

fn check_replica_count(wanted: usize, image: &Image) -> Result<(), ControllerError> {
    let nodes = image.nodes().len();
    match wanted {
        0 => Err(ControllerError::NoReplicas),
        _ if wanted > nodes => Err(ControllerError::TooFewNodes { wanted, nodes }),
        1 => Ok(()),
        _ => Err(ControllerError::NoReplicationYet { wanted }),
    }
}

/// Whether these nodes can be the replicas of a partition: there are some, all known, none twice.
pub(super) fn check_replicas(replicas: &[NodeId], image: &Image) -> Result<(), ControllerError> {
    let invalid = |text: String| Err(ControllerError::InvalidAssignment(text));
    if replicas.is_empty() {
        return invalid("The manual partition assignment includes an empty replica list.".into());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    if let Some([twice, ..]) = sorted.windows(2).find(|w| w[0] == w[1]) {
        return invalid(format!(
            "The manual partition assignment includes the broker {twice} more than once."
        ));
    }
    match sorted.iter().find(|&&id| image.node(id).is_none()) {
        Some(&unknown) => Err(ControllerError::unknown_broker(unknown)),
        None => Ok(()),
    }
}

/// Checks the replicas that a client wants for one partition; `like` are those of another
/// partition of the same topic, if there is one.
pub(super) fn check_assignment(
    replicas: &[NodeId],
    like: Option<usize>,
    image: &Image,
) -> Result<(), ControllerError> {
    check_replicas(replicas, image)?;
    match like {
        Some(count) if count != replicas.len() => Err(ControllerError::InvalidAssignment(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with previous partitions, which have {count} replica(s).",
            replicas.len()
        ))),
        _ => check_replica_count(replicas.len(), image),
    }
}

/// Replicas for `count` partitions, beginning `start` places into the nodes.
pub(super) fn place(image: &Image, start: usize, count: usize) -> Vec<Vec<NodeId>> {
    let nodes: Vec<NodeId> = image.nodes().map(|n| n.id).collect();
    let round = nodes.iter().cycle().skip(start % nodes.len().max(1));
    round.take(count).map(|&id| vec![id]).collect()
}

/// A partition that starts with these replicas, all of them in sync.
pub(super) fn new_partition(replicas: Vec<NodeId>) -> Partition {
    Partition {
        leader: replicas.first().copied().unwrap_or(NodeId(-1)),
        leader_epoch: LeaderEpoch(0),
        isr: replicas.clone(),
        replicas,
        partition_epoch: 0,
    }
}
