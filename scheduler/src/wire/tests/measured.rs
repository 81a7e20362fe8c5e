//! What a mutation is measured to take is never less than its record takes, and little more.

use dawn_proto::v1::{JobKind, MaintenanceMode, PortHolder, Reason, TickOutcome, UpdateKind, UpdateState};
use dawn_proto::{AgentId, Epoch, JobKey, Resources, SpecId, TaskId, TaskState, Timestamp};
use prost::Message;

use super::super::sample::{largest_spec, spec, story};
use super::super::*;
use crate::model::bounds::STEP_BYTES;
use crate::model::*;

/// The bytes that the batch takes in a segment.
fn encoded(batch: &Batch) -> usize {
    batch_to_wire(batch).encode_length_delimited_to_vec().len()
}

fn batch(mutations: Vec<Mutation>) -> Batch {
    let part = Some(Part { number: u32::MAX, of: u32::MAX });
    Batch { index: u64::MAX, epoch: Epoch(u64::MAX), at: Timestamp(-1), part, mutations }
}

#[test]
fn no_story_takes_more_than_it_is_measured_to_nor_much_less() {
    for seed in 0..8 {
        for batch in story(seed, 200).0 {
            let (taken, measured) = (encoded(&batch), batch.bytes());
            assert!(taken <= measured, "{taken} > {measured}: {batch:?}");
            let slack = BATCH_BYTES + 16 * batch.mutations.len();
            assert!(measured <= taken + slack, "{measured} for {taken}: {batch:?}");
        }
    }
}

#[test]
fn no_mutation_takes_more_than_it_is_measured_to() {
    for mutation in extremes() {
        let batch = batch(vec![mutation]);
        assert!(encoded(&batch) <= batch.bytes(), "{} > {}: {batch:?}", encoded(&batch), batch.bytes());
    }
}

#[test]
fn the_largest_spec_with_what_is_said_of_it_fits_into_a_step() {
    let spec = |fill: fn(usize) -> String| largest_spec("largest", JobKind::Service, 100_000, fill);
    for spec in [spec(|length| "x".repeat(length)), spec(|length| sample::noise(1, length))] {
        let spec = std::sync::Arc::new(Spec::new(SpecId(u64::MAX), u32::MAX, spec));
        let (author, message) = ("a".repeat(512), "m".repeat(512));
        let batch = batch(vec![Mutation::JobVersioned(JobVersioned { job: JobId(u32::MAX), spec, author, message })]);
        assert!(encoded(&batch) <= batch.bytes() && batch.bytes() <= STEP_BYTES);
    }
}

const JOB: JobId = JobId(u32::MAX);
const TASK: TaskId = TaskId(u64::MAX);
const AGENT: AgentNo = AgentNo(u32::MAX);
const AT: Timestamp = Timestamp(i64::MIN);

fn text() -> String {
    "t".repeat(300)
}

fn numbers() -> Box<[u16]> {
    vec![u16::MAX; 300].into()
}

fn some_spec() -> std::sync::Arc<Spec> {
    let job = spec("web", JobKind::Service, 3);
    // As many ranges as there may be.
    let gaps = (0..dawn_proto::validate::MAX_INSTANCES).step_by(2).collect();
    std::sync::Arc::new(Spec { gaps, ..Spec::new(SpecId(u64::MAX), u32::MAX, job) })
}

/// Every mutation with the largest numbers there are.
fn extremes() -> Vec<Mutation> {
    let agents = [of_agents(), of_blame(), of_losses()].concat();
    [of_jobs(), of_tasks(), agents, of_updates_and_flow(), of_restores()].concat()
}

