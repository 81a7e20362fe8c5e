//! Tar archives, good ones and those that mean harm.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use dawn_proto::v1::Reason;
use tar::EntryType;

use super::super::*;
use super::{World, sha256};

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

async fn unpack(world: &World, task: u64, mut archive: Vec<u8>, gzip: bool) -> Result<Vec<String>, Refusal> {
    archive.extend([0; 1024]);
    if gzip {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&archive).unwrap();
        archive = packed.finish().unwrap();
    }
    let path = world.work.path().join(format!("archive{task}"));
    fs::write(&path, &archive).unwrap();
    let artifact = Artifact {
        uri: format!("file://{}", path.display()),
        sha256: sha256(&archive),
        destination: "in".into(),
        extract: true,
        mode: 0o644,
    };
    world.fetch(task, &[artifact]).await
}

#[tokio::test]
async fn an_archive_is_unpacked_with_its_links_and_without_its_powers() {
    let world = World::new(1 << 20, Vec::new());
    for (task, gzip) in [(1, false), (2, true)] {
        let mut archive = entry(EntryType::Directory, "a/", "", b"");
        archive.extend(entry(EntryType::Regular, "./a/run", "", b"#!"));
        archive.extend(entry(EntryType::Symlink, "a/b/link", "../run", b""));
        archive.extend(entry(EntryType::Link, "twin", "a/run", b""));
        unpack(&world, task, archive, gzip).await.unwrap();
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
    let evil = [
        entry(EntryType::Regular, "../evil", "", b"x"),
        entry(EntryType::Regular, "a/../../evil", "", b"x"),
        entry(EntryType::Regular, "/evil", "", b"x"),
        entry(EntryType::Symlink, "up", "../..", b""),
        entry(EntryType::Symlink, "abs", "/etc", b""),
        two(entry(EntryType::Symlink, "d", "e", b""), entry(EntryType::Regular, "d/evil", "", b"x")),
        entry(EntryType::Link, "hard", "../../archive1", b""),
        two(entry(EntryType::Symlink, "s", "x", b""), entry(EntryType::Link, "hard", "s/../../evil", b"")),
        entry(EntryType::Char, "dev", "", b""),
        entry(EntryType::Fifo, "pipe", "", b""),
        entry(EntryType::Regular, "big", "", &vec![0; 2 << 20]),
        entry(EntryType::Regular, "short", "", &[1; 2_000])[..1_000].to_vec(),
    ];
    for (number, archive) in evil.into_iter().enumerate() {
        let task = number as u64 + 1;
        let refused = unpack(&world, task, archive, false).await;
        let Err(Refusal::Artifact { reason, message }) = refused else { panic!("{number}: {refused:?}") };
        assert_eq!(reason, Reason::ArtifactFailed, "{number}: {message}");
        for place in ["evil", "in/../evil", "in/e"] {
            assert!(!world.sandbox(task).join(place).exists(), "{number}: {message}");
        }
        assert!(!world.work.path().join("evil").exists(), "{number}: {message}");
    }
}
