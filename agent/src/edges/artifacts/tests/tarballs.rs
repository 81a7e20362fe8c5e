//! Tar archives, good ones and those that mean harm.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tar::EntryType;

use super::{World, harmless, unpack};

type Pack = fn(&[u8]) -> Vec<u8>;

/// One entry, written as it is: the library would refuse to make most of these.
fn entry(kind: EntryType, path: &str, target: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// After a frame that is to be passed over, as some tools begin with.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let passed = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2];
    [passed.to_vec(), compress_to_vec(bytes, CompressionLevel::Fastest)].concat()
}

#[tokio::test]
async fn an_archive_is_unpacked_with_its_links_and_without_its_powers() {
    let world = World::new(1 << 20, Vec::new());
    for (task, pack) in (1..).zip([<[u8]>::to_vec as Pack, gzip, zstd]) {
        let mut archive = entry(EntryType::Directory, "a/", "", b"");
        archive.extend(entry(EntryType::Regular, "./a/run", "", b"#!"));
        archive.extend(entry(EntryType::Symlink, "a/b/link", "../run", b""));
        archive.extend(entry(EntryType::Link, "twin", "a/run", b""));
        archive.extend([0; 1024]);
        unpack(&world, task, &pack(&archive)).await.unwrap();
        let at = world.sandbox(task).join("in");
        assert_eq!(fs::read(at.join("a/b/link")).unwrap(), b"#!");
        assert_eq!(fs::read(at.join("twin")).unwrap(), b"#!");
        assert_eq!(fs::metadata(at.join("a/run")).unwrap().mode() & 0o7777, 0o755, "no set-user-id");
    }
}

#[tokio::test]
async fn an_archive_that_would_leave_its_folder_is_refused_whole() {
    let world = World::new(1 << 20, Vec::new());
    let two = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    let out = "would leave the folder";
    let evil = [
        (entry(EntryType::Regular, "../evil", "", b"x"), out),
        (entry(EntryType::Regular, "a/../../evil", "", b"x"), out),
        (entry(EntryType::Regular, "/evil", "", b"x"), out),
        (entry(EntryType::Directory, "../evil/", "", b""), out),
        (entry(EntryType::Symlink, "up", "../..", b""), "leaves the folder"),
        (entry(EntryType::Symlink, "abs", "/etc", b""), "leaves the folder"),
        (two(entry(EntryType::Symlink, "d", "e", b""), entry(EntryType::Regular, "d/evil", "", b"x")), "d: "),
        (entry(EntryType::Link, "hard", "../../archive1", b""), out),
        (two(entry(EntryType::Symlink, "s", "x", b""), entry(EntryType::Link, "hard", "s/../../evil", b"")), out),
        (entry(EntryType::Char, "dev", "", b""), "no file, folder or link"),
        (entry(EntryType::Fifo, "pipe", "", b""), "no file, folder or link"),
        (entry(EntryType::Regular, "short", "", &[1; 2_000])[..1_000].to_vec(), "breaks off"),
    ];
    for (task, (archive, told)) in (1..).zip(evil) {
        let archive = [archive, vec![0; 1024]].concat();
        harmless(&world, task, &archive, told).await;
    }
}

#[tokio::test]
async fn a_bomb_is_stopped_before_it_fills_the_disk_or_the_memory() {
    let world = World::new(1 << 20, Vec::new());
    let zeroes = vec![0; 2 << 20];
    // The library holds names in memory.
    let names = entry(EntryType::GNULongName, "././@LongLink", "", &zeroes);
    let bombs = [
        (entry(EntryType::Regular, "big", "", &zeroes), "bigger than the disk"),
        (names, "more than 1048576 bytes of names"),
        (entry(EntryType::Directory, "a", "", b"").repeat(1_001), "more than 1000 entries"),
        (entry(EntryType::XGlobalHeader, "pax", "", &zeroes), "more than 1048576 bytes of names"),
    ];
    for (task, (bomb, told)) in (1..).zip(bombs) {
        for (task, packed) in [(task, gzip(&bomb)), (task + 10, zstd(&bomb))] {
            assert!(packed.len() < 64 << 10);
            harmless(&world, task, &packed, told).await;
        }
    }
}

#[tokio::test]
async fn one_that_breaks_off_or_is_packed_otherwise_says_so() {
    let world = World::new(1 << 20, Vec::new());
    let text: Vec<u8> = (0..9_000u32).flat_map(|number| number.to_string().into_bytes()).collect();
    let whole = entry(EntryType::Regular, "file", "", &text);
    let half = |packed: Vec<u8>| packed[..packed.len() / 2].to_vec();
    harmless(&world, 1, &half(gzip(&whole)), "breaks off").await;
    harmless(&world, 2, &half(zstd(&whole)), "breaks off").await;
    harmless(&world, 3, b"BZh91AY&SY and more", "packed by bzip2; repack it as").await;
}
