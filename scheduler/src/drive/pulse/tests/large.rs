//! Steps that would be too large: closed before, or written in parts.

use dawn_proto::v1::{self, JobKind};
use prost::Message;

use super::*;
use crate::model::bounds::STEP_BYTES;
use crate::model::{Command, Event, answers};
use crate::wire::sample::{largest_spec, noise, wire_spec};
use crate::wire::{StateBuilder, parse_job_spec, snapshot_chunks};

/// Steps until nothing waits, and what each became durable with.
fn stepped(pulse: &mut Pulse, events: Vec<Event>, ms: u64) -> Vec<(Arc<Batch>, Vec<Effect>)> {
    let mut found = Vec::new();
    let mut next = pulse.step(events, now(ms));
    loop {
        if let Some(batch) = next {
            let effects = pulse.durable(batch.index);
            found.push((batch, effects));
        }
        if !pulse.is_behind() {
            return found;
        }
        next = pulse.step([], now(ms));
    }
}

fn replies(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Reply { answer: Ok(_), .. })).count()
}

fn through_the_wire(state: &mut State, batch: &Batch) {
    let bytes = batch_to_wire(batch).encode_to_vec();
    assert!(bytes.len() <= STEP_BYTES, "batch {} has {} bytes", batch.index, bytes.len());
    state.apply(&batch_from_wire(v1::Batch::decode(&*bytes).unwrap()).unwrap());
}

#[test]
fn submissions_that_do_not_fit_into_a_step_open_the_next_in_their_order() {
    let mut pulse = leading();
    let mut replayed = pulse.state().clone();
    let events = (0..6).map(|number| {
        let name = format!("large{number}");
        let fill = move |length: usize| if number % 2 == 0 { "x".repeat(length) } else { noise(number, length) };
        submit(number, largest_spec(&name, JobKind::Service, 3, fill))
    });
    let steps = stepped(&mut pulse, events.collect(), 2);
    assert_eq!(steps.len(), 6, "each is a step of its own");
    for (batch, effects) in &steps {
        assert_eq!((batch.part, replies(effects)), (None, 1), "batch {}", batch.index);
        assert!(batch.bytes() <= STEP_BYTES);
        through_the_wire(&mut replayed, batch);
    }
    assert_eq!(digest(&replayed), digest(pulse.state()));
    let made: Vec<_> = pulse.state().jobs.values().map(|job| job.key.name().to_string()).collect();
    assert_eq!(made, (0..6).map(|number| format!("large{number}")).collect::<Vec<_>>());
}

#[test]
fn small_events_behind_a_full_step_are_decided_on_what_it_made() {
    let mut pulse = leading();
    let large = |number| submit(number, largest_spec("large", JobKind::Service, 1, |length| "x".repeat(length)));
    let other = submit(2, largest_spec("other", JobKind::Service, 1, |length| "y".repeat(length)));
    let steps = stepped(&mut pulse, vec![large(1), other, large(3), kill(4, "large", vec![])], 2);
    let answers: Vec<_> = steps.iter().flat_map(|(_, effects)| effects).collect();
    let said = |reply| {
        answers.iter().find_map(|effect| match effect {
            Effect::Reply { to, answer } if *to == ReplyTo(reply) => Some(answer.clone()),
            _ => None,
        })
    };
    assert!(
        matches!(said(3), Some(Ok(Answer::Submitted(answers::Submitted { outcome: SubmitOutcome::Unchanged, .. })))),
        "{:?}",
        said(3)
    );
    assert!(matches!(said(4), Some(Ok(Answer::Killed(_)))), "{:?}", said(4));
}

/// Batches with what their effects are.
type Sealed = Vec<(Arc<Batch>, Vec<Effect>)>;

/// A cron job's run of 100,000 tasks, started by hand.
fn with_run() -> (Pulse, State, Sealed) {
    let mut pulse = leading();
    let spec = parse_job_spec(wire_spec("save", JobKind::Cron, 100_000)).unwrap();
    let submitted = stepped(&mut pulse, vec![submit(1, spec)], 2);
    assert_eq!(submitted.len(), 1);
    let before = pulse.state().clone();
    let key = dawn_proto::JobKey::new("ann", "test", "save").unwrap();
    let command = Command::StartCron { key, author: "ann".into() };
    let steps = stepped(&mut pulse, vec![Event::Command { reply: ReplyTo(2), command }], 3);
    (pulse, before, steps)
}

