//! Health checks: asked, ended when they are out of time, and judged, with what their command said. Not here: what follows
//! from the verdict (decide).

use std::collections::BTreeMap;

use dawn_proto::amounts;

use super::hands::World;
use crate::edges::check::{Exchange, Verdict};
use crate::edges::logs::{last_line, shortened};
use crate::edges::os;
use crate::edges::spawn::{Program, end_check, kill_group, spawn_check};
use crate::model::{Command, ExitKind, Input, Probe};

/// Present in the sandbox: failed health checks are ignored.
const SNOOZE_FILE: &str = ".healthcheck_snooze";
/// Longest time for which a task that lives on is raised, for one of its processes that doesn't.
const RAISED_MS: i64 = 1_000;
/// For the process that watches a health check's command to end all that it started; then it is killed.
const CHECK_ENDS_WITHIN_MS: i64 = 10_000;
/// Of the command, where it is named.
const MOST_SHOWN_CHARACTERS: usize = 60;

/// The command of a health check under way.
#[derive(Clone, Copy, Debug)]
pub struct ShellProbe {
    /// Of the process that watches it.
    pub pid: i32,
    /// When its time is up, or, once it is, when the watching process must have ended all that the command started.
    pub deadline_ms: i64,
    pub is_late: bool,
}

impl World {
    pub fn probe(&mut self) -> Option<Input> {
        let health = self.plan.health.as_ref()?;
        let deadline_ms = self.clock.steady_ms().saturating_add_unsigned(health.timeout_ms);
        if let Probe::Shell(line) = &health.probe {
            let program = Program::new(&Command::Shell(line.clone()), &self.setting.env, &BTreeMap::new());
            match spawn_check(&program, &self.setting, &mut self.walls) {
                Ok((pid, said)) => {
                    self.shell_probe = Some(ShellProbe { pid, deadline_ms, is_late: false });
                    if let Err(error) = self.logs.attach_check(said, os::wall_ms()) {
                        note!("attaching the output of a health check: {error}");
                    }
                }
                Err(error) => return Some(self.probed(Err(error.to_string()))),
            }
            return None;
        }
        match Exchange::probe(&health.probe, deadline_ms) {
            Ok(exchange) => {
                self.exchange = exchange;
                None
            }
            Err(why) => Some(self.probed(Err(why))),
        }
    }

    /// Ends a shell probe that is out of time, with all that it started. The task is raised for as long as that takes.
    pub fn kill_probe(&mut self) {
        let Some(mut probe) = self.shell_probe else { return };
        self.group.raise();
        let now_ms = self.clock.steady_ms();
        // Its end is then taken as any child's.
        if probe.is_late {
            kill_group(probe.pid);
            probe.deadline_ms = i64::MAX;
        } else {
            end_check(probe.pid);
            probe.deadline_ms = now_ms.saturating_add(CHECK_ENDS_WITHIN_MS);
        }
        probe.is_late = true;
        self.shell_probe = Some(probe);
        self.raised_until_ms = Some(now_ms.saturating_add(RAISED_MS));
    }

    /// What the end of a check's command means. The command and the last line that it said lead to the cause.
    pub fn verdict_of_command(&mut self, kind: &ExitKind, is_late: bool) -> Verdict {
        if *kind == ExitKind::Code(0) {
            return Ok(());
        }
        let Some(health) = &self.plan.health else { return Ok(()) };
        let how = match kind {
            ExitKind::Code(code) => format!("failed with exit code {code}"),
            _ if is_late => format!("timed out after {}", amounts::duration(health.timeout_ms)),
            _ => "was ended by a signal".to_string(),
        };
        let command = match &health.probe {
            Probe::Shell(line) => shown(line),
            _ => String::new(),
        };
        let said = last_line(&self.logs.words_of_check(os::wall_ms()));
        let colon = if said.is_empty() { "" } else { ": " };
        Err(format!("`{command}` {how}{colon}{said}"))
    }

    pub fn probed(&mut self, verdict: Verdict) -> Input {
        let verdict = self.with_limit(verdict);
        let snoozed = verdict.is_err() && self.setting.sandbox.join(SNOOZE_FILE).exists();
        let (healthy, detail) = match verdict {
            Ok(()) => (true, String::new()),
            Err(detail) => (false, detail),
        };
        Input::Probed { healthy, snoozed, detail }
    }
}

/// The first line of a command, as far as it is short.
fn shown(command: &str) -> String {
    let mut lines = command.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let shown = shortened(first, MOST_SHOWN_CHARACTERS);
    if lines.next().is_some() && !shown.ends_with('…') { format!("{shown} …") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_named_by_its_beginning() {
        assert_eq!(shown("curl -f localhost"), "curl -f localhost");
        assert_eq!(shown("\n  set -e\n  curl x\n"), "set -e …");
        assert_eq!(shown(&"y".repeat(70)), format!("{}…", "y".repeat(60)));
    }
}
