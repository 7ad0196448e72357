//! What a node counts, as plain values: they belong to its thread and are copied out when asked for.

use std::time::Duration;

use super::{Histogram, Idle, StepTotals, Turn};
use crate::base::Moment;

/// API keys and versions that are counted; none of the table lies above.
const KEYS_MAX: usize = 128;
const VERSIONS_MAX: usize = 32;

/// Everything that one node counts apart from its store.
#[derive(Debug, Clone)]
pub struct NodeMetrics {
    requests: Vec<Option<Box<Requests>>>,
    /// All topics together.
    pub traffic: Traffic,
    refusals: [u64; REFUSALS],
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Bytes of whole requests.
    pub received_bytes: u64,
    /// Bytes given to sockets.
    pub sent_bytes: u64,
    /// How long turns took, their waits left out.
    pub turns: Histogram,
    /// The processor time of turns.
    pub turns_cpu: Histogram,
    /// The turn of most processor time since that was last asked for.
    pub longest: Turn,
    /// The steps of all turns.
    pub steps: StepTotals,
    /// Nothing may be read from the sockets for want of memory: how often that began.
    pub pauses: u64,
    /// How long it took to read back a partition of groups.
    pub group_loads: Histogram,
    /// The longest of these.
    pub longest_group_load: Duration,
    /// Of groups; known to them, and filled in when it is asked for.
    pub groups: GroupTally,
    /// The node's thread, when it was last looked at.
    pub idle: Idle,
}

impl Default for NodeMetrics {
    fn default() -> Self {
        Self {
            requests: (0..KEYS_MAX).map(|_| None).collect(),
            traffic: Traffic::default(),
            refusals: [0; REFUSALS],
            accepted: 0,
            received_bytes: 0,
            sent_bytes: 0,
            turns: Histogram::default(),
            turns_cpu: Histogram::default(),
            longest: Turn::default(),
            steps: StepTotals::default(),
            pauses: 0,
            group_loads: Histogram::default(),
            longest_group_load: Duration::ZERO,
            groups: GroupTally::default(),
            idle: Idle::since(Moment(0)),
        }
    }
}

/// The requests of one API.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    versions: [u64; VERSIONS_MAX],
    /// Bytes of their frames.
    pub bytes: u64,
    /// The same, to tell small ones from large ones.
    pub sizes: Histogram,
    errors: Vec<(i16, u64)>,
    /// From the turn in which a request came to the end of the one in which its answer left.
    pub total: Histogram,
    /// Of that, the time until the turn of its answer: for records, a commit, or the members of a group.
    pub remote: Histogram,
    /// The rest: that turn.
    pub local: Histogram,
}

impl Requests {
    /// How many there were in each version.
    pub fn versions(&self) -> impl Iterator<Item = (usize, u64)> {
        self.versions.iter().copied().enumerate().filter(|(_, n)| *n > 0)
    }

    /// The error codes that were answered, and how often.
    pub fn errors(&self) -> &[(i16, u64)] {
        &self.errors
    }

    fn add_errors(&mut self, errors: &[(i16, u32)]) {
        for &(code, n) in errors {
            match self.errors.iter_mut().find(|(known, _)| *known == code) {
                Some((_, total)) => *total += u64::from(n),
                None => self.errors.push((code, n.into())),
            }
        }
    }
}

impl NodeMetrics {
    /// A request that is served came.
    pub fn on_request(&mut self, key: i16, version: i16, bytes: usize) {
        self.received_bytes += bytes as u64;
        let Some(slot) = usize::try_from(key).ok().and_then(|k| self.requests.get_mut(k)) else {
            return;
        };
        let requests = slot.get_or_insert_default();
        requests.bytes += bytes as u64;
        requests.sizes.record_bytes(bytes);
        if let Some(n) = usize::try_from(version).ok().and_then(|v| requests.versions.get_mut(v)) {
            *n += 1;
        }
    }

    /// An answer with these error codes left, or a request without one is done: when the request came,
    /// when the turn of its answer began, and when it ended.
    pub fn on_answered(
        &mut self,
        key: i16,
        (came, began, end): (Moment, Moment, Moment),
        errors: &[(i16, u32)],
    ) {
        let slot = usize::try_from(key).ok().and_then(|k| self.requests.get_mut(k));
        if let Some(requests) = slot.and_then(Option::as_mut) {
            requests.total.record_between(came, end);
            requests.remote.record_between(came, began);
            requests.local.record_between(began, end);
            requests.add_errors(errors);
        }
    }

    /// A partition of groups was read back.
    pub fn on_group_load(&mut self, took: Duration) {
        self.group_loads.record(took);
        self.longest_group_load = self.longest_group_load.max(took);
    }

    /// A turn is over since `end`.
    pub fn on_turn(&mut self, turn: &Turn, end: Moment) {
        self.steps.add(turn, end);
        self.turns.record(turn.took);
        self.turns_cpu.record(turn.cpu);
        if turn.cpu > self.longest.cpu {
            self.longest = *turn;
        }
    }

    /// The APIs that were asked for, by key.
    pub fn requests(&self) -> impl Iterator<Item = (i16, &Requests)> {
        let slots = self.requests.iter().enumerate();
        slots.filter_map(|(key, slot)| Some((key as i16, slot.as_deref()?)))
    }

    /// Something was not done that a client wanted.
    pub fn refuse(&mut self, reason: Refusal) {
        self.refusals[reason as usize] += 1;
    }

