//! `dawn job plan`: what submitting would do, decided by the scheduler as it would decide it, and not done.

use std::path::PathBuf;

use clap::Args;
use dawn_proto::v1::{self, SubmitOutcome};
use serde_json::{Value, json};

use super::run::STARTED_AGAIN;
use super::{changed, way, why};
use crate::args::Context;
use crate::client::{self, Client, Repeat};
use crate::exit::{Exit, Failure};
use crate::jobfile::{self, Reading};
use crate::render::{self, json, safe, time};

/// Changed fields shown of one job; more are counted.
const MOST_CHANGES: usize = 40;

#[derive(Args)]
pub struct Plan {
    /// Job files, as for `dawn job run`; several are planned one after the other
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

pub async fn run(args: Plan, context: &mut Context) -> Result<Exit, Failure> {
    let specs = jobfile::load(&args.files, &args.reading)?;
    let call = async |client: &mut Client, request| client.jobs().plan_jobs(request).await;
    let mut answers = context.scheduler.call(v1::PlanJobsRequest { specs }, Repeat::Harmless, call).await?;
    let mut plans = Vec::new();
    let failed = |status: tonic::Status| {
        Failure::new(Exit::Failed, format!("planning: {}", render::safe_lines(status.message())))
    };
    while let Some(plan) = answers.message().await.map_err(failed)? {
        plans.push(plan);
    }
    let exit = exit(&plans);
    if context.out.json {
        let plans: Vec<Value> = plans.iter().map(value).collect();
        context.out.value(&json::object(json!({ "jobs": plans, "exit": exit as i32 })));
    } else {
        let now_ms = time::now_ms();
        name_nodes(&mut plans, context).await;
        plans.iter().for_each(|plan| context.out.write(text(plan, now_ms).as_bytes()));
        let refused = plans.iter().any(|plan| !plan.refused.is_empty());
        context.out.line(match refused {
            true => "nothing was done; `dawn job run` would be refused",
            false => "nothing was done; `dawn job run` does it",
        });
    }
    Ok(exit)
}

/// For people: the nodes of those that give way by their host names.
async fn name_nodes(plans: &mut [v1::JobPlan], context: &mut Context) {
    if plans.iter().all(|plan| plan.preempted.is_empty()) {
        return;
    }
    let nodes = crate::commands::node::all(context).await.unwrap_or_default();
    for victim in plans.iter_mut().flat_map(|plan| &mut plan.preempted) {
        let node = nodes.iter().find(|node| node.agent_id == victim.agent_id && !node.hostname.is_empty());
        if let Some(node) = node {
            victim.agent_id.clone_from(&node.hostname);
        }
    }
}

fn exit(plans: &[v1::JobPlan]) -> Exit {
    if plans.iter().any(|plan| !plan.refused.is_empty()) {
        Exit::Refused
    } else if plans.iter().any(|plan| !plan.pending.is_empty()) {
        Exit::Findings
    } else {
        Exit::Done
    }
}

fn outcome(outcome: SubmitOutcome) -> String {
    outcome.plain_name().to_lowercase()
}

fn text(plan: &v1::JobPlan, now_ms: i64) -> String {
    let key = render::key(plan.key.as_ref());
    let is_refused = !plan.refused.is_empty();
    let is_known = plan.outcome() != SubmitOutcome::Unspecified;
    let what = || {
        let outcome = match plan.outcome() {
            SubmitOutcome::StartedAgain => STARTED_AGAIN.to_string(),
            other => outcome(other),
        };
        format!("{outcome} (version {})", plan.version)
    };
    let mut text = match is_refused {
        true => format!("{key}: would be refused: {}\n", safe(&plan.refused)),
        false => format!("{key}: {}\n", what()),
    };
    if let Some(hint) = client::hint(plan.refused_reason(), |name| plan.refused_names.get(name).cloned()) {
        text += &format!("  {hint}\n");
    }
    if is_refused && is_known {
        text += &format!("  were it not refused: {}\n", what());
    }
    // What waits says again why.
    let is_told = |warning: &str| plan.pending.iter().any(|class| class.summary.contains(warning));
    for warning in plan.warnings.iter().filter(|warning| !jobfile::was_noted(warning) && !is_told(warning)) {
        text += &format!("  warning: {}\n", safe(warning));
    }
    let changes = changed::fields(plan.before.as_ref(), plan.after.as_ref());
    for change in changes.iter().take(MOST_CHANGES) {
        text += &format!("  {}\n", safe(&change.sentence()));
    }
    if changes.len() > MOST_CHANGES {
        text += &format!("  changes {} more\n", changes.len() - MOST_CHANGES);
    }
    let updates = plan.outcome() == SubmitOutcome::Updating;
    let restarts = if updates { "updates" } else { "restarts" };
    for (what, instances) in [("creates", &plan.created), (restarts, &plan.restarted), ("stops", &plan.stopped)] {
        if !instances.is_empty() {
            text += &format!("  {what} {}: {}\n", count(instances), render::instances(instances));
        }
    }
    if updates {
        let policy = plan.after.as_ref().and_then(|spec| spec.update.clone()).unwrap_or_default();
        text += &format!("  how: {}\n", way::of(&policy));
    }
    for place in &plan.places {
        let mut instances = place.instances.clone();
        instances.sort_unstable();
        let what = if instances.len() == 1 { "instance" } else { "instances" };
        text += &format!("  places {what} {} on {}\n", render::instances(&instances), safe(&place.hostname));
    }
    for victim in &plan.preempted {
        let (job, agent) = (render::key(victim.job.as_ref()), safe(&victim.agent_id));
        text += &format!("  preempts {job}/{} on {agent}\n", victim.instance);
    }
    for other in &plan.waits_for {
        text += &format!("  waits for {}\n", safe(other));
    }
    let mut pending = v1::WhyResponse { classes: plan.pending.clone(), index: plan.index };
    // Nothing waits yet.
    pending.classes.iter_mut().for_each(|class| class.pending_since_ms = 0);
    for line in why::text(&key, &pending, now_ms).lines() {
        text += &match line.strip_prefix("  ") {
            None => format!("  would wait: {}\n", line.replacen(": pending: ", ": ", 1)),
            Some(more) => format!("    {more}\n"),
        };
    }
    text
}

fn count(instances: &[u32]) -> String {
    render::count(instances.len() as u64, "instance")
}

fn value(plan: &v1::JobPlan) -> Value {
    let places = plan
        .places
        .iter()
        .map(|place| json!({ "node": place.agent_id, "hostname": place.hostname, "instances": place.instances }));
    let preempted = plan.preempted.iter().map(|victim| {
        json!({
            "job": json::key(victim.job.as_ref()), "instance": victim.instance,
            "task": dawn_proto::TaskId(victim.task_id).to_string(), "node": victim.agent_id,
        })
    });
    let refused = (!plan.refused.is_empty()).then_some(&plan.refused);
    let changes = changed::fields(plan.before.as_ref(), plan.after.as_ref());
    let changes: Vec<String> = changes.iter().map(changed::Change::arrow).collect();
    json!({
        "job": json::key(plan.key.as_ref()), "outcome": refused.is_none().then(|| outcome(plan.outcome())),
        "version": plan.version, "refused": refused, "changes": changes, "created": plan.created,
        "restarted": plan.restarted, "stopped": plan.stopped, "places": places.collect::<Vec<_>>(),
        "preempted": preempted.collect::<Vec<_>>(), "pending": json::pending_classes(&plan.pending), "warnings": plan.warnings,
        "waits_for": plan.waits_for,
        "index": plan.index,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> v1::JobPlan {
        let spec = |instances, cpu_milli| {
            let resources = Some(v1::Resources { cpu_milli, ..Default::default() });
            let task = Some(v1::TaskSpec { resources, ..Default::default() });
            // The fields that a job file must have are the same in both.
            Some(v1::JobSpec { instances, task, ..Default::default() })
        };
        let key = v1::JobKey { role: "www".into(), env: "prod".into(), name: "web".into() };
        let victim = v1::PlannedVictim { job: Some(key.clone()), instance: 2, task_id: 5, agent_id: "n1".into() };
        v1::JobPlan {
            key: Some(key),
            outcome: SubmitOutcome::Scaled.into(),
            version: 2,
            before: spec(2, 500),
            after: spec(4, 1_000),
            created: vec![2, 3],
            restarted: vec![0, 1],
            places: vec![v1::PlannedPlace { agent_id: "n1".into(), hostname: "node-1".into(), instances: vec![3, 2] }],
            preempted: vec![victim],
            ..Default::default()
        }
    }

    #[test]
    fn a_plan_says_what_changes_where_it_goes_and_what_waits() {
        let mut plan = plan();
        let expected = "\
www/prod/web: scaled (version 2)
  changes instances: 2 -> 4
  changes resources.cpu: 0.5 -> 1
  creates 2 instances: 2-3
  restarts 2 instances: 0-1
  places instances 2-3 on node-1
  preempts www/prod/web/2 on n1
";
        assert_eq!(text(&plan, 0), expected);
        assert_eq!(exit(std::slice::from_ref(&plan)), Exit::Done);
        let state = v1::TaskState::Pending.into();
        let class =
            v1::PendingClass { state, instances: vec![3], summary: "there is no agent".into(), ..Default::default() };
        plan.pending = vec![class];
        plan.waits_for = vec!["www/prod/first (success)".into()];
        let waits = "  waits for www/prod/first (success)\n  would wait: instance 3: there is no agent\n";
        assert!(text(&plan, 0).ends_with(waits), "{}", text(&plan, 0));
        assert_eq!(exit(std::slice::from_ref(&plan)), Exit::Findings);
        plan.outcome = SubmitOutcome::Updating.into();
        let said = text(&plan, 0);
        assert!(said.contains("  updates 2 instances: 0-1\n  how: one at a time\n"), "{said}");
    }

    #[test]
    fn a_warning_that_says_why_something_waits_is_told_once() {
        let held = "its `sla` keeps its only instance up, so with `update.sla_aware` no update may stop one";
        let class = v1::PendingClass {
            state: v1::TaskState::Running.into(),
            instances: vec![0],
            summary: format!("instance 0 may not be stopped: {held}"),
            ..Default::default()
        };
        let warnings = vec![held.to_string(), "would not fit the only node".to_string()];
        let said = text(&v1::JobPlan { warnings, pending: vec![class], ..plan() }, 0);
        assert_eq!(said.matches(held).count(), 1, "{said}");
        assert!(said.contains("  would wait: instance 0 may not be stopped: "), "{said}");
        assert!(said.contains("  warning: would not fit the only node\n"), "{said}");
    }

    #[test]
    fn a_refused_plan_says_what_would_come_of_it_otherwise_as_far_as_that_is_known() {
        let known = v1::JobPlan { refused: "over quota".into(), preempted: Vec::new(), ..plan() };
        let expected = "\
www/prod/web: would be refused: over quota
  were it not refused: scaled (version 2)
  changes instances: 2 -> 4
  changes resources.cpu: 0.5 -> 1
  creates 2 instances: 2-3
  restarts 2 instances: 0-1
  places instances 2-3 on node-1
";
        assert_eq!(text(&known, 0), expected);
        assert_eq!(exit(std::slice::from_ref(&known)), Exit::Refused);
        let v1::JobPlan { key, before, after, refused, .. } = known;
        let unknown = v1::JobPlan { key, before, after, refused, ..Default::default() };
        let expected = "\
www/prod/web: would be refused: over quota
  changes instances: 2 -> 4
  changes resources.cpu: 0.5 -> 1
";
        assert_eq!(text(&unknown, 0), expected);
        // What to do about it is this program's word.
        let refused_names = [("role", "www"), ("bound", "limit")].map(|(name, value)| (name.into(), value.into()));
        let refused_reason = v1::ErrorReason::OverQuota.into();
        let typed = v1::JobPlan { refused_reason, refused_names: refused_names.into(), ..unknown };
        let hint = "over quota\n  ask for less, or have the limit raised with `dawn quota set www`\n";
        assert!(text(&typed, 0).contains(hint), "{}", text(&typed, 0));
    }
}
