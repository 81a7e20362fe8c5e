//! How many bytes a message to the leader takes while it waits, about.

use super::{Message, Report};

impl Message {
    /// About as many as it takes while it waits.
    pub fn bytes(&self) -> usize {
        let of_reports = |reports: &[Report]| reports.iter().map(|report| 64 + report.message.len()).sum::<usize>();
        256 + match self {
            Message::Register(register) => of_reports(&register.tasks),
            Message::HeldTasks(tasks) => of_reports(tasks),
            Message::Report(report) => report.message.len(),
            Message::Description { plan, .. } => plan.len(),
            Message::Inspection(inspection) => 256 * inspection.tasks.len(),
            Message::Heartbeat { .. } | Message::Offer(_) | Message::NeedSpec { .. } => 0,
        }
    }
}
