//! A State alone: what it takes, how fast it is changed, how large its snapshot is and how long that holds it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dawn_proto::v1::Reason;
use dawn_proto::{AgentId, Epoch, Resources, TaskId, TaskState, Timestamp};
use dawn_scheduler::model::{
    AgentNo, AgentSeen, Batch, JobMade, JobVersioned, Mutation, Spec, State, TaskAssigned, TaskMade, TaskMoved,
};
use dawn_scheduler::wire::{self, StateBuilder};

use crate::memory::resident;
use crate::mix::Mix;
use crate::options::Options;

/// Mutations in a batch.
const BATCH: usize = 2000;

pub fn run(options: &Options) -> anyhow::Result<()> {
    let batches = history(options);
    let mutations: usize = batches.iter().map(|batch| batch.mutations.len()).sum();
    let before = resident(std::process::id());
    let (mut state, begun) = (State::default(), cpu_time());
    batches.iter().for_each(|batch| state.apply(batch));
    let applying = cpu_time() - begun;
    let taken = resident(std::process::id()).saturating_sub(before);
    println!("{} agents, {} tasks, each made, assigned, starting, running", options.agents, options.tasks);
    println!("| what | measured |\n| --- | --- |");
    let per = |bytes: u64| bytes / u64::from(options.tasks.max(1));
    println!("| bytes of a State, by task (resident) | {} |", per(taken));
    let rate = mutations as f64 / applying.as_secs_f64();
    println!("| applying, thread cpu time | {rate:.0} mutations/s |");
    let wires: Vec<_> = batches.iter().map(wire::batch_to_wire).collect();
    let begun = cpu_time();
    let bytes: usize =
        batches.iter().map(|batch| prost::Message::encode_to_vec(&wire::batch_to_wire(batch)).len()).sum();
    println!(
        "| encoding, thread cpu time | {:.0} mutations/s |",
        mutations as f64 / (cpu_time() - begun).as_secs_f64()
    );
    println!("| bytes of a mutation in the journal | {} |", bytes / mutations);
    let begun = cpu_time();
    let decoded = wires.into_iter().map(wire::batch_from_wire).filter(Result::is_ok).count();
    println!(
        "| decoding, thread cpu time | {:.0} mutations/s |",
        mutations as f64 / (cpu_time() - begun).as_secs_f64()
    );
    anyhow::ensure!(decoded == batches.len(), "not every batch reads back");
    let (walked, begun) = (cpu_time(), Instant::now());
    let chunks = wire::snapshot_chunks(&state);
    let (held, walked) = (begun.elapsed(), cpu_time() - walked);
    let size: usize = chunks.iter().map(Vec::len).sum();
    println!("| snapshot | {:.0} MiB, {} bytes by task |", size as f64 / f64::from(1 << 20), per(size as u64));
    println!("| a snapshot holds its state for | {:.2} s ({:.2} s cpu) |", held.as_secs_f64(), walked.as_secs_f64());
    let begun = cpu_time();
    let mut builder = StateBuilder::default();
    for chunk in &chunks {
        builder.add(chunk)?;
    }
    let loaded = builder.finish()?;
    println!("| loading a snapshot, thread cpu time | {:.2} s |", (cpu_time() - begun).as_secs_f64());
    anyhow::ensure!(wire::digest(&loaded) == wire::digest(&state), "a loaded state differs");
    let begun = cpu_time();
    drop(loaded);
    println!("| dropping a State, thread cpu time | {:.2} s |", (cpu_time() - begun).as_secs_f64());
    Ok(())
}

fn cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// The journal of a cluster that was filled: tasks over all agents in turn, in the order of their making.
fn history(options: &Options) -> Vec<Batch> {
    let mut mix = Mix::new(options.agents, options.tasks);
    let mut mutations: Vec<Mutation> = (0..options.agents).map(|agent| seen(&mut mix, agent)).collect();
    let (mut job, mut task) = (0, 0);
    while task < options.tasks {
        let spec = wire::parse_job_spec(mix.job(options.tasks - task)).expect("the mix is valid");
        let (id, instances) = (dawn_scheduler::model::JobId(job), spec.instances);
        let spec = Arc::new(Spec::new(dawn_proto::SpecId(u64::from(job)), 1, spec));
        mutations.push(Mutation::JobMade(JobMade { job: id, key: spec.job.key.clone() }));
        let (author, message) = ("bench".to_string(), String::new());
        mutations.push(Mutation::JobVersioned(JobVersioned { job: id, spec: spec.clone(), author, message }));
        mutations.extend((0..instances).map(|instance| {
            Mutation::TaskMade(TaskMade {
                task: TaskId(u64::from(task + instance)),
                job: id,
                spec: spec.id,
                instance,
                attempt: 1,
                failures: 0,
                restarts: 0,
                run_at: Timestamp(0),
                ready_at: None,
                reason: Reason::None,
            })
        }));
        for number in task..task + instances {
            let (agent, ports, devices) = (AgentNo(number % options.agents), Box::default(), Box::default());
            mutations.push(Mutation::TaskAssigned(TaskAssigned {
                task: TaskId(u64::from(number)),
                agent,
                ports,
                devices,
            }));
        }
        for to in [TaskState::Starting, TaskState::Running] {
            mutations.extend((task..task + instances).map(|number| {
                Mutation::TaskMoved(TaskMoved {
                    task: TaskId(u64::from(number)),
                    to,
                    reason: Reason::None,
                    message: "".into(),
                    exit: None,
                    ended: None,
                })
            }));
        }
        (job, task) = (job + 1, task + instances);
    }
    let batch = |(at, mutations): (usize, &[Mutation])| Batch {
        index: at as u64 + 1,
        epoch: Epoch(1),
        at: Timestamp(1_700_000_000_000 + at as i64),
        part: None,
        mutations: mutations.to_vec(),
    };
    mutations.chunks(BATCH).enumerate().map(batch).collect()
}

fn seen(mix: &mut Mix, agent: u32) -> Mutation {
    let register = mix.register(agent);
    let offer = register.offer.unwrap_or_default();
    Mutation::AgentSeen(Box::new(AgentSeen {
        agent: AgentNo(agent),
        id: AgentId::new(&register.agent_id).expect("valid"),
        hostname: register.hostname,
        version: register.version,
        isolation: register.isolation,
        boot_id: register.boot_id,
        total: offer.total.as_ref().map(Resources::from).unwrap_or_default(),
        attributes: offer.attributes.into_iter().map(|attribute| (attribute.name, attribute.values)).collect(),
        ports: vec![(31_000, 32_000)],
        max_tasks: 5_000,
        taken_ports: [].into(),
        offer_epoch: 1,
    }))
}
