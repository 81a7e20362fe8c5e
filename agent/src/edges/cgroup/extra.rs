//! What a task is limited to only when it asks: cpus, io, device files. Version 1 has a group for each, which a task
//! that asks for nothing need not join; version 2 has all in one.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use cgroups_rs::blkio::BlkIoController;
use cgroups_rs::cpuset::CpuSetController;
use cgroups_rs::devices::{DevicePermissions, DeviceType, DevicesController};
use cgroups_rs::error::Error;
use nix::sys::stat::{major, minor};

use super::gpus::DeviceRule;
use super::{CgroupError, device_filter, io_error};
use crate::model::{FurtherLimits, IoLimits};

/// Version 1 controllers for those who ask.
pub(super) const V1: [&str; 3] = ["cpuset", "blkio", "devices"];

/// Harmless device files, by number: null, zero, full, random, urandom, tty, ptmx; and every pts.
const HARMLESS: [(u64, Option<u64>); 8] =
    [(1, Some(3)), (1, Some(5)), (1, Some(7)), (1, Some(8)), (1, Some(9)), (5, Some(0)), (5, Some(2)), (136, None)];

/// A device file as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub is_block: bool,
    pub major: u64,
    /// None: all of them.
    pub minor: Option<u64>,
}

/// Which of the version 1 controllers these limits need; `keeps_devices`: devices are kept from every task.
pub(super) fn needed(limits: &FurtherLimits, keeps_devices: bool) -> impl Iterator<Item = &'static str> {
    let needed =
        [!limits.cpuset.is_empty(), limits.io != IoLimits::default(), keeps_devices || !limits.devices.is_empty()];
    V1.into_iter().zip(needed).filter(|(_, needed)| *needed).map(|(name, _)| name)
}

/// Whether a version 2 group has what is version 1's controller of this name.
pub(super) fn is_there(group: &Path, controller: &str) -> bool {
    let name = if controller == "blkio" { "io" } else { controller };
    let controllers = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    controller == "devices" || controllers.split_whitespace().any(|one| one == name)
}

/// The harmless devices and those asked for.
pub(super) fn devices(paths: &[String]) -> Result<Vec<Device>, CgroupError> {
    let harmless = HARMLESS.iter().map(|(major, minor)| Device { is_block: false, major: *major, minor: *minor });
    let mut devices: Vec<Device> = harmless.collect();
    for path in paths {
        devices.push(device(Path::new(path))?);
    }
    Ok(devices)
}

/// The device behind a file.
pub(super) fn device(path: &Path) -> Result<Device, CgroupError> {
    let meta = fs::metadata(path).map_err(io_error("find the device for", path))?;
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        let error = io::Error::other("it is no device file");
        return Err(io_error("find the device for", path)(error));
    }
    let (major, minor) = (major(meta.rdev()), minor(meta.rdev()));
    Ok(Device { is_block: kind.is_block_device(), major, minor: Some(minor) })
}

/// Restricts version 1's own group for devices.
pub(super) fn restrict_devices(path: &Path, rule: &DeviceRule) -> Result<(), CgroupError> {
    let controller = DevicesController::new(path.to_path_buf());
    let all = DevicePermissions::all();
    let parts = |one: &Device| {
        let number = |number: u64| i64::try_from(number).unwrap_or(-1);
        let kind = if one.is_block { DeviceType::Block } else { DeviceType::Char };
        (kind, number(one.major), one.minor.map_or(-1, number))
    };
    let allow = |one: &Device| {
        let (kind, major, minor) = parts(one);
        controller.allow_device(kind, major, minor, &all)
    };
    let deny = |one: &Device| {
        let (kind, major, minor) = parts(one);
        controller.deny_device(kind, major, minor, &all)
    };
    let restricted = match rule {
        DeviceRule::Only(devices) => {
            controller.deny_device(DeviceType::All, -1, -1, &all).and_then(|()| devices.iter().try_for_each(allow))
        }
        DeviceRule::AllBut(devices) => devices.iter().try_for_each(deny),
    };
    restricted.map_err(failed("devices", path))
}

