//! Which tasks of one agent to take for a demand: the pure choice, without knowing what tasks are.
//! Not here: which agents are looked at.

use std::collections::BTreeMap;

use dawn_proto::{Dimension, TaskId};

use crate::model::JobId;

use super::amounts::{Amounts, add, subtract};

/// A task that may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Victim {
    pub task: TaskId,
    pub job: JobId,
    /// Lower is taken first.
    pub rank: u32,
    /// How long it has held its room: the work lost.
    pub age_s: u64,
    pub need: Amounts,
}

/// What a choice costs, in order of weight. The least is best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Loss {
    pub dearest: u32,
    pub victims: u32,
    pub age_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pick {
    pub loss: Loss,
    pub victims: Vec<Victim>,
}

impl Pick {
    fn of(victims: Vec<Victim>) -> Pick {
        let dearest = victims.iter().map(|victim| victim.rank + 1).max().unwrap_or(0);
        let age_s = victims.iter().map(|victim| victim.age_s).sum();
        Pick { loss: Loss { dearest, victims: victims.len() as u32, age_s }, victims }
    }
}

/// Asks whether the demand fits once these amounts, of these tasks, are free as well.
type Fits<'a> = dyn Fn(&Amounts, &[TaskId]) -> bool + 'a;

/// The victims that make room for `need` where `room` is free already; None when even all of them do not. `budgets`: how
/// many of a job's tasks may be taken; a job not named has no bound.
pub(super) fn choose(
    mut victims: Vec<Victim>,
    budgets: &BTreeMap<JobId, u32>,
    need: &Amounts,
    room: &Amounts,
    fits: &Fits<'_>,
) -> Option<Pick> {
    // Cheapest first; of equals the youngest.
    victims.sort_unstable_by_key(|victim| (victim.rank, victim.age_s, victim.task));
    let cheapest = prune(take_in_order(&victims, budgets, fits)?, fits);
    let best = Pick::of(cheapest);
    let Some(cap) = best.loss.dearest.checked_sub(1) else { return Some(best) };
    // No dearer ones are needed; perhaps fewer do, when the largest are taken first.
    victims.retain(|victim| victim.rank <= cap);
    let largest = by_contribution(victims, need, room);
    let other = take_in_order(&largest, budgets, fits).map(|taken| Pick::of(prune(taken, fits)));
    other.into_iter().chain([best]).min_by_key(|pick| pick.loss)
}

/// Takes victims in the order given until the demand fits.
fn take_in_order(victims: &[Victim], budgets: &BTreeMap<JobId, u32>, fits: &Fits<'_>) -> Option<Vec<Victim>> {
    let (mut taken, mut tasks, mut freed) = (Vec::new(), Vec::new(), Amounts::default());
    let mut left = budgets.clone();
    if fits(&freed, &tasks) {
        return Some(taken);
    }
    for victim in victims {
        if let Some(left) = left.get_mut(&victim.job) {
            if *left == 0 {
                continue;
            }
            *left -= 1;
        }
        taken.push(*victim);
        tasks.push(victim.task);
        add(&mut freed, &victim.need);
        if fits(&freed, &tasks) {
            return Some(taken);
        }
    }
    None
}

/// Spares every victim without which it fits as well, the dearest first.
fn prune(mut taken: Vec<Victim>, fits: &Fits<'_>) -> Vec<Victim> {
    let mut freed = Amounts::default();
    taken.iter().for_each(|victim| add(&mut freed, &victim.need));
    let mut order: Vec<Victim> = taken.clone();
    order.sort_unstable_by_key(|victim| std::cmp::Reverse((victim.rank, victim.age_s, victim.task)));
    for spared in order {
        let mut without = freed;
        subtract(&mut without, &spared.need);
        let tasks: Vec<TaskId> = taken.iter().map(|victim| victim.task).filter(|task| *task != spared.task).collect();
        if fits(&without, &tasks) {
            taken.retain(|victim| victim.task != spared.task);
            freed = without;
        }
    }
    taken
}

