//! What the ends of processes mean for the task. Not here: what is done about it (decide).

use dawn_proto::amounts;
use dawn_proto::v1::{Reason, TaskState};

use super::{Ended, Exit, ExitKind, Phase, Plan, State};

const SIGKILL: i32 = nix::libc::SIGKILL;
const SIGXCPU: i32 = nix::libc::SIGXCPU;
const SIGXFSZ: i32 = nix::libc::SIGXFSZ;
/// A shell ends with the number of the signal that ended its command, plus 128.
const SHELL_SIGXFSZ: i32 = 128 + SIGXFSZ;

/// How the task ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished,
    Failed {
        reason: Reason,
        message: String,
        exit: Ended,
    },
    Killed {
        reason: Reason,
    },
    /// An earlier executor's death hides the end.
    Lost {
        message: String,
    },
}

impl Outcome {
    /// The terminal state that tells it.
    pub fn task_state(&self) -> TaskState {
        match self {
            Outcome::Finished => TaskState::Finished,
            Outcome::Failed { .. } => TaskState::Failed,
            Outcome::Killed { .. } => TaskState::Killed,
            Outcome::Lost { .. } => TaskState::Lost,
        }
    }
}

/// The task's outcome, if the ends of its processes (the final ones apart) settle it.
///
/// `cause` is the process that ended last; a failure is told in its words. A process that can never run, because one
/// before it failed, counts as failed too. Ephemeral processes never count.
pub(super) fn settled(plan: &Plan, state: &State, cause: Option<usize>) -> Option<Outcome> {
    let blocked = blocked(plan, state);
    let is_over = |i: usize| matches!(state.processes[i].phase, Phase::Succeeded | Phase::Failed) || blocked[i];
    let counted =
        || (0..plan.processes.len()).filter(|i| !plan.processes[*i].is_final && !plan.processes[*i].ephemeral);
    let failed = counted().filter(|i| state.processes[*i].phase == Phase::Failed || blocked[*i]).count();
    let mut keeping = counted().filter(|i| plan.processes[*i].is_required()).peekable();
    let daemons_alone = keeping.peek().is_none() && counted().next().is_some();
    if failed > 0 && (failed >= plan.max_failed_processes as usize || (daemons_alone && counted().all(is_over))) {
        return Some(failure(plan, state, cause.or_else(|| counted().find(|i| is_over(*i)))?));
    }
    (!daemons_alone && keeping.all(is_over)).then_some(Outcome::Finished)
}

/// The failure of `process`, in words.
pub fn failure(plan: &Plan, state: &State, process: usize) -> Outcome {
    let name = &plan.processes[process].name;
    match &state.processes[process].last_failure {
        Some(exit) => {
            let (reason, what) = in_words(plan, state, process, exit);
            let exit = Ended { speaker: Some(process), ..exit.kind.ended() };
            Outcome::Failed { reason, message: format!("process {name} {what}"), exit }
        }
        None => Outcome::Failed {
            reason: Reason::Exited,
            message: format!("process {name} never ran, because a process before it failed"),
            exit: Ended::default(),
        },
    }
}

/// What became of final processes that did not succeed, `cause` apart, in whose words the task's end is told.
pub fn unsuccessful_finals(plan: &Plan, state: &State, cause: Option<usize>) -> Vec<String> {
    let finals = plan.processes.iter().enumerate().filter(|(i, rules)| rules.is_final && Some(*i) != cause);
    let words = finals.filter_map(|(i, rules)| {
        let own = &state.processes[i];
        let what = match &own.last_failure {
            _ if own.phase == Phase::Succeeded => return None,
            Some(exit) => {
                let colon = if exit.last_line.is_empty() { "" } else { ": " };
                format!("{}{colon}{}", in_words(plan, state, i, exit).1, exit.last_line)
            }
            None if own.runs == 0 => "never ran".to_string(),
            None => return None,
        };
        Some(format!("final process {} {what}", rules.name))
    });
    words.collect()
}

/// Processes that failed for good, although their task finished: ephemeral ones, and as many others as may fail.
pub fn tolerated_failures(plan: &Plan, state: &State) -> Vec<String> {
    let others = plan.processes.iter().enumerate().filter(|(_, rules)| !rules.is_final);
    let failed = others.filter(|(i, _)| state.processes[*i].phase == Phase::Failed);
    let words = failed.filter_map(|(i, rules)| {
        let (_, what) = in_words(plan, state, i, state.processes[i].last_failure.as_ref()?);
        Some(format!("{}process {} {what}", if rules.ephemeral { "ephemeral " } else { "" }, rules.name))
    });
    words.collect()
}