/// Restricts a version 2 group, which has a program for it instead of files.
pub(super) fn filter_devices(path: &Path, rule: &DeviceRule) -> Result<(), CgroupError> {
    device_filter::attach(path, rule).map_err(io_error("restrict the devices of", path))
}

/// Keeps a group to these cpus; its memory nodes are its parent's.
pub(super) fn keep_to_cpus(path: &Path, cpus: &str, v2: bool) -> Result<(), CgroupError> {
    let controller = CpuSetController::new(path.to_path_buf(), v2);
    if !v2 {
        inherit(path)?;
    }
    controller.set_cpus(cpus).map_err(failed("cpuset", path))
}

/// A new version 1 group has no cpus and no memory nodes, and takes no process before it has both.
pub(super) fn inherit(path: &Path) -> Result<(), CgroupError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (own, parent) = (path.join(file), path.parent().unwrap_or(path).join(file));
        if fs::read_to_string(&own).is_ok_and(|text| text.trim().is_empty()) {
            let inherited = fs::read_to_string(&parent).and_then(|text| fs::write(&own, text.trim()));
            inherited.map_err(io_error("set", &own))?;
        }
    }
    Ok(())
}

/// Limits io on the disk behind `place`.
pub(super) fn limit_io(path: &Path, limits: &IoLimits, place: &Path, v2: bool) -> Result<(), CgroupError> {
    let controller = BlkIoController::new(path.to_path_buf(), v2);
    let set = |result: Result<(), Error>| result.map_err(failed("io", path));
    if limits.weight > 0 {
        weigh_io(path, limits.weight, v2)?;
    }
    if (IoLimits { weight: 0, ..*limits }) == IoLimits::default() {
        return Ok(());
    }
    let (major, minor) = disk(place)?;
    let given = |amount: u64| (amount > 0).then_some(amount);
    if let Some(rate) = given(limits.read_bytes_per_s) {
        set(controller.throttle_read_bps_for_device(major, minor, rate))?;
    }
    if let Some(rate) = given(limits.write_bytes_per_s) {
        set(controller.throttle_write_bps_for_device(major, minor, rate))?;
    }
    if let Some(rate) = given(limits.read_ops_per_s) {
        set(controller.throttle_read_iops_for_device(major, minor, rate))?;
    }
    if let Some(rate) = given(limits.write_ops_per_s) {
        set(controller.throttle_write_iops_for_device(major, minor, rate))?;
    }
    Ok(())
}

/// By the file that this kernel has: the one all schedulers of io used to share, or that of BFQ alone. All stand at 100
/// unless written to. Not through cgroups-rs, which knows one file for each version.
fn weigh_io(path: &Path, weight: u32, v2: bool) -> Result<(), CgroupError> {
    let [all, bfq] = if v2 { ["io.weight", "io.bfq.weight"] } else { ["blkio.weight", "blkio.bfq.weight"] };
    let Some(file) = [all, bfq].map(|name| path.join(name)).into_iter().find(|file| file.exists()) else {
        let error = io::Error::other(format!("this kernel has neither {all} nor {bfq}"));
        return Err(io_error("weigh the io of", path)(error));
    };
    fs::write(&file, weight.to_string()).map_err(io_error("write", &file))
}

/// The whole disk that holds a directory: the kernel limits no partitions.
fn disk(place: &Path) -> Result<(u64, u64), CgroupError> {
    let device = fs::metadata(place).map_err(io_error("find the disk for", place))?.dev();
    let number = (major(device), minor(device));
    let entry = PathBuf::from(format!("/sys/dev/block/{}:{}", number.0, number.1));
    if !entry.exists() {
        let error = io::Error::other("its file system is on no disk of its own, so io can't be limited");
        return Err(io_error("find the disk for", place)(error));
    }
    if !entry.join("partition").exists() {
        return Ok(number);
    }
    let text = fs::canonicalize(&entry).and_then(|part| fs::read_to_string(part.join("../dev")));
    let text = text.map_err(io_error("find the disk for", place))?;
    let whole = text.trim().split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    Ok(whole.unwrap_or(number))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(Error) -> CgroupError {
    let path = path.to_path_buf();
    move |source| CgroupError::Limit { what, path, source: source.into() }
}
