//! Processes that are stopped: what comes for them waits, in order.

use super::World;
use super::agenda::Happening;

impl World {
    /// What concerns a stopped process waits for it; anything else happens now.
    pub(super) fn held_back(&mut self, happening: Happening) -> Option<Happening> {
        let machine = match &happening {
            Happening::Node { node, .. } => match &mut self.nodes[*node].paused {
                Some(waiting) => {
                    waiting.push(happening);
                    return None;
                }
                None => return Some(happening),
            },
            Happening::AgentTick { machine, .. }
            | Happening::Machine { machine, .. }
            | Happening::Connect { machine, .. }
            | Happening::Hear { machine, .. } => *machine,
            Happening::ToAgent { link, .. } | Happening::LinkLost { link, at_node: false } => {
                self.network.links.get(link)?.machine
            }
            _ => return Some(happening),
        };
        match &mut self.machines[machine].paused {
            Some(waiting) => {
                waiting.push(happening);
                None
            }
            None => Some(happening),
        }
    }
}
