//! `dawn scheduler leave`: a scheduler hands over at once and ends.

use std::sync::{Mutex, PoisonError};
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
/// A scheduler has left within this time, or says that it could not: 20 s, and the way there and back.
const LEFT_WITHIN: Duration = Duration::from_secs(25);
/// Between two questions who leads.
const POLL: Duration = Duration::from_millis(100);

pub async fn run(command: SchedulerCommand, context: &mut Context) -> Result<Exit, Failure> {
    let SchedulerCommand::Leave { which } = command;
    leave(which, context).await
}

async fn info(context: &Context, address: &str) -> Option<v1::ServerInfo> {
    let call = async |client: &mut Client, request| client.admin().get_server_info(request).await;
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
    let elected = Mutex::new(None);
    let call = async |client: &mut Client, request| {
        let answer = client.admin().leave(request).await?;
        let named = Some(answer.get_ref().leader.clone()).filter(|leader| !leader.is_empty());
        *elected.lock().unwrap_or_else(PoisonError::into_inner) = named;
        Ok(answer)
    };
    let mut scheduler = context.scheduler.only(&which).patient(LEFT_WITHIN);
    let left = scheduler.call(v1::LeaveRequest {}, Repeat::Never, call).await?;
    let elected = elected.into_inner().unwrap_or_else(PoisonError::into_inner);
    let next = if left.led && !left.alone { taken_over(&which, elected.clone(), context).await } else { None };
    let shown = safe(&which);
    if context.out.json {
        let fields = json!({ "scheduler": which, "led": left.led, "leader": next });
        context.out.value(&json::object(fields));
    } else if next.is_some() || !left.led || left.alone {
        context.out.line(&match (left.led, left.alone, &next) {
            (_, true, _) => {
                format!("{shown} has ended; the journal is its own, so nobody leads until it is started again")
            }
            (true, _, next) => format!("{shown} handed over; {} leads", safe(next.as_deref().unwrap_or_default())),
            (false, ..) => format!("{shown} has ended; it did not lead"),
        });
    }
    match (left.led && !left.alone && next.is_none(), elected) {
        (false, _) => Ok(Exit::Done),
        (true, Some(elected)) => {
            let message =
                format!("{shown} handed over and {} was elected, but was not seen to lead yet", safe(&elected));
            Err(Failure::new(Exit::Waited, message).hint("see `dawn version`, and that scheduler's log"))
        }
        (true, None) => {
            let message = format!("{shown} handed over, but nobody was seen to lead yet");
            Err(Failure::new(Exit::Waited, message)
                .hint("see `dawn version`; other schedulers must run and reach etcd"))
        }
    }
}

/// Who leads after that one; where it can't be asked from here, nobody is known to.
async fn taken_over(from: &str, elected: Option<String>, context: &Context) -> Option<String> {
    let until = patience(context);
    let others = context.scheduler.addresses().iter().filter(|address| *address != from);
    let asked: Vec<&String> = elected.iter().chain(others).collect();
    while Instant::now() < until {
        for address in &asked {
            if info(context, address).await.is_some_and(|info| info.leader) {
                return Some((*address).clone());
            }
        }
        tokio::time::sleep(POLL).await;
    }
    None
}
