//! Zip archives, good ones and those that mean harm.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use rawzip::path::EntryPath;
use rawzip::{CompressionMethod, ZipArchiveWriter};

use super::{World, harmless, unpack};

const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

/// A folder, a symbolic link and a packed script, as Info-ZIP's `zip -yX` writes them.
const MADE_BY_ZIP: &str = "\
    504b03040a000000000012877b5d0000000000000000000000000400000062696e2f504b03040a000000000000002150c0a476500300000003\
    0000000900000062696e2f616761696e72756e504b030414000000080000002150e52586c818000000e60000000700000062696e2f72756e53\
    56d44fcaccd32fcee04a4dcec857c848cdc9c91f7e4c00504b01021e030a000000000012877b5d000000000000000000000000040000000000\
    000000001000ed410000000062696e2f504b01021e030a000000000000002150c0a476500300000003000000090000000000000000000000ff\
    a12200000062696e2f616761696e504b01021e0314000000080000002150e52586c818000000e6000000070000000000000001000000e8814c\
    00000062696e2f72756e504b050600000000030003009e000000890000000000";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// An archive of these names, modes and contents, deflated; the names are written as they are.
fn zip(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for (path, mode, content) in entries {
        let path = EntryPath::verbatim(path.as_bytes());
        let file = archive.new_file(path).unix_permissions(*mode).compression_method(CompressionMethod::DEFLATE);
        let (mut entry, config) = file.start().unwrap();
        let deflate = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
        let mut writer = config.wrap(deflate);
        writer.write_all(content).unwrap();
        let (deflate, sums) = writer.finish().unwrap();
        deflate.finish().unwrap();
        entry.finish(sums).unwrap();
    }
    archive.finish().unwrap()
}

#[tokio::test]
async fn what_a_usual_tool_packs_is_unpacked_with_modes_and_links() {
    let world = World::new(1 << 20, Vec::new());
    unpack(&world, 1, &bytes(MADE_BY_ZIP)).await.unwrap();
    let bin = world.sandbox(1).join("in/bin");
    let script = fs::read_to_string(bin.join("run")).unwrap();
    assert!(script.starts_with("#!/bin/sh\necho hello\n") && script.len() == 230, "{script}");
    assert_eq!(fs::metadata(bin.join("run")).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(fs::read_link(bin.join("again")).unwrap().to_str(), Some("run"));
    assert_eq!(fs::read_to_string(bin.join("again")).unwrap(), script);
}

#[tokio::test]
async fn it_has_no_powers_and_nobody_is_locked_out() {
    let world = World::new(1 << 20, Vec::new());
    let entries: &[(&str, u32, &[u8])] =
        &[("./a/suid", 0o106_755, b"#!"), ("a/bare", 0o100_000, b"x"), ("", FILE, b"")];
    unpack(&world, 1, &zip(entries)).await.unwrap();
    let at = world.sandbox(1).join("in/a");
    assert_eq!(fs::read(at.join("suid")).unwrap(), b"#!");
    assert_eq!(fs::metadata(at.join("suid")).unwrap().mode() & 0o7777, 0o755, "no set-user-id");
    assert_eq!(fs::metadata(at.join("bare")).unwrap().mode() & 0o7777, 0o644, "an archive without permissions");
    unpack(&world, 2, &zip(&[])).await.unwrap();
    assert_eq!(fs::read_dir(world.sandbox(2).join("in")).unwrap().count(), 0);
}

#[tokio::test]
async fn one_that_would_leave_its_folder_is_refused_whole() {
    let world = World::new(1 << 20, Vec::new());
    let out = "would leave the folder";
    let evil: [(Vec<u8>, &str); 9] = [
        (zip(&[("../evil", FILE, b"x")]), out),
        (zip(&[("a/../../evil", FILE, b"x")]), out),
        (zip(&[("/evil", FILE, b"x")]), out),
        (zip(&[("../evil/", FILE, b"")]), out),
        (zip(&[("up", LINK, b"../..")]), "leaves the folder"),
        (zip(&[("abs", LINK, b"/etc")]), "leaves the folder"),
        (zip(&[("d", LINK, b"e"), ("d/evil", FILE, b"x")]), "d: "),
        (zip(&[("long", LINK, &[b'a'; 5_000])]), "leads nowhere"),
        (zip(&[("pipe", 0o010_644, b"")]), "no file, folder or link"),
    ];
    for (task, (archive, told)) in (1..).zip(evil) {
        harmless(&world, task, &archive, told).await;
    }
}

#[tokio::test]
async fn bombs_and_broken_ones_are_stopped() {
    let world = World::new(1 << 20, Vec::new());
    let bomb = zip(&[("big", FILE, &vec![0; 8 << 20])]);
    assert!(bomb.len() < 64 << 10);
    harmless(&world, 1, &bomb, "bigger than the disk").await;
    let parts: Vec<Vec<u8>> = (0..5).map(|_| vec![0; 256 << 10]).collect();
    let names = ["1", "2", "3", "4", "5"];
    let sum: Vec<(&str, u32, &[u8])> =
        names.into_iter().zip(&parts).map(|(name, part)| (name, FILE, &part[..])).collect();
    harmless(&world, 2, &zip(&sum), "bigger than the disk").await;
    let many: Vec<(&str, u32, &[u8])> = vec![("a/", 0o040_755, b""); 1_001];
    harmless(&world, 9, &zip(&many), "more than 1000 entries").await;
    unpack(&world, 10, &zip(&many[..1_000])).await.unwrap();
    let good = zip(&[("file", FILE, b"content")]);
    let found = good.windows(4).position(|at| at == b"PK\x01\x02").unwrap();
    let damaged = |at: usize, byte: u8| {
        let mut archive = good.clone();
        archive[at] = byte;
        archive
    };
    harmless(&world, 3, &damaged(found + 16, !good[found + 16]), "Invalid checksum").await;
    // The size it tells of in its directory is a lie.
    harmless(&world, 4, &damaged(found + 24, 3), "Invalid size").await;
    harmless(&world, 5, &damaged(found + 10, 14), "packed by method 14").await;
    harmless(&world, 6, &damaged(found + 8, good[found + 8] | 1), "file is encrypted").await;
    harmless(&world, 7, &good[..good.len() - 10], "breaks off").await;
    harmless(&world, 8, &damaged(good.len() - 12, 2), "has 1 entries and tells of 2").await;
}
