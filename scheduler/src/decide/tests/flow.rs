//! Jobs that wait for others, arrays, deadlines, templates, and cron jobs that pause.

use dawn_proto::v1::{DependsOn, Reason, SubmitOutcome, TickOutcome};
use dawn_proto::{SpecId, TaskId, TaskState::*, Timestamp};

use super::promises::replay_equals_live;
use super::specs::{batch, cron, key, service};
use super::world::{START, World};
use crate::model::*;

/// `name` after the others.
fn after(name: &str, others: &[(&str, DependsOn)]) -> JobSpec {
    let after = others.iter().map(|(job, on)| Dependency { job: key(job), on: *on }).collect();
    with(batch(name, 1), |flow| flow.after = after)
}

fn with(mut spec: JobSpec, change: impl FnOnce(&mut FlowSpec)) -> JobSpec {
    change(&mut spec.flow);
    // What makes equal specs equal is the door's encoding; here the flow stands for it.
    spec.wire = format!("{:?} {:?}", spec.wire, spec.flow).into_bytes().into();
    spec
}

/// Runs all that is pending to this end.
fn end_all(world: &mut World, state: dawn_proto::TaskState) {
    let link = LinkId(1);
    let pending: Vec<TaskId> = world.state.indexes().pending.iter().copied().collect();
    world.place_all(world.live.links[&link]);
    pending.iter().for_each(|task| world.report(link, *task, Running, Reason::None));
    pending.iter().for_each(|task| world.report(link, *task, state, Reason::None));
}

fn ended(world: &World, name: &str) -> Option<String> {
    world.job(name).ended.as_ref().map(|ended| ended.message.clone())
}

#[test]
fn a_job_starts_when_those_it_follows_have_ended_as_it_says() {
    use DependsOn::{AnyEnd, Failure, Success};
    for (on, end, starts) in [
        (Success, Finished, true),
        (Success, Failed, false),
        (Failure, Failed, true),
        (Failure, Finished, false),
        (AnyEnd, Finished, true),
        (AnyEnd, Failed, true),
    ] {
        let mut world = World::new();
        world.agent(1);
        let mut first = batch("a", 2);
        first.restart.max_failures = 1;
        world.submit(&first).unwrap();
        world.submit(&after("b", &[("a", on)])).unwrap();
        world.pass_heard_ms(1_000, &[LinkId(1)]);
        assert_eq!(
            (world.tasks("b"), world.state.indexes().unsettled.len()),
            (vec![], 0),
            "it waits without a tick's work"
        );
        end_all(&mut world, end);
        let made = world.tasks("b");
        assert_eq!(made == [(0, 1, Pending)], starts, "{on:?} {end:?}: {made:?}");
        assert_eq!(ended(&world, "b").is_some(), !starts, "{on:?} {end:?}");
        let not_needed = world.job("b").ended.as_ref().is_some_and(|ended| ended.not_needed);
        assert_eq!(not_needed, (on, end) == (Failure, Finished), "{on:?} {end:?}");
        assert!(world.state.indexes().dependents.is_empty());
        replay_equals_live(&world);
    }
}

#[test]
fn what_follows_a_failure_that_does_not_come_is_not_needed_and_nothing_failed() {
    use DependsOn::{AnyEnd, Failure, Success};
    let mut world = World::new();
    world.agent(1);
    let load = batch("load", 1);
    let jobs = [
        after("alarm", &[("load", Failure)]),
        after("page", &[("alarm", Success)]),
        after("mourn", &[("alarm", Failure)]),
        after("tidy", &[("alarm", AnyEnd)]),
    ];
    for run in 1..=2 {
        // Run again, all of it waits again: what ended in the run before counts no more.
        world.submit(&load).unwrap();
        jobs.iter().for_each(|job| _ = world.submit(job).unwrap());
        assert!(jobs.iter().all(|job| world.job(job.key.name()).ended.is_none()), "run {run}");
        end_all(&mut world, Finished);
        let not_needed = |name| world.job(name).ended.as_ref().is_some_and(|ended| ended.not_needed);
        assert!(["alarm", "page", "mourn"].into_iter().all(not_needed), "run {run}");
        assert_eq!(ended(&world, "alarm").unwrap(), "www/prod/load succeeded, and this was to follow its failure");
        assert_eq!(ended(&world, "page").unwrap(), "www/prod/alarm was not needed, and this was to follow it");
        assert_eq!((world.tasks("alarm"), world.tasks("tidy").last()), (vec![], Some(&(0, run, Pending))));
        end_all(&mut world, Finished);
    }
    replay_equals_live(&world);
}

