//! One leader's fetch session (KIP-227): what the broker knows of our partitions, and what it is yet to
//! be told, so that a Fetch names only the partitions that changed.
//!
//! A session begins with a full request (epoch 0). A broker that keeps none answers with id 0: then every
//! request is a full one. Whatever fails, the next request is full again.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Offset;
use crate::client::cluster::PartitionName;

/// The state of one session.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    /// What the broker was told last.
    known: BTreeMap<PartitionName, Offset>,
    wanted: BTreeMap<PartitionName, Offset>,
    unwanted: BTreeSet<PartitionName>,
    /// Number of the Fetch that is on its way.
    pub(super) in_flight: Option<u64>,
}

/// What a Fetch says.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    pub(super) partitions: Vec<(PartitionName, Offset)>,
    pub(super) forgotten: Vec<(PartitionName, ())>,
}

impl Session {
    /// Reads a partition from `at` on.
    pub(super) fn want(&mut self, name: PartitionName, at: Offset) {
        self.unwanted.remove(&name);
        if self.known.get(&name) == Some(&at) {
            self.wanted.remove(&name);
        } else {
            self.wanted.insert(name, at);
        }
    }

    /// Stops reading a partition.
    pub(super) fn unwant(&mut self, name: &PartitionName) {
        self.wanted.remove(name);
        if self.known.contains_key(name) {
            self.unwanted.insert(name.clone());
        }
    }

    /// What the Fetch that is on its way asks of a partition.
    pub(super) fn asked(&self, name: &PartitionName) -> Option<Offset> {
        self.known.get(name).copied()
    }

    /// The partitions that the broker was told of.
    pub(super) fn known(&self) -> impl Iterator<Item = &PartitionName> {
        self.known.keys()
    }

    /// What to send next; `None` while a Fetch is on its way or nothing is wanted.
    pub(super) fn tell(&mut self) -> Option<Told> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.wanted.is_empty() && self.known.len() == self.unwanted.len() {
            return None;
        }
        let unwanted = std::mem::take(&mut self.unwanted);
        for name in &unwanted {
            self.known.remove(name);
        }
        let wanted = std::mem::take(&mut self.wanted);
        self.known.extend(wanted.iter().map(|(name, at)| (name.clone(), *at)));
        let is_full = self.epoch == 0;
        let all = if is_full { self.known.clone() } else { wanted };
        let forgotten = if is_full { BTreeSet::new() } else { unwanted };
        Some(Told {
            session_id: self.id,
            session_epoch: self.epoch,
            partitions: all.into_iter().collect(),
            forgotten: forgotten.into_iter().map(|name| (name, ())).collect(),
        })
    }

    /// The broker took the Fetch that was on its way, and names its session.
    pub(super) fn on_answer(&mut self, id: i32) {
        self.epoch = match (id, self.epoch) {
            (0, _) | (_, i32::MAX) => 0,
            (_, epoch) => epoch + 1,
        };
        self.id = if self.epoch == 0 { 0 } else { id };
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        (self.id, self.epoch) = (0, 0);
    }
}
