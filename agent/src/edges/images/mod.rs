//! Root file systems for tasks: layers unpacked once, shared read-only, kept within a bound. Not here: mounting them,
//! which is the executor's, and fetching anything from elsewhere.

mod layout;
mod unpack;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Take};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dawn_proto::{TaskId, amounts};
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::model::RootFs;
use crate::regular;
use crate::tree;

/// An archive may be larger than what it unpacks to: each entry has a header and is filled up to a block.
const MAX_FRAMING_BYTES: u64 = unpack::MAX_ENTRIES << 10;
/// Digests of files that are remembered; all are forgotten when there are more.
const MAX_DIGESTS: usize = 4_096;
/// Of a digest so many characters name a layer: the kernel takes a page of names for one mount.
const NAME_CHARS: usize = 32;
const HEX_CHARS: usize = 64;

/// An image can't be used; the text is for who wrote the job.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// What the job names can't be read or unpacked. It may be any file: what the kernel answers says nothing of the node.
    #[error("can't {what} {}", path.display())]
    Named { what: &'static str, path: PathBuf, source: io::Error },
    /// A small file of the agent's own.
    #[error("can't {what} {}", path.display())]
    Own { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{}: {why}", path.display())]
    Bad { path: PathBuf, why: String },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_path_buf();
    move |source| ImageError::Named { what, path, source }
}

fn own(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_path_buf();
    move |source| ImageError::Own { what, path, source }
}

fn bad(path: &Path, why: impl Into<String>) -> ImageError {
    ImageError::Bad { path: path.to_path_buf(), why: why.into() }
}

/// One directory of a root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Where it is, or will be once it is unpacked.
    pub path: PathBuf,
    /// What it is unpacked from; None: it is a directory already.
    blob: Option<Blob>,
}

/// An archive by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blob {
    file: PathBuf,
    /// SHA-256, hexadecimal.
    digest: String,
}

/// All layers of a work directory.
#[derive(Debug)]
pub struct Images {
    root: PathBuf,
    /// Layers together, those in use included; unused ones go, the longest unused first.
    keep_bytes: u64,
    /// Held while uses are noted and while layers go, never while a file that a job names is read.
    changing: Mutex<()>,
    /// Names of layers that are being unpacked.
    under_way: Mutex<BTreeSet<String>>,
    /// One of them is done.
    unpacked: Condvar,
    /// What was removed so far: numbers what is on its way out.
    removed: AtomicU64,
}

/// The right to unpack a layer, given back when it is dropped.
struct Turn<'a> {
    images: &'a Images,
    name: &'a str,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        held(&self.images.under_way).remove(self.name);
        self.images.unpacked.notify_all();
    }
}

