//! Whose fault it is that a task did not start is found out by trying elsewhere. What the job does elsewhere was the
//! agent's fault: the job keeps off it for a while, and an agent against which enough speaks is avoided by all, longer each
//! time, and forgiven. Agents that come and go are avoided as well. Not here: silence (`liveness`).

use std::collections::BTreeSet;

use dawn_proto::amounts::count;
use dawn_proto::v1::Reason;
use dawn_proto::{TaskState, Timestamp};

use super::place;
use super::step::Step;
use crate::model::{
    Agent, AgentAvoided, AgentNo, Blame, BlameMutation, FaultOf, Job, JobId, JobSpec, KeptOff, Mutation, Settings,
    Spec, Task, reason_words,
};

/// Tasks of a job looked at for one that started elsewhere, the newest first.
const LOOKED_AT: usize = 200;

/// Jobs named as the cause for which an agent is avoided.
const NAMED: usize = 3;

/// Whose fault an end is, as far as its reason tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing that a job asks for can be the cause.
    Agents,
    /// The job's or the agent's: trying elsewhere tells.
    Either,
    /// The scheduler's view of the agent was old.
    NoOnes,
    Jobs,
}

fn fault(reason: Reason, spec: &JobSpec) -> Fault {
    match reason {
        Reason::CgroupFailed | Reason::CheckpointFailed | Reason::NodeDiskFull | Reason::NodeDiskFailed => {
            Fault::Agents
        }
        Reason::NoRoom => Fault::NoOnes,
        // The scheduler chose the ports; the agent has left the one in use out of its offer.
        Reason::PortClash if spec.ports.iter().all(|port| port.fixed.is_none()) => Fault::NoOnes,
        Reason::SandboxFailed
        | Reason::RootFsFailed
        | Reason::LimitNotPossible
        | Reason::PortClash
        | Reason::UnknownUser
        | Reason::ArtifactFailed
        | Reason::ChecksumMismatch
        | Reason::ExecutorLost => Fault::Either,
        _ => Fault::Jobs,
    }
}

/// Whether a task of the spec that starts could have failed for the reason.
fn could_fail(spec: &JobSpec, reason: Reason) -> bool {
    match reason {
        Reason::RootFsFailed => spec.has_root_fs,
        Reason::ArtifactFailed | Reason::ChecksumMismatch => spec.has_artifacts,
        Reason::PortClash => spec.ports.iter().any(|port| port.fixed.is_some()),
        _ => true,
    }
}

/// Whether the reason speaks against an agent once the job has started elsewhere. An agent that lacks what few jobs ask
/// for is as good as any to all others.
fn speaks_against(reason: Reason) -> bool {
    !matches!(reason, Reason::LimitNotPossible | Reason::UnknownUser)
}

/// Whether a task that has never run ended for want of what it needs to start.
pub(super) fn did_not_start(task: &Task, spec: &JobSpec, reason: Reason) -> bool {
    !has_run(task) && fault(reason, spec) != Fault::Jobs
}

fn has_run(task: &Task) -> bool {
    task.history.iter().any(|one| one.to == TaskState::Running)
}

/// A task's agent says that it ended: the state it ends in. FAILED is the job's fault and counts, LOST is not.
pub(super) fn ended(step: &mut Step, agent: AgentNo, task: &Task, to: TaskState, reason: Reason) -> TaskState {
    let state = step.state;
    let spec = state.spec_of(task);
    let is_judged = matches!(to, TaskState::Lost | TaskState::Failed) && !step.state_of(task).is_stopping();
    if !is_judged || !did_not_start(task, &spec.job, reason) {
        return to;
    }
    match fault(reason, &spec.job) {
        Fault::Jobs => to,
        Fault::NoOnes => TaskState::Lost,
        Fault::Agents => {
            if let Some(job) = state.jobs.get(&task.job)
                && fits_elsewhere(step, job, spec, agent)
            {
                keep_off(step, job.id, first(step, agent, spec, reason, FaultOf::Agent));
            }
            let (job, reason) = (named(step, [task.job]), reason_words(reason));
            avoid(step, agent, format!("a task of {job} could not be started there ({reason})"));
            TaskState::Lost
        }
        Fault::Either => match suspect(step, agent, task, spec, reason) {
            FaultOf::Job => TaskState::Failed,
            FaultOf::Agent | FaultOf::Unknown => TaskState::Lost,
        },
    }
}

