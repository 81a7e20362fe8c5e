//! Isolation and root file system as a job file has them.

use dawn_proto::v1::{self, root_fs::Source};
use serde_json::Value;

use super::{Fields, show_size, word};
use crate::spec::isolating::NAMESPACES;

pub fn isolation(isolation: &v1::Isolation) -> Fields {
    let mut f = Fields::default();
    if isolation.namespaces() != v1::NamespaceUse::Auto {
        f.text("namespaces", word(&NAMESPACES, isolation.namespaces()));
    }
    f.flag("no_seccomp", isolation.no_seccomp);
    f.flag("keep_capabilities", isolation.keep_capabilities);
    f.flag("read_only_system", isolation.read_only_system);
    f.flag("enforce_ports", isolation.enforce_ports);
    f.row("devices", &isolation.devices);
    f.text("cpuset", isolation.cpuset.as_str());
    f.shown("swap", isolation.swap_bytes, show_size);
    if let Some(limits) = &isolation.io {
        let mut io = Fields::default();
        io.shown("read_per_second", limits.read_bytes_per_s, show_size);
        io.shown("write_per_second", limits.write_bytes_per_s, show_size);
        io.number("read_ops", limits.read_ops_per_s);
        io.number("write_ops", limits.write_ops_per_s);
        io.number("weight", limits.weight);
        f.map("io", io);
    }
    let rlimits = isolation.rlimits.iter();
    f.table("rlimits", rlimits.map(|(name, limit)| (name.clone(), Value::Number((*limit).into()))).collect());
    f
}

pub fn root_fs(root: &v1::RootFs) -> Fields {
    let mut f = Fields::default();
    match &root.source {
        Some(Source::Directory(path)) => f.text("directory", path.as_str()),
        Some(Source::Tarball(path)) => f.text("tarball", path.as_str()),
        Some(Source::OciLayout(path)) => f.text("oci_layout", path.as_str()),
        None => {}
    }
    f.text("tag", root.tag.as_str());
    f
}
