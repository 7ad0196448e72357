//! A file system in memory that crashes: everything that was not synced may be lost.
//!
//! What is modelled, the worst that a disk without lies may do:
//! - Writes and size changes count from the next sync of their file. At a crash each 512-byte sector
//!   of each pending write is there or not, for itself: lost, torn and reordered writes.
//! - Names count from the next sync of their directory; at a crash a prefix of a directory's pending
//!   changes is there. A rename is one change.
//! - A failed write has written a part; after a failed sync a part is durable and the rest is lost
//!   though reads still show it.
//! - [`SimDisk::rot`] flips a bit that was durable.
//!
//! Direct access checks that addresses, positions and lengths are whole blocks. A crash is armed for
//! a number of operations ahead; from then on every call fails until [`SimDisk::restart`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::base::BLOCK_BYTES;
use crate::runtime::disk::{Access, Disk, DiskFile, Syncs};
use crate::sim::Rng;

#[allow(clippy::disallowed_types, reason = "`Disk` is shared between threads by its contract")]
type Lock<T> = std::sync::Mutex<T>;

const SECTOR_BYTES: usize = 512;

/// How often calls fail, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Writes, with EIO or ENOSPC.
    pub write: usize,
    /// Syncs of files.
    pub sync: usize,
    /// Reads.
    pub read: usize,
}

/// The file system. Clones are the same one.
#[derive(Clone)]
pub struct SimDisk(Arc<Lock<State>>);

struct State {
    rng: Rng,
    nodes: Vec<Node>,
    faults: Faults,
    /// Writes to files in here fail.
    full: Option<PathBuf>,
    /// Operations until the crash.
    crash_in: Option<u64>,
    crashed: bool,
    /// Grows at every restart; handles of before do not work any more.
    life: u64,
    operations: u64,
}

enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Default)]
struct FileNode {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

#[derive(Default)]
struct DirNode {
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<NameChange>,
}

#[derive(Clone)]
enum NameChange {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl FileNode {
    fn resize(bytes: &mut Vec<u8>, size: usize) {
        bytes.truncate(size);
        // A loop over bytes is slow where nothing is inlined; fresh zeroed memory is not.
        bytes.append(&mut vec![0; size - bytes.len()]);
    }

    fn put(bytes: &mut Vec<u8>, at: usize, from: &[u8]) {
        if bytes.len() < at + from.len() {
            Self::resize(bytes, at + from.len());
        }
        bytes[at..at + from.len()].copy_from_slice(from);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write(at, bytes) => Self::put(&mut self.durable, at, &bytes),
                Change::Size(size) => Self::resize(&mut self.durable, size),
            }
        }
    }

    /// Makes some of what is pending durable and drops the rest.
    fn sync_some(&mut self, rng: &mut Rng, percent: usize) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Size(size) if rng.chance(percent) => {
                    Self::resize(&mut self.durable, size);
                }
                Change::Size(_) => (),
                Change::Write(at, bytes) => {
                    let (mut from, end) = (at, at + bytes.len());
                    while from < end {
                        let upto = end.min((from / SECTOR_BYTES + 1) * SECTOR_BYTES);
                        if rng.chance(percent) {
                            Self::put(&mut self.durable, from, &bytes[from - at..upto - at]);
                        }
                        from = upto;
                    }
                }
            }
        }
    }
}

fn eio(what: &str) -> io::Error {
    io::Error::other(format!("simulated: {what}"))
}

impl SimDisk {
    /// Empty, with its own randomness.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            nodes: vec![Node::Dir(DirNode::default())],
            faults: Faults::default(),
            full: None,
            crash_in: None,
            crashed: false,
            life: 0,
            operations: 0,
        };
        Self(Arc::new(Lock::new(state)))
    }

    fn with<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        run(&mut state)
    }

    /// Sets how often calls fail.
    pub fn set_faults(&self, faults: Faults) {
        self.with(|s| s.faults = faults);
    }

    /// Every write that makes a file below this directory longer fails for want of space, until it is
    /// `None`.
    pub fn set_full(&self, dir: Option<&Path>) {
        self.with(|s| s.full = dir.map(Path::to_owned));
    }

    /// The crash comes after so many operations.
    pub fn crash_in(&self, operations: u64) {
        self.with(|s| s.crash_in = Some(operations));
    }

    /// Whether it has come.
    pub fn is_crashed(&self) -> bool {
        self.with(|s| s.crashed)
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.with(|s| s.operations)
    }

    /// The power goes and comes back: what was not synced is there in part or not at all.
    pub fn restart(&self) {
        self.with(State::restart);
    }

    /// Flips a bit of a file, durably.
    pub fn rot(&self, path: &Path, at: usize, bit: u8) {
        self.with(|s| {
            if let Some(node) = s.find(path)
                && let Node::File(file) = &mut s.nodes[node]
            {
                for bytes in [&mut file.now, &mut file.durable] {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
            }
        });
    }

    /// What reads of a file show.
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        self.with(|s| match s.find(path).map(|node| &s.nodes[node]) {
            Some(Node::File(file)) => file.now.clone(),
            _ => Vec::new(),
        })
    }

    /// Paths of all files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.with(|s| {
            let mut found = Vec::new();
            s.walk(0, Path::new("/"), &mut found);
            found
        })
    }
}

