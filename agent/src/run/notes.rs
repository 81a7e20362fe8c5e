//! What the agent decided, written to its log.

use tracing::{debug, error, info, warn};

use crate::model::Note;

pub(super) fn write(note: &Note) {
    match note {
        Note::Found { task, verdict } => info!(%task, verdict, "found"),
        Note::Lost { task, message } => warn!(%task, message, "lost"),
        Note::Moved { task, from, to } => debug!(%task, ?from, ?to, "phase"),
        Note::IllegalMove { task, from, to } => error!(%task, ?from, ?to, "illegal step ignored"),
        Note::SpecUnreadable { spec, why } => warn!(%spec, why, "a spec this agent can't read"),
        Note::LaunchDropped { task, held } => {
            warn!(%task, held, "launch dropped: too many ended tasks not acknowledged");
        }
        Note::LaunchRefused { task, why } => info!(%task, why, "launch refused"),
        Note::LaunchFailed { task, message } => warn!(%task, message, "launch failed"),
        Note::ExecutorDied { task } => warn!(%task, "the executor died"),
        Note::ProcessesForced { task } => {
            warn!(%task, "the executor did not end the task in time; killing its processes");
        }
        Note::ExecutorForced { task } => warn!(%task, "the executor does not answer; killing it"),
        Note::LeaseIsOver { task } => {
            warn!(%task, "no scheduler reached for the length of the lease: stopping what must not live twice");
        }
        Note::DirectoryRemoved { task, why: Some(why) } => warn!(%task, why, "removing its directory"),
        Note::DirectoryRemoved { task, why: None } => info!(%task, "removing its directory"),
        Note::Draining { tasks } => info!(tasks, "draining"),
        Note::LinkDown { .. }
        | Note::SchedulerSilent
        | Note::StaleOrder { .. }
        | Note::AbsurdOrder { .. }
        | Note::OtherCluster { .. }
        | Note::Registered { .. }
        | Note::Refused { .. } => write_of_link(note),
    }
}

fn write_of_link(note: &Note) {
    match note {
        Note::LinkDown { why } => info!(why, "the link to the scheduler is down; tasks run on"),
        Note::SchedulerSilent => warn!("the scheduler is silent; looking for another"),
        Note::StaleOrder { what, epoch, seen } => {
            warn!(what, epoch = epoch.0, seen = seen.0, "ignored: from a scheduler that leads no more");
        }
        Note::AbsurdOrder { what, epoch, seen } => {
            warn!(what, epoch = epoch.0, seen = seen.0, "ignored: no scheduler can have led so often");
        }
        Note::OtherCluster { known, told } => warn!(
            "this agent belongs to cluster {known}, the scheduler is of cluster {told}; give it the right --scheduler, or a \
             new --work-dir to make it a new agent. Its tasks run on"
        ),
        Note::Registered { epoch, lease_ms, without_lease } => {
            info!(epoch = epoch.0, lease_ms, without_lease, "registered");
            if *without_lease {
                warn!(
                    "another machine claims to be this agent: tasks that must not live twice end here when their lease is \
                     over, until an operator chooses (dawn node forgive)"
                );
            }
        }
        Note::Refused { reason, slowly: true, .. } => {
            warn!(reason, "refused by the scheduler; the tasks run on, and it is asked again at growing intervals");
        }
        Note::Refused { reason, leader_address, slowly: false } => {
            info!(reason, leader_address, "refused by the scheduler");
        }
        _ => {}
    }
}
