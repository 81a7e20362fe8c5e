//! Names of the wire contract as people read them ("ROLLING_FORWARD" is "rolling forward"), and how a task ended.

use crate::v1::{PortHolder, Reason};

/// A name in lower-case words.
pub fn of(name: &str) -> String {
    name.to_lowercase().replace('_', " ")
}

/// "health check" for HEALTH_CHECK; empty for none. People hear of nodes; the agent is the daemon on one.
pub fn reason(reason: Reason) -> String {
    match reason {
        Reason::None => String::new(),
        Reason::AgentLost => "node lost".to_string(),
        Reason::AgentRebooted => "node rebooted".to_string(),
        Reason::NotOnAgent => "not on its node".to_string(),
        reason => of(reason.plain_name()),
    }
}

/// What keeps a port that Dawn gave to nobody from being bound, said of the port.
pub fn port_holder(holder: PortHolder) -> &'static str {
    match holder {
        PortHolder::Unspecified => "can't be bound by the agent",
        PortHolder::Listener => "is held by a process that Dawn did not give it to",
        PortHolder::Unseen => {
            "can't be bound; it may be held by another process, or by connections that a former one left behind for up to a \
             minute"
        }
    }
}

/// Why a task ended: its reason and what was said of it, each thing once. Empty: nothing is known.
pub fn end(why: Reason, message: &str) -> String {
    let reason = reason(why);
    match (reason.is_empty(), message.is_empty()) {
        (true, _) => message.to_string(),
        (false, true) => reason,
        (false, false) if says_it_all(why) || message.starts_with(&reason) => message.to_string(),
        (false, false) => format!("{reason}: {message}"),
    }
}

/// Whether what is said with this reason is a whole sentence, so that the reason's name need not stand before it.
fn says_it_all(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::UserRequest
            | Reason::Exited
            | Reason::Signaled
            | Reason::ExecFailed
            | Reason::OutOfMemory
            | Reason::DiskLimit
            | Reason::HealthCheck
            | Reason::UnknownUser
            | Reason::RootFsFailed
            | Reason::ArtifactFailed
            | Reason::NoRoom
            | Reason::PortClash
            | Reason::MaxRunTime
            | Reason::Deadline
            | Reason::AgentLost
            | Reason::AgentRebooted
            | Reason::ExecutorLost
            | Reason::NotOnAgent
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words() {
        assert_eq!(of("ROLLING_FORWARD"), "rolling forward");
        assert_eq!(of("BATCH"), "batch");
        assert_eq!((reason(Reason::AgentLost).as_str(), reason(Reason::None).as_str()), ("node lost", ""));
    }

    #[test]
    fn an_end_says_each_thing_once() {
        for (reason, message, said) in [
            (Reason::Exited, "process main ended with exit code 3", "process main ended with exit code 3"),
            (Reason::DiskLimit, "disk limit: 90 MiB used, 64 MiB allowed", "disk limit: 90 MiB used, 64 MiB allowed"),
            (Reason::DiskLimit, "too many files: 192, 100 allowed", "too many files: 192, 100 allowed"),
            (Reason::HealthCheck, "health check failed twice: refused", "health check failed twice: refused"),
            (Reason::UnknownUser, "user x does not exist on this node", "user x does not exist on this node"),
            (Reason::UserRequest, "killed by ann: by mistake", "killed by ann: by mistake"),
            (Reason::SandboxFailed, "can't make /x", "sandbox failed: can't make /x"),
            (Reason::OutOfMemory, "", "out of memory"),
            (Reason::None, "waits", "waits"),
            (Reason::None, "", ""),
        ] {
            assert_eq!(end(reason, message), said);
        }
    }
}
