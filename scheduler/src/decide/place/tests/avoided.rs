//! Agents that everybody avoids, and those that one job keeps off.

use dawn_proto::v1::{JobKind, Reason};
use dawn_proto::{TaskId, TaskState};

use crate::decide::place::another_could_hold;
use crate::decide::place::numbers::SlotId;
use crate::model::{
    Affinity, AgentAvoided, AgentNo, BlameMutation, Constraint, FaultOf, JobId, JobSpec, KeptOff, Mutation, Near, Rule,
    WelcomeMutation,
};

use super::twin;
use super::world::{World, job, one_of, resources};

fn avoid(world: &mut World, agent: AgentNo) {
    let (until, why) = (Some(world.now.wall.plus_ms(30_000)), "a disk is full".to_string());
    world.apply(Mutation::AgentAvoided(AgentAvoided { agent, until, why, times: 1 }));
}

fn keep_off(world: &mut World, job: JobId, agent: AgentNo) {
    let spec = world.state.current_spec(&world.state.jobs[&job]).unwrap().id;
    let (reason, until) = (Reason::RootFsFailed, world.now.wall.plus_ms(60_000));
    let kept = KeptOff { agent, spec, reason, fault_of: FaultOf::Unknown, failures: 1, until };
    world.apply(Mutation::Blame(BlameMutation::KeptOff { job, kept }));
}

fn racks(count: usize) -> (World, Vec<AgentNo>) {
    let mut world = World::new(1);
    let agents = (0..count).map(|at| world.agent(resources(2000, 16), &format!("rack=r{at}"), Vec::new())).collect();
    (world, agents)
}

#[test]
fn an_avoided_agent_gets_nothing_that_fits_elsewhere_and_why_names_cause_and_end() {
    let (mut world, agents) = racks(2);
    avoid(&mut world, agents[0]);
    let (id, tasks) = world.submit(job("www/prod/web", 3, resources(1000, 1)));
    assert_eq!(world.place().len(), 2);
    assert!(tasks.iter().all(|task| world.agent_of(*task) != Some(agents[0])), "the other one will have room again");
    let why = world.placer.explain(&world.state, id).remove(0).to_string();
    assert_eq!(
        why,
        "none of 2 nodes fits: 1 node is avoided after failures (node-0 until 1970-01-01 00:17:10 +00:00: a disk is full); \
         1 node has fewer than 1 cpu (most: node-1 with 0 free)"
    );
    world.pass(30_000);
    assert_eq!(world.place().len(), 1, "it comes back by itself");
}

#[test]
fn an_avoided_agent_that_is_the_last_that_fits_is_used() {
    let (mut world, agents) = racks(3);
    avoid(&mut world, agents[0]);
    let mut pinned = job("www/prod/pinned", 2, resources(1000, 1));
    pinned.constraints = vec![one_of("rack", &["r0"])];
    let (_, pinned) = world.submit(pinned);
    let (_, large) = world.submit(job("www/prod/large", 1, resources(3000, 1)));
    world.place();
    assert!(pinned.iter().all(|task| world.agent_of(*task) == Some(agents[0])));
    assert_eq!(world.agent_of(large[0]), None);
    // Room that comes free there is noticed by those who have nowhere else.
    let mut third = job("www/prod/third", 1, resources(1000, 1));
    third.constraints = vec![one_of("rack", &["r0"])];
    let (_, third) = world.submit(third);
    assert_eq!(world.place().len(), 0);
    world.move_to(pinned[0], TaskState::Finished);
    assert_eq!(world.place().len(), 1);
    assert_eq!(world.agent_of(third[0]), Some(agents[0]));
}

#[test]
fn what_waits_for_other_agents_goes_to_an_avoided_one_when_they_are_gone() {
    let (mut world, agents) = racks(2);
    let (_, tasks) = world.submit(job("www/prod/web", 3, resources(1000, 1)));
    avoid(&mut world, agents[0]);
    assert_eq!(world.place().len(), 2);
    world.connect(agents[1], false);
    assert_eq!(world.place().len(), 1);
    assert_eq!(world.agent_of(tasks[2]), Some(agents[0]));
}

#[test]
fn an_avoided_agent_is_used_where_a_limit_or_an_affinity_closes_all_others() {
    let (mut world, agents) = racks(4);
    avoid(&mut world, agents[2]);
    let limited = |name: &str, count, most| {
        let mut spec = job(name, count, resources(500, 1));
        spec.constraints = vec![Constraint { attribute: "host".into(), rule: Rule::Limit(most) }];
        spec
    };
    let (_, spread) = world.submit(limited("www/prod/spread", 4, 1));
    assert_eq!(world.place().len(), 4, "one on each, the avoided one too");
    assert_eq!(spread.iter().filter(|task| world.agent_of(**task) == Some(agents[2])).count(), 1);
    // Whoever must be near what is only there goes there too, whoever must not be goes elsewhere.
    let near = |name: &str, weight| {
        let mut spec = job(name, 1, resources(500, 1));
        let near = Near::Job { job: job("www/prod/only", 1, resources(1, 1)).key, topology: String::new() };
        spec.affinities = vec![Affinity { weight, required: true, near }];
        spec
    };
    let mut only = job("www/prod/only", 1, resources(500, 1));
    only.constraints = vec![one_of("rack", &["r2"])];
    let (_, only) = world.submit(only);
    world.place();
    assert_eq!(world.agent_of(only[0]), Some(agents[2]));
    let (_, beside) = world.submit(near("www/prod/beside", 50));
    let (_, apart) = world.submit(near("www/prod/apart", -50));
    world.place();
    assert_eq!(world.agent_of(beside[0]), Some(agents[2]), "it must be near one that is there");
    assert!(world.agent_of(apart[0]).is_some_and(|agent| agent != agents[2]));
    // With another place the avoided one is left alone.
    let (_, more) = world.submit(limited("www/prod/more", 2, 2));
    assert_eq!(world.place().len(), 2);
    assert!(more.iter().all(|task| world.agent_of(*task) != Some(agents[2])));
}

