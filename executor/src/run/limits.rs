//! What the kernel did at the task's limits: processes that it killed for memory, or refused.

use super::hands::World;
use crate::edges::check::Verdict;
use crate::edges::group::{Group, OomKills};
use crate::edges::logs::last_line;
use crate::edges::os;
use crate::model::{Exit, ExitKind, Input, OutOfMemory, limit_reached};

const SIGKILL: i32 = 9;
/// What a shell answers when its child was ended by SIGKILL.
const EXIT_CODE_OF_SIGKILL: i32 = 128 + SIGKILL;

/// What is known of it. The counters are read when something failed and when the disk is looked at, not otherwise.
#[derive(Debug)]
pub struct AtLimits {
    oom_kills: OomKills,
    /// Processes killed for memory before this executor took the task.
    oom_kills_before: u64,
    /// Processes refused, as far as is known.
    refused_forks: u64,
    /// The same when a health check last succeeded.
    refused_when_well: u64,
}

impl AtLimits {
    pub fn new(group: &Group) -> Self {
        let oom_kills = group.oom_kills();
        AtLimits { oom_kills, oom_kills_before: oom_kills.processes, refused_forks: 0, refused_when_well: 0 }
    }

    /// For the process that is started now: what is refused from here on may be its failure.
    pub fn refused_forks(&self) -> u64 {
        self.refused_forks
    }
}

impl World {
    /// The end of a process with its cause; so many others had been refused when it was started.
    pub fn exit(&mut self, process: usize, kind: ExitKind, refused_before: u64) -> Exit {
        if kind == ExitKind::Code(0) {
            return Exit::new(kind);
        }
        let rules = &self.plan.processes[process];
        let last_line = match rules.is_final {
            true => last_line(&self.logs.last_words(&format!("{}.stderr", rules.name), os::wall_ms())),
            false => String::new(),
        };
        let max_pids = self.limit_reached_since(refused_before);
        Exit { oom: self.out_of_memory(&kind), max_pids, last_line, kind }
    }

    /// When the kernel ends a whole task, every process of it ended for want of memory.
    fn out_of_memory(&mut self, kind: &ExitKind) -> Option<OutOfMemory> {
        if !matches!(kind, ExitKind::Signal(SIGKILL) | ExitKind::Code(EXIT_CODE_OF_SIGKILL)) {
            return None;
        }
        let before = self.at_limits.oom_kills;
        let now = self.group.oom_kills();
        self.at_limits.oom_kills.processes = now.processes;
        let whole_task = now.groups > before.groups;
        let is_oom = whole_task || now.processes > before.processes;
        is_oom.then(|| OutOfMemory { whole_task, peak_bytes: self.group.memory_peak_bytes() })
    }

    /// Processes that were killed for memory, which the kernel tells nobody of whose children they are not.
    pub fn killed_for_memory(&self) -> Option<Input> {
        let processes = self.group.oom_kills().processes.saturating_sub(self.at_limits.oom_kills_before);
        (processes > 0).then_some(Input::KilledForMemory { processes })
    }

    /// Processes that were refused, which only the one that asked for them knows of.
    pub fn forks_refused(&mut self) -> Option<Input> {
        let refused = self.group.refused_forks()?;
        self.at_limits.refused_forks = refused.times;
        (refused.times > 0).then_some(Input::ForksRefused { times: refused.times, max_pids: refused.max_pids })
    }

    /// The limit of processes, if more were refused than these.
    fn limit_reached_since(&mut self, refused_before: u64) -> Option<u64> {
        let refused = self.group.refused_forks()?;
        self.at_limits.refused_forks = refused.times;
        (refused.times > refused_before).then_some(refused.max_pids)
    }

    /// A failed health check of a task that was refused processes since it was well says so.
    pub fn with_limit(&mut self, verdict: Verdict) -> Verdict {
        let Err(why) = verdict else {
            self.at_limits.refused_when_well = self.at_limits.refused_forks;
            return Ok(());
        };
        Err(match self.limit_reached_since(self.at_limits.refused_when_well) {
            Some(max_pids) => format!("{why}, after {}", limit_reached(max_pids)),
            None => why,
        })
    }
}
