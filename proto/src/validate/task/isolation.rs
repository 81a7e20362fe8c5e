//! Rules for a task's namespaces, filters, further limits and root file system.

use super::super::{Errors, text::shown};
use crate::v1::root_fs::Source;
use crate::v1::{Isolation, NamespaceUse, RootFs, TaskSpec};

/// Limits of processes that can be set, by name.
pub const RLIMITS: [&str; 15] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "sigpending",
    "stack",
];

const MAX_PATH_BYTES: usize = 4_095;
const MAX_CPU: u32 = 8_191;

pub(super) fn check(task: &TaskSpec, errors: &mut Errors) {
    if let Some(isolation) = &task.isolation {
        isolated(isolation, task.root_fs.is_some(), errors);
    }
    if let Some(root) = &task.root_fs {
        root_fs(root, errors);
    }
}

fn isolated(isolation: &Isolation, has_root: bool, errors: &mut Errors) {
    let path = "task.isolation";
    let namespaces = NamespaceUse::try_from(isolation.namespaces);
    for (needed, field) in [(isolation.read_only_system, "read_only_system"), (has_root, "root_fs")] {
        if needed && namespaces == Ok(NamespaceUse::None) {
            errors.at(format!("{path}.namespaces"), format!("`none` leaves nothing to make {field} in"));
        }
    }
    for (i, device) in isolation.devices.iter().enumerate() {
        if !device.starts_with("/dev/") || !is_plain(device) {
            let message = format!("{} is no device; write a path like /dev/fuse", shown(device));
            errors.at(format!("{path}.devices[{i}]"), message);
        }
    }
    if !isolation.cpuset.is_empty() && cpus(&isolation.cpuset).is_none() {
        let message = format!("{} is no list of cpus; write \"0-3,6\"", shown(&isolation.cpuset));
        errors.at(format!("{path}.cpuset"), message);
    }
    for name in isolation.rlimits.keys() {
        if !RLIMITS.contains(&name.as_str()) {
            let message = format!("{} is no limit of processes; there are: {}", shown(name), RLIMITS.join(", "));
            errors.at(format!("{path}.rlimits"), message);
        }
    }
}

fn root_fs(root: &RootFs, errors: &mut Errors) {
    let path = "task.root_fs";
    let (field, place) = match &root.source {
        None => return errors.at(path, "needs a directory, a tarball or an oci_layout"),
        Some(Source::Directory(place)) => ("directory", place),
        Some(Source::Tarball(place)) => ("tarball", place),
        Some(Source::OciLayout(place)) => ("oci_layout", place),
    };
    if !is_plain(place) {
        let message = format!("{} is no absolute path without \"..\"", shown(place));
        errors.at(format!("{path}.{field}"), message);
    }
    if !root.tag.is_empty() && field != "oci_layout" {
        errors.at(format!("{path}.tag"), "only images of an oci_layout have tags");
    }
}

/// Absolute, and to nowhere but where it says.
fn is_plain(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= MAX_PATH_BYTES
        && !path.contains(['\0', '\n', ':', ','])
        && path.split('/').all(|part| part != "..")
}

/// The cpus of a list in the kernel's form: "0-2,5".
fn cpus(list: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last > MAX_CPU {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::super::super::bounds::{At, Bounded};
    use super::*;

    fn wrong(mut isolation: Isolation) -> Vec<String> {
        let mut errors = Errors(Vec::new());
        isolation.bound(At::root("task.isolation"), &mut errors);
        isolated(&isolation, false, &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_rule_names_its_field() {
        assert_eq!(
            wrong(Isolation { cpuset: "0-2,5".into(), devices: vec!["/dev/fuse".into()], ..Isolation::default() }),
            [""; 0]
        );
        for (bad, field) in [
            (Isolation { cpuset: "3-1".into(), ..Isolation::default() }, "cpuset"),
            (Isolation { cpuset: "0,,1".into(), ..Isolation::default() }, "cpuset"),
            (Isolation { devices: vec!["/dev/../etc/shadow".into()], ..Isolation::default() }, "devices[0]"),
            (Isolation { devices: vec!["/etc/shadow".into()], ..Isolation::default() }, "devices[0]"),
            (Isolation { namespaces: 9, ..Isolation::default() }, "namespaces"),
            (Isolation { namespaces: 1, read_only_system: true, ..Isolation::default() }, "namespaces"),
            (Isolation { rlimits: [("files".to_string(), 1)].into(), ..Isolation::default() }, "rlimits"),
        ] {
            let wrong = wrong(bad);
            assert!(wrong.len() == 1 && wrong[0].contains(field), "{field}: {wrong:?}");
        }
    }

    #[test]
    fn a_root_is_one_absolute_path() {
        let wrong = |root| {
            let mut errors = Errors(Vec::new());
            root_fs(&root, &mut errors);
            errors.0.len()
        };
        let at = |source, tag: &str| RootFs { source, tag: tag.into() };
        assert_eq!(wrong(at(Some(Source::OciLayout("/srv/image".into())), "v1")), 0);
        assert_eq!(wrong(at(None, "")), 1);
        for bad in ["srv", "/a/../b", "/a,b", "/a:b"] {
            assert_eq!(wrong(at(Some(Source::Directory(bad.into())), "")), 1, "{bad}");
        }
        assert_eq!(wrong(at(Some(Source::Tarball("/a.tar".into())), "v1")), 1);
    }
}
