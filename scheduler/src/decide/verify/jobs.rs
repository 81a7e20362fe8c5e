//! Jobs and tasks by the journal alone.

use std::collections::BTreeMap;

use dawn_proto::amounts::count;
use dawn_proto::v1::{JobKind, Tier, UpdateStrategy};
use dawn_proto::{TaskId, TaskState};

use super::{Promise, Verified};
use crate::decide::is_surplus;
use crate::decide::place::TextRule;
use crate::model::{Agent, Constraint, Job, Rule, State, Task};

pub(super) fn check(state: &State, verified: &mut Verified) {
    for job in state.jobs.values() {
        submission(state, job, verified);
        runs(state, job, verified);
        disruptions(state, job, verified);
        update(state, job, verified);
        lives(state, job, verified);
        limits(state, job, verified);
    }
    for task in state.tasks.values() {
        ending(task, verified);
    }
    for (no, tasks) in &state.indexes().tasks_on {
        let Some(agent) = state.agents.get(no) else { continue };
        for task in tasks.iter().filter_map(|id| state.tasks.get(id)) {
            constraints(state, agent, task, verified);
        }
    }
}

/// Every instance that is wanted has a life, or had one.
fn submission(state: &State, job: &Job, verified: &mut Verified) {
    let Some(spec) = state.current_spec(job) else { return };
    // Of a template nothing is made before it is dispatched.
    let made_whole = matches!(spec.job.kind, JobKind::Service | JobKind::Batch) && !spec.job.flow.is_template;
    if job.ended.is_some() || job.settled != Job::SETTLED || !made_whole || state.restores.waiting {
        return;
    }
    let wanted = |instance: &u32| spec.has(*instance) && !job.stopped.contains(instance);
    for instance in (0..spec.bound()).filter(wanted) {
        verified.count(Promise::Submission);
        if state.tasks_of(job.id).newest(Default::default(), instance).is_none() {
            verified.find(Promise::Submission, format!("{}/{instance} neither waits nor runs nor has ended", job.key));
        }
    }
}

fn ending(task: &Task, verified: &mut Verified) {
    verified.count(Promise::Ending);
    let ends = task.history.iter().filter(|step| step.to.is_terminal()).count();
    let last = task.history.last().map(|step| step.to);
    if ends > 1 || ends == 1 && !last.is_some_and(TaskState::is_terminal) || last != Some(task.state()) {
        let steps: Vec<&str> = task.history.iter().map(|step| step.to.plain_name()).collect();
        let state = task.state().plain_name();
        verified.find(Promise::Ending, format!("{} is {state} after {}", task.id, steps.join(", ")));
    }
}

fn runs(state: &State, job: &Job, verified: &mut Verified) {
    if state.current_spec(job).is_none_or(|spec| spec.job.kind != JobKind::Cron) {
        return;
    }
    verified.count(Promise::Tick);
    let mut living: BTreeMap<_, u32> = BTreeMap::new();
    for task in state.living(job) {
        *living.entry((task.run_at, task.instance)).or_default() += 1;
    }
    for ((run_at, instance), lives) in living.into_iter().filter(|(_, lives)| *lives > 1) {
        verified.find(Promise::Tick, format!("{}/{instance} of {run_at} lives {lives} times", job.key));
    }
}

fn disruptions(state: &State, job: &Job, verified: &mut Verified) {
    let disrupted: Vec<&Task> = state.living(job).filter(|task| task.state() == TaskState::Preempting).collect();
    for victim in &disrupted {
        verified.count(Promise::Preemption);
        taken(state, victim, verified);
    }
    let budget = state.current_spec(job).and_then(|spec| spec.job.disruption_budget);
    if let Some(budget) = budget.filter(|budget| disrupted.len() > *budget as usize) {
        let text = format!("{}: {} tasks are preempted, its budget is {budget}", job.key, disrupted.len());
        verified.drift(Promise::Preemption, text);
    }
}

/// A production task may take the room of every other tier; within a tier only a role its own, and by priority.
fn taken(state: &State, victim: &Task, verified: &mut Verified) {
    let said = victim.history.last().and_then(|last| last.message.strip_prefix("room for t")?.parse().ok());
    let Some(taker) = said.and_then(|taker| state.tasks.get(&TaskId(taker))) else { return };
    let (from, to) = (&state.spec_of(victim).job, &state.spec_of(taker).job);
    let is_lower = to.tier == Tier::Production && from.tier != Tier::Production;
    let is_own = from.tier == to.tier && from.key.role() == to.key.role() && from.priority < to.priority;
    if !is_lower && !is_own {
        let text = format!("{} of {} makes way for {} of {}", victim.id, from.key, taker.id, to.key);
        verified.find(Promise::Preemption, text);
    }
}

