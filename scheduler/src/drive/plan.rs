//! What would come of submitting a job: the pulse's own decisions on a copy of the state, with a clock that stands still.
//! Nothing leaves; agents are taken to do at once what they are told.

mod otherwise;

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::{JobKind, Reason, SubmitOutcome};
use dawn_proto::{JobKey, TaskId, TaskState};

use super::PulseSettings;
use super::decider::Decider;
use crate::decide::place::{Explained, explain, stays_up};
use crate::decide::{has_instance, never_permits};
use crate::model::{
    AgentNo, Answer, Command, Effect, Event, Job, JobId, JobSpec, LinkId, Live, Mutation, Now, Refusal, ReplyTo,
    Report, Settings, State, Task, TaskMoved, answers,
};

pub use otherwise::Refused;

/// Rounds of placing, and of pushing tasks aside for what found no place.
const ROUNDS: usize = 8;
/// Steps in which one job is made whole at most.
const STEPS: usize = 4_096;

/// A cluster to try things on.
pub struct Trial {
    state: State,
    live: Live,
    decider: Decider,
    settings: Settings,
    bounds: PulseSettings,
    now: Now,
    /// Submissions that were refused and planned as if they were not.
    otherwise: usize,
}

/// The instances of a job that live before it is submitted.
#[derive(Default)]
struct Lives {
    all: BTreeSet<u32>,
    /// Of those that are placed, the version of their spec.
    placed: BTreeMap<u32, u32>,
}

/// What would come of one job.
#[derive(Debug)]
pub struct Planned {
    pub outcome: SubmitOutcome,
    pub version: u32,
    /// Instances, ascending.
    pub created: Vec<u32>,
    pub restarted: Vec<u32>,
    pub stopped: Vec<u32>,
    pub places: BTreeMap<AgentNo, Vec<u32>>,
    /// Tasks of other jobs, and where they are.
    pub preempted: Vec<(Task, AgentNo)>,
    pub pending: Vec<Explained>,
    /// The first instance that the job's SLA never lets an update stop, and why.
    pub held: Option<(u32, String)>,
}