/// Whoever broke down while holding it left nothing half done.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Images {
    /// Nothing is made before the first image is used. Uses of tasks that are not `known` are over.
    pub fn open(work_dir: &Path, keep_bytes: u64, known: &BTreeSet<TaskId>) -> Self {
        let images = Images {
            root: work_dir.join("images"),
            keep_bytes,
            changing: Mutex::default(),
            under_way: Mutex::default(),
            unpacked: Condvar::new(),
            removed: AtomicU64::new(0),
        };
        // The rest of what was cut short; it goes with the next layers that do.
        let _ = images.take_out(&images.root.join("fresh"));
        for entry in fs::read_dir(images.root.join("uses")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let task = name.to_str().and_then(|name| name.strip_prefix('t')?.parse().ok()).map(TaskId);
            if !task.is_some_and(|task| known.contains(&task)) {
                let _ = fs::remove_file(entry.path());
            }
        }
        images
    }

    /// Which layers a root file system is made of, the uppermost first. Reads descriptions, unpacks nothing.
    ///
    /// # Errors
    /// What is not there, or not what it should be.
    pub fn resolve(&self, root: &RootFs) -> Result<Vec<Layer>, ImageError> {
        match root {
            RootFs::Directory(path) if path.is_dir() => Ok(vec![Layer { path: path.clone(), blob: None }]),
            RootFs::Directory(path) => Err(bad(path, "is no directory on this node")),
            RootFs::Tarball(path) => {
                let digest = self.digest_of(path)?;
                Ok(vec![self.layer(Blob { file: path.clone(), digest })])
            }
            RootFs::OciLayout { path, tag } => {
                let blobs = layout::layers(path, tag)?;
                Ok(blobs.into_iter().rev().map(|blob| self.layer(blob)).collect())
            }
        }
    }

    fn layer(&self, blob: Blob) -> Layer {
        let name = &blob.digest[..NAME_CHARS.min(blob.digest.len())];
        Layer { path: self.layers().join(name), blob: Some(blob) }
    }

    fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Opens an archive that a job names, as far as it is long now.
    fn archive(&self, path: &Path) -> Result<Take<File>, ImageError> {
        let file = regular::open(path).map_err(failed("open", path))?;
        let (bytes, most) = (file.metadata().map_err(failed("read", path))?.len(), self.most_archive_bytes());
        match bytes {
            0 => Err(bad(path, "is empty")),
            _ if bytes > most => Err(bad(path, too_large(bytes, most))),
            _ => Ok(file.take(bytes)),
        }
    }

    fn most_archive_bytes(&self) -> u64 {
        self.keep_bytes.saturating_add(MAX_FRAMING_BYTES)
    }

    /// A file's digest; taken anew only when the file is another one.
    fn digest_of(&self, path: &Path) -> Result<String, ImageError> {
        let mut file = self.archive(path)?;
        let meta = file.get_ref().metadata().map_err(failed("read", path))?;
        let stamp = format!("{}-{}-{}-{}.{}", meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
        let digests = self.root.join("digests");
        let known = digests.join(stamp);
        if let Ok(digest) = fs::read_to_string(&known)
            && digest.len() == HEX_CHARS
        {
            return Ok(digest);
        }
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut hash).map_err(failed("read", path))?;
        let digest = hex(&hash.finalize());
        if fs::read_dir(&digests).is_ok_and(|listing| listing.count() >= MAX_DIGESTS) {
            tree::remove(&digests).map_err(own("empty", &digests))?;
        }
        let noted = make_dir(&digests).and_then(|()| fs::write(&known, &digest));
        noted.map_err(own("write", &known))?;
        Ok(digest)
    }

    /// Unpacks what is missing and notes that `task` uses them. A repeat is harmless.
    ///
    /// # Errors
    /// The first layer that can't be had; what was unpacked of it is gone again.
    pub fn provide(&self, task: TaskId, layers: &[Layer]) -> Result<(), ImageError> {
        let names: Vec<&str> = layers.iter().filter(|one| one.blob.is_some()).filter_map(name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let uses = self.root.join("uses");
        {
            // From here on none of them goes.
            let _held = held(&self.changing);
            let noted = make_dir(&uses).and_then(|()| fs::write(uses.join(task.to_string()), names.join("\n")));
            noted.map_err(own("write", &uses))?;
        }
        for layer in layers {
            let (Some(blob), Some(name)) = (&layer.blob, name(layer)) else { continue };
            {
                let _turn = self.turn(name);
                if !layer.path.is_dir() {
                    self.unpack(blob, name, &layer.path)?;
                }
            }
            // The time of the last use.
            let size = size_file(&layer.path);
            let touched =
                File::options().append(true).open(&size).and_then(|file| file.set_modified(SystemTime::now()));
            touched.map_err(own("touch", &size))?;
        }
        self.collect();
        Ok(())
    }

    /// Waits until nobody else unpacks this layer. Others go on meanwhile.
    fn turn<'a>(&'a self, name: &'a str) -> Turn<'a> {
        let is_taken = |under_way: &mut BTreeSet<String>| under_way.contains(name);
        let under_way = self.unpacked.wait_while(held(&self.under_way), is_taken);
        under_way.unwrap_or_else(PoisonError::into_inner).insert(name.to_string());
        Turn { images: self, name }
    }

    fn unpack(&self, blob: &Blob, name: &str, target: &Path) -> Result<(), ImageError> {
        let fresh = self.root.join("fresh").join(name);
        make_dir(&self.layers()).and_then(|()| make_dir(&fresh)).map_err(own("make", &fresh))?;
        let archive = self.archive(&blob.file)?;
        let unpacked = unpack::unpack(archive, blob, &fresh, self.keep_bytes).and_then(|bytes| {
            let size = size_file(target);
            fs::write(&size, bytes.to_string()).map_err(own("write", &size))?;
            fs::rename(&fresh, target).map_err(own("place", target))
        });
        if unpacked.is_err() {
            let _ = tree::remove(&fresh);
        }
        unpacked
    }

    /// A task is over.
    pub fn release(&self, task: TaskId) {
        let is_noted = {
            let _held = held(&self.changing);
            fs::remove_file(self.root.join("uses").join(task.to_string())).is_ok()
        };
        if is_noted {
            self.collect();
        }
    }

    /// Moves a directory to where it is on its way out.
    fn take_out(&self, path: &Path) -> io::Result<()> {
        let gone = self.root.join("gone");
        if !path.exists() {
            return Ok(());
        }
        make_dir(&gone)?;
        // A number may be taken by what an earlier life left.
        loop {
            let place = gone.join(self.removed.fetch_add(1, Ordering::Relaxed).to_string());
            if !place.exists() {
                return fs::rename(path, place);
            }
        }
    }

    /// Removes layers that no task uses, the longest unused first, until the rest is within the bound.
    fn collect(&self) {
        {
            let _held = held(&self.changing);
            self.choose_unused();
        }
        // What was large takes its time, and keeps nobody waiting.
        for entry in fs::read_dir(self.root.join("gone")).into_iter().flatten().flatten() {
            // Another thread may be at it.
            if let Err(error) = tree::remove(&entry.path())
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(path = %entry.path().display(), %error, "can't remove a layer");
            }
        }
    }

    fn choose_unused(&self) {
        let mut used = BTreeSet::new();
        for entry in fs::read_dir(self.root.join("uses")).into_iter().flatten().flatten() {
            let names = fs::read_to_string(entry.path()).unwrap_or_default();
            used.extend(names.lines().map(str::to_string));
        }
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(self.layers()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                let size = fs::read_to_string(size_file(&path)).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
                let at = fs::metadata(size_file(&path)).and_then(|meta| meta.modified());
                kept.push((at.unwrap_or(SystemTime::UNIX_EPOCH), size, path));
            }
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in kept {
            let is_used = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| used.contains(name));
            if total <= self.keep_bytes || is_used {
                continue;
            }
            match self.take_out(&path).and_then(|()| fs::remove_file(size_file(&path))) {
                Ok(()) => total -= size,
                Err(error) => warn!(path = %path.display(), %error, "can't remove a layer"),
            }
        }
    }
}

fn name(layer: &Layer) -> Option<&str> {
    layer.path.file_name()?.to_str()
}

fn size_file(layer: &Path) -> PathBuf {
    layer.with_extension("size")
}

/// For the agent alone: the kernel takes tasks to the layers by its own way.
fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn too_large(bytes: u64, most: u64) -> String {
    format!("has {}; at most {} are possible", amounts::bytes(bytes), amounts::bytes(most))
}

/// Reads a text file; one above this number of bytes is refused.
fn read_text(path: &Path, most: u64) -> Result<String, ImageError> {
    let file = regular::open(path).map_err(failed("open", path))?;
    let bytes = file.metadata().map_err(failed("read", path))?.len();
    if bytes > most {
        return Err(bad(path, too_large(bytes, most)));
    }
    let mut text = String::new();
    file.take(bytes).read_to_string(&mut text).map_err(failed("read", path))?;
    Ok(text)
}