impl State {
    fn restart(&mut self) {
        (self.crashed, self.crash_in) = (false, None);
        self.life += 1;
        let percent = [0, 50, 90, 100][self.rng.below(4)];
        for node in &mut self.nodes {
            match node {
                Node::File(file) => {
                    file.sync_some(&mut self.rng, percent);
                    file.now = file.durable.clone();
                }
                Node::Dir(dir) => {
                    let kept = self.rng.below(dir.pending.len() + 1);
                    for change in dir.pending.drain(..).take(kept) {
                        change.apply(&mut dir.durable);
                    }
                    dir.now = dir.durable.clone();
                }
            }
        }
    }

    /// Counts an operation; fails from the crash on.
    fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        match &mut self.crash_in {
            Some(0) => self.crashed = true,
            Some(left) => *left -= 1,
            None => (),
        }
        if self.crashed { Err(eio("the machine is off")) } else { Ok(()) }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let mut node = 0;
        for part in parts(path) {
            let Node::Dir(dir) = &self.nodes[node] else { return None };
            node = *dir.now.get(&part)?;
        }
        Some(node)
    }

    fn find_dir(&mut self, path: &Path) -> io::Result<&mut DirNode> {
        let node = self.find(path).ok_or(io::ErrorKind::NotFound)?;
        match &mut self.nodes[node] {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn change(&mut self, dir: &Path, change: NameChange) -> io::Result<()> {
        let dir = self.find_dir(dir)?;
        change.apply(&mut dir.now);
        dir.pending.push(change);
        Ok(())
    }

    fn make(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let id = self.nodes.len();
        let (dir, name) = split(path);
        self.change(&dir, NameChange::Link(name, id))?;
        self.nodes.push(node);
        Ok(id)
    }

    fn walk(&self, node: usize, path: &Path, found: &mut Vec<PathBuf>) {
        match &self.nodes[node] {
            Node::File(_) => found.push(path.to_owned()),
            Node::Dir(dir) => {
                for (name, &child) in &dir.now {
                    self.walk(child, &path.join(name), found);
                }
            }
        }
    }
}

fn parts(path: &Path) -> Vec<String> {
    let normal = |c: Component<'_>| match c {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    };
    path.components().filter_map(normal).collect()
}

fn split(path: &Path) -> (PathBuf, String) {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    (path.parent().unwrap_or(Path::new("/")).to_owned(), name.unwrap_or_default())
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let (node, life) = self.with(|s| {
            s.step()?;
            let node = match s.find(path) {
                Some(node) => node,
                None if access == Access::ReadOnly => return Err(io::ErrorKind::NotFound.into()),
                None => s.make(path, Node::File(FileNode::default()))?,
            };
            Ok::<_, io::Error>((node, s.life))
        })?;
        let (disk, path, direct) = (self.clone(), path.to_owned(), access == Access::Direct);
        let syncs = Syncs::default();
        Ok(Arc::new(SimFile { disk, path, node, life, direct, syncs }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.with(|s| {
            s.step()?;
            Ok(s.find_dir(dir).map_or(Vec::new(), |d| d.now.keys().cloned().collect()))
        })
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.with(|s| {
            s.step()?;
            let mut path = PathBuf::from("/");
            for part in parts(dir) {
                path.push(part);
                if s.find(&path).is_none() {
                    s.make(&path, Node::Dir(DirNode::default()))?;
                }
            }
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.with(|s| {
            s.step()?;
            let dir = s.find_dir(dir)?;
            dir.pending.clear();
            dir.durable = dir.now.clone();
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|s| {
            s.step()?;
            let ((dir, from), (to_dir, to)) = (split(from), split(to));
            assert_eq!(dir, to_dir, "a rename stays in its directory");
            s.change(&dir, NameChange::Rename(from, to))
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.with(|s| {
            s.step()?;
            if s.find(path).is_none() {
                return Ok(());
            }
            let (dir, name) = split(path);
            s.change(&dir, NameChange::Unlink(name))
        })
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let Some(root) = self.with(|s| s.step().map(|()| s.find(dir)))? else { return Ok(()) };
        let mut files = Vec::new();
        self.with(|s| s.walk(root, dir, &mut files));
        for file in files {
            self.remove_file(&file)?;
        }
        let (parent, name) = split(dir);
        self.with(|s| s.step().and_then(|()| s.change(&parent, NameChange::Unlink(name))))
    }

    /// One seed is one order of calls.
    fn threads(&self) -> usize {
        1
    }
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    node: usize,
    life: u64,
    direct: bool,
    syncs: Syncs,
}

impl SimFile {
    fn with<T>(
        &self,
        run: impl FnOnce(&mut FileNode, &mut Rng, Faults) -> io::Result<T>,
    ) -> io::Result<T> {
        self.disk.with(|s| {
            s.step()?;
            if s.life != self.life {
                return Err(eio("a handle from before the crash"));
            }
            match &mut s.nodes[self.node] {
                Node::File(file) => run(file, &mut s.rng, s.faults),
                Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
            }
        })
    }

    fn check(&self, buf: &[u8], at: u64) {
        let aligned = buf.as_ptr().addr().is_multiple_of(BLOCK_BYTES)
            && buf.len().is_multiple_of(BLOCK_BYTES)
            && at.is_multiple_of(BLOCK_BYTES as u64);
        assert!(!self.direct || aligned, "direct access takes whole blocks");
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|file, _, _| Ok(file.now.len() as u64))
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.check(buf, at);
        self.with(|file, rng, faults| {
            if rng.chance(faults.read) {
                return Err(eio("a read failed"));
            }
            let from = file.now.get(at as usize..).unwrap_or_default();
            let len = from.len().min(buf.len());
            buf[..len].copy_from_slice(&from[..len]);
            Ok(len)
        })
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.check(buf, at);
        let is_full =
            self.disk.with(|s| s.full.as_ref().is_some_and(|dir| self.path.starts_with(dir)));
        self.with(|file, rng, faults| {
            if is_full && at as usize + buf.len() > file.now.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let fails = rng.chance(faults.write);
            let len = if fails { rng.below(buf.len() + 1) } else { buf.len() };
            FileNode::put(&mut file.now, at as usize, &buf[..len]);
            file.pending.push(Change::Write(at as usize, buf[..len].to_vec()));
            match fails {
                true if rng.chance(50) => Err(io::ErrorKind::StorageFull.into()),
                true => Err(eio("a write failed")),
                false => Ok(()),
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.run(|| {
            self.with(|file, rng, faults| {
                if rng.chance(faults.sync) {
                    file.sync_some(rng, 50);
                    return Err(eio("a sync failed"));
                }
                file.sync();
                Ok(())
            })
        })
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.with(|file, _, _| {
            FileNode::resize(&mut file.now, size as usize);
            file.pending.push(Change::Size(size as usize));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_is_there_after_every_crash_and_the_rest_may_not_be() {
        let (mut kept, mut lost, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let disk = SimDisk::new(seed);
            let dir = Path::new("/d");
            disk.create_dir_all(dir).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            let file = disk.open(&dir.join("f"), Access::Buffered).unwrap();
            file.write_at(&[1; 2048], 0).unwrap();
            file.sync().unwrap();
            disk.sync_dir(dir).unwrap();
            file.write_at(&[2; 2048], 0).unwrap();
            disk.restart();
            assert!(file.size().is_err(), "handles do not outlive a crash");
            let bytes = disk.bytes(&dir.join("f"));
            assert!(bytes.iter().all(|b| [1, 2].contains(b)) && bytes.len() == 2048);
            match bytes.iter().map(|b| usize::from(b - 1)).sum() {
                0 => lost += 1,
                2048 => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(kept > 20 && lost > 20 && torn > 20, "{kept} {lost} {torn}");
    }
}
