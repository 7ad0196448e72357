//! Random clients on a random log: what must hold whatever they do.
//!
//! Clients behave as consumers do (join, sync, heartbeat, commit, start anew when told to), but they
//! also crash, leave, send a request twice, and the log is slow and fails. Checked at every step: a
//! request is answered once, a member id belongs to one client, a generation never falls. Checked at
//! the end, after a quiet time: everyone alive is in one stable generation with what its leader gave
//! it, and the log alone gives the same groups and offsets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::world::{at_ms, limits, list};
use crate::base::TopicId;
use crate::coordinator::*;

const GROUPS: [&str; 2] = ["g", "h"];
const CLIENTS: usize = 6;

/// Says which seed it was.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Doing {
    /// Wants to join.
    Idle,
    /// A join is parked, by its token.
    Joining(u64),
    /// Knows its generation, wants its assignment; the leader knows everyone.
    Joined(i32, Vec<Arc<str>>),
    Syncing(i32, u64),
    Stable(i32),
    Crashed,
}

struct Client {
    group: &'static str,
    instance: Option<String>,
    member: Arc<str>,
    doing: Doing,
    assignment: Vec<u8>,
}

struct Sim {
    random: u64,
    now_ms: u64,
    groups: Groups<u64>,
    clients: Vec<Client>,
    /// Token -> client, for requests that are not answered.
    open: BTreeMap<u64, usize>,
    token: u64,
    appends: VecDeque<(Ticket, Vec<Record>)>,
    log: Vec<Record>,
    owners: BTreeMap<Arc<str>, usize>,
    generations: BTreeMap<&'static str, i32>,
    trace: Vec<String>,
}

