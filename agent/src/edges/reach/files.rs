//! Files of a sandbox: listed, read, written. No path leaves it: the kernel resolves each with the sandbox as root
//! (openat2), so "..", absolute links and links planted while it looks stay below.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_up::Message as Up;
use dawn_proto::v1::{Begun, FileEntry, FileKind, FileList, ListFiles, ReadFile, WriteFile};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::inbox::Inbox;
use super::{CHUNK_BYTES, Out};
use crate::model::{ReachableTask, TaskDir};

/// Entries of one folder that are listed.
const MAX_LISTED: usize = 100_000;
/// Of these in one message.
const LISTED_AT_ONCE: usize = 500;

/// Runs what blocks on a thread for it.
async fn blocking<T: Send + 'static>(deed: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(deed).await.map_err(|error| error.to_string())?
}

/// Opens what `path` names inside the sandbox.
fn open(dir: &TaskDir, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let folder = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let sandbox = rustix::fs::openat(CWD, dir.sandbox(), folder, Mode::empty())?;
    let inside = if path.trim_start_matches('/').is_empty() { "." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(sandbox, inside, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Whether the path itself names a link.
fn is_link(dir: &TaskDir, path: &str) -> bool {
    let kind = open(dir, path, OFlags::PATH | OFlags::NOFOLLOW).and_then(|link| Ok(rustix::fs::fstat(&link)?));
    kind.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
}

fn failed(dir: &TaskDir, operation: &str, path: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound && !dir.sandbox().is_dir() {
        return format!("the sandbox of {} is gone", dir.task);
    }
    let words = match error.raw_os_error().map(Errno::from_raw_os_error) {
        // The root of a task's links is its sandbox.
        Some(Errno::NOENT) if is_link(dir, path) => {
            "it is a link to a path that does not exist inside the sandbox".to_string()
        }
        Some(Errno::NOENT) => "there is no such file".to_string(),
        Some(Errno::NOTDIR) => "a part of this path is not a folder".to_string(),
        Some(Errno::LOOP) => "too many links, or one that leads nowhere".to_string(),
        _ => error.to_string(),
    };
    format!("can't {operation} {path} of {}: {words}", dir.task)
}

/// Lists a folder, or the one file that is named.
pub async fn list(dir: &TaskDir, list: ListFiles, out: Out) -> Result<(), String> {
    let (dir, path) = (dir.clone(), list.path);
    let (files, cut) =
        blocking(move || entries(&dir, &path).map_err(|error| failed(&dir, "list", &path, &error))).await?;
    let mut rest = files.chunks(LISTED_AT_ONCE).peekable();
    while let Some(files) = rest.next() {
        let cut = cut && rest.peek().is_none();
        if out.say(Down::Files(FileList { files: files.to_vec(), cut })).await.is_err() {
            return Ok(());
        }
    }
    let _ = out.say(Down::Done(true)).await;
    Ok(())
}

fn entries(dir: &TaskDir, path: &str) -> io::Result<(Vec<FileEntry>, bool)> {
    let folder = match open(dir, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(error) if error.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) => {
            let file = open(dir, path, OFlags::PATH)?;
            let name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path).to_string();
            return Ok((vec![entry(name, &rustix::fs::fstat(&file)?, String::new())], false));
        }
        folder => folder?,
    };
    let mut files = Vec::new();
    for found in Dir::read_from(&folder)? {
        let found = found?;
        let name = found.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if files.len() == MAX_LISTED {
            return Ok((files, true));
        }
        // Removed since it was listed.
        let Ok(stat) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let target = rustix::fs::readlinkat(&folder, name, Vec::new()).ok();
        let target = target.map(|target| target.to_string_lossy().into_owned()).unwrap_or_default();
        files.push(entry(name.to_string_lossy().into_owned(), &stat, target));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((files, false))
}

fn entry(name: String, stat: &rustix::fs::Stat, target: String) -> FileEntry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Folder,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    };
    FileEntry {
        name,
        kind: kind.into(),
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified_ms: stat.st_mtime * 1_000,
        target,
    }
}

/// Sends a file's content, piece by piece as the client takes it.
pub async fn read(dir: &TaskDir, read: ReadFile, mut inbox: Inbox, out: Out) -> Result<(), String> {
    let (owned, wanted) = (dir.clone(), read.clone());
    let opened =
        blocking(move || regular(&owned, &wanted).map_err(|error| failed(&owned, "read", &wanted.path, &error)));
    let (mut file, begun) = opened.await?;
    if out.say(Down::Begun(begun)).await.is_err() {
        return Ok(());
    }
    let mut left = if read.length == 0 { u64::MAX } else { read.length };
    let sending = async {
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let (back, data) = blocking(move || {
                let mut data = vec![0; most];
                let got = file.read(&mut data).map_err(|error| format!("reading broke off: {error}"))?;
                data.truncate(got);
                Ok((file, data))
            })
            .await?;
            file = back;
            left -= data.len() as u64;
            if data.is_empty() || out.say(Down::Data(data)).await.is_err() {
                break;
            }
        }
        let _ = out.say(Down::Done(true)).await;
        Ok(())
    };
    tokio::select! {
        sent = sending => sent,
        () = gone(&mut inbox) => Ok(()),
    }
}

