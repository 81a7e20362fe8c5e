//! `dawn admin verify`: journal, schedulers, agents and kernels compared, promise by promise.

use clap::Args;
use dawn_proto::v1;
use serde_json::json;

use crate::args::Context;
use crate::client::{Client, Repeat, Scheduler};
use crate::commands::until_timeout;
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, safe};

#[derive(Args)]
pub struct Verify {}

pub async fn run(_: Verify, context: &mut Context) -> Result<Exit, Failure> {
    until_timeout(context.timeout, verify(context)).await
}

async fn verify(context: &Context) -> Result<Exit, Failure> {
    let Schedulers { leader, followers, crowd, silent } = schedulers(context).await?;
    let mut verified = ask(&mut context.scheduler.only(&leader)).await?;
    if let Some(one) = verified.promises.iter_mut().find(|promise| promise.id == "S1") {
        one.violations_total += crowd.len() as u64;
        one.violations.extend(crowd);
    }
    let mut unasked = verified.unreached.clone();
    unasked.extend(
        silent.into_iter().filter(|(address, _)| *address != leader).map(|(address, why)| scheduler(&address, &why)),
    );
    for other in followers {
        match ask(&mut context.scheduler.only(&other)).await {
            Ok(follower) => take_in(&mut verified, &follower, &other),
            Err(failure) => unasked.push(scheduler(&other, &failure)),
        }
    }
    let violations: u64 = verified.promises.iter().map(|promise| promise.violations_total).sum();
    let exit = match violations {
        0 if !verified.not_checked.is_empty() => Exit::Failed,
        0 if !is_blind(&verified) => Exit::Done,
        _ => Exit::Findings,
    };
    if context.out.json {
        context.out.value(&json::object(value(&verified, &unasked, violations)));
    } else {
        context.out.table(&table(&verified));
        context.out.write(rest(&verified, &unasked, violations).as_bytes());
    }
    Ok(exit)
}

/// Whether there are nodes and none of them could be asked: what they hold is not known then.
fn is_blind(verified: &v1::VerifyResponse) -> bool {
    verified.agents == 0 && !verified.unreached.is_empty()
}

async fn info(scheduler: &mut Scheduler) -> Result<v1::ServerInfo, Failure> {
    let call = async |client: &mut Client, request| client.admin().get_server_info(request).await;
    scheduler.call(v1::GetServerInfoRequest {}, Repeat::Harmless, call).await
}

fn scheduler(address: &str, why: &Failure) -> String {
    format!("scheduler {address}: {}", why.message())
}

/// Who answers of those that were named.
struct Schedulers {
    leader: String,
    followers: Vec<String>,
    /// Words where several lead under one epoch.
    crowd: Vec<String>,
    /// Those that did not answer, and what became of asking them.
    silent: Vec<(String, Failure)>,
}

async fn schedulers(context: &Context) -> Result<Schedulers, Failure> {
    let (mut leaders, mut followers, mut named, mut silent) = (Vec::new(), Vec::new(), None, Vec::new());
    for address in context.scheduler.addresses().to_vec() {
        match info(&mut context.scheduler.only(&address)).await {
            Ok(info) if info.leader => leaders.push((info.epoch, address)),
            Ok(info) => {
                named = Some(info.leader_address).filter(|address| !address.is_empty()).or(named);
                followers.push(address);
            }
            Err(failure) => silent.push((address, failure)),
        }
    }
    leaders.sort();
    let same = leaders.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let crowd = same.map(|pair| format!("{} and {} both lead under epoch {}", pair[0].1, pair[1].1, pair[0].0));
    let crowd = crowd.collect();
    match leaders.pop().map(|(_, address)| address).or(named) {
        Some(leader) => Ok(Schedulers { leader, followers, crowd, silent }),
        None => Err(nobody_leads(&followers, silent)),
    }
}

/// Why there is nothing to verify, by what each of the schedulers that were named said.
fn nobody_leads(followers: &[String], mut silent: Vec<(String, Failure)>) -> Failure {
    if followers.is_empty()
        && let [(_, _)] = silent[..]
        && let Some((_, failure)) = silent.pop()
    {
        return failure;
    }
    let follow = followers.iter().map(|address| format!("{} (it follows, and knows of no leader)", safe(address)));
    let asked: Vec<String> = follow.chain(silent.iter().map(|(_, failure)| failure.message().to_string())).collect();
    let hint = match followers {
        [] => "see that the schedulers run, and that their addresses are right",
        _ => "see what holds the election up: /readyz of each scheduler, and its log",
    };
    Failure::new(Exit::Unreachable, format!("no leader was found to verify: {}", asked.join(", "))).hint(hint)
}

