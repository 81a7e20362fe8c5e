//! Agents that were welcomed by a leader whose journal was lost: they are ahead of it, and no copies.

use dawn_proto::TaskId;
use dawn_proto::TaskState::Running;
use dawn_proto::v1::Reason;

use super::copies::{Bench, Machine, machine};
use super::epochs::{claims, forget, register};
use super::world::{registration, report};
use crate::model::*;

#[test]
fn an_agent_whose_welcome_the_journal_lost_is_ahead_and_no_copy() {
    let mut bench = Bench::new();
    let mut machine = machine();
    let link = bench.join(&mut machine);
    bench.world.event(Event::LinkClosed { link });
    let lost = Machine { number: machine.number + 100, ..machine.clone() };
    // Taken for a copy before anybody shows that the journal went back in time.
    assert!(bench.dial(&lost, vec![]).is_none());
    let copied = Alarm::AgentCopied(bench.no());
    assert!(bench.world.live.alarms.contains_key(&copied));
    bench.world.agent(2);
    bench.world.event(Event::LinkClosed { link: LinkId(2) });
    let held = vec![report(TaskId(50), Running, Reason::None)];
    let claim = claims(&bench.world, 2, 0, held);
    register(&mut bench.world, claim);
    let down = |bench: &mut Bench| {
        let agents = vec![registration(1, vec![]).id];
        bench.world.command(Command::Loss(LossCommand::DeclareDown { agents, author: "ann".into(), is_preview: false }))
    };
    assert!(matches!(down(&mut bench), Err(Refusal::Loss(LossRefusal::KnowsMore { .. }))));
    assert!(bench.dial(&lost, vec![report(TaskId(0), Running, Reason::None)]).is_none());
    assert!(matches!(down(&mut bench), Err(Refusal::Loss(LossRefusal::KnowsMore { .. }))));
    assert!(matches!(forget(&mut bench.world, 1), Err(Refusal::Loss(LossRefusal::KnowsMore { .. }))));
    // One fault is one alarm, however many agents show it.
    let alarms: Vec<_> = bench.world.live.alarms.keys().copied().collect();
    assert_eq!(alarms, [Alarm::JournalBehind]);
    let words = &bench.world.live.alarms[&Alarm::JournalBehind];
    assert!(words.contains("another agent shows the like"), "{words}");
    // Another boot is another matter.
    let copy = Machine { boot: "boot-2", ..lost.clone() };
    assert!(bench.dial(&copy, vec![]).is_none());
    assert!(bench.world.live.alarms.contains_key(&copied));
    bench.world.command(Command::RaiseEpoch).unwrap();
    assert!(bench.dial(&lost, vec![]).is_some(), "it is asked what it holds");
}
