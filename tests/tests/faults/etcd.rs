//! etcd itself fails: gone at the start or later, and restored from an old backup. Tasks run on, nothing is overwritten.

use std::process::Command;
use std::time::{Duration, Instant};

use dawn_tests::cluster::{Daemon, Patience, Several, SeveralPlan, Who, batch, service};
use tonic::Code;

/// One member, one scheduler.
fn small(agents: usize) -> SeveralPlan {
    SeveralPlan { members: 1, schedulers: 1, ..SeveralPlan::of(agents) }
}

fn says(several: &Several, daemon: &Daemon, words: &str) {
    several.eventually(&format!("{} says {words:?}", daemon.name), Patience::START, || {
        if daemon.log().contains(words) { Ok(()) } else { Err("not yet".into()) }
    });
}

fn etcdctl(args: &[&str]) {
    let output = Command::new("etcdctl").env("ETCDCTL_API", "3").args(args).output().expect("it came with etcd");
    assert!(output.status.success(), "etcdctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn etcd_that_is_not_there_yet_is_waited_for() {
    let Some(several) = Several::lay_out(&small(1)) else { return };
    several.schedulers[0].start();
    several.agents[0].start();
    let endpoint = several.endpoints()[0].clone();
    says(&several, &several.schedulers[0], &format!("etcd at {endpoint} does not answer"));
    says(&several, &several.schedulers[0], "trying again in 500ms");
    assert!(several.schedulers[0].is_alive(), "it does not give up");
    several.members[0].start();
    several.agents_are_up();
    several.end();
}

#[test]
fn while_etcd_is_gone_writes_are_refused_and_tasks_run_on() {
    let plan = SeveralPlan { lease: "60s".into(), ..small(1) };
    let Some(several) = Several::start(&plan) else { return };
    let web = several.submit(service("web").instances(2));
    let (before, pids) = (several.running(&web, 2), several.processes_of(&web, 2));
    let (_, epoch) = several.leader_after(0);
    several.members[0].pause();
    let (late, spec) = batch("late").shell("echo done").marked(&several.name);
    let refused = several.eventually("a write is refused with the reason", Patience::START, || {
        match several.api(0).submit(spec.clone()) {
            Err(status) if status.message().contains("takes no writes now") => Ok(status),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("does not answer while appending"), "{refused:?}");
    assert!(several.api(0).server_info().expect("reads are answered").troubles.concat().contains("does not answer"));
    assert_eq!(several.api(0).tasks(&web).expect("reads are answered"), before);
    several.members[0].resume();
    several.ask("submitting again", |api| api.submit(spec.clone()));
    several.tasks_in(&late, dawn_proto::v1::TaskState::Finished, 1);
    assert_eq!(several.leading(), Some((0, epoch)), "the same leader, recovered by itself");
    assert_eq!(several.running(&web, 2), before, "same tasks, same histories");
    assert_eq!(several.processes_of(&web, 2), pids, "same processes");
    several.end();
}

#[test]
fn a_dead_member_of_three_is_no_outage_and_a_silent_scheduler_is_named() {
    // The leader outlives an election of the members.
    let plan = SeveralPlan { lease: "10s".into(), ..SeveralPlan::of(1) };
    let Some(several) = Several::start(&plan) else { return };
    let web = several.submit(service("web").instances(2));
    several.running(&web, 2);
    several.members[2].kill_9();
    several.verified();
    let leader = several.leader();
    for round in 0..10 {
        for (number, scheduler) in several.schedulers.iter().enumerate() {
            let info = several.api(number).server_info().expect("it answers");
            assert!(info.troubles.is_empty(), "{round}: {}: {:?}", scheduler.name, info.troubles);
        }
        let verified = several.dawn(&["admin", "verify"]);
        assert_eq!(verified.code, Some(0), "{round}: {verified:?}");
    }
    assert_eq!(several.leader(), leader, "the same leader");

    let stopped = (leader + 1) % several.schedulers.len();
    several.schedulers[stopped].pause();
    let verified = several.dawn(&["admin", "verify"]);
    several.schedulers[stopped].resume();
    let named = format!("not asked: scheduler {}: ", several.addresses()[stopped]);
    assert!(verified.code == Some(0) && verified.stdout.contains(&named), "{verified:?}");
    assert!(verified.stdout.contains("every promise that can be checked holds"), "{verified:?}");

    // Without the majority nothing can be read: that says nothing of the journal.
    several.members[1].kill_9();
    several.eventually("it was not checked", Patience::LONG, || {
        let verified = several.dawn(&["admin", "verify"]);
        let unread = verified.code == Some(1) && verified.stdout.contains("not checked: the journal: etcd at");
        unread.then_some(()).ok_or(format!("{verified:?}"))
    });
    let asked = Instant::now();
    let stopped = several.dawn(&["--timeout", "1s", "admin", "verify"]);
    // Whether etcd says at once that it has no leader, or nothing: nothing is violated.
    assert!(stopped.code.is_some_and(|code| [1, 5, 6].contains(&code)), "{stopped:?}");
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}: {stopped:?}", asked.elapsed());
    several.members[1].start();
    several.verified();
    several.end();
}

/// Takes a snapshot of etcd, goes on, and restores etcd from it.
fn go_back(several: &Several) {
    let snapshot = several.folder().join("snapshot").to_string_lossy().into_owned();
    several.schedulers[0].terminate();
    etcdctl(&["--endpoints", &several.endpoints()[0], "snapshot", "save", &snapshot]);
    several.start_the_ended();
    several.agents_are_up();
    several.submit(batch("later").shell("echo done"));
    // Seen durably: what the agent has obeyed, and what the scheduler remembers.
    let (_, epoch) = several.leader_after(0);
    several.daemon(Who::Scheduler(0)).terminate();
    several.start_the_ended();
    let (_, later) = several.leader_after(epoch);
    says(several, &several.agents[0], &format!("registered epoch={later}"));
    several.schedulers[0].terminate();
    let member = &several.members[0];
    member.kill_9();
    let flags = ["--name", "--data-dir", "--initial-cluster", "--initial-advertise-peer-urls"];
    let of_member = flags.map(|flag| [flag.to_string(), member.flag(flag)]).concat();
    std::fs::remove_dir_all(member.flag("--data-dir")).expect("it is there");
    let restore = ["snapshot", "restore", &snapshot].map(String::from).into_iter().chain(of_member);
    etcdctl(&restore.collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>());
    member.start();
}

#[test]
fn a_scheduler_refuses_an_etcd_older_than_what_it_has_seen() {
    let plan = SeveralPlan { data_dirs: true, ..small(1) };
    let Some(several) = Several::start(&plan) else { return };
    let web = several.submit(service("web").instances(2));
    several.running(&web, 2);
    let pids = several.processes_of(&web, 2);
    go_back(&several);
    several.schedulers[0].start();
    let code = several.schedulers[0].exit_code(Patience::START);
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    says(&several, &several.schedulers[0], "etcd was restored from an older backup. Nothing was changed.");
    assert_eq!(several.processes_of(&web, 2), pids, "tasks run on");
    // The operator's word lets it go on: what the backup knows is as it was.
    std::fs::remove_file(several.folder().join("scheduler0/etcd-seen")).expect("the message names it");
    several.schedulers[0].start();
    several.eventually("it leads again", Patience::LONG, || several.read(|api| api.tasks(&web)).map(|_| ()));
    assert!(several.schedulers[0].is_alive(), "it runs on");
    assert_eq!(several.processes_of(&web, 2), pids, "tasks run on");
}

#[test]
fn a_leader_of_a_restored_etcd_places_nothing_until_an_operator_raises_its_epoch() {
    let Some(several) = Several::start(&small(1)) else { return };
    let web = several.submit(service("web").instances(2));
    several.running(&web, 2);
    let pids = several.processes_of(&web, 2);
    go_back(&several);
    several.schedulers[0].start();
    several.eventually("it says that the journal went back in time", Patience::START, || {
        let info = several.api(0).server_info().map_err(|status| status.to_string())?;
        let words = info.troubles.join("\n");
        let is_said = words.contains("the journal went back in time")
            && words.contains("dawn admin epoch raise")
            && words.contains("its tasks run on");
        is_said.then_some(()).ok_or(words)
    });
    let new = several.submit(batch("new").shell("echo done"));
    let (_, epoch) = several.leader_after(0);
    let raised = several.dawn(&["admin", "epoch", "raise"]);
    assert_eq!(raised.code, Some(0), "{raised:?}");
    several.agents_are_up();
    several.tasks_in(&new, dawn_proto::v1::TaskState::Finished, 1);
    assert!(several.leading().is_some_and(|(leader, later)| leader == 0 && later > epoch), "the same leader goes on");
    assert_eq!(several.processes_of(&web, 2), pids, "nothing was stopped or launched");
    several.eventually("the alarm is over", Patience::START, || {
        let trouble = several.api(0).server_info().map_err(|status| status.to_string())?.troubles;
        trouble.is_empty().then_some(()).ok_or(trouble.join("\n"))
    });
    several.end();
}

#[test]
fn schedulers_and_agents_of_another_cluster_are_refused() {
    let plan = SeveralPlan { data_dirs: true, ..small(1) };
    let (Some(one), Some(other)) = (Several::start(&plan), Several::start(&plan)) else { return };
    let web = one.submit(service("web").instances(2));
    let (before, pids) = (one.running(&web, 2), one.processes_of(&web, 2));
    let (agent, scheduler) = (&other.agents[0], &other.schedulers[0]);
    agent.terminate();
    agent.set_flag("--scheduler", &one.addresses()[0]);
    agent.start();
    says(&other, agent, "belongs to cluster");
    says(&other, agent, "the tasks run on, and it is asked again at growing intervals");
    assert!(agent.is_alive(), "no word of a scheduler ends an agent\n{}", agent.last_words());
    agent.terminate();
    // On the other's prefix.
    scheduler.terminate();
    scheduler.set_flag("--etcd", &one.endpoints()[0]);
    scheduler.start();
    assert!(scheduler.exit_code(Patience::START).is_some_and(|code| code != 0), "{}", scheduler.last_words());
    says(&other, scheduler, "choose another --etcd-prefix");
    assert_eq!(one.running(&web, 2), before, "same tasks, same histories");
    assert_eq!(one.processes_of(&web, 2), pids, "same processes");
    one.end();
}