/// The end of a process that is started again, and how often that was so.
pub fn retried(plan: &Plan, state: &State, process: usize, exit: &Exit) -> String {
    let (rules, own) = (&plan.processes[process], &state.processes[process]);
    let how_often = match exit.is_success() {
        true => format!("run {}", own.runs),
        false => format!("failure {} of at most {}", own.failures, rules.max_failures),
    };
    format!("process {} {} and is started again ({how_often})", rules.name, in_words(plan, state, process, exit).1)
}

/// What a process did, after its name, and what lay behind it.
fn in_words(plan: &Plan, state: &State, process: usize, exit: &Exit) -> (Reason, String) {
    let (reason, what) = describe(exit, plan);
    let killed = matches!(exit.kind, ExitKind::Signal(SIGKILL)) && exit.oom.is_none();
    let what = match state.processes[process].is_out_of_time && killed {
        true => {
            let wait = amounts::duration(plan.finalization_wait_ms);
            format!("was out of time (finalization_wait {wait}) and was killed by SIGKILL")
        }
        false => what,
    };
    let limit = exit.max_pids.map_or_else(String::new, |max_pids| format!(" after {}", limit_reached(max_pids)));
    (reason, format!("{what}{limit}"))
}

/// What is said wherever the kernel refused a task another process.
pub fn limit_reached(max_pids: u64) -> String {
    format!("the task reached its limit of {max_pids} processes and threads (raise `max_pids`)")
}

/// Waiting processes that can never start.
fn blocked(plan: &Plan, state: &State) -> Vec<bool> {
    let mut blocked = vec![false; plan.processes.len()];
    // Each round reaches one step further along the chains; there are no cycles.
    for _ in 0..plan.processes.len() {
        for (i, process) in plan.processes.iter().enumerate() {
            let hopeless = |dep: &usize| blocked[*dep] || state.processes[*dep].phase == Phase::Failed;
            if state.processes[i].phase == Phase::Waiting && process.after.iter().any(hopeless) {
                blocked[i] = true;
            }
        }
    }
    blocked
}

/// What a process did, after its name.
fn describe(exit: &Exit, plan: &Plan) -> (Reason, String) {
    if let Some(oom) = exit.oom {
        let amounts = [("limit", plan.memory_limit_bytes), ("peak", oom.peak_bytes)];
        let known = amounts.iter().filter(|(_, bytes)| *bytes > 0);
        let known: Vec<String> = known.map(|(what, bytes)| format!("{what} {}", amounts::bytes(*bytes))).collect();
        let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
        let whom = if oom.whole_task { ": the whole task was ended" } else { "" };
        return (Reason::OutOfMemory, format!("ran out of memory{known}{whom}"));
    }
    if is_too_large(exit, plan) {
        let most = amounts::bytes(plan.max_file_bytes);
        let whose = if plan.max_file_bytes == plan.disk_limit_bytes { "the task's disk" } else { "its limit `fsize`" };
        return (Reason::DiskLimit, format!("was ended: a file grew above {most}, {whose} (SIGXFSZ)"));
    }
    match &exit.kind {
        ExitKind::Code(code) => (Reason::Exited, format!("ended with exit code {code}{}", cpu_limit(&exit.kind, plan))),
        ExitKind::Signal(signal) => {
            (Reason::Signaled, format!("was killed by {}{}", signal_text(*signal), cpu_limit(&exit.kind, plan)))
        }
        ExitKind::NotStarted(error) => (Reason::ExecFailed, format!("was not started: {error}")),
    }
}

/// What the kernel's signal for a file above its limit leaves: the end of the process, or of a shell's command.
fn is_too_large(exit: &Exit, plan: &Plan) -> bool {
    plan.max_file_bytes > 0 && matches!(exit.kind, ExitKind::Signal(SIGXFSZ) | ExitKind::Code(SHELL_SIGXFSZ))
}

/// The kernel ends what has used its processor time as anybody would: that there is such a limit is said wherever it may be why.
fn cpu_limit(kind: &ExitKind, plan: &Plan) -> String {
    const BY_SHELL: i32 = 128;
    let signal = match kind {
        ExitKind::Signal(signal) => *signal,
        ExitKind::Code(code) => code - BY_SHELL,
        ExitKind::NotStarted(_) => return String::new(),
    };
    match plan.max_cpu_s > 0 && matches!(signal, SIGKILL | SIGXCPU) {
        true => {
            let allowed = amounts::duration(plan.max_cpu_s.saturating_mul(1_000));
            format!("; its limit `cpu` allows {allowed} of processor time")
        }
        false => String::new(),
    }
}

fn signal_text(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(known) => known.as_str().to_string(),
        Err(_) => format!("signal {signal}"),
    }
}
