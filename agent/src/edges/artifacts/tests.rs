//! Fetching from servers that are good, slow, wrong or gone.

mod https;
mod tarballs;
mod zips;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dawn_proto::TaskId;
use nix::unistd::{getgid, getuid};
use sha2::{Digest, Sha256};

use super::*;

/// Answers every connection with what `answer` makes of its number; counts them.
fn server(answer: impl Fn(usize, &mut dyn Write) + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    serve(|_, stream| Some(stream), answer)
}

/// The same over what `open` makes of the bare connection; None: it is closed.
fn serve<S: Read + Write>(
    open: impl Fn(usize, TcpStream) -> Option<S> + Send + 'static,
    answer: impl Fn(usize, &mut dyn Write) + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let Some(mut stream) = open(number, stream) else { continue };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|got| got == 1) {
                head.push(byte[0]);
            }
            answer(number, &mut stream);
            // One that keeps silent holds its connection until the client has had enough.
            let _ = stream.read(&mut byte);
        }
    });
    (address, count)
}

fn ok(out: &mut dyn Write, body: &[u8]) {
    let _ = write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = out.write_all(body);
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

struct World {
    work: tempfile::TempDir,
    fetcher: Fetcher,
}

impl World {
    fn new(cache_bytes: u64, peers: Vec<String>) -> World {
        // Nobody stalls who is not meant to, however busy the machine is.
        World::told(Settings { cache_bytes, stall: Duration::from_secs(60), peers, roots: Roots::default() })
    }

    fn told(settings: Settings) -> World {
        let work = tempfile::tempdir().unwrap();
        let fetcher = Fetcher::open(&work.path().join("artifacts"), settings);
        World { work, fetcher }
    }

    fn sandbox(&self, task: u64) -> PathBuf {
        TaskDir::new(self.work.path(), TaskId(task)).sandbox()
    }

    async fn fetch(&self, task: u64, artifacts: &[Artifact]) -> Result<Vec<String>, Refusal> {
        fs::create_dir_all(self.sandbox(task)).unwrap();
        let dir = TaskDir::new(self.work.path(), TaskId(task));
        let own = Identity { uid: getuid().as_raw(), gid: getgid().as_raw(), groups: Vec::new() };
        let told = Mutex::new(Vec::new());
        let tell = |_: u64, message: String| told.lock().unwrap().push(message);
        self.fetcher.fetch(&dir, &own, artifacts, 1 << 20, &tell).await?;
        assert!(!dir.fetching().exists());
        Ok(told.into_inner().unwrap())
    }

    async fn refused(&self, task: u64, artifact: Artifact) -> (Reason, String) {
        match self.fetch(task, &[artifact]).await {
            Err(Refusal::Artifact { reason, message }) => (reason, message),
            other => panic!("{other:?}"),
        }
    }
}

fn artifact(address: SocketAddr, content: &[u8], destination: &str) -> Artifact {
    Artifact {
        uri: format!("http://{address}/a/file?token=secret"),
        sha256: sha256(content),
        destination: destination.into(),
        extract: false,
        mode: 0o755,
    }
}

/// Fetches an archive into the folder `in` of a task's sandbox.
async fn unpack(world: &World, task: u64, archive: &[u8]) -> Result<Vec<String>, Refusal> {
    let path = world.work.path().join(format!("archive{task}"));
    fs::write(&path, archive).unwrap();
    let artifact = Artifact {
        uri: format!("file://{}", path.display()),
        sha256: sha256(archive),
        destination: "in".into(),
        extract: true,
        mode: 0o644,
    };
    world.fetch(task, &[artifact]).await
}

/// That one which means harm is refused in these words, and that nothing of it lies where it should not.
async fn harmless(world: &World, task: u64, archive: &[u8], told: &str) {
    let refused = unpack(world, task, archive).await;
    let Err(Refusal::Artifact { reason, message }) = refused else { panic!("{task}: {refused:?}") };
    assert_eq!(reason, Reason::ArtifactFailed, "{task}: {message}");
    assert!(message.contains(told), "{task}: {message}");
    for place in ["evil", "in/../evil", "in/e"] {
        assert!(!world.sandbox(task).join(place).exists(), "{task}: {message}");
    }
    assert!(!world.work.path().join("evil").exists(), "{task}: {message}");
}

#[tokio::test]
async fn a_file_is_fetched_once_and_put_where_it_belongs() {
    let world = World::new(1 << 20, Vec::new());
    let (address, asked) = server(|_, out| ok(out, b"content"));
    let wanted = artifact(address, b"content", "bin/tool");
    let all = [wanted.clone()];
    let (first, second) = tokio::join!(world.fetch(1, &all), world.fetch(2, &all));
    assert_eq!(first.unwrap(), [format!("fetching artifact 1 of 1 (http://{address}/a/file)")], "no secret is told");
    second.unwrap();
    for task in [1, 2] {
        let path = world.sandbox(task).join("bin/tool");
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
    }
    // The cache is not what the tasks got.
    assert_ne!(fs::metadata(world.sandbox(1).join("bin/tool")).unwrap().nlink(), 2);
    world.fetch(1, &[wanted]).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "fetched once for all");
    assert_eq!(world.fetcher.held(), (1, 7));
}

