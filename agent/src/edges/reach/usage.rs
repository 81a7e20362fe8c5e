//! What tasks use, told as often as the client wants.

use std::sync::Arc;
use std::time::Duration;

use dawn_proto::TaskId;
use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::{Usage, UsageList, WatchUsage};
use tokio::time::sleep;

use super::Out;
use super::inbox::Inbox;

/// Between two samples, at least.
const SHORTEST_MS: u32 = 500;

/// Samples a task, or all, again and again until the client goes; once with an interval of 0.
pub async fn watch(
    watch: WatchUsage,
    task: Option<TaskId>,
    sample: Arc<dyn Fn(Option<TaskId>) -> Vec<Usage> + Send + Sync>,
    mut inbox: Inbox,
    out: Out,
) -> Result<(), String> {
    let look = || {
        let sample = sample.clone();
        async move { tokio::task::spawn_blocking(move || sample(task)).await.map_err(|error| error.to_string()) }
    };
    let mut before = look().await?;
    let pause = Duration::from_millis(watch.interval_ms.max(SHORTEST_MS).into());
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            message = inbox.next() => match message {
                Some(_) => continue,
                None => return Ok(()),
            },
        }
        let mut tasks = look().await?;
        let samples = tasks.clone();
        for usage in &mut tasks {
            let earlier = before.iter().find(|earlier| earlier.task_id == usage.task_id);
            usage.cpu_milli = earlier.and_then(|earlier| rate(earlier, usage));
        }
        before = samples;
        if out.say(Down::Usage(UsageList { tasks })).await.is_err() {
            return Ok(());
        }
        if watch.interval_ms == 0 {
            let _ = out.say(Down::Done(true)).await;
            return Ok(());
        }
    }
}

/// Thousandths of a cpu between two samples.
fn rate(earlier: &Usage, later: &Usage) -> Option<u64> {
    let used_usec = later.cpu_usec?.checked_sub(earlier.cpu_usec?)?;
    let passed_ms = u64::try_from(later.at_ms - earlier.at_ms).ok().filter(|passed_ms| *passed_ms > 0)?;
    Some(used_usec / passed_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_cpu_time_over_time() {
        let at = |at_ms, cpu_usec| Usage { at_ms, cpu_usec, ..Default::default() };
        assert_eq!(rate(&at(0, Some(0)), &at(500, Some(750_000))), Some(1_500));
        assert_eq!(rate(&at(0, None), &at(500, Some(1))), None);
        assert_eq!(rate(&at(500, Some(0)), &at(500, Some(1))), None, "no time passed");
        assert_eq!(rate(&at(0, Some(5)), &at(500, Some(1))), None, "counters only grow");
    }
}
