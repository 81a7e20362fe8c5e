//! Random lives of a small cluster: lost, repeated and reordered reports, links and machines that fail, new leaders.
//! The promises are checked after every step; then all heals, and what is wanted must run, once.

use std::collections::BTreeMap;

use dawn_proto::TaskState;
use dawn_proto::v1::{JobKind, NodeState, Overlap, Reason};
use proptest::prelude::*;

use super::fleet::Fleet;
use super::promises::{Promises, replay_equals_live};
use super::specs::{batch, cron, key, service};
use super::world::World;
use crate::model::{AgentNo, Command, Job, JobSpec, LossCommand, Mutation, State, TaskMoved};

const AGENTS: usize = 3;
const JOBS: u8 = 4;

struct Run {
    world: World,
    fleet: Fleet,
    promises: Promises,
    epoch: u64,
}

fn spec(job: u8, instances: u32) -> JobSpec {
    match job % JOBS {
        0 => JobSpec { at_most_one: true, ..service("web", 1 + instances % 5) },
        1 => JobSpec { partition_wait: true, ..service("db", 1 + instances % 2) },
        2 => JobSpec { max_run_time_ms: Some(90_000), ..batch("sum", 1 + instances % 3) },
        _ => cron("c", |policy| {
            policy.overlap =
                [Overlap::CancelNew, Overlap::KillExisting, Overlap::Queue, Overlap::Allow][instances as usize % 4];
        }),
    }
}

const NAMES: [&str; JOBS as usize] = ["web", "db", "sum", "c"];

impl Run {
    fn new() -> Self {
        let (mut world, mut fleet) = (World::new(), Fleet::new(AGENTS as u64));
        world.settings.slice = 4;
        world.settings.ended_job_kept_ms = 300_000;
        (0..AGENTS).for_each(|at| fleet.connect(&mut world, at));
        Run { world, fleet, promises: Promises::default(), epoch: 1 }
    }

