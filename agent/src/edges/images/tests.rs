//! Archives and layouts, good and hostile.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use dawn_proto::TaskId;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::{Images, hex};
use crate::model::RootFs;

const KEEP: u64 = 1 << 20;

fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, content) in entries {
        let mut header = Header::new_gnu();
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let data = if is_link { "" } else { content };
        // By hand: the builder itself refuses hostile names.
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        if is_link {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_entry_type(*kind);
        header.set_mode(if *kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(nix::unistd::geteuid().as_raw().into());
        header.set_gid(nix::unistd::getegid().as_raw().into());
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn images(keep_bytes: u64) -> (tempfile::TempDir, Images) {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path(), keep_bytes, &BTreeSet::new());
    (dir, images)
}

fn tarball(dir: &Path, name: &str, bytes: &[u8]) -> RootFs {
    fs::write(dir.join(name), bytes).unwrap();
    RootFs::Tarball(dir.join(name))
}

#[test]
fn a_tarball_is_unpacked_once_however_it_is_packed() {
    let (dir, images) = images(KEEP);
    let plain = archive(&[("etc/", EntryType::Directory, ""), ("etc/name", EntryType::Regular, "me")]);
    for (name, bytes) in [("a.tar", plain.clone()), ("a.tgz", gzip(&plain)), ("a.tzst", zstd(&plain))] {
        let root = tarball(dir.path(), name, &bytes);
        let layers = images.resolve(&root).unwrap();
        images.provide(TaskId(1), &layers).unwrap();
        assert_eq!(fs::read_to_string(layers[0].path.join("etc/name")).unwrap(), "me");
        let before = fs::metadata(layers[0].path.join("etc/name")).unwrap();
        images.provide(TaskId(2), &images.resolve(&root).unwrap()).unwrap();
        let after = fs::metadata(layers[0].path.join("etc/name")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::ino(&before), std::os::unix::fs::MetadataExt::ino(&after));
    }
}

#[test]
fn nothing_hostile_gets_out_of_its_directory() {
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().to_str().unwrap();
    let up = "../../../../../../../../..";
    let climb = format!("{up}{out}/climbed");
    let cases: [Vec<(&str, EntryType, &str)>; 6] = [
        vec![("../escaped", EntryType::Regular, "x")],
        vec![("a/../../escaped", EntryType::Regular, "x")],
        vec![(&climb, EntryType::Regular, "x")],
        vec![("link", EntryType::Symlink, out), ("link/escaped", EntryType::Regular, "x")],
        vec![("link", EntryType::Symlink, out), ("link/.wh.victim", EntryType::Regular, "")],
        vec![("hard", EntryType::Link, "/etc/passwd")],
    ];
    fs::write(outside.path().join("victim"), "alive").unwrap();
    for (number, entries) in cases.iter().enumerate() {
        let (dir, images) = images(KEEP);
        let layers = images.resolve(&tarball(dir.path(), "a.tar", &archive(entries))).unwrap();
        let refused = images.provide(TaskId(1), &layers);
        assert!(refused.is_err(), "case {number}");
        assert!(!layers[0].path.exists(), "case {number}");
        assert_eq!(fs::read_dir(dir.path().join("images/fresh")).unwrap().count(), 0, "case {number}");
        let left: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["victim"], "case {number}");
    }
}

#[test]
fn a_sparse_file_is_there_with_its_holes() {
    let (dir, images) = images(KEEP);
    let mut header = Header::new_gnu();
    header.set_path("sparse").unwrap();
    header.set_mode(0o644);
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(4);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.sparse[0].offset = *b"00000001000\0";
    gnu.sparse[0].numbytes = *b"00000000004\0";
    gnu.realsize = *b"00000001004\0";
    header.set_uid(nix::unistd::geteuid().as_raw().into());
    header.set_gid(nix::unistd::getegid().as_raw().into());
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, &b"data"[..]).unwrap();
    let layers = images.resolve(&tarball(dir.path(), "a.tar", &builder.into_inner().unwrap())).unwrap();
    images.provide(TaskId(1), &layers).unwrap();
    let content = fs::read(layers[0].path.join("sparse")).unwrap();
    assert_eq!((content.len(), &content[512..], content[..512].iter().max()), (516, &b"data"[..], Some(&0)));
}

