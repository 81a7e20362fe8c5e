//! Quotas: what is refused, with which numbers, and what a quota below what is in use does.

use dawn_proto::Dimension;
use dawn_proto::v1::{JobKind, SubmitOutcome, Tier};

use super::specs::*;
use super::world::World;
use crate::model::*;

const ROLE: &str = "www";

/// Tasks of one cpu.
fn job(name: &str, tier: Tier, instances: u32) -> JobSpec {
    let mut spec = spec(name, JobKind::Service, instances);
    spec.tier = tier;
    spec.demand.cpu_milli = 1000;
    encoded(spec)
}

fn cpus(cpus: u64) -> Option<Bounds> {
    let mut bounds = Bounds::default();
    bounds.0[Dimension::Cpu] = Some(cpus * 1000);
    Some(bounds)
}

fn set(world: &mut World, role: &str, guarantee: Option<Bounds>, limit: Option<Bounds>) -> Result<Answer, Refusal> {
    let (role, author) = (role.to_string(), "ann".to_string());
    world.command(Command::SetQuota { role, guarantee, limit, weight: None, author })
}

#[test]
fn production_must_fit_the_guarantee_and_the_refusal_has_the_numbers() {
    let mut world = World::new();
    set(&mut world, ROLE, cpus(8), cpus(20)).unwrap();
    world.submit(&job("a", Tier::Production, 6)).unwrap();
    let made = world.state.tasks.len();
    let refusal = world.submit(&job("b", Tier::Production, 6)).unwrap_err();
    let expected = format!("role {ROLE} asks for 12 cpus for production, 4 more than its guarantee of 8 (used 6)");
    assert_eq!(refusal.to_string(), expected);
    assert_eq!(world.state.tasks.len(), made, "a refused job makes nothing");
    assert!(world.state.job(&key("b")).is_none());
    // Batch tasks do not count for the guarantee, and both count for the limit.
    world.submit(&job("c", Tier::Batch, 14)).unwrap();
    let refusal = world.submit(&job("d", Tier::Revocable, 1)).unwrap_err().to_string();
    assert!(
        refusal.starts_with(&format!("role {ROLE} asks for 21 cpus, 1 more than its limit of 20 (used 20)")),
        "{refusal}"
    );
}

#[test]
fn scaling_counts_the_larger_of_before_and_after_and_less_is_never_refused() {
    let mut world = World::new();
    set(&mut world, ROLE, cpus(8), None).unwrap();
    world.submit(&job("a", Tier::Production, 6)).unwrap();
    assert_eq!(world.submit(&job("a", Tier::Production, 8)), Ok(SubmitOutcome::Scaled));
    assert!(matches!(
        world.submit(&job("a", Tier::Production, 9)),
        Err(Refusal::OverQuota { bound: Bound::Guarantee, used: 8000, asks: 9000, have: 8000, .. })
    ));
    set(&mut world, ROLE, cpus(2), None).unwrap();
    assert_eq!(world.submit(&job("a", Tier::Production, 8)), Ok(SubmitOutcome::Unchanged));
    assert_eq!(world.submit(&job("a", Tier::Production, 5)), Ok(SubmitOutcome::Scaled));
    assert_eq!(world.state.indexes().pending.len(), 5, "a quota below what is in use stops nothing");
}

#[test]
fn tasks_that_still_stop_count_until_they_are_gone() {
    let mut world = World::new();
    set(&mut world, ROLE, cpus(4), None).unwrap();
    let (link, _, tasks) = world.running(&job("a", Tier::Production, 4));
    world.kill("a", &[]).unwrap();
    assert!(matches!(world.submit(&job("b", Tier::Production, 1)), Err(Refusal::OverQuota { used: 4000, .. })));
    for task in tasks {
        world.report(link, task, dawn_proto::TaskState::Killed, dawn_proto::v1::Reason::None);
    }
    assert_eq!(world.submit(&job("b", Tier::Production, 4)), Ok(SubmitOutcome::Created));
}

#[test]
fn everybodys_quota_counts_for_roles_without_one_each_by_itself() {
    let mut world = World::new();
    set(&mut world, Quota::EVERYBODY, None, cpus(2)).unwrap();
    assert!(world.submit(&job("a", Tier::Batch, 3)).is_err());
    set(&mut world, "other", None, cpus(1)).unwrap();
    assert!(world.submit(&job("a", Tier::Batch, 3)).is_err(), "another role's quota is not this one's");
    set(&mut world, ROLE, None, Some(Bounds::default())).unwrap();
    let still = world.submit(&job("a", Tier::Batch, 3));
    assert!(still.is_err(), "a quota without bounds is none, so everybody's counts again: {still:?}");
    set(&mut world, ROLE, None, cpus(3)).unwrap();
    assert_eq!(world.submit(&job("a", Tier::Batch, 3)), Ok(SubmitOutcome::Created));
    assert_eq!(world.state.quotas, world.twin.quotas);
}

#[test]
fn a_limit_of_zero_lets_nothing_in_and_a_guarantee_above_the_limit_is_refused() {
    let mut world = World::new();
    set(&mut world, ROLE, None, cpus(0)).unwrap();
    assert!(matches!(world.submit(&job("a", Tier::Batch, 1)), Err(Refusal::OverQuota { have: 0, .. })));
    let refusal = set(&mut world, ROLE, cpus(1), None).unwrap_err();
    assert!(matches!(refusal, Refusal::GuaranteeAboveLimit { dimension: "cpu", guarantee: 1000, limit: 0 }));
    // What is not named stays: the guarantee is added, the limit raised.
    set(&mut world, ROLE, None, cpus(4)).unwrap();
    set(&mut world, ROLE, cpus(1), None).unwrap();
    let expected = Quota { guarantee: cpus(1).unwrap(), limit: cpus(4).unwrap(), weight: 1 };
    assert_eq!(world.state.quotas[ROLE], expected);
    let batches = world.journal.len();
    set(&mut world, ROLE, cpus(1), None).unwrap();
    assert_eq!(world.journal.len(), batches, "what is as it was is not journaled again");
}
