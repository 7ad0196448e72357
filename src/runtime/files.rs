//! The real file system behind [`Disk`].
//!
//! Where it has no direct I/O ([`Access::Direct`] is refused with EINVAL), files are opened through
//! the page cache instead; they are synced all the same.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::base::BLOCK_BYTES;
use crate::runtime::disk::{Access, Disk, DiskFile, Syncs};

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

impl Disk for Files {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        if access != Access::ReadOnly {
            options.write(true).create(true).truncate(false);
        }
        let plain = options.clone();
        if access == Access::Direct {
            options.custom_flags(libc::O_DIRECT);
        }
        let file = match options.open(path) {
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => plain.open(path)?,
            opened => opened?,
        };
        Ok(Arc::new(OpenFile(file, Syncs::default())))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let name = |e: io::Result<fs::DirEntry>| Ok(e?.file_name().to_string_lossy().into_owned());
        let mut names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        missing_is_fine(fs::remove_file(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        missing_is_fine(fs::remove_dir_all(dir))
    }

    fn threads(&self) -> usize {
        16
    }
}

fn missing_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

struct OpenFile(File, Syncs);

impl DiskFile for OpenFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.0.read_at(&mut buf[filled..], at + filled as u64) {
                Ok(n) => {
                    filled += n;
                    // The file ends inside a block; a direct read from there would be refused.
                    if n == 0 || !n.is_multiple_of(BLOCK_BYTES) {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(buf, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.run(|| self.0.sync_data())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }
}
