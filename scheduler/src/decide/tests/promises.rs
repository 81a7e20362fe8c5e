//! What must hold after every step, whatever happened (the numbers are the design's).

use std::collections::BTreeMap;

use dawn_proto::v1::{JobKind, NodeState, Reason};
use dawn_proto::{TaskId, TaskState, Timestamp};

use super::world::World;
use crate::decide::lease::gone_after_ms;
use crate::model::{Effect, Job, Mutation, State, TaskAssigned, TaskMade, TaskMoved};

/// Reads the journal as it grows.
#[derive(Default)]
pub struct Promises {
    read: usize,
    ends: BTreeMap<TaskId, u32>,
    placements: BTreeMap<TaskId, u32>,
    /// Launches of a cron instant.
    launches: BTreeMap<(u32, Timestamp), u32>,
}

impl Promises {
    pub fn check(&mut self, world: &World) {
        self.read_journal(world);
        for job in world.state.jobs.values() {
            one_life_per_slot(&world.state, job);
            wanted_instances_live(&world.state, job);
        }
        only_reachable_tasks_run(&world.state);
    }

    /// S5, S6 and the cron promise: placed once, ended once, nothing after; one launch an instant.
    fn read_journal(&mut self, world: &World) {
        for batch in &world.journal[self.read..] {
            for mutation in &batch.mutations {
                match mutation {
                    Mutation::TaskAssigned(TaskAssigned { task, .. }) => {
                        assert!(!self.ends.contains_key(task), "{task} is placed after its end");
                        *self.placements.entry(*task).or_default() += 1;
                        assert_eq!(self.placements[task], 1, "{task} is placed twice");
                    }
                    Mutation::TaskMoved(TaskMoved { task, to, reason, .. }) => {
                        if (*to, *reason) == (TaskState::Lost, Reason::AgentLost) {
                            waited_for(world, *task);
                        }
                        assert!(!self.ends.contains_key(task), "{task} moves to {to:?} after its end");
                        if to.is_terminal() {
                            self.ends.insert(*task, 1);
                        }
                    }
                    Mutation::TaskMade(TaskMade { job, run_at, attempt: 1, .. }) if run_at.0 != 0 => {
                        let launches = self.launches.entry((job.0, *run_at)).or_default();
                        *launches += 1;
                        assert_eq!(*launches, 1, "two runs of {run_at}");
                        let recorded = world.state.jobs[job].ticks.iter().any(|tick| tick.scheduled == *run_at);
                        assert!(recorded, "a run of {run_at} without its record");
                    }
                    _ => {}
                }
            }
        }
        self.read = world.journal.len();
    }

    /// S9 and S4: what is stopped was stopped by a committed decision, what is launched is placed there.
    pub fn check_effects(world: &World, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Kill { agent, task, .. } => {
                    let Some(task) = world.state.tasks.get(task) else { continue };
                    let elsewhere = task.status.place().is_some_and(|place| place.agent != *agent);
                    let stopped = task.state().is_stopping() || task.state().is_terminal();
                    assert!(stopped || elsewhere, "{} is killed in {:?}", task.id, task.state());
                }
                Effect::Launch { agent, task } => {
                    let task = &world.state.tasks[task];
                    assert_eq!((task.state(), task.held_on()), (TaskState::Assigned, Some(*agent)), "{}", task.id);
                }
                _ => {}
            }
        }
    }
}

/// S2, as far as the state can promise it.
fn one_life_per_slot(state: &State, job: &Job) {
    let mut lives = BTreeMap::new();
    for task in state.living(job) {
        *lives.entry((task.run_at, task.instance)).or_insert(0) += 1;
    }
    assert!(lives.values().all(|lives| *lives == 1), "{}: {lives:?}", job.key);
    assert_eq!(state.tasks_of(job.id).living as usize, lives.len(), "{}", job.key);
}

/// What is on an agent out of reach is known to be so.
fn only_reachable_tasks_run(state: &State) {
    for agent in state.agents.values().filter(|agent| agent.state != NodeState::Up) {
        for task in state.indexes().tasks_on.get(&agent.no).into_iter().flatten() {
            let on = state.tasks[task].state();
            assert!(
                on == TaskState::Partitioned || on.is_stopping(),
                "{task} is {on:?} on {} {:?}",
                agent.no,
                agent.state
            );
        }
    }
}

/// S3: an accepted service is there, instance by instance; a job is only over when nothing of it lives.
fn wanted_instances_live(state: &State, job: &Job) {
    let current = state.current_spec(job).unwrap();
    let spec = &current.job;
    if job.ended.is_some() || job.settled != Job::SETTLED {
        return;
    }
    let wanted = |instance: &u32| current.has(*instance) && !job.stopped.contains(instance);
    for instance in (0..current.bound()).filter(wanted) {
        let newest = state.tasks_of(job.id).newest(Timestamp(0), instance).map(|task| &state.tasks[&task]);
        match spec.kind {
            JobKind::Service => {
                let state = newest.map(|task| task.state());
                assert!(state.is_some_and(|state| !state.is_terminal()), "{} {instance}: {state:?}", job.key);
            }
            JobKind::Batch => assert!(newest.is_some(), "{} {instance} was never made", job.key),
            _ => {}
        }
    }
    if spec.kind != JobKind::Cron {
        assert!(state.tasks_of(job.id).living > 0, "{} goes on without a task", job.key);
    }
}

/// S11: the follower's state, and a state whose indexes are built anew, equal the leader's.
pub fn replay_equals_live(world: &World) {
    // Said in words only when they differ: a state is large.
    assert!(world.twin == world.state, "replay differs: {:?}\n{:?}", world.twin, world.state);
    let built = State::of(world.state.truth().clone());
    assert!(built == world.state, "indexes differ: {:?}\n{:?}", built.indexes(), world.state.indexes());
}

/// S2: what must not live twice is given up only once its agent must have killed it.
fn waited_for(world: &World, task: TaskId) {
    let Some(task) = world.state.tasks.get(&task) else { return };
    let (job, place) = (&world.state.spec_of(task).job, task.status.place());
    let (Some(place), true) = (place, job.at_most_one) else { return };
    let silent_ms = world.now.mono_ms - world.live.heard_ms(place.agent);
    assert!(silent_ms > gone_after_ms(&world.settings, job), "{} is given up after {silent_ms} ms", task.id);
}
