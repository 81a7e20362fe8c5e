//! Who wants to know when a job changes. A batch is gone through once, and only those who watch a job it changed are
//! told: watches of other jobs cost a commit nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dawn_proto::TaskId;
use tokio::sync::watch;

use crate::model::{
    AgentForgotten, AgentNo, EndDated, FlowMutation, InstancesStopped, JobEnded, JobForgotten, JobId, JobMade,
    JobSettled, JobVersioned, Mutation, Nominated, RestoreMutation, State, Task, TaskAssigned, TaskForgotten, TaskMade,
    TaskMoved, Ticked, UpdateMutation,
};

/// The jobs that are watched.
#[derive(Debug, Default)]
pub(super) struct JobChanges {
    /// By job, the index of the last batch that changed it.
    watched: Mutex<HashMap<JobId, watch::Sender<u64>>>,
    /// As many as `watched` holds, to be asked without its lock.
    count: AtomicUsize,
}

impl JobChanges {
    fn watched(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<u64>>> {
        // Nothing under the lock can panic half way.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes with each batch that changes the job; at first as of `index`.
    pub fn watch(&self, job: JobId, index: u64) -> watch::Receiver<u64> {
        let mut watched = self.watched();
        // Jobs that nobody watches any more are looked for each time the table is about to grow.
        if watched.len() == watched.capacity() {
            watched.retain(|_, told| told.receiver_count() > 0);
        }
        let receiver = watched.entry(job).or_insert_with(|| watch::channel(index).0).subscribe();
        self.count.store(watched.len(), Ordering::Release);
        receiver
    }

    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Tells those who watch one of these jobs.
    pub fn tell(&self, jobs: &BTreeSet<JobId>, index: u64) {
        let watched = self.watched();
        for told in jobs.iter().filter_map(|job| watched.get(job)) {
            told.send_replace(index);
        }
    }

    /// Tells everybody: what changed is not known.
    pub fn tell_all(&self, index: u64) {
        for told in self.watched().values() {
            told.send_replace(index);
        }
    }
}

/// What a mutation changes of jobs, as far as their status shows it.
enum Subject<'a> {
    Job(JobId),
    /// The job, and those that wait for its end.
    JobAndDependents(JobId),
    Task(TaskId),
    /// Perhaps the host name that tasks on the agent are shown with.
    HostName(AgentNo, &'a str),
    /// Every one: its times are others.
    EveryJob,
    NoJob,
}

fn subject(mutation: &Mutation) -> Subject<'_> {
    match mutation {
        Mutation::JobMade(JobMade { job, .. })
        | Mutation::JobVersioned(JobVersioned { job, .. })
        | Mutation::JobEnded(JobEnded { job, .. })
        | Mutation::JobForgotten(JobForgotten { job })
        | Mutation::Restore(RestoreMutation::SpecAdopted { job, .. }) => Subject::JobAndDependents(*job),
        Mutation::InstancesStopped(InstancesStopped { job, .. })
        | Mutation::JobSettled(JobSettled { job, .. })
        | Mutation::TaskMade(TaskMade { job, .. })
        | Mutation::Ticked(Ticked { job, .. })
        | Mutation::Update(UpdateMutation { job, .. }) => Subject::Job(*job),
        Mutation::Restore(RestoreMutation::TaskAdopted(adopted)) => Subject::Job(adopted.job),
        Mutation::Flow(flow) => match flow {
            FlowMutation::Released { job }
            | FlowMutation::CronPaused { job, .. }
            | FlowMutation::CronResumed { job }
            | FlowMutation::Dispatched { job, .. } => Subject::Job(*job),
        },
        Mutation::TaskAssigned(TaskAssigned { task, .. })
        | Mutation::TaskMoved(TaskMoved { task, .. })
        | Mutation::TaskForgotten(TaskForgotten { task })
        | Mutation::EndDated(EndDated { task, .. })
        | Mutation::Nominated(Nominated { task, .. }) => Subject::Task(*task),
        Mutation::AgentSeen(seen) => Subject::HostName(seen.agent, &seen.hostname),
        Mutation::ClockShifted(_) => Subject::EveryJob,
        Mutation::ClusterMade(_)
        | Mutation::EpochBegun(_)
        | Mutation::AgentMoved(_)
        | Mutation::AgentForgotten(_)
        | Mutation::AgentAvoided(_)
        | Mutation::Upkeep(_)
        | Mutation::Blame(_)
        | Mutation::Loss(_)
        | Mutation::QuotaSet(_)
        | Mutation::Welcome(_)
        | Mutation::Restore(
            RestoreMutation::Restored(_)
            | RestoreMutation::Over
            | RestoreMutation::Behind { .. }
            | RestoreMutation::BehindOver
            | RestoreMutation::EpochRaised { .. },
        ) => Subject::NoJob,
    }
}

/// Adds the jobs with ended tasks on agents that the mutations forget: their host names are shown no more. One walk over the
/// tasks, however many agents these are; they hold no living ones.
pub(super) fn add_shown_on_forgotten<'m>(
    jobs: &mut BTreeSet<JobId>,
    state: &State,
    mutations: impl Iterator<Item = &'m Mutation>,
) {
    let forgotten = mutations.filter_map(|mutation| match mutation {
        Mutation::AgentForgotten(AgentForgotten { agent }) => Some(*agent),
        _ => None,
    });
    let forgotten: BTreeSet<AgentNo> = forgotten.collect();
    if forgotten.is_empty() {
        return;
    }
    let is_there = |task: &&Task| task.status.place().is_some_and(|place| forgotten.contains(&place.agent));
    jobs.extend(state.tasks.values().filter(is_there).map(|task| task.job));
}

/// Adds the jobs that a mutation changes. Asked before it is applied and after: a task is in the state only after the
/// mutation that makes it and before the one that forgets it.
pub(super) fn add_changed(jobs: &mut BTreeSet<JobId>, state: &State, mutation: &Mutation) {
    match subject(mutation) {
        Subject::EveryJob => jobs.extend(state.jobs.keys().copied()),
        Subject::Job(job) => _ = jobs.insert(job),
        Subject::JobAndDependents(id) => {
            jobs.insert(id);
            let dependents = state.jobs.get(&id).and_then(|job| state.indexes().dependents.get(&job.key));
            jobs.extend(dependents.into_iter().flatten());
        }
        Subject::Task(task) => jobs.extend(state.tasks.get(&task).map(|task| task.job)),
        Subject::HostName(agent, hostname) => {
            if state.agents.get(&agent).is_some_and(|known| known.hostname != hostname) {
                let held = state.indexes().tasks_on.get(&agent).into_iter().flatten();
                jobs.extend(held.filter_map(|task| state.tasks.get(task)).map(|task| task.job));
            }
        }
        Subject::NoJob => {}
    }
}