    /// One thing happens.
    fn happen(&mut self, what: u8, which: u8, how: u16) {
        let at = usize::from(which) % AGENTS;
        let end = [TaskState::Killed, TaskState::Failed, TaskState::Finished][usize::from(how) % 3];
        match what % 20 {
            0 => _ = self.world.submit(&spec(which, how.into())),
            1 => _ = self.world.kill(NAMES[usize::from(which % JOBS)], &[]),
            2 => {
                let instance = u32::from(how % 4);
                _ = self.world.kill(NAMES[usize::from(which % JOBS)], &[(instance, instance)]);
            }
            3 => _ = self.world.command(Command::StartCron { key: key("c"), author: String::new() }),
            4 | 5 => self.place(at),
            6 => self.preempt(how.into()),
            7 => _ = self.fleet.agents[at].take_one(end),
            8 => while self.fleet.agents[at].take_one(end) {},
            9 => self.fleet.agents[at].progress(how.into(), TaskState::Running),
            10 => self.fleet.agents[at]
                .progress(how.into(), [TaskState::Finished, TaskState::Failed][usize::from(how) % 2]),
            11 => self.fleet.deliver(&mut self.world, at, how.into(), how.is_multiple_of(5), how.is_multiple_of(3)),
            12 => (0..4).for_each(|_| self.fleet.deliver(&mut self.world, at, 0, false, false)),
            13 => self.fleet.agents[at].resend(),
            14 => match how % 4 {
                0 => self.fleet.reboot(&mut self.world, at),
                _ => self.fleet.disconnect(&mut self.world, at),
            },
            15 => self.fleet.connect(&mut self.world, at),
            16 => self.pass(u64::from(how) % 70_000, which.is_multiple_of(2)),
            17 => self.elect(),
            18 => self.say_gone(at),
            _ => {
                let release = LossCommand::ReleaseBrake {
                    for_ms: 1_000 + u64::from(how),
                    author: "ann".into(),
                    is_preview: false,
                };
                _ = self.world.command(Command::Loss(release));
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let effects = self.world.take();
        Promises::check_effects(&self.world, &effects);
        self.world.put_back(effects);
        self.fleet.route(&mut self.world);
        self.promises.check(&self.world);
    }

    fn place(&mut self, at: usize) {
        let agent = Fleet::number(&self.world, at);
        let up = |agent: &AgentNo| self.world.state.agents[agent].state == NodeState::Up;
        if let Some(agent) = agent.filter(up) {
            self.world.place_all(agent);
        }
    }

    /// True or not, unless it is connected and heard.
    fn say_gone(&mut self, at: usize) {
        let agent = Fleet::number(&self.world, at);
        if let Some(agent) = agent.and_then(|agent| self.world.state.agents.get(&agent)) {
            let agents = vec![agent.id.clone()];
            let gone = LossCommand::DeclareDown { agents, author: "ann".into(), is_preview: false };
            _ = self.world.command(Command::Loss(gone));
        }
    }

    fn preempt(&mut self, pick: usize) {
        let running: Vec<_> =
            self.world.state.tasks.values().filter(|task| task.state() == TaskState::Running).collect();
        if let Some(task) = running.get(pick % running.len().max(1)).map(|task| task.id) {
            let (to, reason) = (TaskState::Preempting, Reason::Preempted);
            self.world.mutate(vec![Mutation::TaskMoved(TaskMoved {
                task,
                to,
                reason,
                message: "".into(),
                exit: None,
                ended: None,
            })]);
        }
    }

    fn pass(&mut self, ms: u64, heard: bool) {
        for _ in 0..=ms / 5_000 {
            if heard {
                self.fleet.heartbeats(&mut self.world);
            }
            self.world.skip_ms(ms.min(5_000));
            self.world.event(crate::model::Event::Tick);
            self.check();
        }
    }

    /// The leader is gone, with its links and all it had not sent.
    fn elect(&mut self) {
        self.epoch += 1;
        for agent in &mut self.fleet.agents {
            (agent.link, agent.outbox) = (None, vec![]);
        }
        self.world.take();
        self.world.state = State::of(self.world.twin.truth().clone());
        self.world.elect(self.epoch);
    }

    /// Everything works again for a while: placement, links, agents that run what they are told.
    fn heal(&mut self) {
        for at in 0..AGENTS {
            self.fleet.connect(&mut self.world, at);
        }
        for round in 0..400 {
            for at in (0..AGENTS).filter(|at| self.fleet.agents[*at].link.is_none()).collect::<Vec<_>>() {
                self.fleet.connect(&mut self.world, at);
            }
            self.fleet.heartbeats(&mut self.world);
            self.place(round % AGENTS);
            self.fleet.route(&mut self.world);
            for at in 0..AGENTS {
                let agent = &mut self.fleet.agents[at];
                while agent.take_one(TaskState::Killed) {}
                agent.resend();
                (0..agent.held.len()).for_each(|pick| agent.progress(pick, TaskState::Running));
                while !self.fleet.agents[at].outbox.is_empty() {
                    self.fleet.deliver(&mut self.world, at, 0, false, false);
                }
            }
            self.world.skip_ms(1_000);
            self.world.event(crate::model::Event::Tick);
            self.check();
        }
    }

    /// Liveness, and S4: exactly what is wanted runs, each where the state says.
    fn healed(&self) {
        let mut living = BTreeMap::new();
        for (at, agent) in self.fleet.agents.iter().enumerate() {
            for (task, _) in agent.held.iter().filter(|(_, held)| !held.state.is_terminal()) {
                assert_eq!(living.insert(*task, Fleet::number(&self.world, at)), None, "{task} lives twice");
            }
        }
        for job in self.world.state.jobs.values() {
            assert_eq!(job.settled, Job::SETTLED, "{}", job.key);
            let spec = &self.world.state.current_spec(job).unwrap().job;
            for task in self.world.state.living(job) {
                assert_ne!(spec.kind, JobKind::Batch, "{} of a batch job outlived its run time", task.id);
                let settling = spec.kind == JobKind::Cron;
                assert!(settling || task.state() == TaskState::Running, "{} is {:?}", task.id, task.state());
                if task.state() == TaskState::Running {
                    assert_eq!(living.remove(&task.id), Some(task.held_on()), "{} does not run", task.id);
                }
            }
        }
        living.retain(|task, _| self.world.state.tasks.get(task).is_none_or(|task| task.state().is_terminal()));
        assert!(living.is_empty(), "nobody wants {living:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold(happenings in prop::collection::vec(any::<(u8, u8, u16)>(), 1..150)) {
        let mut run = Run::new();
        for (what, which, how) in happenings {
            run.happen(what, which, how);
        }
        replay_equals_live(&run.world);
        run.heal();
        run.healed();
        replay_equals_live(&run.world);
    }
}
