//! The data directories: made once, locked while a server runs, checked before it starts.
//!
//! Each of `log.dirs` has Kafka's `meta.properties` (version, cluster.id, node.id of the first node,
//! directory.id) and, as Klamm's own keys, `klamm.node.count`: the number of nodes was decided when
//! the directory was made and does not follow the number of cores; and `klamm.crc`, first of all, the
//! CRC-32C of the other lines. Node `i` lives in `<log.dirs[i mod n]>/node-<id>/`, which is there before
//! `meta.properties` is: a node whose directory is missing later has lost its records, and does not start
//! without them. `.lock` is held by the running server.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::base::{BLOCK_BYTES, NodeId, TopicId};
use crate::config::ServerConfig;
use crate::runtime::{cpu, random};

const META: &str = "meta.properties";
const CRC: &str = "klamm.crc";
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
    /// A node ran there once.
    #[error(
        "{0} is not there, though its server has run: put it back, start with the log.dirs of before, or make \
         it, empty, to lose what it had"
    )]
    NoNode(PathBuf),
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
            let path = dir.join(META);
            match Meta::read(&path)? {
                Some(meta) => known = known.or(Some(meta)),
                None => check_unused(dir, path)?,
            }
        }
        let is_new = known.is_none();
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
        let buffered = config.log_dirs.iter().filter(|d| !has_direct_io(d)).cloned().collect();
        let dirs = Self {
            dirs: config.log_dirs.clone(),
            _locks: locks,
            cluster_id: meta.cluster_id.clone(),
            nodes: meta.nodes,
            first: meta.first,
            buffered,
        };
        dirs.find_nodes(is_new)?;
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
        Ok(dirs)
    }

    /// Makes the directory of each node of a new server; those of another have to be there.
    fn find_nodes(&self, is_new: bool) -> Result<(), DataDirError> {
        for dir in (0..self.nodes).map(|index| self.node_dir(index)) {
            if is_new {
                fs::create_dir_all(&dir).map_err(io_error("making", &dir))?;
            } else if !dir.exists() {
                return Err(DataDirError::NoNode(dir));
            }
        }
        Ok(())
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
        let bytes = match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(io_error("reading", path))?,
        };
        let parsed = Self::parse(&String::from_utf8_lossy(&bytes));
        parsed.map(Some).map_err(|what| DataDirError::BadMeta { path: path.to_owned(), what })
    }

    /// What is wrong comes back as text. A checksum need not be there.
    fn parse(text: &str) -> Result<Self, String> {
        let value = |key: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs.find(|(k, _)| k.trim() == key).map(|(_, value)| value.trim())
        };
        if let Some(stored) = value(CRC) {
            let computed = checksum(text);
            if stored != computed {
                return Err(format!("it has checksum {computed} where {CRC}={stored} is stored"));
            }
        }
        let needed = |key: &str| value(key).ok_or_else(|| format!("no {key}"));
        let number = |key: &str, range: RangeInclusive<i32>| {
            let text = needed(key)?;
            let number = text.parse().ok().filter(|n| range.contains(n));
            number.ok_or_else(|| format!("{key}={text}"))
        };
        Ok(Self {
            cluster_id: needed("cluster.id")?.to_owned(),
            first: NodeId(number("node.id", 0..=i32::MAX)?),
            nodes: number("klamm.node.count", 1..=i32::from(u16::MAX))? as u16,
        })
    }

    fn text(&self, directory_id: &str) -> String {
        let (cluster, first, nodes) = (&self.cluster_id, self.first, self.nodes);
        let text = format!(
            "version=1\ncluster.id={cluster}\nnode.id={first}\ndirectory.id={directory_id}\n\
             klamm.node.count={nodes}\n"
        );
        // First, since the end of a file is what goes missing.
        format!("{CRC}={}\n{text}", checksum(&text))
    }

    fn write(&self, path: &Path) -> Result<(), DataDirError> {
        let text = self.text(&random_id()?);
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

/// Of all lines but its own, as eight digits.
fn checksum(text: &str) -> String {
    let others = text.lines().filter(|line| !line.starts_with(CRC));
    let sum = others.fold(0, |sum, line| {
        let sum = crc32c::crc32c_append(sum, line.as_bytes());
        crc32c::crc32c_append(sum, b"\n")
    });
    format!("{sum:08x}")
}

/// A directory without `meta.properties` has no node that has run: else the file is lost.
fn check_unused(dir: &Path, path: PathBuf) -> Result<(), DataDirError> {
    let is_id = |name: &str| name.strip_prefix("node-").is_some_and(|id| id.parse::<u32>().is_ok());
    let is_used =
        |node: &str| fs::read_dir(dir.join(node)).is_ok_and(|mut files| files.next().is_some());
    for entry in fs::read_dir(dir).map_err(io_error("listing", dir))? {
        let name = entry.map_err(io_error("listing", dir))?.file_name();
        if let Some(node) = name.to_str().filter(|name| is_id(name) && is_used(name)) {
            let what = format!("it is not there, but {node} is");
            return Err(DataDirError::BadMeta { path, what });
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fuzzing::fuzz;

    const MADE: fn() -> Meta =
        || Meta { cluster_id: "c1".into(), first: NodeId(70_000), nodes: 12 };

    fn read(text: &str) -> Option<String> {
        Meta::parse(text).ok().map(|meta| meta.text("d"))
    }

    #[test]
    fn a_flipped_bit_or_a_cut_is_found_unless_all_of_the_checksum_is_gone() {
        let text = MADE().text("d");
        assert_eq!(read(&text), Some(text.clone()));
        let unsummed = text.split_once('\n').unwrap().1;
        assert_eq!(read(unsummed), Some(text.clone()), "as it was written before");
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone().into_bytes();
                damaged[at] ^= 1 << bit;
                let damaged = String::from_utf8_lossy(&damaged).into_owned();
                assert!(read(&damaged).is_none_or(|read| read == text), "bit {bit} of {damaged:?}");
            }
            assert!(read(&text[..at]).is_none_or(|read| read == text), "{:?}", &text[..at]);
        }
        let said = Meta::parse(&text.replace("=12", "=13")).err().unwrap();
        assert!(said.contains("it has checksum ") && said.contains(" is stored"), "{said}");
        assert_eq!(
            Meta::parse(&unsummed.replace("=12", "=0")).err().unwrap(),
            "klamm.node.count=0"
        );
    }

    #[test]
    fn fuzzed_bytes_are_read_or_refused() {
        fuzz(&[((), MADE().text("d").into_bytes())], |(), bytes| {
            if let Ok(meta) = Meta::parse(&String::from_utf8_lossy(bytes)) {
                assert_eq!(read(&meta.text("d")), Some(meta.text("d")));
            }
        });
    }
}