fn of_jobs() -> Vec<Mutation> {
    let (job, author, message) = (JOB, text(), text());
    let bounds = Bounds(dawn_proto::ByDimension::all(Some(u64::MAX)));
    vec![
        Mutation::ClusterMade(ClusterMade { cluster_id: text() }),
        Mutation::EpochBegun(EpochBegun { epoch: Epoch(u64::MAX) }),
        Mutation::ClockShifted(Shift { by_ms: i64::MIN, after: AT }),
        Mutation::JobMade(JobMade { job, key: JobKey::new("role", "env", "name").unwrap() }),
        Mutation::JobVersioned(JobVersioned {
            job,
            spec: some_spec(),
            author: author.clone(),
            message: message.clone(),
        }),
        Mutation::JobEnded(JobEnded { job, author, message, not_needed: true }),
        Mutation::InstancesStopped(InstancesStopped { job, instances: vec![(u32::MAX, u32::MAX); 300] }),
        Mutation::JobSettled(JobSettled { job, to: u32::MAX }),
        Mutation::JobForgotten(JobForgotten { job }),
        Mutation::Ticked(Ticked { job, scheduled: AT, outcome: TickOutcome::Manual }),
        Mutation::QuotaSet(Box::new(QuotaSet {
            role: text(),
            quota: Quota { guarantee: bounds, limit: bounds, weight: u32::MAX },
            author: text(),
        })),
    ]
}

fn of_losses() -> Vec<Mutation> {
    let losses = [
        LossMutation::DeclaredDown { agent: AGENT, author: text() },
        LossMutation::BrakeReleased { for_ms: u64::MAX, author: text() },
        LossMutation::BrakeBack,
    ];
    losses.map(Mutation::Loss).into()
}

fn of_tasks() -> Vec<Mutation> {
    vec![
        Mutation::TaskMade(TaskMade {
            task: TASK,
            job: JOB,
            spec: SpecId(u64::MAX),
            instance: u32::MAX,
            attempt: u32::MAX,
            failures: u32::MAX,
            restarts: u32::MAX,
            run_at: AT,
            ready_at: Some(AT),
            reason: Reason::Restored,
        }),
        Mutation::TaskAssigned(TaskAssigned { task: TASK, agent: AGENT, ports: numbers(), devices: numbers() }),
        Mutation::TaskMoved(TaskMoved {
            task: TASK,
            to: TaskState::Partitioned,
            reason: Reason::Restored,
            message: text().into(),
            exit: Some(crate::model::Exit::Signal(i32::MIN)),
            ended: Some(AT),
        }),
        Mutation::EndDated(EndDated { task: TASK, at: AT }),
        Mutation::TaskForgotten(TaskForgotten { task: TASK }),
        Mutation::Nominated(Nominated { task: TASK, agent: AGENT, until: AT }),
    ]
}

fn of_agents() -> Vec<Mutation> {
    let total = Resources {
        custom_milli: [(text(), u64::MAX)].into(),
        ..Resources::from(&dawn_proto::ByDimension::all(u64::MAX))
    };
    let upkeep = Upkeep {
        mode: MaintenanceMode::Drained,
        since: AT,
        start: AT,
        deadline: AT,
        heed_ms: u64::MAX,
        author: text(),
        message: text(),
    };
    vec![
        Mutation::AgentSeen(Box::new(AgentSeen {
            agent: AGENT,
            id: AgentId::new(&"a".repeat(63)).unwrap(),
            hostname: text(),
            version: text(),
            isolation: text(),
            boot_id: text(),
            total,
            attributes: [(text(), vec![text(); 3])].into(),
            ports: vec![(u16::MAX, u16::MAX); 3],
            max_tasks: u32::MAX,
            taken_ports: [(u16::MAX, PortHolder::Unseen), (u16::MAX - 1, PortHolder::Listener)].into(),
            offer_epoch: u64::MAX,
        })),
        Mutation::AgentMoved(AgentMoved { agent: AGENT, to: dawn_proto::v1::NodeState::Down }),
        Mutation::AgentForgotten(AgentForgotten { agent: AGENT }),
        Mutation::AgentAvoided(AgentAvoided { agent: AGENT, until: Some(AT), why: text(), times: u32::MAX }),
        Mutation::Upkeep(Box::new(UpkeepMutation { agent: AGENT, upkeep: Some(upkeep) })),
    ]
}

