//! A disk of their own for servers: a file system in a file, on which faults can be made that a shared disk forbids.
//!
//! What it promises: servers find their data directories there through links, so that the disk can be taken away, repaired
//! and put back in the same place; it is gone when the value is dropped, also under running servers. What it must not do:
//! decide what a server does about it.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use super::loop_device::{self, Mounted, run, text};

const IMAGE_BYTES: u64 = 256 << 20;

pub struct SmallDisk {
    /// Before the room, so that it is unmounted first.
    mounted: Option<Mounted>,
    room: TempDir,
}

impl SmallDisk {
    /// Makes a disk and puts these data directories, which must not be there yet, on it.
    pub fn under(data_dirs: &[PathBuf]) -> Self {
        let room = tempfile::tempdir().unwrap();
        let disk = Self { mounted: None, room };
        loop_device::make_image(&disk.path("disk.img"), IMAGE_BYTES).unwrap();
        let disk = disk.put_back("disk.img");
        for data_dir in data_dirs {
            let target = disk.path("mounted").join(data_dir.file_name().unwrap());
            std::fs::create_dir(&target).unwrap();
            symlink(target, data_dir).unwrap();
        }
        disk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    fn put_back(mut self, image: &str) -> Self {
        self.mounted = Some(Mounted::new(&self.path(image), self.path("mounted")).unwrap());
        self
    }

    /// What the kernel does after an error of the file system's own: every further write is refused.
    pub fn turn_read_only(&self) {
        run("mount", &["-o", "remount,abort", text(&self.path("mounted"))]).unwrap();
    }

    /// Takes the disk away from servers that have ended, repairs it and puts it back.
    pub fn repair(mut self) -> Self {
        self.mounted = None;
        run("e2fsck", &["-fy", text(&self.path("disk.img"))]).unwrap();
        self.put_back("disk.img")
    }

    /// Keeps what has reached the disk up to now, apart from what the page cache knows.
    pub fn copy_what_is_durable(&self) {
        run("cp", &["--sparse=always", text(&self.path("disk.img")), text(&self.path("copy.img"))]).unwrap();
    }

    /// Puts what was kept in the place of the disk, as after a power cut. No server may run.
    pub fn go_on_with_the_copy(mut self) -> Self {
        self.mounted = None;
        std::fs::rename(self.path("copy.img"), self.path("disk.img")).unwrap();
        self.repair()
    }
}