#[test]
fn an_entry_within_too_many_folders_is_refused_before_any_is_made() {
    for (folders, is_taken) in [(255, true), (256, false), (20_000, false)] {
        let (dir, images) = images(KEEP);
        let mut builder = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(nix::unistd::geteuid().as_raw().into());
        header.set_gid(nix::unistd::getegid().as_raw().into());
        header.set_size(1);
        builder.append_data(&mut header, format!("{}file", "d/".repeat(folders)), &b"x"[..]).unwrap();
        let layers = images.resolve(&tarball(dir.path(), "a.tar", &builder.into_inner().unwrap())).unwrap();
        let provided = images.provide(TaskId(1), &layers);
        assert_eq!(provided.is_ok(), is_taken, "{folders}: {provided:?}");
    }
}

#[test]
fn a_bomb_is_stopped_at_the_bound() {
    let (dir, images) = images(64 << 10);
    let zeroes = "0".repeat(80 << 10);
    let bomb = archive(&[("zeroes", EntryType::Regular, &zeroes)]);
    for packed in [gzip(&bomb), zstd(&bomb)] {
        assert!(packed.len() < 64 << 10, "{}", packed.len());
        let root = tarball(dir.path(), "bomb", &packed);
        let refused = images.provide(TaskId(1), &images.resolve(&root).unwrap()).unwrap_err();
        assert!(refused.to_string().contains("unpacks to more than 64 KiB"), "{refused}");
    }
}

