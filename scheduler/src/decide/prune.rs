//! Forgets what nobody asks for any more, a slice at a time: ended jobs, and agents long given up.
//! Not here: ended tasks of a living job, forgotten when the next one is made (`step`, `cron`).

use dawn_proto::Timestamp;
use dawn_proto::v1::NodeState;

use super::copies;
use super::liveness::not_up;
use super::step::Step;
use crate::model::{AgentForgotten, Job, JobForgotten, JobId, Mutation};

pub(super) fn tick(step: &mut Step) {
    let oldest = Timestamp(step.now.wall.0.saturating_sub_unsigned(step.settings.ended_job_kept_ms));
    for (_, id) in step.state.indexes().ended_jobs.range(..(oldest, JobId(0))) {
        if step.is_full() {
            return;
        }
        if let Some(job) =
            step.state.jobs.get(id).filter(|job| step.state.tasks_of(job.id).living == 0 && job.settled == Job::SETTLED)
        {
            forget(step, job);
        }
    }
    agents(step);
}

fn forget(step: &mut Step, job: &Job) {
    for task in step.state.tasks_of(job.id).ids.iter().filter_map(|id| step.state.tasks.get(id)) {
        if step.is_full() {
            return;
        }
        step.forget(task);
    }
    step.mutations.push(Mutation::JobForgotten(JobForgotten { job: job.id }));
}

fn agents(step: &mut Step) {
    for agent in not_up(step.state) {
        let down_ms = step.now.wall.since_ms(agent.since);
        let unused = !step.state.indexes().tasks_on.contains_key(&agent.no);
        if agent.state == NodeState::Down && unused && down_ms > step.settings.down_agent_kept_ms {
            step.mutations.push(Mutation::AgentForgotten(AgentForgotten { agent: agent.no }));
            copies::forgotten(step, agent.no);
        }
    }
}
