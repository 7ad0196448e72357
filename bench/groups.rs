//! The group coordinator, without a log beneath it: appends succeed at once.
//!
//! Question: does a heartbeat touch its member alone however many groups there are, and do a
//! rebalance and a commit grow with the members and partitions they name, and no faster?
//! Budget: heartbeat < 300 ns with 10,000 groups (10,000 consumers at one per 3 s: 0.1 % of a core);
//! join and sync < 5 us a member; commit < 500 ns a partition.
//! The seed makes the members' ids.

#![allow(missing_docs, reason = "criterion_group! generates an undocumented function")]
#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it cannot do")]

use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use klamm::base::{Moment, TopicId, WallMs};
use klamm::config::{GroupLimits, ServerConfig};
use klamm::coordinator::{
    Answer, At, Commit, CommitOffset, Effect, Groups, Join, Joined, Sender, Sync,
};

const SEED: u64 = 0x5eed;
const START: At = At { now: Moment(0), wall: WallMs(1_700_000_000_000) };
const METADATA: [u8; 64] = [7; 64];

fn heartbeat(c: &mut Criterion) {
    let mut group = c.benchmark_group("groups_heartbeat");
    for count in [100, 10_000] {
        let mut world = World::new();
        let names: Vec<String> = (0..count).map(|i| format!("group-{i}")).collect();
        let members: Vec<_> = names.iter().map(|name| world.settle(name, 1).remove(0)).collect();
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            let mut i = 0;
            b.iter(|| {
                i = (i + 1) % names.len();
                world.at.now.0 += 1000;
                let from = sender(&names[i], &members[i], 1);
                world.groups.heartbeat(&from, world.at).unwrap();
                if world.groups.next_deadline() <= world.at.now {
                    world.groups.on_time(world.at, &mut world.out);
                }
            });
        });
    }
    group.finish();
}

fn rebalance(c: &mut Criterion) {
    let mut group = c.benchmark_group("groups_rebalance");
    for members in [10, 100] {
        group.throughput(Throughput::Elements(members));
        group.bench_function(BenchmarkId::from_parameter(members), |b| {
            let settle = |mut world: World| (world.settle("group", members as usize), world);
            b.iter_batched(World::new, settle, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("groups_commit");
    for partitions in [1, 100] {
        let mut world = World::new();
        let member = world.settle("group", 1).remove(0);
        let mut offset = 0;
        group.throughput(Throughput::Elements(partitions));
        group.bench_function(BenchmarkId::from_parameter(partitions), |b| {
            b.iter(|| {
                offset += 1;
                world.commit(&member, partitions as i32, offset);
            });
        });
    }
    group.finish();
}

/// A coordinator that leads all of the offsets topic.
struct World {
    groups: Groups<usize>,
    at: At,
    out: Vec<Effect<usize>>,
}

impl World {
    fn new() -> Self {
        let limits = ServerConfig::load("", &[]).unwrap().group;
        let partitions = limits.offsets_topic_partitions;
        let limits = GroupLimits { initial_rebalance_delay_ms: 0, ..limits };
        let mut world = Self { groups: Groups::new(limits, SEED), at: START, out: Vec::new() };
        for partition in 0..partitions {
            world.groups.load(partition, &mut world.out);
            world.groups.loaded(partition, world.at, &mut world.out);
        }
        world
    }

    /// `count` members join, the first leads and gives each its assignment; their ids.
    fn settle(&mut self, group: &str, count: usize) -> Vec<Arc<str>> {
        let mut ids: Vec<Arc<str>> = vec![Arc::default(); count];
        // The first is alone for a moment; it joins again when it hears of the others.
        for i in (0..count).chain(0..usize::from(count > 1)) {
            let member = Arc::clone(&ids[i]);
            self.join(group, &member, i);
            self.hear(&mut ids);
        }
        let generation = if count > 1 { 2 } else { 1 };
        let given: Vec<_> = ids.iter().map(|id| (&**id, &METADATA[..])).collect();
        let (mut synced, mut out) = (0, Vec::new());
        for (i, id) in ids.iter().enumerate() {
            let sync = Sync {
                from: sender(group, id, generation),
                protocol_type: Some("consumer"),
                protocol: Some("range"),
                assignments: if i == 0 { given.clone() } else { Vec::new() },
            };
            self.groups.sync(&sync, i, self.at, &mut out);
        }
        while !out.is_empty() {
            for effect in std::mem::take(&mut out) {
                match effect {
                    Effect::Append { ticket, .. } => {
                        self.groups.on_append(ticket, Ok(()), self.at, &mut out);
                    }
                    Effect::Reply { answer, .. } => {
                        assert_eq!(answer.sync().unwrap().assignment.len(), METADATA.len());
                        synced += 1;
                    }
                }
            }
        }
        assert_eq!(synced, count);
        ids
    }

    fn join(&mut self, group: &str, member: &str, to: usize) {
        let join = Join {
            group,
            member,
            instance: None,
            client_id: "bench",
            client_host: "/127.0.0.1",
            session_timeout_ms: 1_800_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer",
            protocols: vec![("range", &METADATA)],
            member_id_required: false,
            can_skip_assignment: true,
        };
        self.groups.join(&join, to, self.at, &mut self.out);
        self.groups.on_time(self.at, &mut self.out);
    }

    /// Takes in what joins were answered.
    fn hear(&mut self, ids: &mut [Arc<str>]) {
        for effect in std::mem::take(&mut self.out) {
            let Effect::Reply { to, answer: Answer::Join(id, joined) } = effect else {
                unreachable!("a join is answered, and appends nothing until it is synced");
            };
            let Joined { members, .. } = joined.unwrap();
            assert!(to == 0 || members.is_empty(), "the first leads");
            ids[to] = id;
        }
    }

    fn commit(&mut self, member: &str, partitions: i32, offset: i64) {
        let offset = |partition| CommitOffset {
            topic: "topic",
            topic_id: TopicId([1; 16]),
            partition,
            offset,
            leader_epoch: 0,
            metadata: "",
        };
        let commit = Commit {
            from: sender("group", member, 1),
            retention_ms: None,
            reports_unknown_group: true,
            offsets: (0..partitions).map(offset).collect(),
        };
        self.groups.commit_offsets(&commit, 0, self.at, &mut self.out);
        let Some(Effect::Append { ticket, .. }) = self.out.pop() else { unreachable!("appends") };
        self.groups.on_append(ticket, Ok(()), self.at, &mut self.out);
        let Some(Effect::Reply { answer, .. }) = self.out.pop() else { unreachable!("replies") };
        assert_eq!(answer.each().unwrap().len(), partitions as usize);
    }
}

fn sender<'a>(group: &'a str, member: &'a str, generation: i32) -> Sender<'a> {
    Sender { group, member, instance: None, generation }
}

criterion_group!(benches, heartbeat, rebalance, commit);
criterion_main!(benches);
