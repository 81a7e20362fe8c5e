//! Which job of Dawn's holds a fixed port that others wait for.

use dawn_proto::v1;

use crate::model::{Job, State};

/// Adds to classes that wait for a port in use who holds it: one node's task is named, further nodes are counted.
pub(super) fn tell(state: &State, job: &Job, classes: &mut [v1::PendingClass]) {
    let Some(spec) = state.current_spec(job) else { return };
    for port in spec.job.ports.iter().filter_map(|port| port.fixed) {
        let text = format!("port {port} in use");
        let mut waiting = classes.iter_mut().filter(|class| class.summary.contains(&text)).peekable();
        if waiting.peek().is_none() {
            continue;
        }
        let Some(words) = holder(state, port) else { continue };
        waiting.for_each(|class| class.summary += &format!("; {words}"));
    }
}

/// "port 80 of node-1 is held by www/prod/web/0".
fn holder(state: &State, port: u16) -> Option<String> {
    let placed = state.indexes().tasks_on.iter().filter_map(|(no, tasks)| Some((state.agents.get(no)?, tasks)));
    let mut holders: Vec<(&str, String)> = Vec::new();
    for (agent, tasks) in placed {
        let mut tasks = tasks.iter().filter_map(|id| state.tasks.get(id));
        let holder = tasks.find(|task| {
            let ports = state.spec_of(task).job.ports.len();
            task.status.place().is_some_and(|place| place.numbers(ports).0.contains(&port))
        });
        if let Some(task) = holder {
            holders.push((&agent.hostname, format!("{}/{}", state.spec_of(task).job.key, task.instance)));
        }
    }
    holders.sort_unstable();
    let (node, task) = holders.first()?;
    let more = match holders.len() - 1 {
        0 => String::new(),
        1 => ", and of another node as well by a job".to_string(),
        more => format!(", and of {more} other nodes as well by jobs"),
    };
    Some(format!("port {port} of {node} is held by {task}{more}"))
}
