//! Job files followed to the decision: the text a user writes, through the client, the wire, the scheduler's door and its
//! journal, to the agents that are chosen or the reasons why none is.

mod affinity;
mod constraints;
mod dedicated;
mod neighbours;
mod ports;
mod resources;
mod spread;

use std::collections::BTreeMap;

use clap::Parser;
use dawn_proto::v1;
use dawn_proto::{Epoch, Resources, Timestamp};
use dawn_scheduler::decide::place::{PlaceSettings, explain};
use dawn_scheduler::drive::{Pulse, PulseSettings};
use dawn_scheduler::model::{Command, Event, LinkId, Now, ReplyTo, Settings, State};
use dawn_scheduler::wire;
use prost::Message;

use crate::daemon;
use crate::jobfile;
use crate::spec;

const NOW: Now = Now { wall: Timestamp(1_800_000_000_000), mono_ms: 1_000 };

/// A machine's command line.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    agent: daemon::Agent,
}

/// A leader with agents, and a follower that knows only what came through the journal.
struct Cluster {
    pulse: Pulse,
    follower: State,
    jobs: u64,
}

/// One task, as the journal has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Placed {
    agent: String,
    ports: BTreeMap<String, u16>,
    devices: Vec<u32>,
}

impl Cluster {
    /// Agents by name and the flags of `dawn agent`: "n1 --attribute rack=a --gpus 2".
    fn of(machines: &[&str]) -> Cluster {
        let pulse = Pulse::new(State::default(), Settings::default(), PulseSettings::default());
        let mut cluster = Cluster { pulse, follower: State::default(), jobs: 0 };
        cluster.step(vec![Event::Elected { epoch: Epoch(1), fresh_cluster_id: "c".into() }]);
        for (at, machine) in machines.iter().enumerate() {
            let registration = Box::new(wire::registration(through_wire(&register(machine))).unwrap());
            cluster.step(vec![Event::Registered { link: LinkId(at as u64), registration }]);
        }
        cluster
    }

    fn step(&mut self, events: Vec<Event>) {
        if let Some(batch) = self.pulse.step(events, NOW.reading()) {
            let durable = through_wire(&wire::batch_to_wire(&batch));
            self.follower.apply(&wire::batch_from_wire(durable).unwrap());
        }
    }

