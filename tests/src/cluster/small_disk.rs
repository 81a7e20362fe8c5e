//! A small file system of one daemon's own, which a test fills.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::{Daemon, Several, skip};

pub struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB at `place`, which is made. None, said aloud, where that is not allowed.
    fn at(place: &Path, mib: u64) -> Option<SmallDisk> {
        std::fs::create_dir_all(place).expect("the cluster's directory is ours");
        let size = format!("size={mib}m,mode=755");
        if let Err(error) = mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some(size.as_str())) {
            skip(&format!("needs a small file system of its own: {error}"));
            return None;
        }
        Some(SmallDisk { place: place.into() })
    }

    /// One for each of these daemons, in the cluster's directory under the daemon's name, by that name; there for as long as
    /// the cluster is.
    pub fn of(several: &Several, daemons: &[Daemon], mib: u64) -> Option<BTreeMap<String, SmallDisk>> {
        let disk = |name: &str| {
            let place = several.folder().join(name);
            let disk = SmallDisk::at(&place, mib)?;
            several.unmount_at_end(place);
            Some(disk)
        };
        daemons.iter().map(|daemon| Some((daemon.name.clone(), disk(&daemon.name)?))).collect()
    }

    fn filler(&self) -> PathBuf {
        self.place.join("filler")
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("an empty file has room");
        let block = vec![b'x'; 64 << 10];
        while filler.write_all(&block).is_ok() {}
        while filler.write_all(b"x").is_ok() {}
    }

    /// Gives the room back.
    pub fn free(&self) {
        // It may never have been filled.
        _ = std::fs::remove_file(self.filler());
    }
}
