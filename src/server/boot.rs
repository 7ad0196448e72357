//! Starts the nodes of a process, keeps them running until a signal, and stops them.
//!
//! Order: data directories (locked), listeners (bound, so that a taken port is told before anything
//! else happens), then one thread per node. A node recovers its store, starts its servants and runs
//! its turn; the first one also reads the metadata and publishes it; a node accepts connections once
//! it has applied that.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use socket2::Socket;

use crate::admin::Nodes;
use crate::admin::http::Endpoint;
use crate::base::NodeId;
use crate::config::{Layers, Listener, NodeLimits, ServerConfig};
use crate::image::Node as NodeEntry;
use crate::metrics::Idle;
use crate::runtime::back::Back;
use crate::runtime::files::Files;
use crate::runtime::front::{self, Front};
use crate::runtime::mailbox::{Receiver, Sender, mailbox};
use crate::runtime::servant::{NICE_OPENER, Servant};
use crate::runtime::space::Probe;
use crate::runtime::waker::Waker;
use crate::runtime::{clock, cpu, random};
use crate::server::data_dir::{DataDirError, DataDirs};
use crate::server::outside::RealOutside;
use crate::server::turn::{NetLimits, Node};
use crate::shard::opening::memory_share;
use crate::shard::{CONTROLLER, Mail, Shard, ShardIndex, Start};
use crate::storage::{StorageError, Store, StoreConfig};

/// Mail that may wait for one shard.
const MAILBOX: usize = 8192;
/// Results of servants that may wait for their shard.
const RESULTS: usize = 2048;

/// How often a taken port is tried again, and the pause before that: 5 s in all.
const PORT_ATTEMPTS: u32 = 500;
const PORT_PAUSE: Duration = Duration::from_millis(10);

/// Why the server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directories.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The settings do not fit the number of nodes.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The port of metrics and health.
    #[error("cannot serve admin.listener on {host}:{port}: {source}{}", hint(.source))]
    Admin {
        /// As configured.
        host: String,
        /// As configured.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// A listener.
    #[error("cannot listen on {listener}: {source}{}", hint(.source))]
    Listen {
        /// As configured.
        listener: Listener,
        /// What the kernel said.
        source: io::Error,
    },
    /// A node's log directory.
    #[error("node {node}: {source}; {}", .source.remedy())]
    Storage {
        /// The node.
        node: NodeId,
        /// Why.
        source: Box<StorageError>,
    },
    /// A thread, a ring or a signal handler.
    #[error("node {node}: {source}")]
    Node {
        /// The node.
        node: NodeId,
        /// What the kernel said.
        source: io::Error,
    },
    /// Before any node.
    #[error(transparent)]
    System(#[from] io::Error),
}

fn hint(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::AddrInUse => {
            "; another server has the port: stop it or configure another one"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        _ => "",
    }
}

/// A running server.
pub struct Server {
    nodes: Vec<thread::JoinHandle<Result<(), ServerError>>>,
    boxes: Vec<Sender<Mail>>,
    told: mpsc::Receiver<Told>,
    one_ended: bool,
    admin: Option<Endpoint>,
    /// Where each node listens.
    pub addresses: Vec<(NodeId, SocketAddr)>,
    /// Data directories without direct I/O.
    pub buffered: Vec<std::path::PathBuf>,
    _dirs: DataDirs,
}

/// What a node's thread tells about itself.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// It accepts connections.
    Ready,
    /// It has stopped, or did not start.
    Ended,
}

/// What a node's thread begins with.
struct Seed {
    index: ShardIndex,
    config: Arc<ServerConfig>,
    sockets: Vec<Socket>,
    store: StoreConfig,
    cpu: Option<usize>,
    waker: Waker,
    inbox: Receiver<Mail>,
    siblings: Vec<Sender<Mail>>,
    start: Option<Start>,
}

impl Server {
    /// Starts all nodes. They accept connections when [`Self::wait_ready`] returns.
    ///
    /// # Errors
    /// [`ServerError`]; nothing runs then.
    pub fn start(config: &ServerConfig) -> Result<Self, ServerError> {
        let dirs = DataDirs::open(config)?;
        config.check_nodes(dirs.nodes)?;
        let (mut seeds, boxes, addresses) = seeds(config, &dirs)?;
        let admin = admin(config, &boxes)?;
        let entries = seeds.iter().map(|s| node_entry(s, &addresses)).collect();
        let cluster_id = dirs.cluster_id.as_str().into();
        let shards = seeds.len();
        seeds[0].start = Some(Start { cluster_id, nodes: entries, shards });
        let (tell, told) = mpsc::channel();
        let mut nodes = Vec::new();
        for seed in seeds {
            let tell = tell.clone();
            let name = format!("node-{}", seed.config.node_id);
            let run = move || {
                let result = run_node(seed, &tell);
                let _ = tell.send(Told::Ended);
                result
            };
            nodes.push(thread::Builder::new().name(name).spawn(run)?);
        }
        let buffered = dirs.buffered.clone();
        let one_ended = false;
        Ok(Self { nodes, boxes, told, one_ended, admin, addresses, buffered, _dirs: dirs })
    }