    /// How often that was, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL.iter().map(|&reason| (reason.name(), self.refusals[reason as usize]))
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// Why a connection was not taken, was closed, or something that a request asks for was not done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Refusal { $($(#[$doc])* $variant),* }

        impl Refusal {
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// As it stands in a label.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        const REFUSALS: usize = Refusal::ALL.len();
    };
}

refusals! {
    /// `max.connections`.
    Connections = "max_connections",
    /// `max.connections.per.ip`.
    ConnectionsPerIp = "max_connections_per_ip",
    /// `max.connection.creation.rate`: put off, not refused.
    ConnectionRate = "max_connection_creation_rate",
    /// The node stops.
    Stopping = "stopping",
    /// `connections.max.idle.ms`.
    Idle = "idle",
    /// `socket.request.max.bytes`, or a size below zero.
    FrameSize = "frame_size",
    /// A header or body that its version does not allow.
    Malformed = "malformed",
    /// An API or version that is not served.
    Unsupported = "unsupported",
    /// A produce request with acks=0 that failed.
    SilentFailure = "acks_0_failure",
    /// An answer that could not be encoded.
    LostAnswer = "lost_answer",
    /// `node.memory.bytes` is used up: a connection was not taken, or the one that held much of it
    /// for long was closed.
    Memory = "memory",
    /// `max.message.bytes`, or `segment.bytes`: a batch was not appended.
    BatchSize = "batch_size",
    /// A batch would take more memory than it may once it is decompressed.
    PlainSize = "decompressed_size",
    /// No fetch session was opened, for want of a slot or of room for its partitions; the fetch itself was
    /// served.
    FetchSession = "fetch_session",
}

/// What became of the groups of one node, and of their offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupTally {
    /// Offsets that clients committed.
    pub commits: u64,
    /// Offsets that an administrator deleted.
    pub deletions: u64,
    /// Offsets that expired.
    pub expirations: u64,
    /// Rebalances that ended with an assignment.
    pub rebalances: u64,
    /// Partitions of the offsets topic that cannot be read, now.
    pub failed: usize,
}

/// Traffic of one partition, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Records appended for producers.
    pub messages_in: u64,
    /// Their batches, in bytes.
    pub bytes_in: u64,
    /// Bytes of batches that were read for fetches.
    pub bytes_out: u64,
    /// Bytes of batches that were too large.
    pub bytes_rejected: u64,
    /// Batches that producers sent.
    pub produces: u64,
    /// Of these, refused.
    pub produces_failed: u64,
    /// Reads for fetches.
    pub fetches: u64,
    /// Of these, answered with an error.
    pub fetches_failed: u64,
    /// Batches of another version of the format.
    pub invalid_magic: u64,
    /// Batches with a wrong checksum.
    pub invalid_crc: u64,
    /// Batches out of their producer's order.
    pub invalid_sequence: u64,
    /// Batches for a compacted topic with records without a key.
    pub no_key: u64,
}

impl Traffic {
    /// Adds another partition's.
    pub fn add(&mut self, other: &Self) {
        self.messages_in += other.messages_in;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.bytes_rejected += other.bytes_rejected;
        self.produces += other.produces;
        self.produces_failed += other.produces_failed;
        self.fetches += other.fetches;
        self.fetches_failed += other.fetches_failed;
        self.invalid_magic += other.invalid_magic;
        self.invalid_crc += other.invalid_crc;
        self.invalid_sequence += other.invalid_sequence;
        self.no_key += other.no_key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_key_and_version_and_odd_ones_do_no_harm() {
        let mut m = NodeMetrics::default();
        for (key, version) in [(1, 12), (1, 12), (1, 4), (-1, 0), (i16::MAX, 0), (3, i16::MAX)] {
            m.on_request(key, version, 10);
            let times = (Moment(1_000_000), Moment(5_000_000), Moment(6_000_000));
            m.on_answered(key, times, &[(key, 1), (6, 2)]);
        }
        let seen: Vec<_> =
            m.requests().map(|(k, r)| (k, r.versions().collect::<Vec<_>>())).collect();
        assert_eq!(seen, [(1, vec![(4, 1), (12, 2)]), (3, vec![])]);
        assert_eq!(m.requests().map(|(_, r)| r.total.count()).sum::<u64>(), 4);
        let fetch = m.requests().next().unwrap().1;
        let ms = |h: &Histogram| (h.sum_s() * 1e3).round();
        assert_eq!((ms(&fetch.total), ms(&fetch.remote), ms(&fetch.local)), (15.0, 12.0, 3.0));
        let errors: Vec<_> = m.requests().map(|(_, r)| r.errors().to_vec()).collect();
        assert_eq!(errors, [vec![(1, 3), (6, 6)], vec![(3, 1), (6, 2)]]);
    }

    #[test]
    fn the_longest_turn_is_kept_with_what_it_did() {
        let mut m = NodeMetrics::default();
        for (ms, requests) in [(3, 30), (9, 90), (5, 50)] {
            let (took, cpu) = (Duration::from_secs(1), Duration::from_millis(ms));
            m.on_turn(&Turn { took, cpu, requests, ..Turn::default() }, Moment(0));
        }
        assert_eq!((m.longest.requests, m.turns.count()), (90, 3));
    }

    #[test]
    fn each_refusal_has_a_name_of_its_own() {
        let mut m = NodeMetrics::default();
        m.refuse(Refusal::Memory);
        let told: Vec<_> = m.refusals().filter(|(_, n)| *n > 0).collect();
        assert_eq!(told, [("memory", 1)]);
        let mut names: Vec<_> = m.refusals().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), REFUSALS);
    }
}
