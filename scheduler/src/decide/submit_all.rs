//! Many jobs are submitted as one: all of them or, when one is refused, none.

use std::collections::BTreeMap;

use dawn_proto::JobKey;

use super::follow::decide_consequences;
use super::step::Step;
use super::submit;
use crate::model::{Answer, Effect, JobSpec, Refusal, Settings, State, answers};

/// Each is decided as `submit` decides it, on the state as those before it leave it. What doesn't fit into one slice is made by
/// the next ticks.
pub(super) fn submit_all(step: &mut Step, specs: &[JobSpec], author: &str, message: &str) -> Result<Answer, Refusal> {
    let mut state: State = step.state.clone();
    let mut answers = BTreeMap::new();
    let (mut mutations, mut effects): (Vec<_>, Vec<Effect>) = Default::default();
    for at in in_turn(specs) {
        let spec = &specs[at];
        let slice = step.settings.slice.saturating_sub(mutations.len()).max(1);
        let settings = Settings { slice, ..step.settings.clone() };
        let mut one = Step::new(&state, step.live, step.now, &settings);
        let refused = |refusal| match specs.len() {
            1 => refusal,
            of => Refusal::OneOfMany { key: spec.key.clone(), of, refusal: Box::new(refusal) },
        };
        let answer = submit::submit(&mut one, spec, author, message).map_err(refused)?;
        if let Answer::Submitted(answers::Submitted { key, version, outcome }) = answer {
            answers.insert(at, (key, version, outcome));
        }
        decide_consequences(&mut one);
        let Step { mutations: decided, effects: told, .. } = one;
        decided.iter().for_each(|mutation| state.apply_one(mutation, step.now.wall));
        mutations.extend(decided);
        effects.extend(told);
    }
    step.mutations.extend(mutations);
    step.effects.extend(effects);
    Ok(Answer::AllSubmitted(answers::AllSubmitted(answers.into_values().collect())))
}

/// The specs by their places: those that others of them follow come before these, otherwise in the order that they have. So a
/// graph that is run again waits for its present run, wherever in the request each of its jobs stands.
fn in_turn(specs: &[JobSpec]) -> Vec<usize> {
    let places: BTreeMap<&JobKey, usize> = specs.iter().enumerate().map(|(at, spec)| (&spec.key, at)).collect();
    let (mut turns, mut seen) = (Vec::with_capacity(specs.len()), vec![false; specs.len()]);
    for first in 0..specs.len() {
        // (place, whether what it follows was looked at). A circle ends where it began; it is refused when it is submitted.
        let mut open = vec![(first, false)];
        while let Some((at, is_done)) = open.pop() {
            if is_done {
                turns.push(at);
            } else if !std::mem::replace(&mut seen[at], true) {
                open.push((at, true));
                let others = specs[at].flow.after.iter().rev().filter_map(|other| places.get(&other.job));
                open.extend(others.filter(|other| !seen[**other]).map(|other| (*other, false)));
            }
        }
    }
    turns
}