    /// Where metrics and health are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Waits until every node accepts connections.
    ///
    /// # Errors
    /// Why one of them did not start; the others are stopped then.
    pub fn wait_ready(&mut self) -> Result<(), ServerError> {
        for _ in 0..self.nodes.len() {
            if self.told.recv() != Ok(Told::Ready) {
                self.one_ended = true;
                return self.join();
            }
        }
        Ok(())
    }

    /// What asks every node to answer what is under way and stop, from any thread.
    pub fn stopper(&self) -> impl Fn() + Send + use<> {
        let boxes = self.boxes.clone();
        move || {
            for inbox in &boxes {
                let _ = inbox.try_send(Mail::Stop);
            }
        }
    }

    /// Waits until the nodes have stopped; one that stops by itself stops the others.
    ///
    /// # Errors
    /// The first reason why a node stopped by itself.
    pub fn join(&mut self) -> Result<(), ServerError> {
        while !self.one_ended {
            self.one_ended = self.told.recv() != Ok(Told::Ready);
        }
        self.stopper()();
        let mut first = Ok(());
        for node in self.nodes.drain(..) {
            let ended = node.join().unwrap_or_else(|_| {
                Err(ServerError::System(io::Error::other("a node panicked; see above")))
            });
            first = first.and(ended);
        }
        first
    }
}

type Seeds = (Vec<Seed>, Vec<Sender<Mail>>, Vec<(NodeId, SocketAddr)>);

fn seeds(config: &ServerConfig, dirs: &DataDirs) -> Result<Seeds, ServerError> {
    let cpus = cpu::allowed();
    let (mut seeds, mut boxes, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..dirs.nodes {
        let config = Arc::new(config.for_node(index));
        let mut sockets = Vec::new();
        for listener in &config.listeners {
            let (socket, address) = bind(listener, &config)?;
            sockets.push(socket);
            addresses.push((config.node_id, address));
        }
        let waker = Waker::new()?;
        let (sender, inbox) = mailbox(MAILBOX, waker.clone());
        boxes.push(sender);
        let store = StoreConfig {
            journal_bytes: config.journal_bytes,
            cache_bytes: config.cache_bytes as usize,
            scrub_bytes_per_second: config.scrub_bytes_per_second,
            retention_check_ms: config.log_retention_check_interval_ms,
            producer_expiration_ms: NodeLimits::of(&Layers::of_server(&config))
                .producer_id_expiration_ms,
            ..StoreConfig::new(dirs.node_dir(index))
        };
        let cpu = cpus.get(usize::from(index) % cpus.len()).copied();
        let (siblings, start) = (Vec::new(), None);
        let index = ShardIndex(index);
        seeds.push(Seed { index, config, sockets, store, cpu, waker, inbox, siblings, start });
    }
    for seed in &mut seeds {
        seed.siblings.clone_from(&boxes);
    }
    Ok((seeds, boxes, addresses))
}

fn admin(config: &ServerConfig, boxes: &[Sender<Mail>]) -> Result<Option<Endpoint>, ServerError> {
    let Some((host, port)) = &config.admin_listener else { return Ok(None) };
    let failed = |source| ServerError::Admin { host: host.clone(), port: *port, source };
    Endpoint::start((host, *port), Nodes::new(boxes.to_vec())).map(Some).map_err(failed)
}

fn bind(listener: &Listener, config: &ServerConfig) -> Result<(Socket, SocketAddr), ServerError> {
    let failed = |source| ServerError::Listen { listener: listener.clone(), source };
    let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
    let mut found = (host, listener.port).to_socket_addrs().map_err(failed)?;
    let no_address = || failed(io::Error::other("the host has no address"));
    let address = found.next().ok_or_else(no_address)?;
    let socket = listen(address, config.listen_backlog).map_err(failed)?;
    if let Some(bytes) = config.socket_receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes).map_err(failed)?;
    }
    if let Some(bytes) = config.socket_send_buffer_bytes {
        socket.set_send_buffer_size(bytes).map_err(failed)?;
    }
    let bound = socket.local_addr().map_err(failed)?;
    let bound = bound.as_socket().ok_or_else(no_address)?;
    Ok((socket, bound))
}