#[test]
fn what_is_no_regular_file_or_too_large_is_refused_and_nothing_is_read_of_it() {
    let (dir, images) = images(KEEP);
    let (pipe, sparse) = (dir.path().join("pipe"), dir.path().join("sparse"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
    let refused = |path: &Path| {
        let error = images.resolve(&RootFs::Tarball(path.to_path_buf())).unwrap_err();
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    };
    for path in [pipe.as_path(), Path::new("/dev/zero"), dir.path()] {
        assert!(refused(path).ends_with("it is no regular file"), "{}", refused(path));
    }
    assert!(refused(&sparse).contains("has 1 TiB; at most"), "{}", refused(&sparse));
    for path in ["/proc/self/mem", "/proc/kmsg"].map(Path::new).into_iter().filter(|path| path.exists()) {
        assert!(refused(path).ends_with("is empty") || refused(path).contains("denied"), "{}", refused(path));
    }
    // Descriptions and blobs of a layout.
    let plain = archive(&[("name", EntryType::Regular, "x")]);
    let path = layout_of(dir.path(), &[("application/vnd.oci.image.layer.v1.tar", &plain)]);
    let root = RootFs::OciLayout { path: path.clone(), tag: String::new() };
    let layers = images.resolve(&root).unwrap();
    let blob = &layers[0].blob.as_ref().unwrap().file;
    for target in [pipe.as_path(), Path::new("/dev/zero")] {
        fs::remove_file(blob).unwrap();
        std::os::unix::fs::symlink(target, blob).unwrap();
        assert!(images.provide(TaskId(1), &layers).is_err());
    }
    for target in [pipe.as_path(), Path::new("/dev/zero"), sparse.as_path()] {
        fs::remove_file(path.join("index.json")).unwrap();
        std::os::unix::fs::symlink(target, path.join("index.json")).unwrap();
        assert!(images.resolve(&root).is_err());
    }
}

#[test]
fn a_layer_that_takes_long_keeps_neither_others_nor_the_end_of_a_task_waiting() {
    let (dir, images) = images(KEEP);
    let file = |name: &str| archive(&[("name", EntryType::Regular, name)]);
    let [slow, other] = ["slow", "other"]
        .map(|name| images.resolve(&tarball(dir.path(), &format!("{name}.tar"), &file(name))).unwrap());
    images.provide(TaskId(1), &other).unwrap();
    std::thread::scope(|scope| {
        // Somebody unpacks it, and a second task waits for that.
        let turn = images.turn(super::name(&slow[0]).unwrap());
        let waits = scope.spawn(|| images.provide(TaskId(2), &slow));
        images.provide(TaskId(3), &other).unwrap();
        images.release(TaskId(1));
        assert!(!slow[0].path.exists() && !waits.is_finished());
        drop(turn);
        waits.join().unwrap().unwrap();
    });
    assert!(slow[0].path.exists());
}

#[test]
fn digests_that_are_remembered_are_bounded() {
    let (dir, images) = images(KEEP);
    let digests = dir.path().join("images/digests");
    fs::create_dir_all(&digests).unwrap();
    (0..super::MAX_DIGESTS).for_each(|number| fs::write(digests.join(number.to_string()), "x").unwrap());
    images.resolve(&tarball(dir.path(), "a.tar", b"x")).unwrap();
    assert_eq!(fs::read_dir(&digests).unwrap().count(), 1);
}

/// A layout of one image with these layers, the lowest first.
fn layout(dir: &Path, layers: &[Vec<u8>]) -> PathBuf {
    let layers: Vec<_> = layers.iter().map(|layer| ("application/vnd.oci.image.layer.v1.tar+gzip", layer)).collect();
    layout_of(dir, &layers)
}

/// The same, with each layer's media type.
fn layout_of(dir: &Path, layers: &[(&str, &Vec<u8>)]) -> PathBuf {
    let blobs = dir.join("oci/blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let place = |bytes: &[u8]| {
        let digest = hex(&Sha256::digest(bytes));
        fs::write(blobs.join(&digest), bytes).unwrap();
        digest
    };
    let described: Vec<String> = layers
        .iter()
        .map(|(kind, layer)| {
            format!(r#"{{"mediaType":"{kind}","digest":"sha256:{}","size":{}}}"#, place(layer), layer.len())
        })
        .collect();
    let manifest = place(format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, described.join(",")).as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "digest":"sha256:{manifest}","size":1,"annotations":{{"org.opencontainers.image.ref.name":"v1"}}}}]}}"#
    );
    fs::write(dir.join("oci/index.json"), index).unwrap();
    dir.join("oci")
}

#[test]
fn an_oci_layout_gives_its_layers_uppermost_first_with_what_they_take_away() {
    let (dir, images) = images(KEEP);
    let lower = gzip(&archive(&[("name", EntryType::Regular, "lower"), ("old", EntryType::Regular, "x")]));
    let upper = gzip(&archive(&[("name", EntryType::Regular, "upper"), (".wh.old", EntryType::Regular, "")]));
    let path = layout(dir.path(), &[lower, upper]);
    let root = |tag: &str| RootFs::OciLayout { path: path.clone(), tag: tag.into() };
    let layers = images.resolve(&root("v1")).unwrap();
    assert_eq!(images.resolve(&root("")).unwrap(), layers);
    assert!(images.resolve(&root("v2")).unwrap_err().to_string().contains("no image tagged v2"));
    if !nix::unistd::geteuid().is_root() {
        return crate::skip::skip("what a layer takes away needs root");
    }
    images.provide(TaskId(1), &layers).unwrap();
    let names: Vec<String> = layers.iter().map(|one| fs::read_to_string(one.path.join("name")).unwrap()).collect();
    assert_eq!(names, ["upper", "lower"]);
    let gone = fs::metadata(layers[0].path.join("old")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::rdev(&gone), 0);
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&gone.file_type()));
}