fn of_blame() -> Vec<Mutation> {
    let (agent, spec, reason, failures) = (AGENT, SpecId(u64::MAX), Reason::LimitNotPossible, u32::MAX);
    let kept = KeptOff { agent, spec, reason, fault_of: FaultOf::Job, failures, until: AT };
    let blames = [
        BlameMutation::KeptOff { job: JOB, kept },
        BlameMutation::LetIn { job: JOB, agent, spec },
        BlameMutation::Blamed { agent, blame: Blame { job: JOB, reason, failures } },
        BlameMutation::Proved { agent, reason },
        BlameMutation::Forgiven { agent, author: text(), message: text() },
    ];
    blames.map(Mutation::Blame).into()
}

fn of_updates_and_flow() -> Vec<Mutation> {
    let instances: Instances = [0, 2, 99_999].into_iter().collect();
    let changes = [
        UpdateChange::Begun(Box::new(update(AT, &instances))),
        UpdateChange::Advanced(instances.clone()),
        UpdateChange::Passed(instances.clone()),
        UpdateChange::GaveUp(instances.clone()),
        UpdateChange::Kept { instances: instances.clone(), spec: Some(SpecId(u64::MAX - 1)) },
        UpdateChange::Kept { instances, spec: None },
        UpdateChange::Moved { to: UpdateState::Error, author: text(), message: text() },
        UpdateChange::Pulsed,
        UpdateChange::Promoted,
        UpdateChange::Group(u32::MAX),
        UpdateChange::Replaced { author: text() },
    ];
    let flows = [
        FlowMutation::Released { job: JOB },
        FlowMutation::CronPaused { job: JOB, author: text() },
        FlowMutation::CronResumed { job: JOB },
        FlowMutation::Dispatched { job: JOB, name: text(), content_hash: u64::MAX },
    ];
    let changes = changes.into_iter().map(|what| Mutation::Update(UpdateMutation { job: JOB, what }));
    changes.chain(flows.map(Mutation::Flow)).collect()
}

fn of_restores() -> Vec<Mutation> {
    let restored = Restored {
        at: AT,
        epoch: Epoch(u64::MAX),
        first_lost_task: TASK,
        next_task: TASK,
        next_spec: SpecId(u64::MAX),
    };
    let restores = [
        RestoreMutation::Restored(restored),
        RestoreMutation::Over,
        RestoreMutation::Behind { next_task: TASK, next_spec: SpecId(u64::MAX) },
        RestoreMutation::BehindOver,
        RestoreMutation::SpecAdopted { job: JOB, spec: some_spec(), current: true },
        RestoreMutation::TaskAdopted(Box::new(TaskAdopted {
            task: TASK,
            job: JOB,
            spec: SpecId(u64::MAX),
            instance: u32::MAX,
            attempt: u32::MAX,
            run_at: AT,
            agent: AGENT,
            ports: numbers(),
            devices: numbers(),
            state: TaskState::Partitioned,
        })),
    ];
    restores.map(Mutation::Restore).into()
}

fn update(at: Timestamp, instances: &Instances) -> Update {
    let policy = dawn_proto::v1::UpdatePolicy {
        strategy: dawn_proto::v1::UpdateStrategy::BlueGreen.into(),
        group_sizes: vec![u32::MAX; 200],
        canaries: u32::MAX,
        manual_promotion: true,
        pause_between: true,
        watch_ms: Some(u64::MAX),
        max_instance_failures: u32::MAX,
        max_failed_instances: u32::MAX,
        no_rollback: true,
        progress_deadline_ms: u64::MAX,
        pulse_interval_ms: u64::MAX,
        sla_aware: true,
        surge: u32::MAX,
        sticky: true,
    };
    Update {
        number: u32::MAX,
        kind: UpdateKind::Restart,
        to: SpecId(u64::MAX),
        from_version: u32::MAX,
        to_version: u32::MAX,
        policy: update_policy(Some(&policy)),
        author: "a".repeat(300),
        message: "m".repeat(300),
        instances: instances.clone(),
        before: vec![(u32::MAX, u32::MAX, Some(SpecId(u64::MAX - 1))), (0, 0, None)],
        began: at,
        first_task: TaskId(0),
        state: UpdateState::RollingForward,
        advanced: Instances::default(),
        passed: Instances::default(),
        gave_up: Instances::default(),
        failures: Default::default(),
        promoted: false,
        group: 0,
        pulsed: at,
        progress: at,
        events: Default::default(),
    }
}
