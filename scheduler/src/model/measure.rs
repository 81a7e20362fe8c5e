//! How many bytes a record takes in the journal, and what waits takes in a queue: counted, not encoded, because nothing is
//! encoded where decisions are made. Never fewer than it takes, and few more.

use dawn_proto::{JobKey, Resources, Timestamp};

use super::{
    Agent, AgentAvoided, AgentForgotten, AgentMoved, AgentNo, AgentSeen, Attributes, Batch, Blame, BlameMutation,
    Bounds, ClusterMade, EpochBegun, FlowMutation, InstancesStopped, JobEnded, JobForgotten, JobMade, JobSettled,
    JobVersioned,
};
use super::{
    EndDated, KeptOff, LossMutation, Mutation, Nominated, Offer, PortRanges, Quota, QuotaSet, RestoreMutation,
    Restored, Shift, TakenPorts, TaskAdopted, TaskAssigned, TaskForgotten, TaskMade, TaskMoved, Ticked, Update,
    UpdateChange, UpdateMutation,
};
use super::{UpkeepMutation, WelcomeMutation};

/// Of a batch without its records: index, epoch, time, its place among parts, and its length in front.
pub const BATCH_BYTES: usize = 64;

impl Batch {
    /// At least as many as it takes encoded, with its length in front.
    pub fn bytes(&self) -> usize {
        BATCH_BYTES + bytes_of(&self.mutations)
    }
}

/// At least as many as the records take in a batch.
pub fn bytes_of(mutations: &[Mutation]) -> usize {
    mutations.iter().map(Mutation::bytes).sum()
}

/// Bytes of a number in base 128.
fn varint(number: u64) -> usize {
    (70 - (number | 1).leading_zeros() as usize) / 7
}

/// A field that is a number. Tags below 16 have one byte.
fn number(number: impl Into<u64>) -> usize {
    1 + varint(number.into())
}

/// A field that is a time: one before 1970 takes ten bytes.
fn time(at: Timestamp) -> usize {
    1 + varint(at.0.cast_unsigned())
}

/// A field that holds so many bytes. Tags up to 2047 have two.
fn field(bytes: usize) -> usize {
    2 + varint(bytes as u64) + bytes
}

fn text(text: &str) -> usize {
    field(text.len())
}

/// A field that is one of few: every enum here has fewer than 128.
const CHOICE: usize = 3;
const FLAG: usize = 3;

fn key(key: &JobKey) -> usize {
    field(text(key.role()) + text(key.env()) + text(key.name()))
}

fn numbers(numbers: &[u16]) -> usize {
    field(numbers.iter().map(|one| varint(u64::from(*one))).sum())
}

fn ranges(ranges: &[(u32, u32)]) -> usize {
    ranges.iter().map(|(first, last)| field(number(*first) + number(*last))).sum()
}

fn resources(amounts: &Resources) -> usize {
    let fixed: usize = amounts.amounts().iter().map(|one| number(*one)).sum();
    fixed + amounts.custom_milli.iter().map(|(name, amount)| field(text(name) + number(*amount))).sum::<usize>()
}

fn attributes(attributes: &Attributes) -> usize {
    let values = |values: &[String]| values.iter().map(|value| text(value)).sum::<usize>();
    attributes.iter().map(|(name, of)| field(text(name) + values(of))).sum()
}

fn ports(ports: &PortRanges) -> usize {
    ports.iter().map(|(first, last)| field(number(*first) + number(*last))).sum()
}

fn taken(taken: &TakenPorts) -> usize {
    taken.keys().map(|port| field(number(*port) + CHOICE)).sum()
}

fn bounds(bounds: &Bounds) -> usize {
    field(bounds.0.iter().flatten().map(|bound| number(*bound)).sum())
}

fn agent(no: AgentNo) -> usize {
    number(no.0)
}

impl Mutation {
    /// At least as many as its record takes in a batch.
    pub fn bytes(&self) -> usize {
        // A record in a batch holds one of its kinds.
        field(field(self.content()))
    }