#[tokio::test]
async fn another_content_is_refused_by_its_checksum_and_not_kept() {
    let world = World::new(1 << 20, Vec::new());
    let (address, asked) = server(|_, out| ok(out, b"something else"));
    let (reason, message) = world.refused(1, artifact(address, b"content", "tool")).await;
    assert_eq!(reason, Reason::ChecksumMismatch);
    assert!(message.contains(&sha256(b"something else")) && message.contains(&sha256(b"content")), "{message}");
    assert_eq!((world.fetcher.held(), asked.load(Ordering::SeqCst)), ((0, 0), 1), "trying again would not help");
    assert!(!world.sandbox(1).join("tool").exists());
    assert_eq!(fs::read_dir(world.work.path().join("artifacts/coming")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up_after_its_tries_and_one_that_recovers_is_not() {
    let stall = Duration::from_secs(1);
    let world = World::told(Settings { cache_bytes: 1 << 20, stall, peers: Vec::new(), roots: Roots::default() });
    let stalling = |out: &mut dyn Write| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ncon");
    };
    let (address, asked) = server(move |_, out| stalling(out));
    let (reason, message) = world.refused(1, artifact(address, b"content", "tool")).await;
    assert_eq!((reason, asked.load(Ordering::SeqCst)), (Reason::ArtifactFailed, 3));
    assert!(message.contains("sent nothing for 1s, 3 times"), "{message}");
    let (address, asked) = server(move |number, out| match number {
        0 => _ = out.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        1 => stalling(out),
        _ => ok(out, b"content"),
    });
    world.fetch(2, &[artifact(address, b"content", "tool")]).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let (address, asked) = server(|_, out| _ = out.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"));
    let (_, message) = world.refused(3, artifact(address, b"other", "tool")).await;
    assert!(message.contains("404") && asked.load(Ordering::SeqCst) == 1, "{message}");
}

#[tokio::test]
async fn redirections_are_followed_but_not_for_ever() {
    let world = World::new(1 << 20, Vec::new());
    let (address, asked) = server(|number, out| match number {
        0 => _ = out.write_all(b"HTTP/1.1 302 There\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"),
        _ => ok(out, b"content"),
    });
    world.fetch(1, &[artifact(address, b"content", "tool")]).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let (address, _) =
        server(|_, out| _ = out.write_all(b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"));
    let (_, message) = world.refused(2, artifact(address, b"x", "tool")).await;
    assert!(message.contains("redirections"), "{message}");
}

#[tokio::test]
async fn the_least_lately_used_makes_room_and_nothing_bigger_than_the_cache_comes_in() {
    let world = World::new(10, Vec::new());
    for (task, content) in [(1, b"aaaa"), (2, b"bbbb")] {
        let (address, _) = server(move |_, out| ok(out, content));
        world.fetch(task, &[artifact(address, content, "f")]).await.unwrap();
        // Times of use must differ.
        let cached = world.work.path().join("artifacts").join(sha256(content));
        let file = fs::File::open(cached).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(task)).unwrap();
    }
    let (address, _) = server(|_, out| ok(out, b"cccc"));
    world.fetch(3, &[artifact(address, b"cccc", "f")]).await.unwrap();
    assert!(world.fetcher.cached(&sha256(b"aaaa")).is_none());
    assert!(world.fetcher.cached(&sha256(b"bbbb")).is_some() && world.fetcher.cached(&sha256(b"cccc")).is_some());
    let (address, _) = server(|_, out| ok(out, b"much too big"));
    let (_, message) = world.refused(4, artifact(address, b"much too big", "f")).await;
    assert!(message.contains("more than this agent's whole cache of 10 B"), "{message}");
    assert!(world.fetcher.cached("../../etc/passwd").is_none());
}

#[tokio::test]
async fn a_peer_is_asked_before_the_source_and_never_believed() {
    let (good, peer_asked) = server(|_, out| ok(out, b"content"));
    let (source, source_asked) = server(|_, out| ok(out, b"content"));
    let world = World::new(1 << 20, vec![good.to_string()]);
    world.fetch(1, &[artifact(source, b"content", "f")]).await.unwrap();
    assert_eq!((peer_asked.load(Ordering::SeqCst), source_asked.load(Ordering::SeqCst)), (1, 0));
    let (liar, _) = server(|_, out| ok(out, b"poison!"));
    let world = World::new(1 << 20, vec![liar.to_string()]);
    world.fetch(1, &[artifact(source, b"content", "f")]).await.unwrap();
    assert_eq!(source_asked.load(Ordering::SeqCst), 1);
    assert_eq!(fs::read(world.sandbox(1).join("f")).unwrap(), b"content");
}

#[tokio::test]
async fn a_file_of_the_machine_is_read_with_the_users_rights() {
    let world = World::new(1 << 20, Vec::new());
    let path = world.work.path().join("secret");
    fs::write(&path, b"content").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(world.work.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let uri = format!("file://{}", path.display());
    let wanted = Artifact { uri, ..artifact(([127, 0, 0, 1], 1).into(), b"content", "f") };
    world.fetch(1, std::slice::from_ref(&wanted)).await.unwrap();
    if !getuid().is_root() {
        return;
    }
    let fresh = World::new(1 << 20, Vec::new());
    fs::create_dir_all(fresh.sandbox(1)).unwrap();
    let dir = TaskDir::new(fresh.work.path(), TaskId(1));
    let nobody = Identity { uid: 65_534, gid: 65_534, groups: Vec::new() };
    let refused = fresh.fetcher.fetch(&dir, &nobody, &[wanted], 1 << 20, &|_, _| {}).await;
    let Err(Refusal::Artifact { message, .. }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("the task's user can't read it"), "{message}");
    assert!(fs::read(&path).is_ok(), "the agent itself is who it was");
}