#[test]
fn a_graph_whose_head_fails_ends_as_a_whole_and_the_other_way_is_taken() {
    use DependsOn::{AnyEnd, Failure, Success};
    let mut world = World::new();
    world.agent(1);
    let mut head = batch("head", 1);
    head.restart.max_failures = 1;
    world.submit(&after("left", &[("head", Success)])).unwrap();
    world.submit(&after("deep", &[("left", Success)])).unwrap();
    world.submit(&after("mend", &[("left", Failure)])).unwrap();
    world.submit(&after("last", &[("deep", AnyEnd), ("head", AnyEnd)])).unwrap();
    // None of them is there when the others are submitted.
    world.submit(&head).unwrap();
    end_all(&mut world, Failed);
    let said = ended(&world, "left").unwrap();
    assert_eq!(said, "www/prod/head did not succeed, and this was to follow its success");
    assert!(ended(&world, "deep").unwrap().contains("www/prod/left did not succeed"));
    assert_eq!(world.tasks("mend"), [(0, 1, Pending)]);
    assert_eq!(world.tasks("last"), [(0, 1, Pending)]);
    replay_equals_live(&world);
}

#[test]
fn jobs_that_would_wait_for_ever_are_refused() {
    use DependsOn::Success;
    let mut world = World::new();
    world.agent(1);
    world.submit(&after("a", &[("b", Success)])).unwrap();
    world.submit(&after("b", &[("c", Success)])).unwrap();
    let circle = world.submit(&after("c", &[("a", Success)])).unwrap_err();
    let said = circle.to_string();
    assert!(said.ends_with("www/prod/c after www/prod/a after www/prod/b after www/prod/c"), "{said}");
    let mut failed = batch("f", 1);
    failed.restart.max_failures = 1;
    world.submit(&failed).unwrap();
    end_all(&mut world, Failed);
    let never = world.submit(&after("g", &[("f", Success)])).unwrap_err();
    assert!(never.to_string().contains("would never start: www/prod/f did not succeed"), "{never}");
    // What ended well before counts.
    world.submit(&batch("ok", 1)).unwrap();
    end_all(&mut world, Finished);
    world.submit(&after("h", &[("ok", Success)])).unwrap();
    assert_eq!(world.tasks("h"), [(0, 1, Pending)]);
}

#[test]
fn a_killed_job_is_a_failure_to_those_that_follow_it() {
    let mut world = World::new();
    world.agent(1);
    world.submit(&service("s", 1)).unwrap();
    world.submit(&after("b", &[("s", DependsOn::AnyEnd)])).unwrap();
    world.submit(&after("c", &[("s", DependsOn::Success)])).unwrap();
    world.kill("s", &[]).unwrap();
    assert_eq!(world.tasks("b"), [(0, 1, Pending)]);
    assert!(ended(&world, "c").is_some());
}

#[test]
fn an_array_runs_no_more_at_once_than_it_says_until_all_are_done() {
    let mut world = World::new();
    world.agent(1);
    world.settings.slice = 3;
    world.submit(&with(batch("a", 7), |flow| flow.max_running = Some(2))).unwrap();
    let mut seen = 0;
    while ended(&world, "a").is_none() {
        assert!(world.tasks_of("a").living <= 2 && world.tasks_of("a").living > 0);
        let is_full = world.tasks_of("a").living == 2;
        assert!(
            !(is_full && world.state.indexes().unsettled.contains(&world.job("a").id)),
            "it waits without a tick's work"
        );
        let one = *world.state.indexes().pending.first().unwrap();
        world.place_all(world.live.links[&LinkId(1)]);
        world.report(LinkId(1), one, Running, Reason::None);
        world.report(LinkId(1), one, Finished, Reason::None);
        replay_equals_live(&world);
        seen += 1;
        // One of the window is already placed: the next round ends it.
        let placed: Vec<TaskId> = world.state.indexes().tasks_on.values().flatten().copied().collect();
        for task in placed {
            world.report(LinkId(1), task, Finished, Reason::None);
            seen += 1;
        }
    }
    assert_eq!((seen, world.tasks("a").len()), (7, 7));
    assert!(world.state.succeeded(world.job("a"), |task| task.state()));
}

#[test]
fn a_killed_array_ends_although_its_window_was_full() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&with(batch("a", 9), |flow| flow.max_running = Some(3)));
    world.kill("a", &[(0, 8)]).unwrap();
    tasks.iter().for_each(|task| world.report(link, *task, Killed, Reason::None));
    assert_eq!((world.tasks("a").len(), ended(&world, "a").is_some()), (3, true));
    replay_equals_live(&world);
}

#[test]
fn what_is_not_done_by_its_deadline_is_killed_and_has_failed() {
    let mut world = World::new();
    let spec = with(batch("a", 2), |flow| flow.deadline_ms = Some(60_000));
    let (link, _, tasks) = world.running(&spec);
    world.report(link, tasks[0], Finished, Reason::None);
    world.submit(&after("b", &[("a", DependsOn::Failure)])).unwrap();
    world.pass_heard_ms(59_000, &[link]);
    assert_eq!(ended(&world, "a"), None);
    world.pass_heard_ms(1_250, &[link]);
    assert_eq!(ended(&world, "a").as_deref(), Some("its deadline of 1m has passed"));
    assert_eq!(world.tasks("a"), [(0, 1, Finished), (1, 1, Killing)]);
    assert_eq!(world.state.tasks[&tasks[1]].history.last().unwrap().reason, Reason::Deadline);
    assert_eq!(world.tasks("b"), [(0, 1, Pending)], "to those that follow it is a failure");
    assert!(world.state.indexes().job_deadlines.is_empty());
    replay_equals_live(&world);
}