/// The first failure is the agent's until the job has failed elsewhere; where there is nowhere else it is the job's.
fn suspect(step: &mut Step, agent: AgentNo, task: &Task, spec: &Spec, reason: Reason) -> FaultOf {
    let Some(job) = step.state.jobs.get(&task.job) else { return FaultOf::Job };
    let mut same = job.kept_off.iter().filter(|kept| kept.spec == spec.id && kept.reason == reason);
    let is_known = |kept: &KeptOff| match kept.fault_of {
        FaultOf::Unknown => kept.agent != agent,
        FaultOf::Agent => false,
        FaultOf::Job => true,
    };
    if same.any(is_known) {
        return FaultOf::Job;
    }
    if let Some(kept) = job.kept_off(agent, spec.id).filter(|kept| kept.keeps_off()) {
        // Placed there before the job kept off it.
        if kept.reason == reason {
            keep_off(step, job.id, KeptOff { failures: kept.failures.saturating_add(1), ..kept.clone() });
            if kept.fault_of == FaultOf::Agent {
                blame(step, agent, Blame { job: job.id, reason, failures: 1 });
            }
        }
        return kept.fault_of;
    }
    if job.kept_off.len() >= KeptOff::MOST {
        return FaultOf::Job;
    }
    let fault_of = if !fits_elsewhere(step, job, spec, agent) {
        FaultOf::Job
    } else if started_lately(step, job, spec, agent) {
        FaultOf::Agent
    } else {
        FaultOf::Unknown
    };
    keep_off(step, job.id, first(step, agent, spec, reason, fault_of));
    if fault_of == FaultOf::Agent {
        blame(step, agent, Blame { job: job.id, reason, failures: 1 });
    }
    fault_of
}

fn first(step: &Step, agent: AgentNo, spec: &Spec, reason: Reason, fault_of: FaultOf) -> KeptOff {
    let until = step.now.wall.plus_ms(step.settings.keep_off_ms);
    KeptOff { agent, spec: spec.id, reason, fault_of, failures: 1, until }
}

fn keep_off(step: &mut Step, job: JobId, kept: KeptOff) {
    step.mutations.push(Mutation::Blame(BlameMutation::KeptOff { job, kept }));
}

fn let_in(step: &mut Step, job: JobId, kept: &KeptOff) {
    let (agent, spec) = (kept.agent, kept.spec);
    step.mutations.push(Mutation::Blame(BlameMutation::LetIn { job, agent, spec }));
}

/// Whether the job keeps off the agent after this step.
pub(super) fn keeps_off(step: &Step, job: &Job, spec: &Spec, agent: AgentNo) -> bool {
    let decided = step.mutations.iter().rev().find_map(|mutation| match mutation {
        Mutation::Blame(BlameMutation::KeptOff { job: of, kept })
            if *of == job.id && kept.agent == agent && kept.spec == spec.id =>
        {
            Some(kept)
        }
        _ => None,
    });
    decided.or(job.kept_off(agent, spec.id)).is_some_and(KeptOff::keeps_off)
}

/// Whether another agent could take a task of the spec, if not now: one that is up and in use, that neither the job keeps off
/// nor everybody, and that has not as many of its tasks as a limit allows.
fn fits_elsewhere(step: &Step, job: &Job, spec: &Spec, but: AgentNo) -> bool {
    let at_limit = place::at_limit(step.state, job, &spec.job);
    let is_out = |agent: &Agent| {
        let kept_off = || job.kept_off(agent.no, spec.id).is_some_and(KeptOff::keeps_off);
        let is_closed = agent.no == but || agent.upkeep.is_some() || is_avoided(agent, step.now.wall);
        is_closed || kept_off() || at_limit(agent)
    };
    place::another_could_hold(step.state, &spec.job, is_out)
}

fn is_avoided(agent: &Agent, now: Timestamp) -> bool {
    agent.avoided.as_ref().is_some_and(|avoided| avoided.until > now)
}

/// Whether a task of the spec started on another agent within the time for which that is remembered.
fn started_lately(step: &Step, job: &Job, spec: &Spec, but: AgentNo) -> bool {
    let since = Timestamp(step.now.wall.0.saturating_sub_unsigned(step.settings.blame_kept_ms));
    let tasks = step.state.tasks_of(job.id).ids.iter().rev().take(LOOKED_AT).filter_map(|id| step.state.tasks.get(id));
    let mut elsewhere =
        tasks.filter(|task| task.spec == spec.id && task.status.place().is_some_and(|place| place.agent != but));
    elsewhere.any(|task| task.history.iter().any(|one| one.to == TaskState::Running && one.at >= since))
}