fn tight() -> GroupLimits {
    GroupLimits {
        offsets_topic_partitions: 1,
        session_timeout_min_ms: 1,
        initial_rebalance_delay_ms: 1000,
        offsets_retention_check_interval_ms: 7_000,
        offsets_retention_ms: 30_000,
        ..limits()
    }
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut groups = Groups::new(tight(), seed);
        groups.load(0, &mut Vec::new());
        groups.loaded(0, at_ms(0), &mut Vec::new());
        let client = |i: usize| Client {
            group: GROUPS[i % 2],
            instance: i.is_multiple_of(3).then(|| format!("i{i}")),
            member: Arc::default(),
            doing: Doing::Idle,
            assignment: Vec::new(),
        };
        Self {
            random: seed ^ 0x5eed_5eed_5eed_5eed,
            now_ms: 0,
            groups,
            clients: (0..CLIENTS).map(client).collect(),
            open: BTreeMap::new(),
            token: 0,
            appends: VecDeque::new(),
            log: Vec::new(),
            owners: BTreeMap::new(),
            generations: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    /// Uniform enough in `0..n`.
    fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % n
    }

    fn token(&mut self, client: usize) -> u64 {
        self.token += 1;
        self.open.insert(self.token, client);
        self.token
    }

    /// One step of a client that behaves.
    fn step(&mut self, i: usize) {
        let when = at_ms(self.now_ms);
        let mut out = Vec::new();
        let (group, member) = (self.clients[i].group, self.clients[i].member.clone());
        let instance = self.clients[i].instance.clone();
        let (instance, metadata) = (instance.as_deref(), [i as u8]);
        let sender = |generation| Sender { group, member: &member, instance, generation };
        match self.clients[i].doing.clone() {
            Doing::Idle => {
                let to = self.token(i);
                self.clients[i].doing = Doing::Joining(to);
                let join = Join {
                    group,
                    member: &member,
                    instance,
                    client_id: "app",
                    client_host: "/h",
                    session_timeout_ms: 10_000,
                    rebalance_timeout_ms: 20_000,
                    protocol_type: "consumer",
                    protocols: vec![("range", &metadata)],
                    member_id_required: i.is_multiple_of(2),
                    can_skip_assignment: true,
                };
                self.groups.join(&join, to, when, &mut out);
            }
            Doing::Joined(generation, members) => {
                let to = self.token(i);
                self.clients[i].doing = Doing::Syncing(generation, to);
                let gift = |m: &Arc<str>| (m.clone(), format!("{generation}/{m}"));
                let gifts: Vec<_> = members.iter().map(gift).collect();
                let assignments = gifts.iter().map(|(m, gift)| (&**m, gift.as_bytes())).collect();
                let from = sender(generation);
                let sync = Sync { from, protocol_type: None, protocol: None, assignments };
                self.groups.sync(&sync, to, when, &mut out);
            }
            Doing::Stable(generation) if self.below(3) == 0 => {
                let to = self.token(i);
                let offset = CommitOffset {
                    topic: "t",
                    topic_id: TopicId::ZERO,
                    partition: i as i32,
                    offset: self.now_ms as i64,
                    leader_epoch: -1,
                    metadata: "",
                };
                let commit = Commit {
                    from: sender(generation),
                    retention_ms: None,
                    reports_unknown_group: true,
                    offsets: vec![offset],
                };
                self.groups.commit_offsets(&commit, to, when, &mut out);
            }
            Doing::Stable(generation) => {
                if let Err(error) = self.groups.heartbeat(&sender(generation), when) {
                    self.told(i, error);
                }
            }
            Doing::Joining(_) | Doing::Syncing(..) | Doing::Crashed => {}
        }
        self.apply(out);
    }

    fn told(&mut self, i: usize, error: GroupError) {
        let client = &mut self.clients[i];
        if client.doing != Doing::Crashed {
            client.doing = Doing::Idle;
        }
        if matches!(error, GroupError::UnknownMemberId | GroupError::FencedInstanceId) {
            client.member = Arc::default();
        }
    }

    /// Something that clients and machines do on bad days.
    fn trouble(&mut self) {
        let i = self.below(CLIENTS as u64) as usize;
        let when = at_ms(self.now_ms);
        let mut out = Vec::new();
        match self.below(10) {
            0 => self.clients[i].doing = Doing::Crashed,
            // A process starts anew, without its member id; or sends a request twice.
            1 => (self.clients[i].doing, self.clients[i].member) = (Doing::Idle, Arc::default()),
            2 => {
                self.clients[i].doing = match self.clients[i].doing.clone() {
                    Doing::Syncing(generation, _) => Doing::Joined(generation, Vec::new()),
                    _ => Doing::Idle,
                }
            }
            3 => {
                let to = self.token(i);
                let client = &mut self.clients[i];
                let (group, member) = (client.group, client.member.clone());
                (client.doing, client.member) = (Doing::Crashed, Arc::default());
                let leaver = Leaver { member: &member, instance: None };
                self.groups.leave(group, &[leaver], to, when, &mut out);
            }
            4 => {
                let to = self.token(i);
                self.groups.delete_groups(&GROUPS, to, when, &mut out);
            }
            5 => self.now_ms += self.below(12_000),
            _ => self.report(),
        }
        self.apply(out);
    }

    /// The log finishes its oldest append, well or badly. An empty generation is always written:
    /// the coordinator does not try again, as its members are gone and would time out anyway.
    fn report(&mut self) {
        let empty = |record: &Record| {
            let value = record.value.as_deref().and_then(|value| records::read_group(value).ok());
            value.is_some_and(|value| value.members.is_empty())
        };
        let must = self.appends.front().is_some_and(|(_, records)| records.iter().any(empty));
        let result = match self.below(8) {
            0 if !must => Err(AppendFailure::NotEnoughReplicas),
            _ => Ok(()),
        };
        self.finish_append(result);
    }

    fn finish_append(&mut self, result: Result<(), AppendFailure>) {
        let Some((ticket, records)) = self.appends.pop_front() else { return };
        if result.is_ok() {
            self.log.extend(records);
        }
        let mut out = Vec::new();
        self.groups.on_append(ticket, result, at_ms(self.now_ms), &mut out);
        self.apply(out);
    }

    fn tick(&mut self) {
        let mut out = Vec::new();
        self.groups.on_time(at_ms(self.now_ms), &mut out);
        self.apply(out);
        for group in GROUPS {
            let Ok(described) = self.groups.describe(group) else {
                self.generations.remove(group);
                continue;
            };
            let rests = matches!(described.state, "Empty" | "Dead");
            assert!(!rests || described.members.is_empty(), "G1");
        }
    }

    fn apply(&mut self, out: Vec<Effect<u64>>) {
        for effect in out {
            match effect {
                Effect::Append { records, ticket, .. } => self.appends.push_back((ticket, records)),
                Effect::Reply { to, answer } => {
                    self.trace.push(format!("{to} {answer:?}"));
                    let i = self.open.remove(&to).expect("C1: a request is answered once");
                    self.answered(i, to, answer);
                }
            }
        }
    }

    fn answered(&mut self, i: usize, to: u64, answer: Answer) {
        match answer {
            Answer::Join(id, joined) => {
                if !id.is_empty() {
                    let owner = *self.owners.entry(id.clone()).or_insert(i);
                    assert_eq!(owner, i, "a member id belongs to one client");
                }
                if let Ok(joined) = &joined {
                    let seen = self.generations.entry(self.clients[i].group).or_default();
                    assert!(joined.generation >= *seen, "G2");
                    *seen = joined.generation;
                }
                if self.clients[i].doing != Doing::Joining(to) {
                    return;
                }
                match joined {
                    Ok(joined) => {
                        let members = joined.members.iter().map(|m| m.member.clone());
                        let members = members.filter(|_| !joined.skip_assignment).collect();
                        self.clients[i].member = id;
                        self.clients[i].doing = Doing::Joined(joined.generation, members);
                    }
                    Err(GroupError::MemberIdRequired) => {
                        self.clients[i].member = id;
                        self.clients[i].doing = Doing::Idle;
                    }
                    Err(error) => self.told(i, error),
                }
            }
            Answer::Sync(synced) => {
                let Doing::Syncing(generation, token) = self.clients[i].doing else { return };
                if token != to {
                    return;
                }
                match synced {
                    Ok(synced) => {
                        self.clients[i].assignment = synced.assignment.to_vec();
                        self.clients[i].doing = Doing::Stable(generation);
                    }
                    Err(error) => self.told(i, error),
                }
            }
            Answer::Each(_) => {}
        }
    }

    /// Everyone behaves and the log works, until sessions and newcomers have timed out.
    fn quiet(&mut self) {
        for _ in 0..400 {
            self.now_ms += 1000;
            for i in 0..CLIENTS {
                self.step(i);
            }
            while !self.appends.is_empty() {
                self.finish_append(Ok(()));
            }
            self.tick();
        }
        while !self.appends.is_empty() {
            self.finish_append(Ok(()));
        }
    }

    fn check_stable(&mut self) {
        for group in GROUPS {
            let alive: Vec<_> = self
                .clients
                .iter()
                .filter(|c| c.group == group && c.doing != Doing::Crashed)
                .collect();
            let generations: BTreeSet<_> = alive.iter().map(|c| format!("{:?}", c.doing)).collect();
            assert!(generations.len() <= 1, "one generation: {generations:?}");
            let Ok(described) = self.groups.describe(group) else {
                assert!(alive.is_empty());
                continue;
            };
            let members: BTreeSet<_> = described.members.iter().map(|m| &m.member).collect();
            assert_eq!(members, alive.iter().map(|c| &c.member).collect(), "{described:?}");
            for client in alive {
                let Doing::Stable(generation) = client.doing else { panic!("{:?}", client.doing) };
                assert!(client.assignment.starts_with(format!("{generation}/").as_bytes()));
                if client.instance.is_none() {
                    assert!(client.assignment.ends_with(client.member.as_bytes()));
                }
            }
        }
    }

    fn check_log(&self) {
        let mut fresh = Groups::<u64>::new(tight(), 0);
        fresh.load(0, &mut Vec::new());
        for record in &self.log {
            fresh.replay(0, &record.key, record.value.as_deref()).unwrap();
        }
        fresh.loaded(0, at_ms(self.now_ms), &mut Vec::new());
        assert_eq!(list(&fresh, &[], &[]), list(&self.groups, &[], &[]));
        for group in GROUPS {
            assert_eq!(fresh.describe(group), self.groups.describe(group));
            assert_eq!(fresh.fetch_offsets(group, None), self.groups.fetch_offsets(group, None));
        }
    }
}

fn run(seed: u64) -> Vec<String> {
    let _seed = Seed(seed);
    let mut sim = Sim::new(seed);
    for _ in 0..400 {
        if sim.below(5) == 0 {
            sim.trouble();
        } else {
            let i = sim.below(CLIENTS as u64) as usize;
            sim.step(i);
            sim.now_ms += sim.below(500);
        }
        sim.tick();
    }
    sim.quiet();
    sim.check_stable();
    sim.check_log();
    let mut out = Vec::new();
    sim.groups.unload(0, &mut out);
    sim.apply(out);
    assert!(sim.open.is_empty(), "C1: {:?} were never answered", sim.open);
    sim.trace
}

#[test]
fn whatever_clients_do_the_group_settles_and_its_log_tells_the_same_story() {
    let seeds = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    for seed in 0..seeds {
        run(seed);
    }
}

#[test]
fn one_seed_gives_one_trace() {
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