fn dispatch(world: &mut World, name: &str, content_hash: u64) -> Result<bool, Refusal> {
    let template_spec = world.state.current_spec(world.job("t")).map_or(SpecId(0), |spec| spec.id);
    let (author, message) = ("ann".into(), "x".into());
    let spec = Box::new(batch(name, 1));
    let template = key("t");
    let command = FlowCommand::Dispatch { template, template_spec, content_hash, spec, author, message };
    match world.command(Command::Flow(command))? {
        Answer::Dispatched(answers::Dispatched { key, existing }) => {
            assert_eq!(key.name(), name);
            Ok(existing)
        }
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn a_template_runs_by_dispatch_and_an_id_is_one_job() {
    let mut world = World::new();
    world.agent(1);
    let template = with(batch("t", 1), |flow| flow.is_template = true);
    world.submit(&template).unwrap();
    world.pass_heard_ms(1_000, &[LinkId(1)]);
    assert_eq!((world.tasks("t"), ended(&world, "t"), world.state.indexes().unsettled.len()), (vec![], None, 0));
    assert_eq!(dispatch(&mut world, "t-1", 7), Ok(false));
    assert_eq!(dispatch(&mut world, "t-1", 7), Ok(true));
    assert_eq!(dispatch(&mut world, "t-1", 8), Err(FlowRefusal::OtherContent { made: key("t-1") }.into()));
    end_all(&mut world, Finished);
    assert_eq!(dispatch(&mut world, "t-1", 7), Ok(true), "also when the job has ended");
    assert_eq!(world.tasks("t-1"), [(0, 1, Finished)]);
    assert_eq!(dispatch(&mut world, "t-2", 7), Ok(false));
    // Another template under the same key; one that was read before it is refused.
    let stale = world.state.current_spec(world.job("t")).unwrap().id;
    world.submit(&with(template.clone(), |flow| flow.deadline_ms = Some(1))).unwrap();
    let spec = Box::new(batch("t-3", 1));
    let command = FlowCommand::Dispatch {
        template: key("t"),
        template_spec: stale,
        content_hash: 0,
        spec,
        author: String::new(),
        message: String::new(),
    };
    assert_eq!(world.command(Command::Flow(command)), Err(FlowRefusal::Changed { key: key("t") }.into()));
    world.submit(&batch("plain", 1)).unwrap();
    world.kill("t", &[]).unwrap();
    assert_eq!(dispatch(&mut world, "t-4", 0), Err(Refusal::JobEnded { key: key("t") }));
    replay_equals_live(&world);
}

#[test]
fn ticks_while_a_cron_job_is_paused_are_neither_run_nor_missed() {
    let mut world = World::new();
    let (link, _) = world.agent(1);
    let spec = cron("c", |policy| policy.misfire = dawn_proto::v1::Misfire::All);
    world.submit(&spec).unwrap();
    let pause = || Command::Flow(FlowCommand::PauseCron { key: key("c"), author: "ann".into() });
    let resume = || Command::Flow(FlowCommand::ResumeCron { key: key("c") });
    assert_eq!(world.command(pause()), Ok(Answer::CronPaused(answers::CronPaused)));
    assert_eq!(world.command(pause()), Ok(Answer::CronPaused(answers::CronPaused)), "again is harmless");
    world.pass_heard_ms(180_000, &[link]);
    assert_eq!((world.job("c").ticks.len(), world.state.indexes().cron_due.len()), (0, 0));
    // By hand it runs all the same; a new template leaves it paused.
    assert!(world.command(Command::StartCron { key: key("c"), author: String::new() }).is_ok());
    end_all(&mut world, Finished);
    assert_eq!(world.submit(&cron("c", |policy| policy.jitter_ms = 1)).unwrap(), SubmitOutcome::Replaced);
    assert!(world.job("c").flow.paused.is_some());
    world.submit(&spec).unwrap();
    assert_eq!(world.command(resume()), Ok(Answer::CronResumed(answers::CronResumed)));
    world.pass_heard_ms(60_000, &[link]);
    let ticks: Vec<_> = world.job("c").ticks.iter().filter(|tick| !is_manual(tick.scheduled)).collect();
    assert_eq!(ticks.len(), 1);
    assert_eq!((ticks[0].outcome, ticks[0].scheduled), (TickOutcome::Launched, START.plus_ms(240_000)));
    world.submit(&service("s", 1)).unwrap();
    let not = Command::Flow(FlowCommand::ResumeCron { key: key("s") });
    assert_eq!(world.command(not), Err(Refusal::NotCron { key: key("s") }));
    assert_ne!(world.job("c").flow.resumed_at, Timestamp(0));
    replay_equals_live(&world);
}
