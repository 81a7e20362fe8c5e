//! Specs, agents and whole stories for tests: a pulse fed with random events, which are what happens in a cluster.

use std::sync::Arc;

use dawn_proto::v1::{self, JobKind, Tier};
use dawn_proto::{Dimension, Epoch, SpecId, TaskId, TaskState, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::{parse_job_spec, registration, report};
use crate::drive::{Pulse, PulseSettings};
use crate::model::bounds::STEP_BYTES;
use crate::model::{
    Batch, Bounds, Command, Event, FlowCommand, JobId, JobMade, JobSpec, JobVersioned, LinkId, Mutation, Now, Part,
    Quota, QuotaSet,
};
use crate::model::{LossCommand, Reading, ReplyTo, Settings, Spec, State};

pub fn wire_spec(name: &str, kind: JobKind, instances: u32) -> v1::JobSpec {
    let process = v1::ProcessSpec { name: "main".into(), shell: "sleep 1".into(), ..Default::default() };
    let resources = v1::Resources { cpu_milli: 500, memory_bytes: 64 << 20, ..Default::default() };
    let ports = vec![v1::PortSpec { name: "http".into(), fixed: 0 }];
    let task = v1::TaskSpec { processes: vec![process], resources: Some(resources), ports, ..Default::default() };
    let cron = v1::CronPolicy { schedule: "*/2 * * * *".into(), ..Default::default() };
    v1::JobSpec {
        key: Some(v1::JobKey { role: "ann".into(), env: "test".into(), name: name.into() }),
        kind: kind.into(),
        instances,
        task: Some(task),
        tier: Tier::Batch.into(),
        cron: (kind == JobKind::Cron).then_some(cron),
        ..Default::default()
    }
}

pub fn spec(name: &str, kind: JobKind, instances: u32) -> JobSpec {
    parse_job_spec(wire_spec(name, kind, instances)).unwrap()
}

/// Bytes that don't shrink, as text; another length has others.
pub fn noise(seed: u64, length: usize) -> String {
    let mut rng = StdRng::seed_from_u64(seed << 32 | length as u64);
    (0..length).map(|_| char::from(rng.random_range(b'!'..=b'~'))).collect()
}

/// A spec of as many bytes as one may have, filled with such text.
pub fn largest_spec(name: &str, kind: JobKind, instances: u32, fill: impl Fn(usize) -> String) -> JobSpec {
    const VALUES: usize = 10;
    let with = |last: usize| {
        let mut wire = wire_spec(name, kind, instances);
        let lengths = std::iter::repeat_n(100_000, VALUES).chain([last]);
        let env = lengths.enumerate().map(|(number, length)| (format!("FILL{number}"), fill(length)));
        wire.task.get_or_insert_default().env = env.collect();
        dawn_proto::validate::job_spec(wire).map(|spec| (prost::Message::encoded_len(&spec), spec))
    };
    let most = dawn_proto::validate::MAX_SPEC_BYTES;
    let (length, _) = with(40_000).unwrap();
    let (length, wire) = with(40_000 + most - length).unwrap();
    assert_eq!(length, most);
    parse_job_spec(wire).unwrap()
}

/// Steps as large as one may be, from this index on: with the largest specs, text that shrinks and text that does not in
/// turn, whole and as two parts of one step.
pub fn largest_steps(first: u64, epoch: Epoch) -> Vec<Arc<Batch>> {
    let two = |number| Some(Part { number, of: 2 });
    let parts = [None, None, None, None, two(1), two(2)];
    let step = |(number, part): (u64, Option<Part>)| {
        let fill = move |length: usize| if number % 2 == 0 { "x".repeat(length) } else { noise(number, length) };
        let (name, id) = (format!("largest{number}"), JobId(number as u32));
        let job = largest_spec(&name, JobKind::Service, 1, fill);
        let (key, spec) = (job.key.clone(), Arc::new(Spec::new(SpecId(number), 1, job)));
        let (author, message) = (String::new(), String::new());
        let made = [
            Mutation::JobMade(JobMade { job: id, key }),
            Mutation::JobVersioned(JobVersioned { job: id, spec, author, message }),
        ];
        let full = |length: usize| {
            let (role, quota) = ("ann".to_string(), Quota { weight: 2, ..Quota::default() });
            let mutations = made.iter().cloned().chain([Mutation::QuotaSet(Box::new(QuotaSet {
                role,
                quota,
                author: fill(length),
            }))]);
            Batch { index: first + number, epoch, at: Timestamp(1), part, mutations: mutations.collect() }
        };
        let short = full(200_000);
        let step = full(200_000 + STEP_BYTES - short.bytes());
        assert_eq!(step.bytes(), STEP_BYTES);
        Arc::new(step)
    };
    (0..).zip(parts).map(step).collect()
}

pub fn submit(reply: u64, spec: JobSpec) -> Event {
    let command = Command::Submit { spec: Box::new(spec), author: "ann".into(), message: "go".into() };
    Event::Command { reply: ReplyTo(reply), command }
}

pub fn kill(reply: u64, name: &str, instances: Vec<(u32, u32)>) -> Event {
    let key = dawn_proto::JobKey::new("ann", "test", name).unwrap();
    let command = Command::Kill { key, instances, author: "bob".into(), message: "stop".into() };
    Event::Command { reply: ReplyTo(reply), command }
}

/// An agent with four cpus and a rack.
pub fn registered(link: u64, agent: u64, tasks: Vec<v1::TaskReport>) -> Event {
    let total = v1::Resources { cpu_milli: 4000, memory_bytes: 4 << 30, disk_bytes: 64 << 30, ..Default::default() };
    let attributes = vec![v1::Attribute { name: "rack".into(), values: vec![format!("r{}", agent % 2)] }];
    let ports = vec![v1::PortRange { first: 31_000, last: 31_100 }];
    let taken_ports = vec![v1::TakenPort { port: 31_101, holder: v1::PortHolder::Listener.into() }];
    let wire = v1::Register {
        agent_id: format!("node-{agent}"),
        hostname: format!("node-{agent}.example"),
        offer: Some(v1::Offer { epoch: 1, total: Some(total), attributes, ports, taken_ports, ..Default::default() }),
        boot_id: "boot".into(),
        tasks,
        ..Default::default()
    };
    Event::Registered { link: LinkId(link), registration: Box::new(registration(wire).unwrap()) }
}

pub fn reported(link: u64, task: TaskId, sequence: u64, state: TaskState) -> Event {
    let exit_code = (state == TaskState::Failed).then_some(3);
    let wire = v1::TaskReport { task_id: task.0, sequence, state: state.into(), exit_code, ..Default::default() };
    Event::Reported { link: LinkId(link), report: report(wire).unwrap() }
}

pub fn elected(epoch: u64) -> Event {
    Event::Elected { epoch: Epoch(epoch), fresh_cluster_id: "cluster".into() }
}

pub fn now(ms: u64) -> Reading {
    Now { wall: Timestamp(1_790_000_000_000).plus_ms(ms), mono_ms: 1000 + ms }.reading()
}

pub fn pulse(state: State) -> Pulse {
    Pulse::new(state, Settings { kept_ended_tasks: 2, ..Settings::default() }, PulseSettings::default())
}

/// The batches of a random story, and the state it ended in.
pub fn story(seed: u64, steps: usize) -> (Vec<Arc<Batch>>, State) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pulse = pulse(State::default());
    let mut batches: Vec<_> = pulse.step([elected(1)], now(0)).into_iter().collect();
    let (mut ms, mut links) = (0, 0);
    let mut linked = [0u64; 4];
    for number in 0..steps as u64 {
        ms += rng.random_range(1..8_000);
        let events: Vec<Event> = (0..rng.random_range(1..4))
            .map(|_| random_event(&mut rng, pulse.state(), number, &mut links, &mut linked))
            .chain([Event::Tick])
            .collect();
        batches.extend(pulse.step(events, now(ms)));
    }
    (batches, pulse.state().clone())
}

