//! A task's artifacts: from the cache, a peer's cache, or where they come from; then into the sandbox, and nowhere else.
//! Several tasks that want the same file fetch it once.

mod cache;
mod extract;
mod http;
mod place;
mod source;

pub use http::Roots;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use dawn_proto::amounts;
use dawn_proto::v1::Reason;
use nix::errno::Errno;

use crate::model::{Artifact, Identity, Refusal, TaskDir, step_sequence};
use cache::Cache;

/// Tries of one source.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Peers asked for one file.
const MAX_PEERS: usize = 3;

/// What an operator says about fetching.
#[derive(Clone, Debug)]
pub struct Settings {
    pub cache_bytes: u64,
    /// A source that sends nothing for so long is given up.
    pub stall: Duration,
    /// host:port of agents that serve their caches.
    pub peers: Vec<String>,
    pub roots: Roots,
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Source(String),
    /// Another try may succeed.
    #[error("{0}")]
    Passing(String),
    #[error("its sha256 is {found}, the job wants {wanted}")]
    Mismatch { found: String, wanted: String },
    #[error("it has {}, more than this agent's whole cache of {}; see --artifact-cache", amounts::bytes(*.bytes), amounts::bytes(*.limit))]
    TooBig { bytes: u64, limit: u64 },
    #[error("can't {operation} this agent's cache: {source}")]
    Cache { operation: &'static str, source: std::io::Error },
    #[error("can't put it into the sandbox: {0}")]
    Place(String),
}

/// Fetches for all tasks of an agent.
pub struct Fetcher {
    cache: Arc<Cache>,
    settings: Settings,
    /// Files being fetched, by checksum.
    under_way: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// Whoever tells how far it is: a report's sequence and the words for it.
pub type Tell<'a> = &'a (dyn Fn(u64, String) + Send + Sync);

impl Fetcher {
    /// Opens the cache; what a cut fetch has left is removed. What can't be opened is tried again by each fetch.
    pub fn open(folder: &Path, settings: Settings) -> Fetcher {
        let cache = Arc::new(Cache::open(folder, settings.cache_bytes));
        Fetcher { cache, settings, under_way: Mutex::default() }
    }

    /// Number of files in the cache and their bytes.
    pub fn held(&self) -> (u32, u64) {
        self.cache.held()
    }

    /// A file of the cache, for a peer.
    pub fn cached(&self, sha256: &str) -> Option<std::fs::File> {
        let digits = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| self.cache.get(sha256).ok().flatten())?
    }

    /// Fetches every artifact of a task into its sandbox, in order. A repeat is harmless.
    ///
    /// # Errors
    /// The first that can't be had, in words for the job's owner.
    pub async fn fetch(
        &self,
        dir: &TaskDir,
        identity: &Identity,
        artifacts: &[Artifact],
        disk_bytes: u64,
        tell: Tell<'_>,
    ) -> Result<(), Refusal> {
        let mut left = disk_bytes;
        for (number, artifact) in artifacts.iter().enumerate() {
            let what = format!("artifact {} of {} ({})", number + 1, artifacts.len(), shown(&artifact.uri));
            tell(step_sequence(number, 0), format!("fetching {what}"));
            let pulse = Pulse::new(dir, number, &what, tell);
            let done = self.one(dir, identity, artifact, &mut left, &pulse).await;
            done.map_err(|error| Refusal::Artifact { reason: reason(&error), message: format!("{what}: {error}") })?;
        }
        let _ = std::fs::remove_file(dir.fetching());
        Ok(())
    }

    async fn one(
        &self,
        dir: &TaskDir,
        identity: &Identity,
        artifact: &Artifact,
        left: &mut u64,
        pulse: &Pulse<'_>,
    ) -> Result<(), FetchError> {
        let file = self.have(identity, artifact, pulse).await?;
        let (dir, identity, artifact, most) = (dir.clone(), identity.clone(), artifact.clone(), *left);
        let placed = tokio::task::spawn_blocking(move || place::place(&dir, &identity, &artifact, file, most));
        let placing = async { placed.await.map_err(|error| FetchError::Place(error.to_string()))? };
        *left -= pulse.beside(placing).await?;
        Ok(())
    }

    /// The file, of the cache or brought there.
    async fn have(
        &self,
        identity: &Identity,
        artifact: &Artifact,
        pulse: &Pulse<'_>,
    ) -> Result<std::fs::File, FetchError> {
        let turn = self.turn(&artifact.sha256);
        // The first to come fetches; the others find it in the cache.
        let _turn = pulse.beside(turn.lock()).await;
        if let Some(file) = self.whole(&artifact.sha256, pulse).await? {
            return Ok(file);
        }
        if !artifact.uri.starts_with("file:")
            && self.ask_peers(artifact, pulse).await
            && let Some(file) = self.whole(&artifact.sha256, pulse).await?
        {
            return Ok(file);
        }
        let mut pause = FIRST_PAUSE;
        for tried in 1.. {
            match self.bring(identity, artifact, &artifact.uri, pulse).await {
                Ok(()) => break,
                Err(FetchError::Passing(why)) if tried < TRIES => {
                    tracing::info!(uri = shown(&artifact.uri), why, "fetched again");
                    pulse.beside(tokio::time::sleep(pause)).await;
                    pause *= 2;
                }
                Err(FetchError::Passing(why)) => return Err(FetchError::Source(format!("{why}, {TRIES} times"))),
                Err(error) => return Err(error),
            }
        }
        let gone = || FetchError::Source("it was thrown out of the cache at once; see --artifact-cache".into());
        self.whole(&artifact.sha256, pulse).await?.ok_or_else(gone)
    }