#[test]
fn layers_are_plain_gzip_or_zstd_and_others_are_named() {
    let (dir, images) = images(KEEP);
    let file = |name: &str| archive(&[("name", EntryType::Regular, name)]);
    let (plain, first, second) = (file("plain"), zstd(&file("oci")), zstd(&file("docker")));
    let path = layout_of(
        dir.path(),
        &[
            ("application/vnd.oci.image.layer.v1.tar", &plain),
            ("application/vnd.oci.image.layer.v1.tar+zstd", &first),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", &second),
        ],
    );
    let root = RootFs::OciLayout { path, tag: String::new() };
    let layers = images.resolve(&root).unwrap();
    images.provide(TaskId(1), &layers).unwrap();
    let names: Vec<String> = layers.iter().map(|one| fs::read_to_string(one.path.join("name")).unwrap()).collect();
    assert_eq!(names, ["docker", "oci", "plain"]);
    layout_of(dir.path(), &[("application/vnd.oci.image.layer.v1.tar+xz", &plain)]);
    let refused = images.resolve(&root).unwrap_err().to_string();
    assert!(refused.contains("a layer is application/vnd.oci.image.layer.v1.tar+xz; tar, tar+gzip and"), "{refused}");
}

#[test]
fn what_is_no_tar_archive_is_named() {
    let (dir, images) = images(KEEP);
    let cases: [(&[u8], &str); 3] = [
        (b"PK\x03\x04rest", "it is a zip archive, where tar, tar.gz or tar.zst is needed"),
        (b"\xfd7zXZ\0rest", "it is packed by xz; repack it"),
        (b"BZh91AY&SY", "it is packed by bzip2; repack it"),
    ];
    for (bytes, told) in cases {
        let layers = images.resolve(&tarball(dir.path(), "root", bytes)).unwrap();
        let refused = images.provide(TaskId(1), &layers).unwrap_err();
        let cause = std::error::Error::source(&refused).unwrap().to_string();
        assert!(cause.contains(told), "{cause}");
    }
}

#[test]
fn a_blob_that_is_not_what_its_digest_says_is_refused_and_leaves_nothing() {
    let (dir, images) = images(KEEP);
    let path = layout(dir.path(), &[gzip(&archive(&[("name", EntryType::Regular, "good")]))]);
    let layers = images.resolve(&RootFs::OciLayout { path: path.clone(), tag: String::new() }).unwrap();
    let blob = path.join("blobs/sha256").join(&layers[0].blob.as_ref().unwrap().digest);
    fs::write(&blob, gzip(&archive(&[("name", EntryType::Regular, "evil")]))).unwrap();
    let refused = images.provide(TaskId(1), &layers).unwrap_err();
    assert!(refused.to_string().contains("has digest sha256:"), "{refused}");
    assert!(!layers[0].path.exists());
    for index in ["", "{}", r#"{"manifests":[{"digest":"sha256:../../etc/passwd"}]}"#, r#"{"manifests":[]}"#] {
        fs::write(path.join("index.json"), index).unwrap();
        assert!(images.resolve(&RootFs::OciLayout { path: path.clone(), tag: String::new() }).is_err(), "{index}");
    }
}

#[test]
fn unused_layers_go_above_the_bound_and_used_ones_stay() {
    let (dir, images) = images(100 << 10);
    let root = |number: usize| {
        let content = number.to_string().repeat(60 << 10);
        tarball(dir.path(), &format!("{number}.tar"), &archive(&[("file", EntryType::Regular, &content)]))
    };
    let first = images.resolve(&root(1)).unwrap();
    let second = images.resolve(&root(2)).unwrap();
    images.provide(TaskId(1), &first).unwrap();
    images.provide(TaskId(2), &second).unwrap();
    assert!(first[0].path.exists() && second[0].path.exists(), "both are in use");
    images.release(TaskId(2));
    assert!(first[0].path.exists() && !second[0].path.exists());
    images.release(TaskId(1));
    assert!(first[0].path.exists(), "within the bound");
    // A use whose task nobody knows any more is over at the next start.
    images.provide(TaskId(3), &first).unwrap();
    Images::open(dir.path(), KEEP, &BTreeSet::new());
    assert_eq!(fs::read_dir(dir.path().join("images/uses")).unwrap().count(), 0);
}