impl Trial {
    /// Begins with a copy of the state, in which what waits already has had its turn.
    pub fn new(
        state: State,
        connected: &BTreeSet<AgentNo>,
        settings: &Settings,
        bounds: &PulseSettings,
        now: Now,
    ) -> Trial {
        let mut decider = Decider::new(&state, settings.clone(), bounds);
        let mut live = Live { elected_ms: now.mono_ms, ticked: now, ..Live::default() };
        for agent in connected.iter().filter(|agent| state.agents.contains_key(agent)) {
            live.bind(link_of(*agent), *agent, now.mono_ms);
            decider.connected(&state, *agent, true);
        }
        let (settings, bounds) = (settings.clone(), bounds.clone());
        let mut trial = Trial { state, live, decider, settings, bounds, now, otherwise: 0 };
        trial.place();
        trial
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Submits a job and says what comes of it. What follows for others is part of the trial from then on.
    ///
    /// # Errors
    /// Why it would be refused, and what would come of it otherwise. Nothing of that is part of the trial.
    pub fn submit(&mut self, spec: &JobSpec) -> Result<Planned, Refused> {
        self.try_to(spec).map_err(|refusal| Refused { otherwise: self.otherwise(spec, &refusal), refusal })
    }

    fn try_to(&mut self, spec: &JobSpec) -> Result<Planned, Refusal> {
        let job = self.state.job(&spec.key);
        let was_there = job.is_some_and(|job| job.ended.is_none() && self.state.current_spec(job).is_some());
        let lives = job.map(|job| self.lives(job)).unwrap_or_default();
        let first = self.state.next_task;
        let (outcome, version) = self.command(spec)?;
        let mut kept = None;
        let replaces = |job: &Job| job.version(version).is_some_and(|own| own.replaces);
        if outcome == SubmitOutcome::Updating || self.state.job(&spec.key).is_some_and(replaces) {
            kept = self.play_update(&spec.key);
        }
        for _ in 0..STEPS {
            let is_settled = self.state.job(&spec.key).is_none_or(|job| job.settled == Job::SETTLED);
            // What waits for time to pass, waits.
            if is_settled || !self.tick() {
                break;
            }
        }
        let mut preempted = Vec::new();
        for _ in 0..ROUNDS {
            let victims = self.place();
            if victims.is_empty() {
                break;
            }
            for (task, agent) in victims {
                self.end(task.id, agent);
                preempted.push((task, agent));
            }
        }
        preempted.retain(|(task, _)| self.state.jobs.get(&task.job).is_some_and(|job| job.key != spec.key));
        let mut planned = self.planned(spec, (outcome, version), was_there, &lives, first, preempted);
        planned.pending.extend(kept);
        let is_updating = outcome == SubmitOutcome::Updating && !planned.restarted.is_empty();
        planned.held = planned.restarted.first().filter(|_| is_updating).copied().zip(never_permits(spec));
        if planned.held.is_some() {
            // What may not be stopped leaves its next life without a place.
            planned.places.values_mut().for_each(|of| of.retain(|at| !planned.restarted.contains(at)));
            planned.places.retain(|_, of| !of.is_empty());
        }
        planned.pending = once_each(planned.pending, version);
        Ok(planned)
    }

    /// Plays an update, or a replacement, step by step, as if each task did at once what it is told and was healthy, to its end or to where it can't
    /// go on: then what is pending says why, and so does what was not stopped for want of room.
    fn play_update(&mut self, key: &JobKey) -> Option<Explained> {
        let id = self.state.job(key)?.id;
        let is_updating = |state: &State| state.jobs.get(&id).is_some_and(|job| job.changes.active().is_some());
        let was_updating = is_updating(&self.state);
        self.state.skip_update_waits(id);
        for _ in 0..STEPS {
            let is_over = was_updating && !is_updating(&self.state);
            let mut goes_on = self.tick();
            for (task, agent) in self.place() {
                self.end(task.id, agent);
                goes_on = true;
            }
            goes_on |= self.do_as_told(id);
            if is_over || !goes_on {
                break;
            }
        }
        let connected = |agent| self.live.agents.contains_key(&agent);
        stays_up(&self.state, &self.bounds.place, &connected, id, self.now)
    }

    /// The job's tasks start, or stop, as they are told; false: there was nothing to do.
    fn do_as_told(&mut self, id: JobId) -> bool {
        let Some(job) = self.state.jobs.get(&id) else { return false };
        let told = self.state.living(job).filter_map(|task| {
            let to = match task.state() {
                TaskState::Assigned | TaskState::Starting => TaskState::Running,
                state if state.is_stopping() => TaskState::Killed,
                _ => return None,
            };
            Some((task.id, task.held_on()?, to))
        });
        let told: Vec<_> = told.collect();
        for (task, agent, state) in &told {
            let (reason, at, message) = (Reason::None, self.now.wall, String::new());
            let report = Report { task: *task, sequence: u64::MAX, state: *state, at, reason, message, exit: None };
            self.event(&Event::Reported { link: link_of(*agent), report });
        }
        !told.is_empty()
    }

    fn lives(&self, job: &Job) -> Lives {
        let placed = self.state.living(job).filter(|task| task.held_on().is_some());
        Lives {
            placed: placed.map(|task| (task.instance, self.state.spec_of(task).version)).collect(),
            all: self.state.living(job).map(|task| task.instance).collect(),
        }
    }

    fn command(&mut self, spec: &JobSpec) -> Result<(SubmitOutcome, u32), Refusal> {
        let (author, message) = (String::new(), String::new());
        let command = Command::Submit { spec: Box::new(spec.clone()), author, message };
        let effects = self.event(&Event::Command { reply: ReplyTo(0), command });
        let answer = effects.into_iter().find_map(|effect| match effect {
            Effect::Reply { answer, .. } => Some(answer),
            _ => None,
        });
        match answer {
            Some(Err(refusal)) => Err(refusal),
            Some(Ok(Answer::Submitted(answers::Submitted { version, outcome, .. }))) => Ok((outcome, version)),
            // invariant: a submission is answered by nothing else.
            other => unreachable!("a submission was answered with {other:?}"),
        }
    }

    fn event(&mut self, event: &Event) -> Vec<Effect> {
        let decision = self.decider.decide(&self.state, &self.live, event, self.now);
        self.take(&decision.mutations);
        decision.effects
    }

    /// False: nothing came of it.
    fn tick(&mut self) -> bool {
        let decision = self.decider.decide(&self.state, &self.live, &Event::Tick, self.now);
        self.take(&decision.mutations);
        !decision.mutations.is_empty()
    }

    fn take(&mut self, mutations: &[Mutation]) {
        for mutation in mutations {
            self.state.apply_one(mutation, self.now.wall);
            self.decider.observe(&self.state, mutation);
        }
    }

    /// Places what can be; answers the tasks that are pushed aside for more, and where they are.
    fn place(&mut self) -> Vec<(Task, AgentNo)> {
        let mut victims = Vec::new();
        for _ in 0..STEPS {
            let (placed, hungry) = self.decider.place(&self.state, self.now);
            self.take(&placed);
            let moved = placed.iter().filter_map(|mutation| match mutation {
                Mutation::TaskMoved(TaskMoved { task, to: TaskState::Preempting, .. }) => self.state.tasks.get(task),
                _ => None,
            });
            victims.extend(moved.filter_map(|task| Some((task.clone(), task.held_on()?))));
            if !hungry {
                break;
            }
        }
        victims
    }

    /// Its agent says that it stopped.
    fn end(&mut self, task: TaskId, agent: AgentNo) {
        let (state, reason, at) = (TaskState::Killed, Reason::Preempted, self.now.wall);
        let report = Report { task, sequence: u64::MAX, state, at, reason, message: String::new(), exit: None };
        self.event(&Event::Reported { link: link_of(agent), report });
    }

    fn planned(
        &self,
        spec: &JobSpec,
        (outcome, version): (SubmitOutcome, u32),
        was_there: bool,
        lives: &Lives,
        first: TaskId,
        preempted: Vec<(Task, AgentNo)>,
    ) -> Planned {
        let (mut created, mut places) = (BTreeSet::new(), BTreeMap::<AgentNo, Vec<u32>>::new());
        let (mut stopped, mut pending) = (BTreeSet::new(), Vec::new());
        let made = self.state.job(&spec.key).and_then(|job| job.version(version).or(job.current()));
        let made = made.and_then(|made| self.state.specs.get(&made.spec));
        let has = |instance: u32| made.is_some_and(|made| has_instance(&self.state, made, instance));
        if let Some(job) = self.state.job(&spec.key) {
            for task in self.state.tasks_of(job.id).ids.range(first..).filter_map(|id| self.state.tasks.get(id)) {
                if !lives.placed.contains_key(&task.instance) {
                    created.insert(task.instance);
                }
                if let Some(agent) = task.held_on() {
                    places.entry(agent).or_default().push(task.instance);
                }
            }
            let is_going = |instance: &u32| {
                let tasks = self
                    .state
                    .tasks_of(job.id)
                    .slot(Default::default(), *instance)
                    .filter_map(|id| self.state.tasks.get(&id));
                tasks.into_iter().all(|task| task.state().is_terminal() || task.state() == TaskState::Killing)
            };
            let gone = lives.all.iter().copied().filter(|instance| spec.kind != JobKind::Cron && !has(*instance));
            stopped.extend(gone.filter(is_going));
            let connected = |agent| self.live.agents.contains_key(&agent);
            pending = explain(&self.state, &self.bounds.place, &connected, job.id, self.now);
        }
        // A new version of what runs ends its lives, all or by and by.
        let anew = !matches!(outcome, SubmitOutcome::Unchanged | SubmitOutcome::StartedAgain | SubmitOutcome::Scaled);
        let anew = anew && spec.kind != JobKind::Cron && was_there;
        let restarted = lives.placed.iter().filter(|(instance, old)| anew && has(**instance) && **old < version);
        Planned {
            outcome,
            version,
            created: created.into_iter().collect(),
            restarted: restarted.map(|(instance, _)| *instance).collect(),
            stopped: stopped.into_iter().collect(),
            places,
            preempted,
            pending,
            held: None,
        }
    }
}

/// An instance that waits in two versions is told once, as of the newer one.
fn once_each(classes: Vec<Explained>, version: u32) -> Vec<Explained> {
    let of_new = classes.iter().filter(|class| class.version == version);
    let told: BTreeSet<u32> = of_new.flat_map(|class| class.instances.iter().copied()).collect();
    let mut classes = classes;
    for class in classes.iter_mut().filter(|class| class.version != version) {
        class.instances.retain(|instance| !told.contains(instance));
    }
    classes.retain(|class| !class.instances.is_empty());
    classes
}

fn link_of(agent: AgentNo) -> LinkId {
    LinkId(u64::from(agent.0))
}

#[cfg(test)]
mod tests;