async fn ask(scheduler: &mut Scheduler) -> Result<v1::VerifyResponse, Failure> {
    let call = async |client: &mut Client, request| client.admin().verify(request).await;
    let mut answer = scheduler.call(v1::VerifyRequest {}, Repeat::Harmless, call).await?;
    let failed = |words: &str| Failure::new(Exit::Failed, format!("verifying: {}", render::safe_lines(words)));
    let verified = answer.message().await.map_err(|status| failed(status.message()))?;
    verified.ok_or_else(|| failed("the scheduler gave no answer"))
}

/// What another scheduler found of the journal and of its own state.
fn take_in(verified: &mut v1::VerifyResponse, other: &v1::VerifyResponse, address: &str) {
    for promise in &other.promises {
        let Some(ours) = verified.promises.iter_mut().find(|ours| ours.id == promise.id) else { continue };
        if promise.id == "S11" {
            ours.checked += promise.checked;
        }
        ours.violations_total += promise.violations_total;
        ours.violations.extend(promise.violations.iter().map(|text| format!("{address}: {text}")));
    }
    verified.not_checked.extend(other.not_checked.iter().map(|text| format!("{address}: {text}")));
}

fn table(verified: &v1::VerifyResponse) -> Table {
    let mut table = Table::new(&["PROMISE", ">CHECKED", ">VIOLATIONS", "WHAT"]);
    for promise in &verified.promises {
        let (checked, violations) = match promise.checked {
            0 if promise.violations_total == 0 => ("-".to_string(), "-".to_string()),
            checked => (checked.to_string(), promise.violations_total.to_string()),
        };
        table.row(vec![promise.id.clone(), checked, violations, promise.text.clone()]);
    }
    table
}

fn rest(verified: &v1::VerifyResponse, unasked: &[String], violations: u64) -> String {
    let mut text = String::new();
    for promise in &verified.promises {
        for violation in &promise.violations {
            text += &format!("violated {}: {}\n", promise.id, safe(violation));
        }
        let more = promise.violations_total.saturating_sub(promise.violations.len() as u64);
        if more > 0 {
            text += &format!("violated {}: and {more} more\n", promise.id);
        }
        for drift in &promise.drifts {
            text += &format!("changed since {}: {}\n", promise.id, safe(drift));
        }
    }
    for words in &verified.not_checked {
        text += &format!("not checked: {}\n", safe(words));
    }
    for words in unasked {
        text += &format!("not asked: {}\n", safe(words));
    }
    let nodes = render::count(verified.agents, "node");
    text + &match violations {
        0 if is_blind(verified) => format!(
            "every promise that the journal alone shows holds at index {}; no node could be asked, so that nothing is known \
             of what runs\n",
            verified.index
        ),
        0 if !verified.not_checked.is_empty() => format!(
            "every promise that could be checked holds at index {}, {nodes} asked; not all that is to be read could be\n",
            verified.index
        ),
        0 => format!("every promise that can be checked holds at index {}, {nodes} asked\n", verified.index),
        n => format!("{} at index {}, {nodes} asked\n", render::count(n, "violation"), verified.index),
    }
}

fn value(verified: &v1::VerifyResponse, unasked: &[String], violations: u64) -> serde_json::Value {
    let promises = verified.promises.iter().map(|promise| {
        json!({
            "promise": promise.id, "text": promise.text, "checked": promise.checked,
            "violations": promise.violations, "violations_total": promise.violations_total, "drifts": promise.drifts,
        })
    });
    json!({
        "promises": promises.collect::<Vec<_>>(), "violations": violations, "nodes": verified.agents,
        "not_checked": verified.not_checked, "not_asked": unasked, "stalled_ms": verified.stalled_ms, "index": verified.index,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_come_after_the_table_one_a_line() {
        let promise = |id: &str, checked, violations: &[&str]| v1::Promise {
            id: id.into(),
            text: format!("text of {id}"),
            checked,
            violations: violations.iter().map(ToString::to_string).collect(),
            violations_total: violations.len() as u64,
            ..Default::default()
        };
        let promises = vec![promise("S1", 4, &[]), promise("S4", 9, &["n1: t5 has processes"]), promise("S10", 0, &[])];
        let mut verified = v1::VerifyResponse { promises, index: 7, agents: 1, ..Default::default() };
        verified.promises[1].violations_total = 3;
        let shown = table(&verified).text() + &rest(&verified, &["n2: it is not connected".into()], 3);
        let expected = "\
PROMISE  CHECKED  VIOLATIONS  WHAT
S1             4           0  text of S1
S4             9           3  text of S4
S10            -           -  text of S10
violated S4: n1: t5 has processes
violated S4: and 2 more
not asked: n2: it is not connected
3 violations at index 7, 1 node asked
";
        assert_eq!(shown, expected);
        let unread = v1::VerifyResponse {
            index: 7,
            agents: 1,
            not_checked: vec!["the journal: e".into()],
            ..Default::default()
        };
        let expected = "not checked: the journal: e\nevery promise that could be checked holds at index 7, 1 node asked; not all that \
                        is to be read could be\n";
        assert_eq!(rest(&unread, &[], 0), expected);
    }
}
