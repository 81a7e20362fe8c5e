//! `dawn scheduler leave`: a scheduler hands over at once and ends.

use std::time::{Duration, Instant};

use dawn_proto::v1;
use serde_json::json;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::daemon::SchedulerCommand;
use crate::exit::{Exit, Failure};
use crate::render::{json, safe};

/// How long another one is waited for.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30);
/// Between two questions who leads.
const POLL: Duration = Duration::from_millis(100);

pub async fn run(command: SchedulerCommand, context: &mut Context) -> Result<Exit, Failure> {
    let SchedulerCommand::Leave { which } = command;
    leave(which, context).await
}

async fn info(context: &Context, address: &str) -> Option<v1::ServerInfo> {
    let call = async |client: &mut Client, request| client.get_server_info(request).await;
    context.scheduler.only(address).call(v1::GetServerInfoRequest {}, Repeat::Harmless, call).await.ok()
}

/// The address of the one that says itself that it leads: a follower may still name the leader before. Waits out an
/// election as long as anybody answers.
async fn leader(context: &Context) -> Option<String> {
    let until = patience(context);
    loop {
        let (mut told, mut answered) = (None, false);
        for address in context.scheduler.addresses() {
            let Some(info) = info(context, address).await else { continue };
            if info.leader {
                return Some(address.clone());
            }
            answered = true;
            told = told.or(Some(info.leader_address).filter(|address| !address.is_empty()));
        }
        if let Some(address) = told
            && info(context, &address).await.is_some_and(|info| info.leader)
        {
            return Some(address);
        }
        if !answered || Instant::now() >= until {
            return None;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn patience(context: &Context) -> Instant {
    Instant::now() + context.timeout.unwrap_or(TAKEN_OVER_WITHIN).min(TAKEN_OVER_WITHIN)
}

async fn leave(which: Option<String>, context: &mut Context) -> Result<Exit, Failure> {
    let which = match which {
        Some(which) => which,
        None => leader(context).await.ok_or_else(|| {
            Failure::new(Exit::Unreachable, "nobody leads as far as can be told").hint("name one: HOST:PORT")
        })?,
    };
    let call = async |client: &mut Client, request| client.admin().leave(request).await;
    let left = context.scheduler.only(&which).call(v1::LeaveRequest {}, Repeat::Never, call).await?;
    let others = context.scheduler.addresses().iter().any(|address| *address != which);
    let next = if left.led && !left.alone && others { taken_over(&which, context).await } else { None };
    let shown = safe(&which);
    if context.out.json {
        let fields = json!({ "scheduler": which, "led": left.led, "leader": next });
        context.out.value(&json::object(fields));
    } else {
        context.out.line(&match (left.led, left.alone, &next) {
            (_, true, _) => format!("{shown} ends; the journal is its own, so nobody leads until it is started again"),
            (true, _, Some(next)) => format!("{shown} handed over; {} leads", safe(next)),
            (true, _, None) if others => format!("{shown} handed over; nobody was seen to lead yet"),
            (true, _, None) => format!("{shown} handed over; ask another scheduler who leads"),
            (false, ..) => format!("{shown} ends; it did not lead"),
        });
    }
    Ok(Exit::Done)
}

async fn taken_over(from: &str, context: &Context) -> Option<String> {
    let until = patience(context);
    while Instant::now() < until {
        for address in context.scheduler.addresses().iter().filter(|address| *address != from) {
            if info(context, address).await.is_some_and(|info| info.leader) {
                return Some(address.clone());
            }
        }
        tokio::time::sleep(POLL).await;
    }
    None
}
