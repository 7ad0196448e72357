//! A small file system of its own on a loop device, which can be filled and shut down under the
//! server. It takes root and `mount`; where those are not to be had a test says so and ends.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kind of file system, and how it is made.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    mkfs: &'static [&'static str],
}

pub const EXT4: Kind = Kind { name: "ext4", mkfs: &["mkfs.ext4", "-q", "-F"] };
pub const XFS: Kind = Kind { name: "xfs", mkfs: &["mkfs.xfs", "-q", "-f"] };

/// Shuts a file system down (ext4, XFS): like a power cut, if nothing is flushed before.
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
const NO_LOG_FLUSH: u32 = 2;

/// A mounted file system.
pub struct Volume {
    image: PathBuf,
    pub dir: PathBuf,
}

impl Volume {
    /// Makes one of `mib` MiB below `place`; says why not where this machine does not do that.
    pub fn make(kind: Kind, place: &Path, mib: u64) -> Option<Self> {
        let volume = Self { image: place.join("image"), dir: place.join("volume") };
        let _ = fs::create_dir_all(&volume.dir);
        let image = File::create(&volume.image).unwrap();
        image.set_len(mib << 20).unwrap();
        let made = run(Command::new(kind.mkfs[0]).args(&kind.mkfs[1..]).arg(&volume.image));
        match made.and_then(|()| volume.try_mount()) {
            Ok(()) => Some(volume),
            Err(why) => {
                println!("SKIPPED: no {} on a loop device here: {why}", kind.name);
                None
            }
        }
    }

    fn try_mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.dir))
    }

    pub fn mount(&self) {
        self.try_mount().unwrap();
    }

    /// Nothing may have a file open on it; a server that was just killed may for a moment.
    pub fn unmount(&self) {
        crate::common::until(std::time::Duration::from_secs(20), "an unmount", || {
            run(Command::new("umount").arg(&self.dir)).ok()
        });
    }

    /// The power goes: whatever the file system has not yet in its log or in place is lost.
    pub fn cut(&self) {
        let dir = File::open(&self.dir).unwrap();
        // SAFETY: the call reads one u32, which outlives it.
        let done = unsafe { libc::ioctl(dir.as_raw_fd(), FS_IOC_SHUTDOWN, &NO_LOG_FLUSH) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// Fills it up to the last block; the file that does so, to be removed.
    pub fn fill(&self) -> PathBuf {
        use std::io::Write as _;
        let path = self.dir.join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; size]).and_then(|()| file.sync_data()).is_ok() {}
        }
        path
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(&self.dir));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(e) => Err(format!("{}: {e}", command.get_program().display())),
    }
}
