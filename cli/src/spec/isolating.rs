//! Fields of a job file that say what keeps its tasks to themselves: reading and writing them.

use dawn_proto::v1;
use dawn_proto::v1::root_fs::Source;

use super::decode::{Fields, Reader, whole};
use super::units;

pub const ISOLATION: &[&str] = &[
    "namespaces",
    "no_seccomp",
    "keep_capabilities",
    "read_only_system",
    "enforce_ports",
    "devices",
    "cpuset",
    "swap",
    "io",
    "rlimits",
];
pub const IO: &[&str] = &["read_per_second", "write_per_second", "read_ops", "write_ops", "weight"];
pub const ROOT_FS: &[&str] = &["directory", "tarball", "oci_layout", "tag"];

pub const NAMESPACES: [(&str, v1::NamespaceUse); 3] =
    [("auto", v1::NamespaceUse::Auto), ("none", v1::NamespaceUse::None), ("required", v1::NamespaceUse::Required)];

pub fn isolation(r: &mut Reader, f: &Fields) -> Option<v1::Isolation> {
    let f = f.fields(r, "isolation", "task.isolation", ISOLATION)?;
    let mut rlimits = std::collections::BTreeMap::new();
    for (name, node, place) in f.entries(r, "rlimits", "rlimits") {
        match r.text(node, &place).map(|text| (text, whole::<u64>(text))) {
            Some((_, Ok(limit))) => drop(rlimits.insert(name.to_string(), limit)),
            Some((text, Err(message))) => {
                r.wrong(node.at, &place.file, format!("`{}` {message}", crate::render::safe(text)));
            }
            None => {}
        }
    }
    Some(v1::Isolation {
        namespaces: f.choice(r, "namespaces", &NAMESPACES).map_or(0, Into::into),
        no_seccomp: f.flag(r, "no_seccomp", "no_seccomp"),
        keep_capabilities: f.flag(r, "keep_capabilities", "keep_capabilities"),
        read_only_system: f.flag(r, "read_only_system", "read_only_system"),
        enforce_ports: f.flag(r, "enforce_ports", "enforce_ports"),
        devices: f.take(r, "devices", "devices").map(|(node, place)| r.texts(node, &place)).unwrap_or_default(),
        cpuset: f.text(r, "cpuset", "cpuset").unwrap_or_default(),
        swap_bytes: f.above_zero(r, ("swap", "swap_bytes"), units::size),
        io: f.fields(r, "io", "io", IO).map(|f| v1::IoLimits {
            read_bytes_per_s: f.above_zero(r, ("read_per_second", "read_bytes_per_s"), units::size),
            write_bytes_per_s: f.above_zero(r, ("write_per_second", "write_bytes_per_s"), units::size),
            read_ops_per_s: f.above_zero(r, ("read_ops", "read_ops_per_s"), whole),
            write_ops_per_s: f.above_zero(r, ("write_ops", "write_ops_per_s"), whole),
            weight: f.above_zero(r, ("weight", "weight"), whole),
        }),
        rlimits,
    })
}

pub fn root_fs(r: &mut Reader, f: &Fields) -> Option<v1::RootFs> {
    let f = f.fields(r, "root_fs", "task.root_fs", ROOT_FS)?;
    let given: Vec<&str> = ROOT_FS[..3].iter().copied().filter(|name| f.has(name)).collect();
    if given.len() > 1
        && let Some((node, place)) = f.take(r, given[1], given[1])
    {
        r.wrong(node.at, &place.file, format!("one source is enough; `{}` is there already", given[0]));
    }
    let directory = f.text(r, "directory", "directory").map(Source::Directory);
    let tarball = f.text(r, "tarball", "tarball").map(Source::Tarball);
    let oci = f.text(r, "oci_layout", "oci_layout").map(Source::OciLayout);
    Some(v1::RootFs { source: directory.or(tarball).or(oci), tag: f.text(r, "tag", "tag").unwrap_or_default() })
}
