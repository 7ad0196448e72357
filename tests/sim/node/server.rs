//! The server of a world: how it starts, stops and crashes, and what else goes wrong.

use std::sync::Arc;
use std::time::Duration;

use klamm::base::{Moment, NodeId};
use klamm::config::ServerConfig;
use klamm::image;
use klamm::server::turn::{NetLimits, Node};
use klamm::shard::{CONTROLLER, Mail, Shard, ShardIndex, Start};
use klamm::sim::disk::Faults;
use klamm::sim::net::SimNet;
use klamm::sim::outside::SimOutside;
use klamm::storage::{Store, StoreConfig};

use crate::small_store;

use super::world::{Event, Served, World};

const HOUR_MS: i64 = 3_600_000;
const SETTINGS: &str = "node.id=0\nlog.dirs=/data\nlisteners=PLAINTEXT://127.0.0.1:9092\n\
    offsets.topic.num.partitions=3\noffsets.topic.replication.factor=1\n\
    group.initial.rebalance.delay.ms=100\nauto.create.topics.enable=false\n";

fn store_config(index: usize) -> StoreConfig {
    StoreConfig { jobs_max: 3, checkpoint_ms: 3_000, ..small_store(&format!("/node-{index}")) }
}

impl World {
    /// Something bad happens, if it is still time for that.
    pub(super) fn trouble(&mut self) {
        if self.stopping {
            return;
        }
        self.log("trouble");
        match self.rng.below(15) {
            0..3 => self.disk.crash_in(self.rng.below(60) as u64),
            3 => self.crash(),
            4..6 => self.ask_stop(),
            6 => self.jump(),
            7 => self.wall_off = [-HOUR_MS, 0, 24 * HOUR_MS][self.rng.below(3)],
            8 => self.slow_sync = true,
            9..11 => self.fault(),
            _ => {
                let i = self.rng.below(self.actors.len());
                self.lose(i, true);
            }
        }
        let ms = 300 + self.rng.below(4_000) as i64;
        self.at(ms, Event::Trouble);
    }

    /// Some writes, syncs and reads fail from now on, until the server starts again.
    fn fault(&mut self) {
        let percent = 1 + self.rng.below(4);
        let read = if self.rng.chance(30) { percent } else { 0 };
        self.facts.faulty = true;
        self.disk.set_faults(Faults { write: percent, sync: percent, read });
    }

    /// The process ends, the machine does not.
    pub(super) fn die(&mut self) {
        self.drop_server();
    }

    /// The machine sleeps for a while; clients know that.
    fn jump(&mut self) {
        let ms = 1_000 + self.rng.below(600_000) as i64;
        let jump = self.now.plus_ms(ms).since(self.now);
        self.now = self.now + jump;
        for actor in &mut self.actors {
            let Some(link) = &mut actor.link else { continue };
            for (deadline, _) in &mut link.deadlines {
                *deadline = *deadline + jump;
            }
            actor.client.on_jump(jump);
        }
    }

    fn ask_stop(&mut self) {
        if self.served.is_empty() || self.closing {
            return;
        }
        self.closing = true;
        for n in 0..self.nodes {
            self.served[n].outside.tell_mail(Mail::Stop);
            self.nudge(n);
        }
    }

    pub(super) fn stop(&mut self) {
        self.ask_stop();
        let end = self.now.plus_ms(20_000);
        while self.closing {
            assert!(self.now < end, "the server does not stop");
            self.step();
        }
    }

    /// Every node has stopped: the stores are closed.
    pub(super) fn close(&mut self) {
        for served in &mut self.served {
            let closed = served.node.shard.store.close();
            let may_fail = self.disk.is_crashed() || self.facts.faulty;
            assert!(closed.is_ok() || may_fail, "close: {closed:?}");
        }
        self.drop_server();
        if self.disk.is_crashed() || self.rng.chance(50) {
            self.disk.restart();
        }
    }

    pub(super) fn crash(&mut self) {
        self.drop_server();
        self.disk.restart();
    }

    fn drop_server(&mut self) {
        self.log("server down");
        self.served.clear();
        self.closing = false;
        self.queue
            .retain(|_, event| matches!(event, Event::Wake(_) | Event::Tick | Event::Trouble));
        for i in 0..self.actors.len() {
            (self.actors[i].reads, self.actors[i].delivers) = (false, false);
            self.lose(i, false);
        }
        let at = self.soon();
        self.push(at, Event::Boot);
    }

    /// Opens all stores, through crashes, and starts the nodes.
    pub(super) fn boot(&mut self) {
        self.disk.set_faults(Faults::default());
        self.facts.faulty = false;
        if !self.stopping && self.rng.chance(20) {
            self.disk.crash_in(self.rng.below(200) as u64);
        }
        let entry = |i: usize| image::Node {
            id: NodeId(i as i32),
            host: "127.0.0.1".into(),
            port: 9092 + i as u16,
            rack: None,
        };
        let config = ServerConfig::load(SETTINGS, &[]).unwrap();
        let nodes: Vec<_> = (0..self.nodes).map(entry).collect();
        let mut served = Vec::new();
        for i in 0..self.nodes {
            let random = self.rng.next_u64();
            let disk = Arc::new(self.disk.clone());
            let store = match Store::open(disk, store_config(i), random, self.wall()) {
                Ok(store) if !self.disk.is_crashed() => store,
                Ok(_) => return self.crash(),
                Err(e) => {
                    assert!(self.disk.is_crashed(), "recovery of node {i}: {e}");
                    return self.crash();
                }
            };
            let index = ShardIndex(i as u16);
            let mut shard = Shard::new(index, Arc::new(config.for_node(i as u16)), store, random);
            shard.openings.room_per_turn = [0, 700, 16 << 10][self.rng.below(3)];
            // A change is applied in several turns.
            shard.apply_max = 1;
            shard.openings.laid_bytes_min = [0, 16 << 10][self.rng.below(2)];
            shard.begin_turn(self.now, self.wall());
            if index == CONTROLLER {
                let (nodes, shards) = (nodes.clone(), self.nodes);
                shard.start_controller(Start { cluster_id: "sim".into(), nodes, shards });
            }
            let limits = NetLimits {
                frame_bytes_max: 1 << 20,
                idle_max: Duration::from_mins(10),
                memory_bytes: 64 << 20,
                set_aside_bytes: 8 << 20,
                queued_bytes_max: None,
                waiting_max: 50,
            };
            let net = SimNet::new([600, 20_000, 1 << 20][self.rng.below(3)]);
            let mut outside = SimOutside::new(net, [1, 64][self.rng.below(2)]);
            outside.clock = (self.now, self.wall());
            served.push(Served {
                node: Node::new(shard, limits),
                outside,
                turn_at: Moment::NEVER,
                mail_at: Moment(0),
                mail_scheduled: 0,
                stopped: false,
                turns: 0,
            });
        }
        self.disk.crash_in(u64::MAX);
        self.served = served;
        for n in 0..self.nodes {
            let at = self.soon();
            self.turn_at(n, at);
        }
    }
}