/// Jobs by their names, as people read them; of many the first.
fn named(step: &Step, jobs: impl IntoIterator<Item = JobId>) -> String {
    let mut names: Vec<String> = jobs
        .into_iter()
        .map(|id| step.state.jobs.get(&id).map_or_else(|| "a job that is gone".into(), |job| job.key.to_string()))
        .collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match more {
        0 => names.join(" and "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Counts failures against an agent: three of two jobs are enough.
fn blame(step: &mut Step, agent: AgentNo, blame: Blame) {
    let reason = blame.reason;
    if !speaks_against(reason) {
        return;
    }
    let known = step.state.agents.get(&agent).map(|agent| &agent.blames[..]).unwrap_or_default();
    let decided = step.mutations.iter().filter_map(|mutation| match mutation {
        Mutation::Blame(BlameMutation::Blamed { agent: of, blame }) if *of == agent => Some(blame),
        _ => None,
    });
    let same = || known.iter().chain(decided.clone()).chain([&blame]).filter(|one| one.reason == reason);
    let jobs: BTreeSet<JobId> = same().map(|one| one.job).collect();
    let failures = same().fold(0u32, |sum, one| sum.saturating_add(one.failures));
    step.mutations.push(Mutation::Blame(BlameMutation::Blamed { agent, blame }));
    if jobs.len() >= step.settings.jobs_to_avoid && failures as usize >= step.settings.failures_to_avoid {
        let (names, reason) = (named(step, jobs), reason_words(reason));
        avoid(
            step,
            agent,
            format!("{} of {names} did not start there, and do elsewhere ({reason})", count(failures, "task")),
        );
    }
}

/// A task has started, or ended as only one that had started can: what failed elsewhere was not its job's fault, and what
/// failed here before has passed.
pub(super) fn started(step: &mut Step, agent: AgentNo, task: &Task) {
    let (state, spec) = (step.state, step.state.spec_of(task));
    for kept in state.jobs.get(&task.job).into_iter().flat_map(|job| &job.kept_off) {
        if kept.spec != spec.id || kept.fault_of == FaultOf::Agent && kept.agent != agent {
            continue;
        }
        if kept.agent == agent || kept.fault_of == FaultOf::Job {
            let_in(step, task.job, kept);
        } else {
            keep_off(step, task.job, KeptOff { fault_of: FaultOf::Agent, ..kept.clone() });
            blame(step, kept.agent, Blame { job: task.job, reason: kept.reason, failures: kept.failures });
        }
    }
    let blames = state.agents.get(&agent).map(|agent| &agent.blames[..]).unwrap_or_default();
    let reasons: BTreeSet<i32> = blames.iter().map(|blame| i32::from(blame.reason)).collect();
    for reason in reasons.into_iter().filter_map(|reason| Reason::try_from(reason).ok()) {
        if could_fail(&spec.job, reason) {
            step.mutations.push(Mutation::Blame(BlameMutation::Proved { agent, reason }));
        }
    }
}

/// Whether a task that its agent says is in this state, for this reason, has started.
pub(super) fn has_started(to: TaskState, reason: Reason) -> bool {
    use Reason::*;
    match to {
        TaskState::Running | TaskState::Finished => true,
        TaskState::Failed => {
            matches!(reason, Exited | Signaled | OutOfMemory | DiskLimit | ExecFailed | HealthCheck | MaxRunTime)
        }
        _ => false,
    }
}

/// The agent registers once more.
pub(super) fn registered(step: &mut Step, agent: AgentNo) {
    let settings = step.settings;
    let since_ms = step.now.mono_ms.saturating_sub(settings.flap_window_ms);
    let before = step.live.registrations.get(&agent).into_iter().flatten();
    let count = 1 + before.filter(|at_ms| **at_ms >= since_ms).count();
    // When most come again and again it is the network's or the scheduler's fault.
    let all = step.live.registrations.values().filter(|times| times.back().is_some_and(|at_ms| *at_ms >= since_ms));
    if count >= settings.flaps_to_avoid
        && all.take(step.state.agents.len() / 4 + 1).count() * 4 <= step.state.agents.len()
    {
        avoid(
            step,
            agent,
            format!("it registered {count} times within {}", dawn_proto::amounts::duration(settings.flap_window_ms)),
        );
    }
}

/// Twice as long as the last time, unless it is avoided now, or so many are that no more may be.
fn avoid(step: &mut Step, agent: AgentNo, why: String) {
    let settings = step.settings;
    let before = step.state.agents.get(&agent).and_then(|agent| agent.avoided.as_ref());
    if before.is_some_and(|avoided| avoided.until > step.now.wall) || is_decided(step, agent) || !may_avoid(step) {
        return;
    }
    let recent = before.filter(|avoided| step.now.wall.since_ms(avoided.until) <= settings.forgive_ms);
    let times = recent.map_or(1, |avoided| avoided.times.max(1).saturating_add(1));
    let until = step.now.wall.plus_ms(avoided_ms(settings, times));
    step.mutations.push(Mutation::AgentAvoided(AgentAvoided { agent, until: Some(until), why, times }));
}

fn avoided_ms(settings: &Settings, times: u32) -> u64 {
    let doubled_ms = settings.avoid_ms.saturating_mul(1 << times.saturating_sub(1).min(32));
    doubled_ms.min(settings.max_avoid_ms.max(settings.avoid_ms))
}

/// Whether one more agent may be avoided: at most the larger of one and a quarter of those that are up, and never all.
fn may_avoid(step: &Step) -> bool {
    let up = step.state.agents.len().saturating_sub(step.state.indexes().agents_not_up.len());
    let known = step.state.indexes().avoided.iter().filter_map(|no| step.state.agents.get(no));
    let now = known.filter(|agent| is_avoided(agent, step.now.wall)).count();
    let decided = step.mutations.iter().filter(|one| matches!(one, Mutation::AgentAvoided(_))).count();
    let avoided = now + decided;
    avoided < (up / 4).max(1) && avoided + 1 < up
}

/// Decided in this very step.
fn is_decided(step: &Step, no: AgentNo) -> bool {
    step.mutations
        .iter()
        .any(|mutation| matches!(mutation, Mutation::AgentAvoided(AgentAvoided { agent, .. }) if *agent == no))
}

/// Whether a task of the spec is about to start on another agent.
fn is_being_tried(step: &Step, job: JobId, kept: &KeptOff) -> bool {
    let tasks = step
        .state
        .jobs
        .get(&job)
        .into_iter()
        .flat_map(|job| step.state.tasks_of(job.id).ids.iter().rev().take(LOOKED_AT));
    tasks.filter_map(|id| step.state.tasks.get(id)).any(|task| {
        let elsewhere = task.status.place().is_some_and(|place| place.agent != kept.agent);
        task.spec == kept.spec && elsewhere && matches!(task.state(), TaskState::Assigned | TaskState::Starting)
    })
}

/// What is over, or would last longer than it may: it was written under a clock that was ahead.
pub(super) fn tick(step: &mut Step) {
    let (state, now, settings) = (step.state, step.now.wall, step.settings);
    let ends = &state.indexes().kept_off_ends;
    let due = ends.iter().take_while(|(until, ..)| *until <= now);
    for (_, id, agent, spec) in due {
        if step.is_full() {
            return;
        }
        let Some(kept) = state.jobs.get(id).and_then(|job| job.kept_off(*agent, *spec)) else { continue };
        if kept.fault_of == FaultOf::Unknown && is_being_tried(step, *id, kept) {
            // What comes of it elsewhere says whose fault it was.
            keep_off(step, *id, KeptOff { until: now.plus_ms(settings.keep_off_ms), ..kept.clone() });
        } else if kept.fault_of == FaultOf::Unknown {
            // No other agent had room for it all the time. What fails from now on is the job's fault.
            let until = now.plus_ms(settings.blame_kept_ms);
            keep_off(step, *id, KeptOff { fault_of: FaultOf::Job, until, ..kept.clone() });
        } else {
            let_in(step, *id, kept);
        }
    }
    let soonest = now.plus_ms(settings.keep_off_ms.min(settings.blame_kept_ms));
    for (until, id, agent, spec) in ends.iter().rev().take_while(|(until, ..)| *until > soonest) {
        if step.is_full() {
            return;
        }
        let Some(kept) = state.jobs.get(id).and_then(|job| job.kept_off(*agent, *spec)) else { continue };
        let latest = now.plus_ms(if kept.keeps_off() { settings.keep_off_ms } else { settings.blame_kept_ms });
        if *until > latest {
            keep_off(step, *id, KeptOff { until: latest, ..kept.clone() });
        }
    }
    for (agent, avoided) in
        state.indexes().avoided.iter().filter_map(|no| Some((*no, state.agents.get(no)?.avoided.as_ref()?)))
    {
        let (latest, times) = (now.plus_ms(avoided_ms(settings, avoided.times)), avoided.times);
        if avoided.until > latest {
            let why = avoided.why.clone();
            step.mutations.push(Mutation::AgentAvoided(AgentAvoided { agent, until: Some(latest), why, times }));
        } else if now.since_ms(avoided.until) > settings.forgive_ms {
            step.mutations.push(Mutation::AgentAvoided(AgentAvoided {
                agent,
                until: None,
                why: String::new(),
                times: 0,
            }));
        }
    }
}