    fn content(&self) -> usize {
        match self {
            Mutation::ClusterMade(ClusterMade { cluster_id }) => text(cluster_id),
            Mutation::EpochBegun(EpochBegun { epoch }) => number(epoch.0),
            Mutation::JobMade(JobMade { job, key }) => number(job.0) + self::key(key),
            Mutation::JobVersioned(JobVersioned { job, spec, author, message }) => {
                let numbers = number(job.0) + number(spec.id.0) + number(spec.version);
                numbers + field(spec.job.wire.len()) + ranges(spec.gaps.ranges()) + text(author) + text(message)
            }
            Mutation::JobEnded(JobEnded { job, author, message, .. }) => {
                number(job.0) + text(author) + text(message) + FLAG
            }
            Mutation::InstancesStopped(InstancesStopped { job, instances }) => number(job.0) + ranges(instances),
            Mutation::JobSettled(JobSettled { job, to }) => number(job.0) + number(*to),
            Mutation::JobForgotten(JobForgotten { job }) => number(job.0),
            Mutation::TaskMade(made) => of_made(made),
            Mutation::TaskAssigned(TaskAssigned { task, agent, ports, devices }) => {
                number(task.0) + CHOICE + self::agent(*agent) + numbers(ports) + numbers(devices)
            }
            Mutation::TaskMoved(TaskMoved { task, message, exit, ended, .. }) => {
                let end = exit.map_or(0, |_| number(u64::MAX)) + ended.map_or(0, time);
                number(task.0) + 2 * CHOICE + text(message) + end
            }
            Mutation::TaskForgotten(TaskForgotten { task }) => number(task.0),
            Mutation::EndDated(EndDated { task, at }) => number(task.0) + time(*at),
            Mutation::AgentSeen(seen) => of_seen(seen),
            Mutation::AgentMoved(AgentMoved { agent, .. }) => self::agent(*agent) + CHOICE,
            Mutation::AgentForgotten(AgentForgotten { agent }) => self::agent(*agent),
            Mutation::Ticked(Ticked { job, scheduled, .. }) => number(job.0) + time(*scheduled) + CHOICE,
            Mutation::Nominated(Nominated { task, agent, until }) => {
                number(task.0) + self::agent(*agent) + time(*until)
            }
            Mutation::AgentAvoided(AgentAvoided { agent, until, why, times }) => {
                self::agent(*agent) + until.map_or(0, time) + text(why) + number(*times)
            }
            Mutation::Update(mutation) => of_update(mutation),
            Mutation::Upkeep(mutation) => of_upkeep(mutation),
            Mutation::ClockShifted(Shift { by_ms, after }) => time(Timestamp(*by_ms)) + time(*after),
            Mutation::Blame(mutation) => field(of_blame(mutation)),
            Mutation::QuotaSet(set) => {
                let QuotaSet { role, quota: Quota { guarantee, limit, weight }, author } = &**set;
                field(text(role) + bounds(guarantee) + bounds(limit) + number(*weight)) + text(author)
            }
            Mutation::Flow(mutation) => field(of_flow(mutation)),
            Mutation::Loss(mutation) => field(of_loss(mutation)),
            Mutation::Restore(mutation) => field(of_restore(mutation)),
            Mutation::Welcome(mutation) => field(of_welcome(mutation)),
        }
    }
}

fn of_made(made: &TaskMade) -> usize {
    let TaskMade { task, job, spec, instance, attempt, failures, restarts, run_at, ready_at, reason: _ } = made;
    let of = number(task.0) + number(job.0) + number(spec.0) + number(*instance) + number(*attempt);
    of + number(*failures) + number(*restarts) + time(*run_at) + ready_at.map_or(0, time) + CHOICE
}

fn of_seen(seen: &AgentSeen) -> usize {
    let AgentSeen {
        agent,
        id,
        hostname,
        version,
        isolation,
        boot_id,
        total,
        attributes,
        ports,
        max_tasks,
        taken_ports,
        offer_epoch,
    } = seen;
    let texts: usize = [id.as_str(), hostname, version, isolation, boot_id].into_iter().map(text).sum();
    let offer = field(resources(total)) + self::attributes(attributes) + self::ports(ports) + self::taken(taken_ports);
    self::agent(*agent) + texts + offer + number(*max_tasks) + number(*offer_epoch)
}

fn of_blame(mutation: &BlameMutation) -> usize {
    match mutation {
        BlameMutation::KeptOff { job, kept } => {
            let KeptOff { agent, spec, reason: _, fault_of: _, failures, until } = kept;
            number(job.0) + self::agent(*agent) + number(spec.0) + 2 * CHOICE + number(*failures) + time(*until)
        }
        BlameMutation::LetIn { job, agent, spec } => number(job.0) + self::agent(*agent) + number(spec.0),
        BlameMutation::Blamed { agent, blame: Blame { job, reason: _, failures } } => {
            self::agent(*agent) + number(job.0) + CHOICE + number(*failures)
        }
        BlameMutation::Proved { agent, reason: _ } => self::agent(*agent) + CHOICE,
        BlameMutation::Forgiven { agent, author, message } => self::agent(*agent) + text(author) + text(message),
    }
}