async fn gone(inbox: &mut Inbox) {
    while inbox.next().await.is_some() {}
}

fn regular(dir: &TaskDir, read: &ReadFile) -> io::Result<(File, Begun)> {
    // Without waiting for a writer, if it is a pipe.
    let mut file = File::from(open(dir, &read.path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other(if meta.is_dir() { "it is a folder" } else { "it is no regular file" }));
    }
    file.seek(SeekFrom::Start(read.offset))?;
    Ok((file, Begun { size_bytes: meta.len(), mode: meta.mode() & 0o7777 }))
}

/// A file being written beside its place, or nothing: it vanishes unless it is kept.
struct Beside {
    folder: OwnedFd,
    name: String,
    beside: String,
    file: File,
    kept: bool,
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.kept {
            let _ = rustix::fs::unlinkat(&self.folder, self.beside.as_str(), AtFlags::empty());
        }
    }
}

/// Takes a file's content, and puts it in its place at the end.
pub async fn write(
    dir: &TaskDir,
    task: &ReachableTask,
    write: WriteFile,
    mut inbox: Inbox,
    out: Out,
) -> Result<(), String> {
    let (owned, owner, path) = (dir.clone(), task.identity.clone(), write.path.clone());
    let failing = {
        let (dir, path) = (dir.clone(), write.path.clone());
        move |error: io::Error| failed(&dir, "write", &path, &error)
    };
    let begin = failing.clone();
    let beside = blocking(move || {
        let (parent, name) = split(&path).ok_or_else(|| begin(io::Error::other("it names no file")))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = open(&owned, parent, flags).map_err(&begin)?;
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        if write.folder {
            make_folder(&folder, name, write.mode, uid, gid).map_err(begin)?;
            return Ok(None);
        }
        begin_file(folder, name, write.mode, uid, gid).map(Some).map_err(begin)
    });
    let Some(mut beside) = beside.await? else {
        let _ = out.say(Down::Done(true)).await;
        return Ok(());
    };
    if out.say(Down::Begun(Begun::default())).await.is_err() {
        return Ok(());
    }
    let used = inbox.used();
    // A client that goes before `end` leaves nothing.
    while let Some(message) = inbox.next().await {
        match message {
            Up::Data(data) => {
                let (bytes, failing) = (data.len(), failing.clone());
                beside = blocking(move || {
                    beside.file.write_all(&data).map_err(failing)?;
                    Ok(beside)
                })
                .await?;
                if out.say(Down::Credit(used.credit(bytes))).await.is_err() {
                    break;
                }
            }
            Up::End(_) => {
                let failing = failing.clone();
                blocking(move || keep(beside).map_err(failing)).await?;
                let _ = out.say(Down::Done(true)).await;
                break;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Folder and name of a path.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let plain = !matches!(name, "" | "." | "..");
    plain.then_some((if parent.is_empty() { "." } else { parent }, name))
}

fn make_folder(folder: &OwnedFd, name: &str, mode: u32, uid: Uid, gid: Gid) -> io::Result<()> {
    match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(mode & 0o777)) {
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let there = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            return if there { Ok(()) } else { Err(Errno::EXIST.into()) };
        }
        made => made?,
    }
    Ok(rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn begin_file(folder: OwnedFd, name: &str, mode: u32, uid: Uid, gid: Gid) -> io::Result<Beside> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let beside = format!(".dawn-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&folder, beside.as_str(), flags, Mode::from_raw_mode(0o600))?;
    let begun = Beside { folder, name: name.to_string(), beside, file: File::from(file), kept: false };
    rustix::fs::fchown(begun.file.as_fd(), Some(uid), Some(gid))?;
    // After the owner, which takes set-user-id bits away: they are never given.
    rustix::fs::fchmod(begun.file.as_fd(), Mode::from_raw_mode(mode & 0o777))?;
    Ok(begun)
}

/// A link or file of that name is replaced, never written through.
fn keep(mut beside: Beside) -> io::Result<()> {
    rustix::fs::renameat(&beside.folder, beside.beside.as_str(), &beside.folder, beside.name.as_str())?;
    beside.kept = true;
    Ok(())
}