#[test]
fn a_daemons_task_goes_to_its_own_agent_avoided_or_not() {
    let (mut world, agents) = racks(4);
    avoid(&mut world, agents[1]);
    let mut daemon = job("www/prod/logs", 4, resources(1000, 1));
    daemon.kind = JobKind::Daemon;
    let (_, tasks) = world.submit(daemon);
    assert_eq!(world.place().len(), 4);
    assert_eq!(world.agent_of(tasks[1]), Some(agents[1]));
}

#[test]
fn only_what_must_not_live_twice_keeps_off_a_node_that_two_machines_claim() {
    let (mut world, agents) = racks(1);
    world.apply(Mutation::Welcome(WelcomeMutation::Copied { agent: agents[0] }));
    let (id, database) = world.submit(JobSpec { at_most_one: true, ..job("me/test/db", 1, resources(500, 1)) });
    let (_, web) = world.submit(job("me/test/web", 1, resources(500, 1)));
    assert_eq!(world.place().len(), 1);
    assert_eq!((world.agent_of(web[0]), world.agent_of(database[0])), (Some(agents[0]), None));
    let why = world.placer.explain(&world.state, id).remove(0);
    assert_eq!(why.vetoes.iter().map(|veto| veto.kind.code()).collect::<Vec<_>>(), ["copied"]);
    let (author, message) = ("ann".into(), String::new());
    world.apply(Mutation::Blame(BlameMutation::Forgiven { agent: agents[0], author, message }));
    assert_eq!(world.place().len(), 1, "an operator has chosen");
    assert_eq!(world.agent_of(database[0]), Some(agents[0]));
}

#[test]
fn what_a_job_keeps_off_is_its_own_matter_and_why_says_so() {
    let (mut world, agents) = racks(2);
    let (id, tasks) = world.submit(job("me/test/typo", 5, resources(500, 1)));
    keep_off(&mut world, id, agents[0]);
    assert_eq!(world.place().len(), 4);
    assert!(tasks.iter().all(|task| world.agent_of(*task) != Some(agents[0])));
    let why = world.placer.explain(&world.state, id).remove(0);
    assert_eq!(why.vetoes.iter().map(|veto| veto.kind.code()).collect::<Vec<_>>(), ["kept_off", "cpu"]);
    assert_eq!(
        why.vetoes[0].to_string(),
        "1 node is kept off: a task of the job did not start there (root fs failed), and may elsewhere \
         (node-0 until 1970-01-01 00:17:40 +00:00)"
    );
    let (_, other) = world.submit(job("www/prod/web", 4, resources(500, 1)));
    assert_eq!(world.place().len(), 4, "nobody else notices");
    assert!(other.iter().all(|task| world.agent_of(*task) == Some(agents[0])));
    // Another version keeps off nothing.
    let (_, again) = world.submit(job("me/test/typo", 1, resources(500, 1)));
    other.iter().for_each(|task| world.move_to(*task, TaskState::Finished));
    world.place();
    assert_eq!(world.agent_of(again[0]), Some(agents[0]));
    let spec = world.state.tasks[&tasks[4]].spec;
    world.apply(Mutation::Blame(BlameMutation::LetIn { job: id, agent: agents[0], spec }));
    assert_eq!(world.place().len(), 1, "the one that waited is let in");
    assert_eq!(world.agent_of(tasks[4]), Some(agents[0]));
}

#[test]
fn whether_another_agent_could_hold_a_task_is_what_the_placer_says_of_empty_agents() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        (0..6).for_each(|_| world.random_agent());
        (0..12).for_each(|_| world.random_job());
        let tasks: Vec<TaskId> = world.state.tasks.keys().copied().collect();
        for task in tasks {
            let task = world.state.tasks[&task].clone();
            let number = world.placer.catalogue.work_of(task.spec).unwrap();
            world.placer.prepare_for(number);
            let spec = world.state.spec_of(&task).job.clone();
            for agent in world.state.agents.values() {
                let shape = world.placer.catalogue.shape_of(number);
                let placer = world.placer.view().misses_when_empty(SlotId::of_agent(agent.no), shape);
                let decided = another_could_hold(&world.state, &spec, |other| other.no != agent.no);
                assert_eq!(decided, placer.is_none(), "seed {seed}: {:?} on {:?}: {placer:?}", spec.key, agent);
                assert_eq!(decided, twin::misses_when_empty(&spec, agent).is_none(), "seed {seed}");
            }
        }
    }
}
