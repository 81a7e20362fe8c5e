//! Root file systems for tasks: layers unpacked once, shared read-only, kept within a bound. Not here: mounting them,
//! which is the executor's, and fetching anything from elsewhere.

mod layout;
mod unpack;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use dawn_proto::TaskId;
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::model::RootFs;

/// Of a digest so many characters name a layer: the kernel takes a page of names for one mount.
const NAME_CHARS: usize = 32;
const HEX_CHARS: usize = 64;

/// An image can't be used; the text is for who wrote the job.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("can't {what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{}: {why}", path.display())]
    Bad { path: PathBuf, why: String },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_path_buf();
    move |source| ImageError::Io { what, path, source }
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
    /// Held while layers come or go.
    changing: Mutex<()>,
}

impl Images {
    /// Nothing is made before the first image is used. Uses of tasks that are not `known` are over.
    pub fn open(work_dir: &Path, keep_bytes: u64, known: &BTreeSet<TaskId>) -> Self {
        let images = Images { root: work_dir.join("images"), keep_bytes, changing: Mutex::new(()) };
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

    /// A file's digest; taken anew only when the file is another one.
    fn digest_of(&self, path: &Path) -> Result<String, ImageError> {
        let mut file = File::open(path).map_err(failed("open", path))?;
        let meta = file.metadata().map_err(failed("read", path))?;
        let stamp = format!("{}-{}-{}-{}.{}", meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
        let known = self.root.join("digests").join(stamp);
        if let Ok(digest) = fs::read_to_string(&known)
            && digest.len() == HEX_CHARS
        {
            return Ok(digest);
        }
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut hash).map_err(failed("read", path))?;
        let digest = hex(&hash.finalize());
        let noted = make_dir(&self.root.join("digests")).and_then(|()| fs::write(&known, &digest));
        noted.map_err(failed("write", &known))?;
        Ok(digest)
    }

    /// Unpacks what is missing and notes that `task` uses them. A repeat is harmless.
    ///
    /// # Errors
    /// The first layer that can't be had; what was unpacked of it is gone again.
    pub fn provide(&self, task: TaskId, layers: &[Layer]) -> Result<(), ImageError> {
        let _held = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<&str> = layers.iter().filter(|one| one.blob.is_some()).filter_map(name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let uses = self.root.join("uses");
        let noted = make_dir(&uses).and_then(|()| fs::write(uses.join(task.to_string()), names.join("\n")));
        noted.map_err(failed("write", &uses))?;
        for layer in layers {
            let Some(blob) = &layer.blob else { continue };
            if !layer.path.is_dir() {
                self.unpack(blob, &layer.path)?;
            }
            // The time of the last use.
            let size = size_file(&layer.path);
            let touched =
                File::options().append(true).open(&size).and_then(|file| file.set_modified(SystemTime::now()));
            touched.map_err(failed("touch", &size))?;
        }
        self.collect();
        Ok(())
    }

    fn unpack(&self, blob: &Blob, target: &Path) -> Result<(), ImageError> {
        let fresh = self.root.join("fresh");
        // The rest of one that was cut short.
        let _ = fs::remove_dir_all(&fresh);
        make_dir(&self.layers()).and_then(|()| make_dir(&fresh)).map_err(failed("make", &fresh))?;
        let unpacked = unpack::unpack(&blob.file, &blob.digest, &fresh, self.keep_bytes).and_then(|bytes| {
            let size = size_file(target);
            fs::write(&size, bytes.to_string()).map_err(failed("write", &size))?;
            fs::rename(&fresh, target).map_err(failed("place", target))
        });
        if unpacked.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        unpacked
    }

    /// A task is over.
    pub fn release(&self, task: TaskId) {
        let _held = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if fs::remove_file(self.root.join("uses").join(task.to_string())).is_ok() {
            self.collect();
        }
    }

    /// Removes layers that no task uses, the longest unused first, until the rest is within the bound.
    fn collect(&self) {
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
            match fs::remove_dir_all(&path).and_then(|()| fs::remove_file(size_file(&path))) {
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

/// At most so many bytes of a file that is a text.
fn read_text(path: &Path, most: u64) -> Result<String, ImageError> {
    let mut text = String::new();
    let file = File::open(path).map_err(failed("open", path))?;
    file.take(most).read_to_string(&mut text).map_err(failed("read", path))?;
    Ok(text)
}
