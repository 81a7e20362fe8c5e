//! The journal's records with what their numbers mean, for people who read it.

use dawn_proto::v1;
use dawn_proto::{AgentId, JobKey, TaskId};

use super::batch_to_wire;
use crate::model::WelcomeMutation;
use crate::model::{
    AgentAvoided, AgentForgotten, AgentMoved, AgentNo, Batch, BlameMutation, EndDated, InstancesStopped, JobEnded,
    JobForgotten, JobId, JobMade, JobSettled, JobVersioned, LossMutation, Mutation, Nominated, RestoreMutation, State,
    TaskAssigned, TaskForgotten, TaskMade, TaskMoved, Ticked,
};

/// What a mutation is about.
#[derive(Default)]
struct Subject {
    job: Option<JobKey>,
    task: Option<TaskId>,
    agent: Option<AgentId>,
}

/// Applies the batch to the state before it, record by record, and answers each with its subject. Parts of a step are
/// answered with the last of them, each by its own index; those that never take effect are not.
///
/// # Panics
/// As [`State::apply`].
pub fn journal_entries(state: &mut State, batch: &Batch) -> Vec<v1::JournalEntry> {
    let Some(parts) = state.gather(batch) else { return Vec::new() };
    let mut entries = Vec::new();
    for part in parts.iter().chain([batch]) {
        let records = batch_to_wire(part).records;
        for (mutation, record) in part.mutations.iter().zip(records) {
            let Subject { job, task, agent } = subject(state, mutation);
            entries.push(v1::JournalEntry {
                index: part.index,
                epoch: part.epoch.0,
                at_ms: part.at.0,
                record: Some(record),
                job: job.map(|job| job.to_string()).unwrap_or_default(),
                task_id: task.map(|task| task.0),
                agent_id: agent.map(|agent| agent.to_string()).unwrap_or_default(),
            });
            state.apply_one(mutation, batch.at);
        }
    }
    state.seal(batch);
    entries
}

/// `state` has everything before the mutation.
fn subject(state: &State, mutation: &Mutation) -> Subject {
    match mutation {
        Mutation::JobMade(JobMade { key, .. }) => Subject { job: Some(key.clone()), ..Subject::default() },
        Mutation::JobVersioned(JobVersioned { job, .. })
        | Mutation::JobEnded(JobEnded { job, .. })
        | Mutation::InstancesStopped(InstancesStopped { job, .. })
        | Mutation::JobSettled(JobSettled { job, .. })
        | Mutation::JobForgotten(JobForgotten { job })
        | Mutation::Ticked(Ticked { job, .. }) => of_job(state, *job),
        Mutation::TaskMade(TaskMade { task, job, .. }) => Subject { task: Some(*task), ..of_job(state, *job) },
        Mutation::TaskAssigned(TaskAssigned { task, agent, .. })
        | Mutation::Nominated(Nominated { task, agent, .. }) => {
            Subject { agent: of_agent(state, *agent).agent, ..of_task(state, *task) }
        }
        Mutation::TaskMoved(TaskMoved { task, .. })
        | Mutation::EndDated(EndDated { task, .. })
        | Mutation::TaskForgotten(TaskForgotten { task }) => of_task(state, *task),
        Mutation::AgentSeen(seen) => Subject { agent: Some(seen.id.clone()), ..Subject::default() },
        Mutation::AgentMoved(AgentMoved { agent, .. })
        | Mutation::AgentForgotten(AgentForgotten { agent })
        | Mutation::AgentAvoided(AgentAvoided { agent, .. })
        | Mutation::Blame(BlameMutation::Forgiven { agent, .. })
        | Mutation::Loss(LossMutation::DeclaredDown { agent, .. }) => of_agent(state, *agent),
        Mutation::Welcome(
            WelcomeMutation::Issued { agent, .. }
            | WelcomeMutation::Confirmed { agent }
            | WelcomeMutation::Copied { agent }
            | WelcomeMutation::Replaced { agent }
            | WelcomeMutation::Forgotten { agent },
        ) => of_agent(state, *agent),
        Mutation::Restore(RestoreMutation::SpecAdopted { spec, .. }) => {
            Subject { job: Some(spec.job.key.clone()), ..Subject::default() }
        }
        Mutation::Restore(RestoreMutation::TaskAdopted(adopted)) => {
            let agent = of_agent(state, adopted.agent).agent;
            Subject { task: Some(adopted.task), agent, ..of_job(state, adopted.job) }
        }
        _ => Subject::default(),
    }
}

fn of_job(state: &State, job: JobId) -> Subject {
    Subject { job: state.jobs.get(&job).map(|job| job.key.clone()), ..Subject::default() }
}

fn of_agent(state: &State, agent: AgentNo) -> Subject {
    Subject { agent: state.agents.get(&agent).map(|agent| agent.id.clone()), ..Subject::default() }
}

fn of_task(state: &State, id: TaskId) -> Subject {
    let Some(task) = state.tasks.get(&id) else { return Subject { task: Some(id), ..Subject::default() } };
    let agent = task.status.place().map(|place| place.agent);
    let agent = agent.and_then(|agent| of_agent(state, agent).agent);
    Subject { task: Some(id), agent, ..of_job(state, task.job) }
}