#[test]
fn a_run_of_100_000_tasks_is_written_in_parts_that_take_effect_with_the_last() {
    let (pulse, before, steps) = with_run();
    let parts: Vec<_> = steps.iter().filter_map(|(batch, _)| batch.part).collect();
    assert!(parts.len() > 2, "{parts:?}");
    let mut replayed = before.clone();
    for (number, (batch, effects)) in steps.iter().take(parts.len()).enumerate() {
        let is_last = number + 1 == parts.len();
        assert_eq!((parts[number].number as usize, parts[number].of as usize), (number + 1, parts.len()));
        assert_eq!(replies(effects), usize::from(is_last), "it is answered once all of it is durable");
        assert!(replayed.tasks.is_empty(), "part {number} has no effect alone");
        through_the_wire(&mut replayed, batch);
        // A follower that begins with a snapshot between two parts is no different.
        let mut builder = StateBuilder::default();
        for chunk in snapshot_chunks(&replayed) {
            assert!(chunk.len() <= crate::model::bounds::CHUNK_BYTES);
            builder.add(&chunk).unwrap();
        }
        replayed = builder.finish().unwrap();
    }
    assert_eq!(replayed.tasks.len(), 100_000);
    steps.iter().skip(parts.len()).for_each(|(batch, _)| through_the_wire(&mut replayed, batch));
    assert_eq!(digest(&replayed), digest(pulse.state()));
}

#[test]
fn parts_without_the_last_are_void_at_the_next_election() {
    let (_, before, steps) = with_run();
    let parts = steps.iter().filter(|(batch, _)| batch.part.is_some()).count();
    let mut found = before.clone();
    steps.iter().take(parts - 1).for_each(|(batch, _)| through_the_wire(&mut found, batch));
    assert_eq!(found.index, before.index + parts as u64 - 1);
    let mut next = super::pulse(found.clone());
    let elected = next.step([elected(2)], now(4)).unwrap();
    assert_eq!(elected.index, found.index + 1);
    through_the_wire(&mut found, &elected);
    assert!(found.tasks.is_empty() && found.parts.is_empty());
    assert_eq!((found.next_task, digest(&found)), (before.next_task, digest(next.state())));
    // Their numbers are given again.
    let key = dawn_proto::JobKey::new("ann", "test", "save").unwrap();
    let command = Command::StartCron { key, author: "ann".into() };
    let again = stepped(&mut next, vec![Event::Command { reply: ReplyTo(2), command }], 5);
    again.iter().for_each(|(batch, _)| through_the_wire(&mut found, batch));
    assert_eq!((found.tasks.len(), digest(&found)), (100_000, digest(next.state())));
}

#[test]
fn what_can_not_be_written_is_refused_with_both_sizes_and_changes_nothing() {
    let mut pulse = leading();
    stepped(&mut pulse, vec![submit(1, spec("web", JobKind::Service, 3))], 2);
    let before = digest(pulse.state());
    let Event::Command { reply, command: Command::Kill { key, instances, author, .. } } = kill(2, "web", vec![]) else {
        unreachable!("it is what kill makes");
    };
    let message = "x".repeat(STEP_BYTES);
    let too_large = Command::Kill { key, instances, author, message };
    let steps = pulse.step([Event::Command { reply, command: too_large }], now(3));
    assert!(steps.is_none());
    let effects = pulse.released();
    let [Effect::Reply { answer: Err(refusal @ Refusal::TooLarge { bytes, most }), .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(bytes > most && *most <= STEP_BYTES);
    let words = refusal.to_string();
    assert!(words.contains(&bytes.to_string()) && words.contains(&most.to_string()), "{words}");
    assert_eq!(digest(pulse.state()), before);
}

#[test]
fn a_catch_up_with_many_large_runs_begins_one_after_the_other() {
    let mut pulse = leading();
    let mut wire = wire_spec("save", JobKind::Cron, 6_000);
    let cron = wire.cron.get_or_insert_default();
    (cron.misfire, cron.misfire_limit) = (v1::Misfire::All.into(), 5);
    cron.overlap = v1::Overlap::Allow.into();
    stepped(&mut pulse, vec![submit(1, parse_job_spec(wire).unwrap())], 2);
    let mut made = Vec::new();
    for tick in 0..8 {
        let steps = stepped(&mut pulse, vec![Event::Tick], 30 * 60_000 + tick * 250);
        let mutations = steps.iter().flat_map(|(batch, _)| &batch.mutations);
        made.push(mutations.filter(|mutation| matches!(mutation, Mutation::TaskMade(_))).count());
    }
    assert_eq!(made, [6_000, 6_000, 6_000, 6_000, 6_000, 0, 0, 0]);
}
