//! What a client's session gets of the agent: where its task is, samples of what tasks use, what is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dawn_proto::{TaskId, v1};
use tracing::warn;

use super::DEFAULT_MAX_PIDS;
use super::hands::{MAX_SESSIONS, Shared, chain};
use crate::edges::link;
use crate::edges::reach::{self, Means};
use crate::edges::sandbox;
use crate::edges::tunnel as tunnel_edge;
use crate::model::{GroupUsage, Limits, Observed, Reachable, RefusalKind, TaskDir, TunnelRefusal};

/// The most files of a living task that are counted for what it takes on disk. Where there are more, the answer says so.
const MAX_ENTRIES: u64 = 100_000;
/// After files were counted, nothing is counted for this many times as long as the counting took.
const REST: u32 = 50;

/// What a task's plan says about it, read when first asked for.
#[derive(Debug)]
pub(super) struct Known {
    pub job: String,
    pub instance: u32,
    pub limits: Limits,
    disk_limit_bytes: u64,
    /// Its last look, and when another one may follow.
    disk: Mutex<Option<(sandbox::Used, Instant)>>,
}

impl Known {
    /// What the task takes on disk. Whoever asks and however often: looks take a small part of the time.
    fn disk(&self, dir: &TaskDir) -> sandbox::Used {
        let mut last = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        match *last {
            Some((used, again)) if begun < again => used,
            _ => {
                let used = sandbox::used(dir, MAX_ENTRIES);
                *last = Some((used, Instant::now() + begun.elapsed() * REST));
                used
            }
        }
    }
}

/// Tasks that have, or are about to get, an executor; and how the agent stands.
#[derive(Debug, Default)]
pub(super) struct Board {
    tasks: Mutex<BTreeMap<TaskId, Option<Arc<Known>>>>,
    observed: Mutex<Observed>,
}

impl Board {
    fn tasks(&self) -> MutexGuard<'_, BTreeMap<TaskId, Option<Arc<Known>>>> {
        // Nothing under the lock can panic half way.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn began(&self, task: TaskId) {
        self.tasks().insert(task, None);
    }

    pub(super) fn ended(&self, task: TaskId) {
        self.tasks().remove(&task);
    }

    pub(super) fn living(&self) -> Vec<TaskId> {
        self.tasks().keys().copied().collect()
    }

    pub(super) fn observe(&self, observed: Observed) {
        *self.observed.lock().unwrap_or_else(PoisonError::into_inner) = observed;
    }

    pub(super) fn observed(&self) -> Observed {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves a session at `address`, where the scheduler that asked is.
pub(super) async fn serve(shared: Arc<Shared>, address: String, tunnel: u64, about: Reachable) {
    let Ok(_permit) = shared.sessions.try_acquire() else {
        let words = format!("this agent serves {MAX_SESSIONS} sessions already; end some of them, or try again later");
        warn!(tunnel, "{words}");
        if let Ok(channel) = link::connect(&address).await {
            tunnel_edge::refuse(channel, tunnel, TunnelRefusal::new(RefusalKind::TooMany, words)).await;
        }
        return;
    };
    let task = if let Reachable::Task(task) = &about { Some(task.task) } else { None };
    let (sampler, keeper) = (shared.clone(), shared.clone());
    let means = Means {
        about,
        dir: task.map(|task| shared.tasks.dir(task)),
        group: task.and_then(|task| shared.tree.as_ref()?.above_commands(task)),
        executor: shared.config.executor.clone(),
        sample: Arc::new(move |task| sampler.sample(task)),
        keeping: Arc::new(move || keeper.keeping()),
    };
    match link::connect(&address).await {
        Ok(channel) => reach::serve(channel, tunnel, means).await,
        Err(error) => warn!(tunnel, error = chain(&error), "can't open the session"),
    }
}

impl Shared {
    /// What clients, probes and metrics see from now on.
    pub(super) fn observe(&self, observed: Observed) {
        self.config.vitals.registered(observed.registered);
        self.board.observe(observed);
    }

    /// What a task uses, or each of all.
    pub(super) fn sample(&self, task: Option<TaskId>) -> Vec<v1::Usage> {
        let Some(tree) = &self.tree else { return Vec::new() };
        let tasks = task.map_or_else(|| self.board.living(), |task| vec![task]);
        let sample = |id: TaskId| {
            let known = self.known(id)?;
            let disk = task.map(|id| known.disk(&self.tasks.dir(id)));
            Some(encode(id, tree.usage(id)?, disk, &known))
        };
        tasks.into_iter().filter_map(sample).collect()
    }

    /// None when the task has just ended, or its plan can't be read.
    pub(super) fn known(&self, task: TaskId) -> Option<Arc<Known>> {
        if let Some(known) = self.board.tasks().get(&task)?.clone() {
            return Some(known);
        }
        let kept = self.tasks.kept(task, DEFAULT_MAX_PIDS)?;
        let known = Arc::new(Known {
            job: kept.job,
            instance: kept.instance,
            limits: kept.record.limits,
            disk_limit_bytes: kept.record.demand.disk_bytes,
            disk: Mutex::default(),
        });
        if let Some(place) = self.board.tasks().get_mut(&task) {
            *place = Some(known.clone());
        }
        Some(known)
    }

    pub(super) fn keeping(&self) -> v1::Keeping {
        let observed = self.board.observed();
        let (artifacts, artifact_bytes) = self.fetcher.held();
        v1::Keeping {
            artifacts,
            artifact_bytes,
            artifact_limit_bytes: self.config.artifact_cache_bytes,
            agent_memory_limit_bytes: self.config.own_memory_bytes,
            sandboxes: observed.sandboxes,
            sandbox_bytes: observed.sandbox_bytes,
            sandbox_limit_bytes: self.config.sandbox_keep_bytes,
            sandbox_age_ms: self.config.sandbox_keep_ms,
            agent_memory_bytes: own_memory_bytes(),
        }
    }
}

fn encode(task: TaskId, usage: GroupUsage, disk: Option<sandbox::Used>, known: &Known) -> v1::Usage {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    v1::Usage {
        task_id: task.0,
        at_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        cpu_usec: usage.cpu_usec,
        cpu_milli: None,
        throttled_usec: usage.throttled_usec,
        throttled_periods: usage.throttled_periods,
        memory_bytes: usage.memory_bytes,
        memory_peak_bytes: usage.memory_peak_bytes,
        memory_limit_bytes: known.limits.memory_bytes,
        cpu_limit_milli: known.limits.cpu_milli,
        pids: usage.pids,
        pids_limit: known.limits.max_pids.into(),
        disk_bytes: disk.map(|disk| disk.bytes),
        disk_cut: disk.is_some_and(|disk| disk.is_cut),
        disk_limit_bytes: known.disk_limit_bytes,
        read_bytes: usage.read_bytes,
        written_bytes: usage.written_bytes,
        job: known.job.clone(),
        instance: known.instance,
    }
}

/// Resident and not shared with other processes.
pub(super) fn own_memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split(' ').skip(1).filter_map(|pages| pages.parse::<u64>().ok());
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared) * rustix::param::page_size() as u64
}