fn of_update(mutation: &UpdateMutation) -> usize {
    let what = match &mutation.what {
        UpdateChange::Begun(update) => begun(update),
        UpdateChange::Advanced(instances) | UpdateChange::Passed(instances) | UpdateChange::GaveUp(instances) => {
            ranges(instances.ranges())
        }
        UpdateChange::Kept { instances, spec } => {
            ranges(instances.ranges()) + number(spec.map_or(0, |spec| spec.0 + 1))
        }
        UpdateChange::Moved { author, message, .. } => CHOICE + text(author) + text(message),
        UpdateChange::Pulsed | UpdateChange::Promoted => FLAG,
        UpdateChange::Group(group) => number(*group),
        UpdateChange::Replaced { author } => CHOICE + text(author),
    };
    number(mutation.job.0) + field(what)
}

fn begun(update: &Update) -> usize {
    // Ten numbers at most, and flags.
    let policy = 128 + field(update.policy.group_sizes.iter().map(|size| varint(u64::from(*size))).sum());
    let versions = number(update.number) + CHOICE + number(update.from_version) + number(update.to_version);
    let before = update.before.iter().map(|(first, last, spec)| {
        field(number(*first) + number(*last) + spec.map_or(0, |spec| number(spec.0.saturating_add(1))))
    });
    let said = text(&update.author) + text(&update.message);
    versions + number(update.to.0) + policy + said + ranges(update.instances.ranges()) + before.sum::<usize>()
}

fn of_upkeep(mutation: &UpkeepMutation) -> usize {
    let planned = mutation.upkeep.as_ref().map(|upkeep| {
        let times = time(upkeep.since) + time(upkeep.start) + time(upkeep.deadline) + number(upkeep.heed_ms);
        field(CHOICE + times + text(&upkeep.author) + text(&upkeep.message))
    });
    agent(mutation.agent) + planned.unwrap_or(0)
}

fn of_flow(mutation: &FlowMutation) -> usize {
    match mutation {
        FlowMutation::Released { job } | FlowMutation::CronResumed { job } => number(job.0),
        FlowMutation::CronPaused { job, author } => number(job.0) + text(author),
        FlowMutation::Dispatched { job, name, content_hash } => number(job.0) + text(name) + number(*content_hash),
    }
}

fn of_loss(mutation: &LossMutation) -> usize {
    match mutation {
        LossMutation::DeclaredDown { agent, author } => self::agent(*agent) + text(author),
        LossMutation::BrakeReleased { for_ms, author } => number(*for_ms) + text(author),
        LossMutation::BrakeBack => 0,
    }
}

fn of_welcome(mutation: &WelcomeMutation) -> usize {
    match mutation {
        // Its two numbers are of fixed length.
        WelcomeMutation::Issued { agent, .. } => self::agent(*agent) + 2 * number(u64::MAX),
        WelcomeMutation::Confirmed { agent }
        | WelcomeMutation::Copied { agent }
        | WelcomeMutation::Replaced { agent }
        | WelcomeMutation::Forgotten { agent } => self::agent(*agent),
    }
}

fn of_restore(mutation: &RestoreMutation) -> usize {
    match mutation {
        RestoreMutation::Restored(Restored { at, epoch, first_lost_task, next_task, next_spec }) => {
            let counted = number(first_lost_task.0) + number(next_task.0) + number(next_spec.0);
            time(*at) + number(epoch.0) + counted
        }
        RestoreMutation::Behind { next_task, next_spec } => number(next_task.0) + number(next_spec.0),
        RestoreMutation::Over | RestoreMutation::BehindOver => 0,
        RestoreMutation::EpochRaised { floor } => number(floor.0),
        RestoreMutation::SpecAdopted { job, spec, .. } => {
            number(job.0) + number(spec.id.0) + number(spec.version) + field(spec.job.wire.len()) + FLAG
        }
        RestoreMutation::TaskAdopted(adopted) => {
            let TaskAdopted { task, job, spec, instance, attempt, run_at, agent, ports, devices, state: _ } =
                &**adopted;
            let of = number(task.0) + number(job.0) + number(spec.0) + number(*instance) + number(*attempt);
            of + time(*run_at) + self::agent(*agent) + numbers(ports) + numbers(devices) + CHOICE
        }
    }
}

impl Agent {
    /// About as many as what it offers holds.
    pub fn offered_bytes(&self) -> usize {
        resources(&self.total) + attributes(&self.attributes) + ports(&self.ports) + taken(&self.taken_ports)
    }
}

impl Offer {
    /// About as many as it holds.
    pub fn bytes(&self) -> usize {
        resources(&self.total) + attributes(&self.attributes) + ports(&self.ports) + taken(&self.taken_ports)
    }
}
