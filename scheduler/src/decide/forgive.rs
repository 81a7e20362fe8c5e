//! An operator forgives nodes: what speaks against them is forgotten, and they take tasks again at once.

use super::copies;
use super::step::Step;
use crate::model::{Answer, BlameMutation, ForgiveCommand, Mutation, Refusal, answers};

/// All agents or none. One against which nothing speaks is forgiven as well: that harms nothing.
pub(super) fn forgive(step: &mut Step, command: &ForgiveCommand) -> Result<Answer, Refusal> {
    let mut agents = Vec::new();
    for id in &command.agents {
        let agent = step.state.agent(id).ok_or_else(|| Refusal::NoSuchAgent { agent: id.to_string() })?;
        agents.push(agent.no);
    }
    agents.sort_unstable();
    agents.dedup();
    agents.iter().for_each(|agent| copies::forgiven(step, *agent));
    let forgiven = agents.into_iter().map(|agent| {
        let (author, message) = (command.author.clone(), command.message.clone());
        Mutation::Blame(BlameMutation::Forgiven { agent, author, message })
    });
    step.mutations.extend(forgiven);
    Ok(Answer::Forgiven(answers::Forgiven))
}
