//! What goes wrong and when, from the seed. Whatever is broken here is mended again before the calm.

use dawn_executor::model::ExitKind;
use dawn_proto::TaskId;
use rand::Rng;
use rand::seq::{IteratorRandom, SliceRandom};

use super::World;
use super::agenda::Happening;
use super::network::Place;

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    NodeCrash {
        node: usize,
    },
    /// The scheduler's process is stopped, and goes on where it was.
    NodePause {
        node: usize,
        for_ms: u64,
    },
    /// Its whole machine is: its clock does not notice.
    NodeSuspend {
        node: usize,
        for_ms: u64,
    },
    NodeResume {
        node: usize,
    },
    /// Goes on to lead, and another one leads.
    Usurped,
    AgentCrash {
        machine: usize,
    },
    Reboot {
        machine: usize,
    },
    /// It comes back with an empty disk.
    Empty {
        machine: usize,
    },
    /// Nothing passes from one to the other, each pair one way.
    Cut {
        ways: Vec<(Place, Place)>,
        for_ms: u64,
    },
    Heal {
        ways: Vec<(Place, Place)>,
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
    EtcdDown {
        for_ms: u64,
    },
    EtcdUp,
    /// Out of space; or a disk that takes nothing more.
    HomeFull {
        for_ms: u64,
    },
    HomeSlow {
        for_ms: u64,
    },
    HomeGood,
    /// A wall clock is set.
    WallJump {
        place: Place,
        by_ms: i64,
    },
    /// All of them are, alike: whoever told them the time was wrong.
    WallsJump {
        by_ms: i64,
    },
    /// Nothing can be made for any task there.
    Unready {
        machine: usize,
        for_ms: u64,
    },
    Ready {
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
    /// Somebody claims an epoch that nobody has led under.
    Liar,
    /// A copy of the machine is started beside it.
    Copied {
        machine: usize,
    },
    CopyTick {
        link: u64,
    },
    CopyStopped {
        link: u64,
    },
    /// Nothing fails any more.
    Calm,
}

impl World {
    /// A fault every few seconds.
    pub(super) fn plan_faults(&mut self) {
        let mut at = 2_000;
        self.after(0, Happening::Operator);
        self.agenda.add(self.scenario.busy_ms, Happening::Fault { fault: Fault::Calm });
        while at < self.scenario.busy_ms {
            let fault = self.random_fault();
            self.agenda.add(at, Happening::Fault { fault });
            at += self.within(500, 8_000);
        }
    }

    /// Clocks that differ a little, all the time.
    pub(super) fn set_clocks_apart(&mut self) {
        let nodes = self.nodes.iter_mut().map(|node| &mut node.clock);
        for clock in nodes.chain(self.machines.iter_mut().map(|machine| &mut machine.clock)) {
            clock.drift_ppm = self.chance.random_range(-4_000..=4_000);
        }
    }

    fn random_fault(&mut self) -> Fault {
        let (machine, node) =
            (self.chance.random_range(0..self.machines.len()), self.chance.random_range(0..self.nodes.len()));
        match self.chance.random_range(0..43) {
            // What they do hides other mistakes.
            39 | 40 if self.scenario.planted.is_none() => Fault::Liar,
            41 | 42 if self.scenario.planted.is_none() => Fault::Copied { machine },
            0..4 => Fault::NodeCrash { node },
            4..6 => Fault::AgentCrash { machine },
            6 => Fault::Reboot { machine },
            7 => Fault::Empty { machine },
            8..11 | 32 => self.machine_cut(machine),
            11 => Fault::Pause { machine, for_ms: self.within(1_000, 60_000) },
            12 => Fault::Reset { machine },
            13 => Fault::ExecutorKilled { machine },
            14..17 => Fault::ProcessKilled { machine },
            17..20 => Fault::NodePause { node, for_ms: self.within(500, 12_000) },
            20 | 34 | 35 => Fault::Usurped,
            21..24 => self.node_cut(node),
            24 => self.mass_loss(),
            25 => Fault::EtcdDown { for_ms: self.within(500, 10_000) },
            26 => Fault::HomeFull { for_ms: self.within(500, 8_000) },
            27..29 => Fault::HomeSlow { for_ms: self.within(1_000, 15_000) },
            29 | 30 => Fault::WallJump { place: Place::Node(node), by_ms: self.jump_ms() },
            31 => Fault::WallJump { place: Place::Machine(machine), by_ms: self.jump_ms() },
            33 => Fault::WallsJump { by_ms: self.jump_ms() },
            36..39 => Fault::Unready { machine, for_ms: self.within(5_000, 60_000) },
            _ => Fault::NodeSuspend { node, for_ms: self.within(500, 12_000) },
        }
    }

    fn ways(&self, machine: usize) -> Vec<(Place, Place)> {
        (0..self.nodes.len()).map(|node| (Place::Machine(machine), Place::Node(node))).collect()
    }

    /// A machine is cut off from every scheduler: both ways, or one. Some longer than what must not live twice is waited
    /// for.
    fn machine_cut(&mut self, machine: usize) -> Fault {
        let up = self.ways(machine);
        let down = up.iter().map(|(from, to)| (*to, *from));
        let ways = match self.chance.random_range(0..4) {
            0 => up,
            1 => down.collect(),
            _ => down.chain(up.iter().copied()).collect(),
        };
        let for_ms = if self.chance.random_bool(0.5) { self.within(20_000, 90_000) } else { self.within(100, 20_000) };
        Fault::Cut { ways, for_ms }
    }

    /// A scheduler is cut off from etcd, or from some agents, one way or both.
    fn node_cut(&mut self, node: usize) -> Fault {
        let (own, mut ways) = (Place::Node(node), Vec::new());
        let both = self.chance.random_range(0..3);
        let mut cut = |other: Place| {
            ways.extend((both != 0).then_some((own, other)));
            ways.extend((both != 1).then_some((other, own)));
        };
        if self.chance.random_bool(0.6) {
            cut(Place::Etcd);
        }
        if self.chance.random_bool(0.6) {
            (0..self.machines.len()).filter(|machine| machine % 2 == node % 2).for_each(|one| cut(Place::Machine(one)));
        }
        Fault::Cut { ways, for_ms: self.within(500, 15_000) }
    }

    /// Most machines at once.
    fn mass_loss(&mut self) -> Fault {
        let mut machines: Vec<usize> = (0..self.machines.len()).collect();
        machines.shuffle(&mut self.chance);
        let lost = machines.into_iter().skip(1);
        let ways: Vec<_> = lost.flat_map(|machine| self.ways(machine)).flat_map(|(a, b)| [(a, b), (b, a)]).collect();
        Fault::Cut { ways, for_ms: self.within(10_000, 60_000) }
    }

    /// The leader's machine is suspended for longer than its lease; when it goes on, with a clock that noticed nothing,
    /// etcd is out of its reach, and agents that have obeyed the next leader can reach nobody else.
    fn usurp(&mut self) {
        let Some(node) = self.leading() else { return };
        let for_ms = self.within(11_000, 15_000);
        let others: Vec<_> = (0..self.nodes.len()).filter(|other| *other != node).collect();
        let mut ways = vec![(Place::Node(node), Place::Etcd), (Place::Etcd, Place::Node(node))];
        for machine in 0..self.machines.len() / 2 {
            ways.extend(others.iter().map(|other| (Place::Machine(machine), Place::Node(*other))));
        }
        self.nodes[node].paused.get_or_insert_default();
        self.nodes[node].suspended_ms.get_or_insert(self.now_ms);
        self.undo(for_ms, Fault::NodeResume { node });
        // Before that they must notice that the next one does not hear them.
        self.undo(for_ms - 4_000, Fault::Cut { ways, for_ms: 8_000 });
    }

    pub(super) fn undo(&mut self, for_ms: u64, fault: Fault) {
        self.after(for_ms, Happening::Fault { fault });
    }

    pub(super) fn fault(&mut self, fault: Fault) -> Result<(), String> {
        let is_over = self.now_ms > self.scenario.busy_ms;
        if is_over && !matches!(fault, Fault::ProcessEnds { .. }) {
            return Ok(());
        }
        self.note(|| format!("fault: {fault:?}"));
        match fault {
            Fault::NodeCrash { node } => {
                self.summary.crashes += 1;
                return self.crash_node(node);
            }
            Fault::NodePause { node, for_ms } => {
                self.nodes[node].paused.get_or_insert_default();
                self.undo(for_ms, Fault::NodeResume { node });
            }
            Fault::NodeSuspend { node, for_ms } => {
                self.nodes[node].paused.get_or_insert_default();
                self.nodes[node].suspended_ms.get_or_insert(self.now_ms);
                self.undo(for_ms, Fault::NodeResume { node });
            }
            Fault::Usurped => self.usurp(),
            Fault::NodeResume { node } => return self.resume_node(node),
            Fault::Cut { ways, for_ms } => {
                self.summary.cuts += 1;
                ways.iter().for_each(|(from, to)| self.network.cut(*from, *to));
                self.undo(for_ms, Fault::Heal { ways });
            }
            Fault::Heal { ways } => ways.iter().for_each(|(from, to)| self.network.heal(*from, *to)),
            Fault::EtcdDown { for_ms } => {
                self.etcd.up = false;
                self.undo(for_ms, Fault::EtcdUp);
            }
            Fault::EtcdUp => self.etcd.comes_back(self.now_ms),
            Fault::HomeFull { for_ms } => {
                (self.etcd.full, self.disk_fails) = (true, true);
                self.undo(for_ms, Fault::HomeGood);
            }
            Fault::HomeSlow { for_ms } => {
                (self.etcd_slow, self.disk_slow) = (true, true);
                self.undo(for_ms, Fault::HomeGood);
            }
            Fault::HomeGood => self.home_is_good(),
            Fault::WallJump { place, by_ms } => self.wall_jumps(place, by_ms),
            Fault::WallsJump { by_ms } => self.walls_jump(by_ms),
            Fault::Liar => self.lie(),
            Fault::Copied { machine } => return self.copy_machine(machine),
            Fault::CopyTick { link } => return self.copy_ticks(link),
            Fault::CopyStopped { link } => self.stop_copy(link),
            Fault::Calm => return self.calm_down(),
            fault => return self.machine_fault(fault),
        }
        Ok(())
    }

    fn machine_fault(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::AgentCrash { machine } => {
                self.crash_agent(machine);
                self.bring_back_agent(machine);
            }
            Fault::Reboot { machine } => {
                self.reboot(machine);
                self.bring_back_agent(machine);
            }
            Fault::Empty { machine } => {
                self.empty(machine);
                self.bring_back_agent(machine);
            }
            Fault::Pause { machine, for_ms } => {
                self.machines[machine].paused.get_or_insert_default();
                self.undo(for_ms, Fault::Resume { machine });
            }
            Fault::Resume { machine } => {
                for happening in self.machines[machine].paused.take().unwrap_or_default() {
                    self.happen(happening)?;
                }
            }
            Fault::Unready { machine, for_ms } => {
                self.machines[machine].unready = Some(self.refusal());
                self.undo(for_ms, Fault::Ready { machine });
            }
            Fault::Ready { machine } => self.machines[machine].unready = None,
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
            _ => {}
        }
        Ok(())
    }

    fn resume_node(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].resumed(self.now_ms);
        for happening in self.nodes[node].paused.take().unwrap_or_default() {
            self.happen(happening)?;
        }
        Ok(())
    }

    fn home_is_good(&mut self) {
        (self.etcd.full, self.disk_fails) = (false, false);
        (self.etcd_slow, self.disk_slow) = (false, false);
    }

    /// Everything is mended, and every clock shows the time again.
    fn calm_down(&mut self) -> Result<(), String> {
        self.network.heal_all();
        self.home_is_good();
        while let Some(link) = self.copies.last().map(super::hostile::Copied::link) {
            self.stop_copy(link);
        }
        if !self.etcd.up {
            self.etcd.comes_back(self.now_ms);
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].clock.wall_offset_ms = 0;
            self.resume_node(node)?;
        }
        for machine in 0..self.machines.len() {
            self.machines[machine].clock.wall_offset_ms = 0;
            self.machines[machine].unready = None;
            self.machine_fault(Fault::Resume { machine })?;
        }
        for machine in self.machines.len() - self.scenario.burnt..self.machines.len() {
            self.reboot(machine);
            self.machines[machine].gone = true;
        }
        Ok(())
    }

    pub(super) fn bring_back_agent(&mut self, machine: usize) {
        let delay = self.within(10, 12_000);
        self.after(delay, Happening::StartAgent { machine });
    }

    /// Whether faults may come.
    pub(super) fn is_busy(&self) -> bool {
        self.scenario.faults && self.now_ms > 2_000 && self.now_ms < self.scenario.busy_ms
    }

    /// Whether a process dies inside a step of so many deeds, and after how many.
    pub(super) fn crash_inside_step(&mut self, deeds: usize) -> Option<usize> {
        (self.is_busy() && deeds > 0 && self.chance.random_bool(0.001)).then(|| self.chance.random_range(0..deeds))
    }
}
