//! Another root file system: layers that nobody writes to under one that is the task's own, by overlayfs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{fchdir, pivot_root};

use super::devices::{Devices, place_file};
use super::mounts::{MountError, bind, failed, open, processes};
use crate::model::Setting;

/// The network is the node's, and so are its names.
const NAMES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"];

/// The root left behind, still there to take things from.
pub struct Outside(File);

/// Makes the task's root and goes there; /proc, /dev and /sys are in it.
///
/// # Errors
/// The step that failed.
pub fn enter(setting: &Setting) -> Result<Outside, MountError> {
    let place = setting.meta.join("root");
    overlay(setting, &place)?;
    let devices = Devices::open(setting)?;
    let names: Vec<(&str, File)> = NAMES.iter().filter_map(|path| Some((*path, open(Path::new(path)).ok()?))).collect();
    let system = open(Path::new("/sys"))?;
    let outside = open(Path::new("/"))?;
    std::env::set_current_dir(&place).map_err(failed("enter", &place))?;
    pivot_root(".", ".").map_err(failed("make the root of", &place))?;
    std::env::set_current_dir("/").map_err(failed("enter", "/"))?;
    for dir in ["/proc", "/sys", "/dev"] {
        fs::create_dir_all(dir).map_err(failed("make", dir))?;
    }
    processes()?;
    bind(&system, Path::new("/sys"))?;
    devices.place()?;
    for (path, file) in &names {
        // An image without /etc, or with something else there, has its own ways.
        let _ = place_file(file, Path::new(path));
    }
    Ok(Outside(outside))
}

fn overlay(setting: &Setting, place: &Path) -> Result<(), MountError> {
    let private = setting.meta.join("private");
    let (upper, work) = (private.join("upper"), private.join("work"));
    for dir in [place, &upper, &work] {
        fs::create_dir_all(dir).map_err(failed("make", dir))?;
    }
    let text = |path: &Path| path.display().to_string();
    // The kernel takes a page of options: layers of one directory are named from there.
    let layers = &setting.isolation.root_layers;
    let parent = layers[0].parent().unwrap_or(Path::new("/"));
    let relative = layers.iter().all(|layer| layer.parent() == Some(parent));
    if relative {
        std::env::set_current_dir(parent).map_err(failed("enter", parent))?;
    }
    let name = |layer: &PathBuf| match layer.strip_prefix(parent) {
        Ok(name) if relative => text(name),
        _ => text(layer),
    };
    let layers: Vec<String> = layers.iter().map(name).collect();
    let options = format!("lowerdir={},upperdir={},workdir={}", layers.join(":"), text(&upper), text(&work));
    mount(Some("overlay"), place, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(failed("mount the layers at", place))
}

impl Outside {
    /// Lets go of the old root.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn leave(self) -> Result<(), MountError> {
        fchdir(&self.0).map_err(failed("enter", "the old root"))?;
        umount2(".", MntFlags::MNT_DETACH).map_err(failed("let go of", "the old root"))?;
        std::env::set_current_dir("/").map_err(failed("enter", "/"))
    }
}
