//! Machines are taken out of use and back: cordoned, drained as policies permit and by a deadline, brought back.

use dawn_proto::v1::MaintenanceMode::{self, Cordoned, Drained, Draining, Scheduled};
use dawn_proto::v1::Reason;
use dawn_proto::{TaskState, Timestamp};

use super::agents::tasks_on;
use super::sla;
use super::step::Step;
use crate::model::{Agent, Answer, Mutation, Refusal, Upkeep, UpkeepCommand, UpkeepMutation, answers};

/// What may follow on what, by an operator's word.
const MOVES: &[(MaintenanceMode, &[MaintenanceMode])] = &[
    (MaintenanceMode::None, &[Cordoned, Scheduled, Draining]),
    (Cordoned, &[MaintenanceMode::None, Scheduled, Draining]),
    (Scheduled, &[MaintenanceMode::None, Cordoned, Scheduled, Draining]),
    // Cordoned: the drain is called off, nothing new comes. Once more: with another deadline.
    (Draining, &[MaintenanceMode::None, Cordoned, Draining]),
    (Drained, &[MaintenanceMode::None]),
];

fn mode(agent: &Agent) -> MaintenanceMode {
    agent.upkeep.as_ref().map_or(MaintenanceMode::None, |upkeep| upkeep.mode)
}

/// All agents or none.
pub(super) fn set(step: &mut Step, command: &UpkeepCommand) -> Result<Answer, Refusal> {
    let mut mutations = Vec::new();
    for id in &command.agents {
        let agent = step.state.agent(id).ok_or_else(|| Refusal::NoSuchAgent { agent: id.to_string() })?;
        let (from, to) = (mode(agent), command.mode);
        let is_there =
            from == to && matches!(to, MaintenanceMode::None | Cordoned) || from == Drained && to == Draining;
        if is_there {
            continue;
        }
        if !MOVES.iter().any(|(at, tos)| *at == from && tos.contains(&to)) {
            return Err(Refusal::UpkeepMove { agent: agent.hostname.clone(), from, to });
        }
        let upkeep = (to != MaintenanceMode::None).then(|| Upkeep {
            mode: to,
            since: step.now.wall,
            start: if to == Scheduled { step.now.wall.plus_ms(command.start_in_ms) } else { Timestamp(0) },
            deadline: if to == Draining { step.now.wall.plus_ms(command.heed_ms) } else { Timestamp(0) },
            heed_ms: command.heed_ms,
            author: command.author.clone(),
            message: command.message.clone(),
        });
        mutations.push(Mutation::Upkeep(Box::new(UpkeepMutation { agent: agent.no, upkeep })));
    }
    step.mutations.extend(mutations);
    Ok(Answer::UpkeepSet(answers::UpkeepSet))
}

/// Goes on with what is planned.
pub(super) fn tick(step: &mut Step) {
    for no in &step.state.indexes().upkept {
        if step.is_full() {
            return;
        }
        let Some(agent) = step.state.agents.get(no) else { continue };
        let Some(upkeep) = &agent.upkeep else { continue };
        match upkeep.mode {
            Scheduled if upkeep.start <= step.now.wall => {
                let deadline = step.now.wall.plus_ms(upkeep.heed_ms);
                become_(step, agent, Upkeep { mode: Draining, deadline, ..upkeep.clone() });
            }
            Draining => drain(step, agent, upkeep),
            _ => {}
        }
    }
}

fn become_(step: &mut Step, agent: &Agent, upkeep: Upkeep) {
    step.mutations.push(Mutation::Upkeep(Box::new(UpkeepMutation { agent: agent.no, upkeep: Some(upkeep) })));
}

fn drain(step: &mut Step, agent: &Agent, upkeep: &Upkeep) {
    if !step.state.indexes().tasks_on.contains_key(&agent.no) {
        return become_(step, agent, Upkeep { mode: Drained, ..upkeep.clone() });
    }
    let forced = upkeep.deadline <= step.now.wall;
    for task in tasks_on(step, agent.no) {
        if step.is_full() {
            return;
        }
        // Those out of reach go by their partition policy.
        let state = step.state_of(task);
        if state != task.state() || !matches!(state, TaskState::Assigned | TaskState::Starting | TaskState::Running) {
            continue;
        }
        let Some(job) = step.state.jobs.get(&task.job) else { continue };
        if forced || sla::may_stop(step, job, task).is_ok() {
            let message = if forced { "its node is drained, past the deadline" } else { "its node is drained" };
            sla::note(step, job, task);
            step.move_task(task, TaskState::Draining, Reason::NodeDrain, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_leads_back_into_use_and_none_to_drained_but_by_itself() {
        let modes = [MaintenanceMode::None, Cordoned, Scheduled, Draining, Drained];
        for from in modes {
            let (_, tos) = MOVES.iter().find(|(at, _)| *at == from).unwrap();
            assert_eq!(tos.contains(&MaintenanceMode::None), from != MaintenanceMode::None, "{from:?}");
            assert!(!tos.contains(&Drained), "{from:?}");
        }
        assert_eq!(MOVES.len(), modes.len());
    }
}
