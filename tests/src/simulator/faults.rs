//! What goes wrong and when, from the seed. Whatever is broken here is mended again before the calm.

use dawn_executor::model::ExitKind;
use dawn_proto::TaskId;
use rand::Rng;
use rand::seq::IteratorRandom;

use super::World;
use super::agenda::Happening;

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    LeaderCrash,
    AgentCrash {
        machine: usize,
    },
    Reboot {
        machine: usize,
    },
    Cut {
        machine: usize,
        for_ms: u64,
    },
    Heal {
        machine: usize,
    },
    /// The agent's process is stopped, and goes on where it was.
    Pause {
        machine: usize,
        for_ms: u64,
    },
    Resume {
        machine: usize,
    },
    /// The link is reset, both ends live on.
    Reset {
        machine: usize,
    },
    ExecutorKilled {
        machine: usize,
    },
    ProcessKilled {
        machine: usize,
    },
    /// Not a fault: a process has done its work.
    ProcessEnds {
        machine: usize,
        task: TaskId,
        pid: i32,
        code: i32,
    },
}

impl World {
    /// A fault every few seconds.
    pub(super) fn plan_faults(&mut self) {
        let mut at = 2_000;
        while at < self.scenario.busy_ms {
            let fault = self.random_fault();
            self.agenda.add(at, Happening::Fault { fault });
            at += self.within(500, 8_000);
        }
    }

    fn random_fault(&mut self) -> Fault {
        let machine = self.chance.random_range(0..self.machines.len());
        match self.chance.random_range(0..14) {
            0..3 => Fault::LeaderCrash,
            3..5 => Fault::AgentCrash { machine },
            5 => Fault::Reboot { machine },
            6 | 7 => Fault::Cut { machine, for_ms: self.within(100, 20_000) },
            // Longer than what must not live twice is waited for.
            12 => Fault::Cut { machine, for_ms: self.within(20_000, 90_000) },
            13 => Fault::Pause { machine, for_ms: self.within(1_000, 60_000) },
            8 => Fault::Reset { machine },
            9 => Fault::ExecutorKilled { machine },
            _ => Fault::ProcessKilled { machine },
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) -> Result<(), String> {
        self.note(|| format!("fault: {fault:?}"));
        match fault {
            Fault::LeaderCrash => {
                self.crash_leader()?;
                let delay = self.within(10, 8_000);
                self.after(delay, Happening::StartLeader);
            }
            Fault::AgentCrash { machine } => {
                self.crash_agent(machine);
                self.bring_back_agent(machine);
            }
            Fault::Reboot { machine } => {
                self.reboot(machine);
                self.bring_back_agent(machine);
            }
            Fault::Cut { machine, for_ms } => {
                self.machines[machine].cut = true;
                self.summary.cuts += 1;
                self.after(for_ms, Happening::Fault { fault: Fault::Heal { machine } });
            }
            Fault::Heal { machine } => self.machines[machine].cut = false,
            Fault::Pause { machine, for_ms } => {
                self.machines[machine].paused.get_or_insert_default();
                self.after(for_ms, Happening::Fault { fault: Fault::Resume { machine } });
            }
            Fault::Resume { machine } => {
                for happening in self.machines[machine].paused.take().unwrap_or_default() {
                    self.happen(happening)?;
                }
            }
            Fault::Reset { machine } => self.reset_all(|link| link.machine == machine),
            Fault::ExecutorKilled { machine } => {
                let living = self.machines[machine].executors.iter().filter(|(_, one)| one.is_alive());
                if let Some(task) = living.map(|(task, _)| *task).choose(&mut self.chance) {
                    self.kill_executor(machine, task);
                }
            }
            Fault::ProcessKilled { machine } => {
                let living = self.machines[machine].executors.iter().filter(|(_, one)| one.living() > 0);
                if let Some(task) = living.map(|(task, _)| *task).choose(&mut self.chance) {
                    self.kill_processes(machine, task);
                }
            }
            Fault::ProcessEnds { machine, task, pid, code } => {
                self.process_ends(machine, task, pid, ExitKind::Code(code));
            }
        }
        Ok(())
    }

    /// What concerns a stopped agent waits for it; anything else happens now.
    pub(super) fn held_back(&mut self, happening: Happening) -> Option<Happening> {
        let machine = match &happening {
            Happening::AgentTick { machine, .. }
            | Happening::Machine { machine, .. }
            | Happening::Connect { machine, .. }
            | Happening::Hear { machine, .. } => *machine,
            Happening::ToAgent { link, .. } | Happening::LinkLost { link, at_leader: false } => {
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

    pub(super) fn bring_back_agent(&mut self, machine: usize) {
        let delay = self.within(10, 12_000);
        self.after(delay, Happening::StartAgent { machine });
    }

    /// Whether the agent dies inside a step of so many deeds, and after how many.
    pub(super) fn crash_inside_step(&mut self, deeds: usize) -> Option<usize> {
        let busy = self.scenario.faults && self.now_ms > 2_000 && self.now_ms < self.scenario.busy_ms;
        (busy && deeds > 0 && self.chance.random_bool(0.001)).then(|| self.chance.random_range(0..deeds))
    }
}
