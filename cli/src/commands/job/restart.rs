//! `dawn job restart`: a service's instances anew, run by the scheduler like an update.

use std::time::Duration;

use clap::Args;
use dawn_proto::v1;

use super::{status, tasks};
use crate::args::{self, Context};
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::commands::select::Selection;
use crate::commands::update::started;
use crate::exit::{Exit, Failure};

#[derive(Args)]
pub struct Restart {
    /// ROLE/ENV/NAME, or ROLE/ENV/NAME/0-3,7 for some instances
    job: Selection,
    /// Number of instances restarted at once [default: as the job's update policy says]
    #[arg(long, value_name = "COUNT", value_parser = crate::args::at_least_one)]
    batch: Option<u32>,
    /// How long an instance must run before the next one [default: as the job's update policy says]
    #[arg(long, value_name = "DURATION", value_parser = args::duration)]
    watch: Option<Duration>,
    /// Don't wait until all were restarted
    #[arg(long)]
    detach: bool,
    /// Why, for the job's history
    #[arg(long, short, default_value = "")]
    message: String,
}

pub async fn run(args: Restart, context: &mut Context) -> Result<Exit, Failure> {
    let mut policy = None;
    if args.batch.is_some() || args.watch.is_some() {
        let spec = status::get(context, &args.job).await?.spec.unwrap_or_default();
        let own = spec.update.unwrap_or_default();
        policy = Some(v1::UpdatePolicy {
            strategy: v1::UpdateStrategy::RollingQueue.into(),
            group_sizes: args
                .batch
                .map_or_else(|| own.group_sizes.iter().take(1).copied().collect(), |size| vec![size]),
            watch_ms: args.watch.map(|watch| watch.as_millis() as u64).or(own.watch_ms),
            max_instance_failures: own.max_instance_failures,
            max_failed_instances: own.max_failed_instances,
            surge: own.surge,
            sla_aware: own.sla_aware,
            sticky: own.sticky,
            ..Default::default()
        });
    }
    let request = v1::RestartJobRequest {
        key: Some((&args.job.key).into()),
        instances: args.job.instances.clone(),
        policy,
        author: author(),
        message: args.message,
    };
    let call = async |client: &mut Client, request| client.updates().restart_job(request).await;
    let response = context.scheduler.call(request, Repeat::Never, call).await?;
    if response.number == 0
        && let Some(failure) = killed(context, &args.job).await
    {
        return Err(failure);
    }
    started(context, &response, args.detach).await
}

/// Nothing was restarted because what was named was killed before, instance by instance; none: that is not why.
async fn killed(context: &mut Context, job: &Selection) -> Option<Failure> {
    if job.instances.is_empty() || !tasks::list(context, job, false).await.ok()?.is_empty() {
        return None;
    }
    let named = job.instances.iter().map(|range| match range.first == range.last {
        true => range.first.to_string(),
        false => format!("{}-{}", range.first, range.last),
    });
    let message = format!(
        "{}/{} does not run: it was killed alone (`dawn job kill`) and stays stopped",
        job.key,
        named.collect::<Vec<_>>().join(",")
    );
    let hint = "`dawn job run FILE` starts it again, also with the same file";
    Some(Failure::new(Exit::Refused, message).hint(hint))
}
