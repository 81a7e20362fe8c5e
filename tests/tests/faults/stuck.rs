//! etcd takes no writes: tasks run on, also those that must not live twice, and every scheduler ends when it is told to and
//! says what came of it.

use std::time::{Duration, Instant};

use dawn_tests::cluster::{Patience, Several, SeveralPlan, batch, cron, service};
use tonic::Code;

/// Said in the help: whatever hangs, it has ended by then.
const STOP: Patience = Patience(Duration::from_secs(20));
/// Beyond the agents' lease of 3 s, a grace period of 2 s and what is waited after it.
const BEYOND_LEASES: Duration = Duration::from_secs(10);

/// Submits what doesn't shrink until etcd has no room left; what it was refused with.
fn fill(several: &Several) -> String {
    for number in 0..200 {
        let spec = cron(&format!("filler{number}"), "0 0 1 1 *").large(200_000, false, number);
        let (_, spec) = spec.marked(&several.name);
        let leader = several.leader();
        match several.api(leader).submit(spec) {
            Ok(_) => {}
            Err(status) if dawn_proto::errors::reason(&status) == Some(dawn_proto::v1::ErrorReason::NoWrites) => {
                return status.message().to_string();
            }
            // The one that is on its way waits for room.
            Err(status) if [Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()) => {}
            Err(status) => panic!("{status}\n{}", several.last_words()),
        }
    }
    panic!("etcd is not full\n{}", several.last_words());
}

#[test]
fn a_full_etcd_takes_no_task_away_and_nobody_is_told_of_an_end_that_did_not_happen() {
    let plan = SeveralPlan {
        members: 1,
        schedulers: 2,
        member_extra: ["--quota-backend-bytes", "8000000"].map(String::from).into(),
        ..SeveralPlan::of(1)
    };
    let Some(several) = Several::start(&plan) else { return };
    let alone = several.submit(service("alone").instances(3).with(|job| job.at_most_one = true));
    let (before, pids) = (several.running(&alone, 3), several.processes_of(&alone, 3));
    let (leader, epoch) = several.leader_after(0);
    let refused = fill(&several);
    assert!(refused.contains("waits for etcd") && refused.contains("database space exceeded"), "{refused}");
    let until = Instant::now() + BEYOND_LEASES;
    while Instant::now() < until {
        assert_eq!(several.processes_of(&alone, 3), pids, "the same processes, all the time");
    }
    assert_eq!(several.running(&alone, 3), before, "same tasks, same histories");
    assert_eq!(several.leading(), Some((leader, epoch)), "etcd renews its lease, so it leads");
    let follower = 1 - leader;
    several.eventually("the follower says what holds writes up", Patience::START, || {
        let trouble = several.api(follower).server_info().map_err(|status| status.to_string())?.troubles.concat();
        trouble.contains("the leader at").then_some(()).ok_or(trouble)
    });
    // What is on its way can't become durable: it says so, and ends all the same.
    let asked = Instant::now();
    let left = several.dawn(&["scheduler", "leave"]);
    assert!(left.code.is_some_and(|code| code != 0), "{left:?}");
    assert!(left.stderr.contains("were not durable") && left.stderr.contains("space exceeded"), "{left:?}");
    assert!(several.schedulers[leader].exit_code(STOP).is_some_and(|code| code != 0));
    assert!(asked.elapsed() < STOP.0 + Duration::from_secs(5), "{:?}", asked.elapsed());
    several.eventually("the other one leads, since the lease was ended", Patience::START, || {
        let info = several.api(follower).server_info().map_err(|status| status.to_string())?;
        // Its epoch is not durable: there is no room for it either.
        (info.leader && info.troubles.concat().contains("space exceeded")).then_some(()).ok_or(format!("{info:?}"))
    });
}

#[test]
fn schedulers_end_in_time_while_etcd_is_silent() {
    let plan = SeveralPlan { members: 1, schedulers: 2, lease: "60s".into(), ..SeveralPlan::of(1) };
    let Some(several) = Several::start(&plan) else { return };
    let (leader, _) = several.leader_after(0);
    several.members[0].pause();
    let (_, late) = batch("late").shell("true").marked(&several.name);
    several.eventually("a write is refused with the reason", Patience::START, || {
        match several.api(leader).submit(late.clone()) {
            Err(status) if status.message().contains("takes no writes now: it waits for etcd") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    for scheduler in &several.schedulers {
        scheduler.ask_to_end();
    }
    let codes: Vec<Option<i32>> = several.schedulers.iter().map(|scheduler| scheduler.exit_code(STOP)).collect();
    assert!(codes[leader].is_some_and(|code| code != 0), "what it decided is not durable: {codes:?}");
    assert_eq!(codes[1 - leader], Some(0), "one that follows has nothing to finish");
    several.members[0].resume();
}

/// As after the loss of a quorum: leases end, and whoever is elected first leads.
#[test]
fn a_change_of_leader_is_no_error() {
    let plan = SeveralPlan { schedulers: 3, ..SeveralPlan::of(1) };
    let Some(several) = Several::start(&plan) else { return };
    let (_, epoch) = several.leader_after(0);
    several.members[..2].iter().for_each(|member| member.pause());
    several.eventually("the leader's lease ends", Patience::START, || match several.leading() {
        None => Ok(()),
        Some(leader) => Err(format!("{leader:?} leads")),
    });
    several.members[..2].iter().for_each(|member| member.resume());
    several.eventually("somebody leads again", Patience::LONG, || {
        several.start_the_ended();
        several.leading().filter(|(_, found)| *found > epoch).map(|_| ()).ok_or_else(|| "nobody".into())
    });
    for scheduler in &several.schedulers {
        let log = scheduler.log();
        assert!(!log.contains("ERROR") && !log.contains("dawn: scheduler"), "{log}");
    }
    several.agents_are_up();
    several.end();
}