/// Orders victims by how much of what is short each one gives, largest first; of equals the youngest.
fn by_contribution(mut victims: Vec<Victim>, need: &Amounts, room: &Amounts) -> Vec<Victim> {
    let gives = |victim: &Victim| -> i64 {
        let part = |at: Dimension| {
            let short = (need[at] - room[at]).max(0);
            if short == 0 { 0.0 } else { victim.need[at].min(short) as f64 / short as f64 }
        };
        (Dimension::ALL.into_iter().map(part).sum::<f64>() * 1e6) as i64
    };
    victims.sort_by_cached_key(|victim| (std::cmp::Reverse(gives(victim)), victim.age_s, victim.task));
    victims
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    fn of(cpu: i64, memory: i64) -> Amounts {
        Amounts::only([(Dimension::Cpu, cpu), (Dimension::Memory, memory)])
    }

    fn fits_by(need: Amounts, room: Amounts) -> impl Fn(&Amounts, &[TaskId]) -> bool {
        move |freed, _| Dimension::ALL.into_iter().all(|at| room[at] + freed[at] >= need[at])
    }

    /// The least loss over all subsets within the budgets.
    fn by_hand(victims: &[Victim], budgets: &BTreeMap<JobId, u32>, fits: &Fits<'_>) -> Option<Pick> {
        let subsets = (0u32..1 << victims.len()).map(|bits| {
            victims.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, victim)| *victim).collect()
        });
        let allowed = |taken: &Vec<Victim>| {
            let of = |job: &JobId| taken.iter().filter(|victim| victim.job == *job).count() as u32;
            let mut freed = Amounts::default();
            taken.iter().for_each(|victim| add(&mut freed, &victim.need));
            budgets.iter().all(|(job, left)| of(job) <= *left) && fits(&freed, &[])
        };
        subsets.filter(allowed).map(Pick::of).min_by_key(|pick| pick.loss)
    }

    #[test]
    fn a_choice_is_as_cheap_as_the_best_subset_and_nearly_as_small() {
        let mut random = rand::rngs::SmallRng::seed_from_u64(11);
        let (mut ours, mut best) = (0, 0);
        for round in 0..3000u64 {
            let victims: Vec<Victim> = (0..random.random_range(1..9u64))
                .map(|task| Victim {
                    task: TaskId(task),
                    job: JobId(random.random_range(0..3)),
                    rank: random.random_range(0..3) * 10,
                    age_s: random.random_range(0..100),
                    need: of(random.random_range(0..8), random.random_range(0..8)),
                })
                .collect();
            let budgets = if round % 2 == 0 { BTreeMap::new() } else { BTreeMap::from([(JobId(0), 1)]) };
            let (need, room) = (of(random.random_range(1..16), random.random_range(0..16)), of(2, 2));
            let fits = fits_by(need, room);
            let (chosen, hand) =
                (choose(victims.clone(), &budgets, &need, &room, &fits), by_hand(&victims, &budgets, &fits));
            match (chosen, hand) {
                (Some(chosen), Some(hand)) => {
                    if budgets.is_empty() {
                        assert_eq!(chosen.loss.dearest, hand.loss.dearest, "round {round}: {victims:?}");
                    }
                    (ours, best) = (ours + chosen.loss.victims, best + hand.loss.victims);
                    for spared in &chosen.victims {
                        let mut freed = Amounts::default();
                        let others = chosen.victims.iter().filter(|victim| victim.task != spared.task);
                        others.for_each(|victim| add(&mut freed, &victim.need));
                        assert!(!fits(&freed, &[]), "round {round}: {} need not die", spared.task);
                    }
                }
                (None, None) => {}
                // A budget spent on a cheap victim may hide the only way; never the other way round.
                (None, Some(_)) => assert!(!budgets.is_empty(), "round {round}"),
                (Some(chosen), None) => panic!("round {round}: {chosen:?} breaks a budget"),
            }
        }
        assert!(ours * 100 <= best * 108, "{ours} victims where {best} do");
    }
}
