//! Plans: what would come of submitting jobs, tried on a copy of the durable state, away from where it is decided.

use std::collections::BTreeSet;
use std::sync::Arc;

use dawn_proto::Timestamp;
use dawn_proto::v1;
use prost::Message;
use tonic::Status;

use super::reader::Turn;
use super::reads;
use super::{ClientService, status};
use crate::decide::words_of_held;
use crate::drive::{Planned, PulseSettings, Refused, Trial};
use crate::model::{AgentNo, JobSpec, Spec, State};

/// Jobs planned together at most.
pub(super) const JOBS: usize = 1_000;

impl ClientService {
    pub(super) async fn plans(
        &self,
        state: State,
        specs: Vec<JobSpec>,
        turn: Turn,
    ) -> Vec<Result<v1::JobPlan, Status>> {
        let (live, facts) = (self.live.borrow().clone(), self.facts.clone());
        let planned = tokio::task::spawn_blocking(move || {
            let agents = state.agents.keys().copied();
            let connected: BTreeSet<AgentNo> = agents.filter(|agent| live.is_connected(*agent)).collect();
            let bounds = PulseSettings { place: facts.place.clone(), ..PulseSettings::default() };
            let mut trial = Trial::new(state, &connected, &facts.settings, &bounds, live.now);
            let plans: Vec<_> = specs.iter().map(|spec| Ok(plan(&mut trial, spec, live.now.wall))).collect();
            drop(turn);
            plans
        });
        planned.await.unwrap_or_else(|_| vec![Err(status::read_failed())])
    }
}

fn plan(trial: &mut Trial, spec: &JobSpec, now: Timestamp) -> v1::JobPlan {
    let (mut warnings, index) = (reads::submit_warnings(trial.state(), spec), trial.state().index);
    warnings.extend(reads::submit_notes(trial.state(), spec, now));
    let key = Some((&spec.key).into());
    // invariant: it was made by encoding this message.
    let after = v1::JobSpec::decode(&*spec.wire).ok();
    let before = trial.state().job(&spec.key).filter(|job| job.ended.is_none());
    let before = before.and_then(|job| trial.state().current_spec(job)).and_then(wire_of);
    match trial.submit(spec) {
        Err(Refused { refusal, otherwise }) => {
            let planned = otherwise.map(|planned| told(trial.state(), *planned)).unwrap_or_default();
            let refused = status::about_refusal(&refusal);
            v1::JobPlan {
                key,
                before,
                after,
                warnings,
                refused: refusal.to_string(),
                refused_reason: refused.reason().into(),
                refused_names: refused.names().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
                index,
                ..planned
            }
        }
        Ok(planned) => {
            warnings.extend(reads::why_replaced(trial.state(), &spec.key, planned.version));
            let waits_for = reads::waits_for(trial.state(), &spec.key);
            v1::JobPlan { key, before, after, warnings, index, waits_for, ..told(trial.state(), planned) }
        }
    }
}

fn wire_of(spec: &Arc<Spec>) -> Option<v1::JobSpec> {
    v1::JobSpec::decode(&*spec.job.wire).ok()
}

fn told(state: &State, planned: Planned) -> v1::JobPlan {
    let names = |agent: AgentNo| state.agents.get(&agent).map(|agent| (agent.id.to_string(), agent.hostname.clone()));
    let place = |(agent, instances): (AgentNo, Vec<u32>)| {
        let (agent_id, hostname) = names(agent).unwrap_or_default();
        v1::PlannedPlace { agent_id, hostname, instances }
    };
    let victim = |(task, agent): &(crate::model::Task, AgentNo)| v1::PlannedVictim {
        job: state.jobs.get(&task.job).map(|job| (&job.key).into()),
        instance: task.instance,
        task_id: task.id.0,
        agent_id: names(*agent).unwrap_or_default().0,
    };
    let held = planned.held.map(|(instance, why)| v1::PendingClass {
        instances: vec![instance],
        state: v1::TaskState::Running.into(),
        summary: words_of_held(instance, &why),
        ..Default::default()
    });
    v1::JobPlan {
        outcome: planned.outcome.into(),
        version: planned.version,
        created: planned.created,
        restarted: planned.restarted,
        stopped: planned.stopped,
        preempted: planned.preempted.iter().map(victim).collect(),
        places: planned.places.into_iter().map(place).collect(),
        pending: planned.pending.into_iter().map(reads::pending_class).chain(held).collect(),
        ..Default::default()
    }
}
