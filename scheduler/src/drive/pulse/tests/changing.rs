//! S10: an update never goes below its least available nor above its surge, ends within a bound, and a rollback restores
//! the version before exactly; whatever its policy, whichever instances fail, whenever another leader takes over.

use std::collections::BTreeMap;

use dawn_proto::v1::{self, UpdateAction, UpdateState, UpdateStrategy};
use dawn_proto::{JobKey, SpecId, TaskState};
use proptest::prelude::*;

use super::stage::{Loss, Stage, service};
use crate::model::{Command, Job, Update, UpdateCommand};
use crate::wire;

fn policy() -> impl Strategy<Value = v1::UpdatePolicy> {
    let strategies = prop_oneof![
        Just(UpdateStrategy::RollingQueue),
        Just(UpdateStrategy::Batches),
        Just(UpdateStrategy::Canary),
        Just(UpdateStrategy::BlueGreen),
    ];
    let sizes = proptest::collection::vec(1u32..4, 1..3);
    (strategies, sizes, 0u32..3, 0u32..3, 0u32..2, any::<bool>(), any::<bool>()).prop_map(
        |(strategy, sizes, surge, failures, instance_failures, waits, sticky)| v1::UpdatePolicy {
            strategy: strategy.into(),
            group_sizes: if strategy == UpdateStrategy::Batches { sizes } else { sizes[..1].to_vec() },
            canaries: u32::from(strategy == UpdateStrategy::Canary) * 2,
            manual_promotion: waits && matches!(strategy, UpdateStrategy::Canary | UpdateStrategy::BlueGreen),
            pause_between: waits && strategy == UpdateStrategy::Batches,
            watch_ms: Some(1_000),
            max_instance_failures: instance_failures,
            max_failed_instances: failures,
            // Refused beside blue/green.
            surge: if strategy == UpdateStrategy::BlueGreen { 0 } else { surge },
            sticky,
            ..Default::default()
        },
    )
}

fn job(stage: &Stage) -> &Job {
    stage.state().job(&JobKey::new("ann", "test", "web").unwrap()).unwrap()
}

fn wants(stage: &Stage) -> BTreeMap<u32, SpecId> {
    let job = job(stage);
    let wanted = (0..20).filter_map(|at| Some((at, stage.state().wanted_spec(job, at)?.id)));
    wanted.collect()
}

/// Instances that are not up, and how many tasks each has.
fn check(stage: &Stage, update: &Update, first: u32, before: &BTreeMap<u32, SpecId>) {
    let (state, job) = (stage.state(), job(stage));
    let mut lives: BTreeMap<u32, (u32, bool)> = BTreeMap::new();
    for task in state.living(job) {
        let life = lives.entry(task.instance).or_default();
        (life.0, life.1) = (life.0 + 1, life.1 || task.state() == TaskState::Running);
    }
    let twice = lives.values().filter(|(tasks, _)| *tasks > 1).count();
    // A blue/green update has all of the new beside all of the old, whatever its surge.
    let is_blue_green = update.policy.strategy == UpdateStrategy::BlueGreen;
    let surge = if is_blue_green { update.instances.len() } else { update.policy.surge as usize };
    assert!(twice <= surge, "{twice} instances live twice, {surge} may\n{}", stage.log.join("\n"));
    assert!(lives.values().all(|(tasks, _)| *tasks <= 2), "{lives:?}\n{}", stage.log.join("\n"));
    let busy = |at: u32| update.is_in_progress(at) || update.gave_up.contains(at);
    let failed = |at: u32| {
        update.events.iter().any(|event| event.state == UpdateState::RollingBack) && update.instances.contains(at)
    };
    for instance in 0..first {
        let up = lives.get(&instance).is_some_and(|(_, up)| *up);
        let stays = before.contains_key(&instance) && !busy(instance) && !update.passed.contains(instance);
        assert!(up || !stays || failed(instance), "{instance} is down and nobody changes it\n{}", stage.log.join("\n"));
    }
    if !update.is_back() && update.policy.surge == 0 && update.policy.strategy != UpdateStrategy::BlueGreen {
        let most = update.policy.group_sizes.iter().copied().max().unwrap_or(1).max(update.policy.canaries) as usize;
        let busy = update.in_progress().count();
        assert!(busy <= most, "{busy} are changed at once, {most} may\n{}", stage.log.join("\n"));
    }
}

fn control(stage: &mut Stage, action: UpdateAction) {
    let key = JobKey::new("ann", "test", "web").unwrap();
    let command = UpdateCommand::Control { key, action, author: "ann".into(), message: String::new() };
    _ = stage.command(Command::Update(command));
}

fn run(
    first: u32,
    second: u32,
    policy: v1::UpdatePolicy,
    bad: Option<u32>,
    fault: Option<(u64, bool)>,
) -> Result<(), TestCaseError> {
    let mut stage = Stage::new();
    ["n1", "n2", "n3"].iter().for_each(|name| stage.agent(name, 8_000));
    let submit = |instances, v, policy: &v1::UpdatePolicy| Command::Submit {
        spec: Box::new(wire::parse_job_spec(service("web", instances, v, policy.clone())).unwrap()),
        author: "ann".into(),
        message: String::new(),
    };
    stage.command(submit(first, 1, &policy)).unwrap();
    stage.pass_ms(3_000);
    let before = wants(&stage);
    let versions = |stage: &Stage| job(stage).current().map(|version| version.version);
    stage.bad.extend(bad.map(|instance| ("web".to_string(), 2, Some(instance))));
    stage.command(submit(second, 2, &policy)).unwrap();
    let at = stage.steps;
    stage.fault = fault.map(|(after, loses)| (at + 1 + after, if loses { Loss::Batch } else { Loss::Effects }));
    for _ in 0..600 {
        let Some(update) = job(&stage).changes.active().cloned() else { break };
        check(&stage, &update, first, &before);
        match update.state {
            UpdateState::RollForwardPaused | UpdateState::RollBackPaused => control(&mut stage, UpdateAction::Resume),
            UpdateState::AwaitingPromotion => control(&mut stage, UpdateAction::Promote),
            _ => {}
        }
        stage.pass_ms(250);
    }
    stage.fault = None;
    let ended = job(&stage).changes.updates.back().unwrap().state;
    prop_assert!(crate::model::is_over(ended), "{ended:?} after 150 s\n{}", stage.log.join("\n"));
    stage.bad.clear();
    stage.pass_ms(5_000);
    let runs: BTreeMap<u32, SpecId> =
        stage.state().living(job(&stage)).map(|task| (task.instance, task.spec)).collect();
    match ended {
        UpdateState::RolledBack => {
            prop_assert_eq!(wants(&stage), before.clone());
            prop_assert_eq!(runs, before);
            prop_assert_eq!(versions(&stage), Some(1));
        }
        _ => {
            prop_assert_eq!(ended, UpdateState::RolledForward);
            prop_assert_eq!(runs.len() as u32, second);
            prop_assert_eq!(versions(&stage), Some(2));
        }
    }
    prop_assert!(job(&stage).changes.pins.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn an_update_keeps_its_bounds_and_ends_or_goes_back_exactly(
        first in 1u32..6,
        second in 1u32..6,
        policy in policy(),
        bad in proptest::option::of(0u32..6),
        fault in proptest::option::of((0u64..120, any::<bool>())),
    ) {
        run(first, second, policy, bad, fault)?;
    }
}