/// Waits for a taken port: the kernel takes down the ring of a server that was killed, and the
/// sockets that it holds, up to 2 s after the process is gone.
fn listen(address: SocketAddr, backlog: i32) -> io::Result<Socket> {
    for attempt in 0..PORT_ATTEMPTS {
        match front::listen(address, backlog) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                if attempt == 0 {
                    tracing::warn!(%address, "the port is taken; trying again for 5 s");
                }
                thread::sleep(PORT_PAUSE);
            }
            listening => return listening,
        }
    }
    front::listen(address, backlog)
}

fn node_entry(seed: &Seed, addresses: &[(NodeId, SocketAddr)]) -> NodeEntry {
    let id = seed.config.node_id;
    let bound = addresses.iter().find(|(node, _)| *node == id).map_or(0, |(_, a)| a.port());
    let advertised = seed.config.advertised(&hostname());
    let (host, port) = advertised.first().map_or(("127.0.0.1", 0), |l| (l.host.as_str(), l.port));
    let port = if port == 0 { bound } else { port };
    NodeEntry { id, host: host.into(), port, rack: seed.config.rack.as_deref().map(Into::into) }
}

fn hostname() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: 256 writable bytes, of which the call is told 255, so the text ends with a zero.
    let named = unsafe { libc::gethostname(name.as_mut_ptr().cast(), 255) } == 0;
    let end = name.iter().position(|&b| b == 0).unwrap_or(0);
    let name = String::from_utf8_lossy(&name[..end]).into_owned();
    if named && !name.is_empty() { name } else { "localhost".into() }
}

fn run_node(seed: Seed, tell: &mpsc::Sender<Told>) -> Result<(), ServerError> {
    let node_id = seed.config.node_id;
    let failed = |source| ServerError::Node { node: node_id, source };
    if let Some(cpu) = seed.cpu {
        cpu::pin_to(cpu);
    }
    // Before all else: without io_uring it says what to do, where the back's executor panics.
    let front = Front::new(seed.sockets, seed.waker.clone()).map_err(failed)?;
    let (now, wall) = clock::now();
    let disk = Arc::new(Files);
    let dir = seed.store.dir.clone();
    let random = random::seed().map_err(failed)?;
    let broken = |e| ServerError::Storage { node: node_id, source: Box::new(e) };
    let store = Store::open(disk.clone(), seed.store, random, wall).map_err(broken)?;
    let (commits_in, commits) = mailbox(RESULTS, seed.waker.clone());
    let (jobs_in, jobs) = mailbox(RESULTS, seed.waker.clone());
    let (openings_in, openings) = mailbox(RESULTS, seed.waker.clone());
    let (name, cpu) = (|what: &str| format!("{what}-{node_id}"), seed.cpu);
    let committer = Servant::start(&name("committer"), cpu, 0, commits_in).map_err(failed)?;
    let opener = Servant::start(&name("opener"), cpu, NICE_OPENER, openings_in).map_err(failed)?;
    let back = Back::start(&name("back"), cpu, &dir, disk, jobs_in).map_err(failed)?;
    // After the servants were started: none of them inherits it.
    cpu::wake_at_once();
    let limits = net_limits(&seed.config);
    let mut shard = Shard::new(seed.index, seed.config, store, random);
    let shown = std::path::absolute(&dir).unwrap_or(dir);
    shard.dir = shown.to_string_lossy().into();
    shard.space = Some(Probe::new(shown));
    shard.begin_turn(now, wall);
    shard.metrics.idle = Idle::since(now);
    if let Some(start) = seed.start.filter(|_| seed.index == CONTROLLER) {
        shard.start_controller(start);
    }
    let mut node = Node::new(shard, limits);
    let mut outside = RealOutside {
        front,
        waker: seed.waker,
        committer,
        commits,
        back,
        jobs,
        jobs_out: 0,
        opener,
        openings,
        inbox: seed.inbox,
        siblings: seed.siblings,
    };
    let mut is_ready = false;
    while node.turn(&mut outside).map_err(failed)? {
        if node.shard.ready && !is_ready {
            is_ready = true;
            let _ = tell.send(Told::Ready);
        }
    }
    outside.opener.abandon();
    drop(outside);
    node.shard.store.close().map_err(broken)
}

fn net_limits(config: &ServerConfig) -> NetLimits {
    let idle_ms = u64::try_from(config.connections_idle_ms).unwrap_or(0);
    let for_ever = Duration::from_hours(24 * 365 * 100);
    NetLimits {
        frame_bytes_max: config.request_bytes_max,
        memory_bytes: config.memory_bytes as usize,
        set_aside_bytes: memory_share(config),
        queued_bytes_max: config.queued_request_bytes_max,
        waiting_max: usize::try_from(config.listen_backlog).unwrap_or(0),
        idle_max: if idle_ms == 0 { for_ever } else { Duration::from_millis(idle_ms) },
    }
}
