//! How well jobs do, as `dawn job sla` tells it, by job.

use dawn_proto::v1;
use dawn_proto::{JobKey, Timestamp};

use super::{Sources, Text};
use crate::decide::clock::NOTED_EVERY_MS;
use crate::model::State;

/// Most jobs told of, the first in the order of their keys: more lines than this help no one, and each is read.
const MAX_JOBS: usize = 500;
/// Jobs with more tasks have none: reading so many would hold the state for too long, at every scrape.
const MAX_TASKS: usize = 10_000;

pub(super) fn jobs(sources: &Sources, wall: Timestamp, text: &mut Text) {
    let (keys, left_out) = sources.follower.read(|state| {
        let active = |key: &&JobKey| state.job(key).is_some_and(|job| job.ended.is_none());
        let short = |key: &&JobKey| state.job(key).is_some_and(|job| state.tasks_of(job.id).ids.len() <= MAX_TASKS);
        let all = state.indexes().job_by_key.keys().filter(active).count();
        let told: Vec<JobKey> =
            state.indexes().job_by_key.keys().filter(active).filter(short).take(MAX_JOBS).cloned().collect();
        let left_out = all - told.len();
        (told, left_out)
    });
    // A look each: nobody waits for all of them.
    let sla = |key: &JobKey| sources.follower.read(|state| (sources.sla)(state, key, time_of(state, wall)));
    let found: Vec<(String, v1::JobSla)> =
        keys.iter().filter_map(|key| Some((format!("job=\"{key}\""), sla(key)?))).collect();
    write(&found, text);
    let help = "Active jobs without lines of their own: beyond the first 500, or with over 10,000 tasks.";
    text.one("jobs_left_out", "gauge", help, left_out);
}

/// What Dawn's clock shows by what a scheduler knows that may not lead: it is noted every half minute, whatever the wall
/// clock shows.
pub(super) fn time_of(state: &State, wall: Timestamp) -> Timestamp {
    wall.clamp(state.at, state.at.plus_ms(NOTED_EVERY_MS))
}

fn write(found: &[(String, v1::JobSla)], text: &mut Text) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&v1::JobSla) -> Option<f64>| {
        text.about(name, "gauge", help);
        for (label, sla) in found {
            if let Some(value) = value(sla) {
                text.value(name, &format!("{{{label}}}"), value);
            }
        }
    };
    let seconds = |ms: u64| ms as f64 / 1e3;
    each("job_instances", "Instances asked for.", &|sla| Some(sla.instances.into()));
    each("job_running", "Tasks that run.", &|sla| Some(sla.running.into()));
    let help = "Median from PENDING to ASSIGNED, of tasks made in a day.";
    each("job_median_to_assigned_seconds", help, &|sla| sla.median_to_assigned_ms.map(seconds));
    let help = "Median from PENDING to RUNNING, of tasks made in a day.";
    each("job_median_to_running_seconds", help, &|sla| sla.median_to_running_ms.map(seconds));
    let help = "Share of a day's task time not lost through the platform's own doing.";
    each("job_platform_uptime_ratio", help, &|sla| Some(f64::from(sla.platform_uptime) / 1e4));
    let help = "1 while fewer instances are up than the job's SLA policy demands.";
    each("job_sla_violated", help, &|sla| Some(u8::from(sla.violated).into()));
    text.about("job_uptime_seconds", "gauge", "So many in a hundred running tasks have been up at least so long.");
    for (label, sla) in found {
        for one in &sla.uptime {
            let labels = format!("{{{label},percentile=\"{}\"}}", one.percentile);
            text.value("job_uptime_seconds", &labels, seconds(one.uptime_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Truth;

    #[test]
    fn a_wall_clock_that_was_set_makes_nothing_older() {
        let state = State::of(Truth { at: Timestamp(1_000_000), ..Truth::default() });
        let told = [0, 1_010_000, 9_000_000].map(|wall| time_of(&state, Timestamp(wall)));
        assert_eq!(told, [1_000_000, 1_010_000, 1_030_000].map(Timestamp));
    }

    #[test]
    fn a_job_has_its_lines_and_none_for_what_is_not_known() {
        let uptime = vec![v1::UptimePercentile { percentile: 50, uptime_ms: 1_500 }];
        let sla = v1::JobSla {
            instances: 3,
            running: 2,
            median_to_running_ms: Some(250),
            platform_uptime: 9_950,
            violated: true,
            uptime,
            ..Default::default()
        };
        let mut text = Text::default();
        write(&[("job=\"a/b/c\"".into(), sla)], &mut text);
        for line in [
            "dawn_job_instances{job=\"a/b/c\"} 3\n",
            "dawn_job_running{job=\"a/b/c\"} 2\n",
            "dawn_job_median_to_running_seconds{job=\"a/b/c\"} 0.25\n",
            "dawn_job_platform_uptime_ratio{job=\"a/b/c\"} 0.995\n",
            "dawn_job_sla_violated{job=\"a/b/c\"} 1\n",
            "dawn_job_uptime_seconds{job=\"a/b/c\",percentile=\"50\"} 1.5\n",
        ] {
            assert!(text.0.contains(line), "{line} in {}", text.0);
        }
        assert!(!text.0.contains("to_assigned_seconds{"), "{}", text.0);
    }
}
