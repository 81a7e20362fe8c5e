//! How many bytes an event takes while it waits, about.

use super::{Command, Description, Event, FlowCommand, JobSpec, LossCommand, Registration, Report, UpdateCommand};

/// Of any event, whatever it holds.
const EVENT_BYTES: usize = 256;
/// Of a report in a list, without its words.
const REPORT_BYTES: usize = 64;
/// Of an agent's id in a list.
const ID_BYTES: usize = 88;

impl Event {
    /// About as many as it holds, and never none.
    pub fn bytes(&self) -> usize {
        let held = match self {
            Event::Command { command, .. } => command.bytes(),
            Event::Registered { registration, .. } => registration.bytes(),
            Event::TasksTold { tasks, .. } => of_reports(tasks),
            Event::Offered { offer, .. } => offer.bytes(),
            Event::Reported { report, .. } => report.message.len(),
            Event::Described { description, .. } => description.bytes(),
            Event::Coordinated { answer: Err(words), .. } => words.len(),
            Event::Coordinated { .. } | Event::Elected { .. } | Event::Tick => 0,
            Event::Heartbeat { .. } | Event::LinkClosed { .. } | Event::OwnKeySeen { .. } => 0,
        };
        EVENT_BYTES + held
    }
}

fn of_reports(reports: &[Report]) -> usize {
    reports.iter().map(|report| REPORT_BYTES + report.message.len()).sum()
}

/// As it is stored, and what is parsed of it.
fn of_spec(spec: &JobSpec) -> usize {
    2 * spec.wire.len()
}

fn of_ranges(ranges: &[(u32, u32)]) -> usize {
    size_of_val(ranges)
}

impl Registration {
    fn bytes(&self) -> usize {
        let texts = [&self.hostname, &self.version, &self.cluster_id, &self.isolation, &self.boot_id];
        let texts: usize = texts.into_iter().map(String::len).sum();
        texts + self.offer.bytes() + of_reports(&self.tasks)
    }
}

impl Description {
    fn bytes(&self) -> usize {
        self.report.message.len() + of_spec(&self.spec.job) + 2 * (self.ports.len() + self.devices.len())
    }
}

impl Command {
    fn bytes(&self) -> usize {
        match self {
            Command::Submit { spec, author, message } => of_spec(spec) + author.len() + message.len(),
            Command::SubmitAll { specs, author, message } => {
                specs.iter().map(of_spec).sum::<usize>() + author.len() + message.len()
            }
            Command::Kill { instances, author, message, .. } => of_ranges(instances) + author.len() + message.len(),
            Command::StartCron { author, .. } | Command::DescheduleCron { author, .. } => author.len(),
            Command::Update(command) => of_update(command),
            Command::Forgive(command) => ID_BYTES * command.agents.len() + command.author.len() + command.message.len(),
            Command::Upkeep(command) => ID_BYTES * command.agents.len() + command.author.len() + command.message.len(),
            Command::SetQuota { role, author, .. } => role.len() + author.len(),
            Command::Flow(FlowCommand::Dispatch { spec, author, message, .. }) => {
                of_spec(spec) + author.len() + message.len()
            }
            Command::Flow(FlowCommand::PauseCron { author, .. }) => author.len(),
            Command::Flow(FlowCommand::ResumeCron { .. }) | Command::RaiseEpoch => 0,
            Command::Loss(LossCommand::DeclareDown { agents, author, .. }) => ID_BYTES * agents.len() + author.len(),
            Command::Loss(LossCommand::Forget { agents }) => ID_BYTES * agents.len(),
            Command::Loss(LossCommand::ReleaseBrake { author, .. }) => author.len(),
        }
    }
}

fn of_update(command: &UpdateCommand) -> usize {
    match command {
        UpdateCommand::Start { spec, instances, author, message } => {
            of_spec(spec) + of_ranges(instances) + author.len() + message.len()
        }
        UpdateCommand::Restart { instances, author, message, .. } => {
            of_ranges(instances) + author.len() + message.len()
        }
        UpdateCommand::Scale { author, message, .. } | UpdateCommand::Control { author, message, .. } => {
            author.len() + message.len()
        }
    }
}