fn random_event(rng: &mut StdRng, state: &State, number: u64, links: &mut u64, linked: &mut [u64; 4]) -> Event {
    const JOBS: [(&str, JobKind); 3] = [("web", JobKind::Service), ("sum", JobKind::Batch), ("save", JobKind::Cron)];
    const STATES: [TaskState; 6] = [
        TaskState::Starting,
        TaskState::Running,
        TaskState::Running,
        TaskState::Finished,
        TaskState::Failed,
        TaskState::Killed,
    ];
    let (name, kind) = *JOBS.choose(rng).unwrap();
    let agent = rng.random_range(0..linked.len());
    match rng.random_range(0..100) {
        0..15 => submit(number, spec(name, kind, rng.random_range(1..6))),
        15..20 => kill(number, name, Vec::new()),
        20..23 => kill(number, name, vec![(0, 1)]),
        23..33 => {
            *links += 1;
            linked[agent] = *links;
            registered(*links, agent as u64, Vec::new())
        }
        33..36 => Event::LinkClosed { link: LinkId(linked[agent]) },
        36..38 => {
            let limit = Bounds::only([
                (Dimension::Cpu, rng.random_range(0..8_000)),
                (Dimension::Disk, rng.random_range(0..64) << 30),
            ]);
            let role = if rng.random_bool(0.5) { "ann" } else { "*" };
            let weight = Some(rng.random_range(1..4));
            let command = Command::SetQuota {
                role: role.into(),
                guarantee: None,
                limit: Some(limit),
                weight,
                author: "ann".into(),
            };
            Event::Command { reply: ReplyTo(number), command }
        }
        38..41 => {
            let key = dawn_proto::JobKey::new("ann", "test", "save").unwrap();
            let command = match rng.random_bool(0.5) {
                true => FlowCommand::PauseCron { key, author: "ann".into() },
                false => FlowCommand::ResumeCron { key },
            };
            Event::Command { reply: ReplyTo(number), command: Command::Flow(command) }
        }
        41..44 => {
            let author = "ann".to_string();
            let agents = vec![dawn_proto::AgentId::new(&format!("node-{agent}")).unwrap()];
            let command = match rng.random_range(0..3) {
                0 => LossCommand::DeclareDown { agents, author, is_preview: false },
                1 => LossCommand::Forget { agents },
                _ => LossCommand::ReleaseBrake { for_ms: rng.random_range(1_000..60_000), author, is_preview: false },
            };
            Event::Command { reply: ReplyTo(number), command: Command::Loss(command) }
        }
        44..60 => Event::Heartbeat { link: LinkId(linked[agent]), sequence: number, wall: Timestamp(0), welcome: 0 },
        _ => {
            let placed: Vec<_> = state.indexes().tasks_on.values().flatten().copied().collect();
            let Some(task) = placed.choose(rng).and_then(|id| state.tasks.get(id)) else { return Event::Tick };
            let at = task.held_on().and_then(|agent| state.agents.get(&agent)).unwrap();
            let index: usize = at.id.as_str()[5..].parse().unwrap();
            reported(linked[index], task.id, number, *STATES.choose(rng).unwrap())
        }
    }
}