/// As many at once as the policy of the update under way lets it change, and live twice.
fn update(state: &State, job: &Job, verified: &mut Verified) {
    let Some(update) = job.changes.active() else { return };
    verified.count(Promise::Update);
    let mut lives: BTreeMap<u32, u32> = BTreeMap::new();
    for task in state.living(job) {
        *lives.entry(task.instance).or_default() += 1;
    }
    let policy = &update.policy;
    let is_blue_green = policy.strategy == UpdateStrategy::BlueGreen;
    let twice = lives.values().filter(|lives| **lives > 1).count();
    let surge = if is_blue_green { update.instances.len() } else { policy.surge as usize };
    if twice > surge {
        let live = if twice == 1 { "lives" } else { "live" };
        let twice = count(twice as u64, "instance");
        let text = format!("{}: {twice} {live} twice, update {} lets {surge}", job.key, update.number);
        verified.find(Promise::Update, text);
    }
    let most = policy.group_sizes.iter().copied().max().unwrap_or(1).max(policy.canaries) as usize;
    let busy = update.in_progress().count();
    if !is_blue_green && !update.is_back() && policy.surge == 0 && busy > most {
        let text = format!("{}: {busy} instances change at once, update {} lets {most}", job.key, update.number);
        verified.find(Promise::Update, text);
    }
}

/// Where no update is under way, no instance that runs for ever has a life too many.
fn lives(state: &State, job: &Job, verified: &mut Verified) {
    // Of one that must not live twice the agents are asked as well.
    let is_meant = |spec: &crate::model::Spec| spec.job.kind.runs_for_ever() && !spec.job.at_most_one;
    if !state.current_spec(job).is_some_and(|spec| is_meant(spec))
        || job.changes.active().is_some()
        || job.ended.is_some()
        || job.settled != Job::SETTLED
    {
        return;
    }
    for task in state.living(job) {
        let wanted = state.wanted_spec(job, task.instance).map(|spec| &**spec);
        if is_surplus(state, job, task, wanted) {
            let text = format!("{}/{} lives in {} beside a life that stays", job.key, task.instance, task.id);
            verified.find(Promise::Update, text);
        }
    }
}

fn values(agent: &Agent, attribute: &str) -> Vec<String> {
    match attribute {
        "host" => vec![agent.id.to_string()],
        name => agent.attributes.get(name).cloned().unwrap_or_default(),
    }
}

fn keeps(agent: &Agent, constraint: &Constraint) -> bool {
    let Some(rule) = TextRule::new(&constraint.rule) else { return true };
    let values = values(agent, &constraint.attribute);
    match (values.is_empty(), rule.wants_all()) {
        (true, _) => rule.accepts_absence(),
        (false, true) => values.iter().all(|value| rule.accepts(value)),
        (false, false) => values.iter().any(|value| rule.accepts(value)),
    }
}

/// Attributes may change under a task: it is not stopped for it.
fn constraints(state: &State, agent: &Agent, task: &Task, verified: &mut Verified) {
    let job = &state.spec_of(task).job;
    for constraint in &job.constraints {
        verified.count(Promise::Constraint);
        if !keeps(agent, constraint) {
            let text = format!("{} on {}: its constraint on {} does not hold", task.id, agent.id, constraint.attribute);
            verified.drift(Promise::Constraint, text);
        }
    }
}

fn limits(state: &State, job: &Job, verified: &mut Verified) {
    let Some(spec) = state.current_spec(job) else { return };
    for constraint in &spec.job.constraints {
        let Rule::Limit(most) = constraint.rule else { continue };
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for agent in state.living(job).filter_map(|task| state.agents.get(&task.held_on()?)) {
            for value in values(agent, &constraint.attribute) {
                *counts.entry(value).or_default() += 1;
            }
        }
        for (value, tasks) in counts {
            verified.count(Promise::Constraint);
            if tasks > most {
                let text = format!("{}: {tasks} tasks at {}={value}, at most {most}", job.key, constraint.attribute);
                verified.find(Promise::Constraint, text);
            }
        }
    }
}
