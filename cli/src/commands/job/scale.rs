//! `dawn job scale` and `dawn job add`: another number of instances, at once.

use clap::Args;
use dawn_proto::v1;

use super::meanwhile::killed;
use super::status;
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, json};

#[derive(Args)]
pub struct Scale {
    /// ROLE/ENV/NAME
    job: Selection,
    /// Number of instances: 5, or by how many it changes: +2, -1
    #[arg(allow_negative_numbers = true, value_parser = amount)]
    instances: Amount,
    /// Why, for the job's history
    #[arg(long, short, default_value = "")]
    message: String,
}

#[derive(Args)]
pub struct Add {
    /// ROLE/ENV/NAME
    job: Selection,
    /// Number of instances to add
    #[arg(value_parser = crate::args::at_least_one)]
    count: u32,
    /// Why, for the job's history
    #[arg(long, short, default_value = "")]
    message: String,
}

/// The number of instances that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    Exactly(u32),
    More(u32),
    Fewer(u32),
}

fn amount(text: &str) -> Result<Amount, String> {
    let wrong = |_| format!("`{}` is no number of instances; write 5, +2 or -1", render::safe(text));
    let digits = |text: &str| match text.chars().all(|c| c.is_ascii_digit()) {
        true => text.parse::<u32>().map_err(|_| ()),
        false => Err(()),
    };
    let amount = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(more), _) => digits(more).map(Amount::More),
        (_, Some(fewer)) => digits(fewer).map(Amount::Fewer),
        (None, None) => digits(text).map(Amount::Exactly),
    };
    match amount.map_err(wrong)? {
        Amount::More(0) | Amount::Fewer(0) => Err("that changes nothing".to_string()),
        amount => Ok(amount),
    }
}

pub async fn run(args: Scale, context: &mut Context) -> Result<Exit, Failure> {
    let message = args.message;
    let request = match args.instances {
        Amount::Exactly(count) => v1::ScaleJobRequest { instances: Some(count), message, ..Default::default() },
        Amount::More(add) => v1::ScaleJobRequest { add, message, ..Default::default() },
        Amount::Fewer(fewer) => {
            let summary = status::get(context, &args.job).await?.summary.unwrap_or_default();
            let Some(left @ 1..) = summary.instances.checked_sub(fewer) else {
                let has = render::count(summary.instances, "instance");
                let message = format!("{} has {has}, so {fewer} fewer would leave none", args.job.key);
                let hint = format!("`dawn job kill {}` ends the job", args.job.key);
                return Err(Failure::new(Exit::Refused, message).hint(hint));
            };
            v1::ScaleJobRequest { instances: Some(left), message, ..Default::default() }
        }
    };
    send(context, &args.job, request).await
}

pub async fn add(args: Add, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::ScaleJobRequest { add: args.count, message: args.message, ..Default::default() };
    send(context, &args.job, request).await
}

async fn send(context: &mut Context, job: &Selection, request: v1::ScaleJobRequest) -> Result<Exit, Failure> {
    let Foreseen { warnings, started_again } = foresee(context, job, &request).await;
    let repeat = if request.add > 0 { Repeat::Never } else { Repeat::Harmless };
    let request = v1::ScaleJobRequest { key: Some((&job.key).into()), author: author(), ..request };
    let call = async |client: &mut Client, request| client.updates().scale_job(request).await;
    let to_none = request.instances == Some(0);
    let scaled = context.scheduler.call(request, repeat, call).await.map_err(|failure| match to_none {
        true => failure.hint(format!("`dawn job kill {}` stops them all", job.key)),
        false => failure,
    })?;
    for warning in &warnings {
        eprintln!("dawn: warning: {}: {warning}", job.key);
    }
    if context.out.json {
        let fields = serde_json::json!({
            "job": job.key.to_string(), "instances": scaled.instances, "version": scaled.version, "index": scaled.index,
        });
        context.out.value(&json::object(fields));
    } else {
        let count = render::count(scaled.instances, "instance");
        context.out.line(&format!("{}: {count} (version {})", job.key, scaled.version));
        if !started_again.is_empty() {
            context.out.line(&format!("  {}", describe_started_again(&started_again)));
        }
    }
    Ok(Exit::Done)
}

/// What is known of a change before it is made.
#[derive(Default)]
struct Foreseen {
    warnings: Vec<String>,
    /// Instances that users killed.
    started_again: Vec<u32>,
}

/// What a plan says of instances that would wait and of those that are started again: nothing where nobody can say it.
async fn foresee(context: &mut Context, job: &Selection, request: &v1::ScaleJobRequest) -> Foreseen {
    let nothing = Foreseen::default();
    let Ok(status) = status::get(context, job).await else { return nothing };
    let before = status.summary.unwrap_or_default().instances;
    let killed: Vec<u32> = killed(&status.tasks).map(|(task, _)| task.instance).collect();
    let instances = request.instances.unwrap_or_else(|| before.saturating_add(request.add));
    let may_start = instances > before || !killed.is_empty();
    let Some(spec) = status.spec.filter(|_| may_start) else { return nothing };
    let specs = vec![v1::JobSpec { instances, ..spec }];
    let call = async |client: &mut Client, request| client.jobs().plan_jobs(request).await;
    let plans = context.scheduler.call(v1::PlanJobsRequest { specs }, Repeat::Harmless, call).await;
    let Ok(mut plans) = plans else { return nothing };
    let Ok(Some(plan)) = plans.message().await else { return nothing };
    let warnings = plan.pending.iter().map(|class| would_wait(class, instances)).collect();
    let started_again = killed.into_iter().filter(|instance| plan.created.contains(instance)).collect();
    Foreseen { warnings, started_again }
}

/// "instance 1, which was killed, is started again"
fn describe_started_again(instances: &[u32]) -> String {
    match instances {
        [only] => format!("instance {only}, which was killed, is started again"),
        several => format!("instances {}, which were killed, are started again", render::instances(several)),
    }
}

fn would_wait(class: &v1::PendingClass, of: u32) -> String {
    let summary = render::safe(&class.summary);
    match class.instances.len() {
        0 => summary,
        1 => format!("instance {} of {of} waits: {summary}", class.instances[0]),
        waiting => format!("{waiting} of {of} instances wait: {summary}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_says_by_how_many() {
        assert_eq!(amount("5"), Ok(Amount::Exactly(5)));
        assert_eq!(amount("0"), Ok(Amount::Exactly(0)), "the scheduler says why not");
        assert_eq!(amount("+2"), Ok(Amount::More(2)));
        assert_eq!(amount("-1"), Ok(Amount::Fewer(1)));
        for text in ["", "+", "-", "+-1", "++1", "1.5", "x", "+0", "-0", "99999999999"] {
            assert!(amount(text).is_err(), "{text}");
        }
    }
}