    /// A file of the cache that is what its name says.
    async fn whole(&self, sha256: &str, pulse: &Pulse<'_>) -> Result<Option<std::fs::File>, FetchError> {
        let (cache, sha256) = (self.cache.clone(), sha256.to_string());
        let got = pulse.beside(tokio::task::spawn_blocking(move || cache.get_whole(&sha256))).await;
        let got = got.map_err(std::io::Error::other).and_then(|got| got);
        got.map_err(|source| FetchError::Cache { operation: "read", source })
    }

    fn turn(&self, sha256: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = under_way.get(sha256).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        under_way.insert(sha256.to_string(), Arc::downgrade(&turn));
        turn
    }

    /// Peers are only faster: whatever goes wrong with them, the source is asked.
    async fn ask_peers(&self, artifact: &Artifact, pulse: &Pulse<'_>) -> bool {
        let peers = &self.settings.peers;
        if peers.is_empty() {
            return false;
        }
        // Different files begin with different peers.
        let start = artifact.sha256.bytes().fold(0usize, |sum, byte| sum + usize::from(byte));
        for turn in 0..peers.len().min(MAX_PEERS) {
            let uri = format!("http://{}/artifacts/{}", peers[(start + turn) % peers.len()], artifact.sha256);
            match self.bring(&Identity::default(), artifact, &uri, pulse).await {
                Ok(()) => return true,
                Err(error) => tracing::debug!(uri, %error, "not had from a peer"),
            }
        }
        false
    }

    /// Brings a file into the cache, if it is the right one.
    async fn bring(
        &self,
        identity: &Identity,
        artifact: &Artifact,
        uri: &str,
        pulse: &Pulse<'_>,
    ) -> Result<(), FetchError> {
        let opened = source::open(uri, identity, &self.settings);
        let mut source = pulse.beside(opened).await?;
        let mut coming = self.cache.begin(&artifact.sha256, source.bytes)?;
        let mut got = 0u64;
        while let Some(piece) = pulse.beside(source.next(self.settings.stall)).await? {
            got += piece.len() as u64;
            coming = coming.add(piece).await?;
            pulse.far(got, source.bytes);
        }
        if source.bytes.is_some_and(|bytes| bytes != got) {
            return Err(FetchError::Passing(format!("it broke off after {}", amounts::bytes(got))));
        }
        coming.keep().await
    }
}

fn reason(error: &FetchError) -> Reason {
    match error {
        FetchError::Mismatch { .. } => Reason::ChecksumMismatch,
        // Not ENOSPC: the artifact may be too large for any node's disk.
        FetchError::Cache { source, .. } if is_failing_disk(source) => Reason::NodeDiskFailed,
        _ => Reason::ArtifactFailed,
    }
}

fn is_failing_disk(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EIO | Errno::EROFS))
}

/// Without what may be a secret: user and password, and the query.
fn shown(uri: &str) -> String {
    let uri = uri.split(['?', '#']).next().unwrap_or_default();
    match uri.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => uri.to_string(),
    }
}

/// Says that the fetching goes on: to the leader in tenths, and to a next life of this agent by touching a file.
struct Pulse<'a> {
    dir: &'a TaskDir,
    number: usize,
    what: &'a str,
    tell: Tell<'a>,
    told: Mutex<(u64, Instant)>,
}

impl<'a> Pulse<'a> {
    fn new(dir: &'a TaskDir, number: usize, what: &'a str, tell: Tell<'a>) -> Self {
        let pulse = Pulse { dir, number, what, tell, told: Mutex::new((0, Instant::now())) };
        pulse.touch();
        pulse
    }

    fn touch(&self) {
        // Missing it, a restart may give the launch up as too old: nothing worse.
        let file = std::fs::File::create(self.dir.fetching());
        let _ = file.and_then(|file| file.set_modified(std::time::SystemTime::now()));
    }

    /// Waits, and goes on being alive meanwhile.
    async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(Duration::from_secs(1), &mut work).await {
                Ok(done) => return done,
                Err(_) => self.touch(),
            }
        }
    }

    fn far(&self, got: u64, of: Option<u64>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.1.elapsed() >= Duration::from_secs(1) {
            told.1 = Instant::now();
            self.touch();
            let Some(of) = of.filter(|of| *of > 0) else { return };
            let tenth = u64::try_from(u128::from(got) * 10 / u128::from(of)).unwrap_or(0).min(9);
            if tenth > told.0 {
                told.0 = tenth;
                let message = format!("fetching {}: {} of {}", self.what, amounts::bytes(got), amounts::bytes(of));
                (self.tell)(step_sequence(self.number, tenth), message);
            }
        }
    }
}

#[cfg(test)]
mod tests;