    /// Submits the jobs of a YAML file.
    fn yaml(&mut self, text: &str) -> Vec<String> {
        self.submit(read("job.yaml", text).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Submits the jobs of an Aurora file.
    fn aurora(&mut self, text: &str) -> Vec<String> {
        self.submit(read("job.aurora", text).unwrap_or_else(|error| panic!("{error}")))
    }

    /// The jobs' keys.
    fn submit(&mut self, specs: Vec<v1::JobSpec>) -> Vec<String> {
        let mut keys = Vec::new();
        for spec in specs {
            let again = spec::parse("again.yaml", &spec::to_yaml(&spec), NOW.wall.0).unwrap();
            assert_eq!(again, std::slice::from_ref(&spec), "written out and read again it is the same job");
            let spec = wire::parse_job_spec(through_wire(&spec)).unwrap();
            keys.push(spec.key.to_string());
            self.jobs += 1;
            let (author, message) = (String::new(), String::new());
            let command = Command::Submit { spec: Box::new(spec), author, message };
            self.step(vec![Event::Command { reply: ReplyTo(self.jobs), command }]);
            while self.pulse.is_settling() || self.pulse.is_hungry() {
                self.step(vec![Event::Tick]);
            }
        }
        keys
    }

    /// Tasks by instance; those that wait are left out.
    fn tasks(&self, key: &str) -> Vec<Placed> {
        let job = self.follower.job(&key.parse().unwrap()).unwrap();
        let mut tasks: Vec<_> = self.follower.living(job).collect();
        tasks.sort_by_key(|task| task.instance);
        let placed = |task: &dawn_scheduler::model::Task| {
            let place = task.status.place()?;
            let job = &self.follower.spec_of(task).job;
            let ports = wire::assigned_ports(job, place).into_iter();
            Some(Placed {
                agent: self.follower.agents.get(&place.agent)?.id.to_string(),
                ports: ports.map(|port| (port.name, u16::try_from(port.port).unwrap())).collect(),
                devices: wire::task_view(&self.follower, task).gpus,
            })
        };
        tasks.into_iter().filter_map(placed).collect()
    }

    /// The agents of a job's tasks, sorted, then why others wait: "n1 n1 n2", "n1; none of 2 nodes fits: …".
    fn outcome(&self, key: &str) -> String {
        let job = self.follower.job(&key.parse().unwrap()).unwrap().id;
        let mut agents: Vec<String> = self.tasks(key).into_iter().map(|task| task.agent).collect();
        agents.sort();
        let waiting = explain(&self.follower, &PlaceSettings::default(), &|_| true, job, NOW);
        let placed = (!agents.is_empty()).then(|| agents.join(" "));
        placed.into_iter().chain(waiting.iter().map(ToString::to_string)).collect::<Vec<_>>().join("; ")
    }
}

/// What an agent says at its registration, from its command line.
fn register(machine: &str) -> v1::Register {
    let (name, flags) = machine.split_once(' ').unwrap_or((machine, ""));
    let hostname = format!("{name}.example");
    let named = [("--work-dir", "/w"), ("--agent-id", name), ("--hostname", &hostname)];
    let usual = [("--cpus", "8"), ("--memory", "16GiB"), ("--disk", "64GiB")];
    let usual = usual.into_iter().filter(|(flag, _)| !flags.contains(flag));
    let pairs = named.into_iter().chain(usual).flat_map(|(flag, value)| [flag, value]);
    let line = ["agent"].into_iter().chain(pairs).chain(flags.split_whitespace());
    let line = Line::try_parse_from(line).unwrap_or_else(|error| panic!("{machine}: {error}"));
    let config = daemon::agent_config(line.agent, Vec::new()).unwrap_or_else(|failure| panic!("{failure}"));
    let total = v1::Resources::from(&config.offered(&Resources::default()));
    let attributes = config.offered_attributes().into_iter().map(|(name, values)| v1::Attribute { name, values });
    let ports = config.ports.iter().map(|(first, last)| v1::PortRange { first: (*first).into(), last: (*last).into() });
    let offer = v1::Offer {
        epoch: 1,
        total: Some(total),
        attributes: attributes.collect(),
        ports: ports.collect(),
        ..Default::default()
    };
    let (agent_id, hostname) = (config.agent_id.unwrap(), config.hostname.clone());
    v1::Register { agent_id, hostname, boot_id: "b".into(), offer: Some(offer), ..Default::default() }
}

/// As it arrives on the other side.
fn through_wire<M: Message + Default>(message: &M) -> M {
    M::decode(&*message.encode_to_vec()).unwrap()
}

fn read(name: &str, text: &str) -> Result<Vec<v1::JobSpec>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let prefix = format!("{}/", folder.path().display());
    jobfile::load_here(&path).map_err(|error| error.replace(&prefix, ""))
}

/// What a YAML job is refused with; its usual fields are given.
fn refused(text: &str) -> String {
    read("job.yaml", &job(text)).expect_err("should be refused")
}

/// A batch job `r/e/n` with more fields.
fn job(fields: &str) -> String {
    format!("job: r/e/n\nkind: batch\nrun: x\n{fields}\n")
}

/// An Aurora job `r/e/n` with more arguments.
fn aurora_job(arguments: &str) -> String {
    format!(
        "jobs = [Job(role = 'r', cluster = 'c', environment = 'e', name = 'n', {arguments},
    task = Task(resources = Resources(cpu = 1, ram = 64*MB, disk = 64*MB), processes = [Process(name = 'p', cmdline = 'x')]))]"
    )
}

/// A cluster of its own for each job: its fields, and what becomes of it.
fn decide(machines: &[&str], cases: &[(&str, &str)]) {
    for (fields, expected) in cases {
        let mut cluster = Cluster::of(machines);
        cluster.yaml(&job(fields));
        assert_eq!(cluster.outcome("r/e/n"), *expected, "{fields}");
    }
}

/// The same for Aurora jobs, by their arguments.
fn decide_aurora(machines: &[&str], cases: &[(&str, &str)]) {
    for (arguments, expected) in cases {
        let mut cluster = Cluster::of(machines);
        cluster.aurora(&aurora_job(arguments));
        assert_eq!(cluster.outcome("r/e/n"), *expected, "{arguments}");
    }
}
