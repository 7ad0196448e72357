//! The data directories: made once, locked while a server runs, checked before it starts.
//!
//! Each of `log.dirs` has Kafka's `meta.properties` (version, cluster.id, node.id of the first node,
//! directory.id) and, as Klamm's own key, `klamm.node.count`: the number of nodes was decided when
//! the directory was made and does not follow the number of cores. Node `i` lives in
//! `<log.dirs[i mod n]>/node-<id>/`. `.lock` is held by the running server.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::base::{BLOCK_BYTES, NodeId, TopicId};
use crate::config::ServerConfig;
use crate::runtime::{cpu, random};

const META: &str = "meta.properties";
const LOCK: &str = ".lock";

/// Why the data directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The file system refused.
    #[error("{doing} {path}: {source}")]
    Io {
        /// Such as "making".
        doing: &'static str,
        /// File or directory.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Another server runs on it.
    #[error("{0} is in use by another server: stop that one, or give this one its own log.dirs")]
    Locked(PathBuf),
    /// Not a file that Klamm wrote.
    #[error("{path} is not valid: {what}; restore it, or give the server an empty log.dirs")]
    BadMeta {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// The directories do not belong to this server.
    #[error("{path} was made with {key}={made}, but the server is started with {asked}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The key that differs.
        key: &'static str,
        /// As made.
        made: String,
        /// As asked.
        asked: String,
    },
}

/// The locked directories of a running server; dropping it unlocks them.
#[derive(Debug)]
pub struct DataDirs {
    dirs: Vec<PathBuf>,
    _locks: Vec<File>,
    /// Id of the cluster.
    pub cluster_id: String,
    /// Number of nodes.
    pub nodes: u16,
    /// Id of the first.
    pub first: NodeId,
    /// Directories whose file system has no direct I/O.
    pub buffered: Vec<PathBuf>,
}

impl DataDirs {
    /// Makes what is missing, locks, and checks.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(config: &ServerConfig) -> Result<Self, DataDirError> {
        let mut locks = Vec::new();
        for dir in &config.log_dirs {
            fs::create_dir_all(dir).map_err(io_error("making", dir))?;
            locks.push(lock(dir)?);
        }
        let mut known: Option<Meta> = None;
        for dir in &config.log_dirs {
            if let Some(meta) = Meta::read(&dir.join(META))? {
                known.get_or_insert(meta);
            }
        }
        let meta = match known {
            Some(meta) => meta,
            None => Meta::fresh(config)?,
        };
        let path = config.log_dirs[0].join(META);
        let mismatch = |key, made: &dyn ToString, asked: &dyn ToString| {
            let (made, asked) = (made.to_string(), asked.to_string());
            Err(DataDirError::Mismatch { path: path.clone(), key, made, asked })
        };
        if meta.first != config.node_id {
            return mismatch("node.id", &meta.first, &config.node_id);
        }
        if let Some(asked) = config.node_count.filter(|&n| n != meta.nodes) {
            return mismatch("node.count", &meta.nodes, &asked);
        }
        for dir in &config.log_dirs {
            let path = dir.join(META);
            match Meta::read(&path)? {
                None => meta.write(&path)?,
                Some(other) if other.cluster_id != meta.cluster_id => {
                    return mismatch("cluster.id", &other.cluster_id, &meta.cluster_id);
                }
                Some(_) => {}
            }
        }
        let buffered = config.log_dirs.iter().filter(|d| !has_direct_io(d)).cloned().collect();
        Ok(Self {
            dirs: config.log_dirs.clone(),
            _locks: locks,
            cluster_id: meta.cluster_id,
            nodes: meta.nodes,
            first: meta.first,
            buffered,
        })
    }

    /// Directory of the node `index` places after the first.
    pub fn node_dir(&self, index: u16) -> PathBuf {
        let dir = &self.dirs[usize::from(index) % self.dirs.len()];
        dir.join(format!("node-{}", self.first.0 + i32::from(index)))
    }
}

struct Meta {
    cluster_id: String,
    first: NodeId,
    nodes: u16,
}

impl Meta {
    fn fresh(config: &ServerConfig) -> Result<Self, DataDirError> {
        let cores = cpu::allowed().len();
        let nodes = config.node_count.unwrap_or(u16::try_from(cores).unwrap_or(u16::MAX));
        Ok(Self { cluster_id: random_id()?, first: config.node_id, nodes })
    }

    fn read(path: &Path) -> Result<Option<Self>, DataDirError> {
        let text = match fs::read_to_string(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(io_error("reading", path))?,
        };
        let value = |key: &'static str| {
            let find = |l: &str| {
                Some(l.split_once('=')?.1.to_owned())
                    .filter(|_| l.split_once('=').is_some_and(|(k, _)| k.trim() == key))
            };
            let bad = || DataDirError::BadMeta { path: path.to_owned(), what: format!("no {key}") };
            text.lines().find_map(find).ok_or_else(bad)
        };
        let number = |key: &'static str| {
            let text = value(key)?;
            let what = format!("{key}={text}");
            let bad = |_| DataDirError::BadMeta { path: path.to_owned(), what };
            text.trim().parse::<u16>().map_err(bad)
        };
        Ok(Some(Self {
            cluster_id: value("cluster.id")?,
            first: NodeId(i32::from(number("node.id")?)),
            nodes: number("klamm.node.count")?,
        }))
    }

    fn write(&self, path: &Path) -> Result<(), DataDirError> {
        let (cluster, first, nodes) = (&self.cluster_id, self.first, self.nodes);
        let directory = random_id()?;
        let text = format!(
            "version=1\ncluster.id={cluster}\nnode.id={first}\ndirectory.id={directory}\n\
             klamm.node.count={nodes}\n"
        );
        let fresh = path.with_extension("tmp");
        let write = || {
            fs::write(&fresh, &text)?;
            File::open(&fresh)?.sync_all()?;
            fs::rename(&fresh, path)?;
            path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        write().map_err(io_error("writing", path))
    }
}

fn random_id() -> Result<String, DataDirError> {
    let bytes = random::bytes().map_err(io_error("reading", Path::new("random bytes")))?;
    let id = TopicId(bytes).to_string();
    // Kafka's ids do not begin with a dash, which tools would take for an option.
    if id.starts_with('-') { random_id() } else { Ok(id) }
}

fn lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(io_error("opening", &path))?;
    // SAFETY: a plain system call on a descriptor that is ours.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(file),
        _ => Err(DataDirError::Locked(dir.to_owned())),
    }
}

fn has_direct_io(dir: &Path) -> bool {
    let path = dir.join(".direct");
    let made = fs::write(&path, [0; BLOCK_BYTES]);
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path);
    let _ = fs::remove_file(&path);
    made.is_ok() && opened.is_ok()
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { doing, path, source }
}
