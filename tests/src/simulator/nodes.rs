//! Schedulers: each has a machine with clocks of its own, is started, follows or leads, is stopped for a while or dies.
//! Not here: how they are elected (`election`) and what becomes of their appends (`writing`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dawn_proto::v1;
use dawn_scheduler::etcd::{apply_next, unpack_batches};
use dawn_scheduler::link::FreshNumber;
use dawn_scheduler::model::{Command, State};
use dawn_scheduler::wire;
use rand::Rng;

use super::agenda::Happening;
use super::clock::NodeClock;
use super::disk::Disk;
use super::election::Candidacy;
use super::network::Place;
use super::process::{Ended, Process, ROUNDS};
use super::settings::pulse_settings;
use super::writing::Writer;
use super::{Home, Planted, World};

/// How often a follower looks who leads and whether the journal went on.
const LOOK_MS: u64 = 500;

pub(super) struct Node {
    pub life: u64,
    pub clock: NodeClock,
    pub process: Option<Process>,
    /// Stopped: what comes for it waits, in order.
    pub paused: Option<Vec<Happening>>,
    /// Since then its clock stands still too.
    pub suspended_ms: Option<u64>,
    /// The turn that is planned.
    turn_ms: Option<u64>,
    /// What it has read of the journal in etcd.
    tail: State,
    pub candidacy: Candidacy,
    pub writer: Writer,
    pub disk: Disk,
}

/// What happens to a scheduler.
#[derive(Debug)]
pub(super) enum NodeEvent {
    Turn {
        planned_ms: u64,
    },
    Accept {
        link: u64,
    },
    Hear {
        link: u64,
        message: Box<v1::AgentMessage>,
    },
    LinkLost {
        link: u64,
    },
    Command {
        number: u64,
        command: Box<Command>,
    },
    /// The journal in etcd went on.
    Watched,
    Look,
    Election(super::election::News),
    Journal(super::writing::News),
}

impl Node {
    pub fn new() -> Node {
        Node {
            life: 0,
            clock: NodeClock::default(),
            process: None,
            paused: None,
            suspended_ms: None,
            turn_ms: None,
            tail: State::default(),
            candidacy: Candidacy::default(),
            writer: Writer::default(),
            disk: Disk::new(),
        }
    }

    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub fn is_leading(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_leading)
    }

    pub fn tail(&self) -> &State {
        &self.tail
    }
}

impl World {
    /// Starts a scheduler: it reads the journal, and leads at once or stands for election.
    pub(super) fn start_node(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].is_up() {
            return Ok(());
        }
        if self.scenario.home == Home::Embedded {
            return self.start_alone(node);
        }
        if !self.etcd.up || self.is_blocked(Place::Node(node), Place::Etcd) {
            self.after(500, Happening::StartNode { node });
            return Ok(());
        }
        let (pulse, fresh_number) = (pulse_settings(self.scenario.seed), self.fresh_number());
        let found = &mut self.nodes[node];
        (found.life, found.tail, found.turn_ms) = (found.life + 1, State::default(), None);
        found.process = Some(Process::new(State::default(), pulse, fresh_number));
        self.note(|| format!("scheduler {node} starts"));
        self.catch_up(node)?;
        self.plan(node, LOOK_MS, NodeEvent::Look);
        self.stand(node);
        Ok(())
    }

    /// Numbers for welcomes, none of them twice in a run, as chance would have it.
    fn fresh_number(&self) -> FreshNumber {
        let numbers = self.numbers.clone();
        Arc::new(move || numbers.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) << 1)
    }

    fn start_alone(&mut self, node: usize) -> Result<(), String> {
        let batches = self.nodes[node].disk.read(&mut self.chance)?;
        let mut state = State::default();
        for batch in batches {
            if batch.index != state.index + 1 {
                return Err(format!("S11: batch {} follows {} on disk", batch.index, state.index));
            }
            state.apply(&batch);
            if batch.index > self.truth.index {
                // Written when the scheduler died, and nobody was told.
                self.commit(&[Arc::new(batch)])?;
            }
        }
        self.same_as_truth(node, &state)?;
        let fresh_number = self.fresh_number();
        let found = &mut self.nodes[node];
        (found.life, found.turn_ms) = (found.life + 1, None);
        let mut process = Process::new(state.clone(), pulse_settings(self.scenario.seed), fresh_number);
        let (epoch, now) = (state.epoch.0 + 1, found.clock.now(self.now_ms));
        let early = self.scenario.planted == Some(Planted::AckBeforeDurable);
        process.lead(epoch, state, super::election::for_ever(), early, now);
        self.nodes[node].process = Some(process);
        self.note(|| format!("scheduler {node} leads alone under epoch {epoch}"));
        self.plan_turn(node, 0);
        Ok(())
    }

    /// Whether every scheduler has applied all that is durable.
    pub(super) fn all_have_the_truth(&self) -> bool {
        let has = |process: &Process| process.follower.read(|state| state.index == self.truth.index);
        self.nodes.iter().all(|node| node.process.as_ref().is_some_and(has))
    }

    /// S11: what a replay gives is what lived.
    pub(super) fn same_as_truth(&self, node: usize, state: &State) -> Result<(), String> {
        if state.index != self.truth.index || wire::digest(state) != wire::digest(&self.truth) {
            let (found, index) = (state.index, self.truth.index);
            return Err(format!("S11: scheduler {node} replays to {found}, which differs from the truth at {index}"));
        }
        Ok(())
    }

    /// Reads on in etcd's journal.
    pub(super) fn catch_up(&mut self, node: usize) -> Result<(), String> {
        let found = &mut self.nodes[node];
        let Some(process) = &found.process else { return Ok(()) };
        let mut read = Vec::new();
        for (key, kv) in self.etcd.segments_from(found.tail.index + 1) {
            let batches = unpack_batches(&kv.value).map_err(|error| format!("S11: a segment {error}"))?;
            for batch in batches {
                if apply_next(&mut found.tail, &batch, key).map_err(|error| format!("S11: {error}"))? {
                    read.push(batch);
                }
            }
        }
        process.follower.apply(&read);
        Ok(())
    }

    /// Its process dies where it is, at any await.
    pub(super) fn end_node(&mut self, node: usize) {
        let found = &mut self.nodes[node];
        if found.process.take().is_none() {
            return;
        }
        found.life += 1;
        (found.paused, found.turn_ms, found.writer) = (None, None, Writer::default());
        found.resumed(self.now_ms);
        found.candidacy = found.candidacy.after_death();
        found.disk.crash(&mut self.chance);
        if self.scenario.planted == Some(Planted::DurableLost) {
            match self.scenario.home {
                Home::Embedded => found.disk.lose_last(),
                Home::Etcd => self.etcd.lose_last(),
            }
        }
        self.reset_all(|link| link.node == node);
        let delay = self.within(10, 6_000);
        self.after(delay, Happening::StartNode { node });
    }

    pub(super) fn plan(&mut self, node: usize, delay_ms: u64, event: NodeEvent) {
        let life = self.nodes[node].life;
        self.after(delay_ms, Happening::Node { node, life, event });
    }

    /// It runs soon: unless it runs even sooner.
    pub(super) fn plan_turn(&mut self, node: usize, delay_ms: u64) {
        let planned_ms = self.now_ms + delay_ms;
        if self.nodes[node].turn_ms.is_none_or(|before| before > planned_ms) {
            self.nodes[node].turn_ms = Some(planned_ms);
            self.plan(node, delay_ms, NodeEvent::Turn { planned_ms });
        }
    }

    pub(super) fn node_event(&mut self, node: usize, life: u64, event: NodeEvent) -> Result<(), String> {
        if self.nodes[node].life != life {
            return Ok(());
        }
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        match event {
            NodeEvent::Turn { planned_ms } => {
                if self.nodes[node].turn_ms == Some(planned_ms) {
                    self.nodes[node].turn_ms = None;
                    return self.turn(node);
                }
                return Ok(());
            }
            NodeEvent::Accept { link } => process.accept(link),
            NodeEvent::Hear { link, message } => process.hear(link, *message),
            NodeEvent::LinkLost { link } => process.link_lost(link),
            NodeEvent::Command { number, command } => {
                if number == super::hostile::OPERATOR || self.load.waits_for(number) {
                    process.command(number, *command);
                }
            }
            NodeEvent::Watched => return if process.is_leading() { Ok(()) } else { self.catch_up(node) },
            NodeEvent::Look => return self.look(node),
            NodeEvent::Election(news) => return self.election(node, news),
            NodeEvent::Journal(news) => return self.journal(node, news),
        }
        let delay = self.within(0, 2);
        self.plan_turn(node, delay);
        Ok(())
    }

    /// A follower asks who leads, and reads on should word of the journal have been lost.
    fn look(&mut self, node: usize) -> Result<(), String> {
        self.plan(node, LOOK_MS, NodeEvent::Look);
        if self.nodes[node].is_leading() || !self.etcd.up || self.is_cut(Place::Node(node), Place::Etcd) {
            return Ok(());
        }
        let leader = self.etcd.leader().map(|leader| format!("s{}", leader.node));
        if let Some(process) = &self.nodes[node].process {
            process.follows(leader);
        }
        self.catch_up(node)
    }

    fn turn(&mut self, node: usize) -> Result<(), String> {
        // It may die at any await of the turn.
        if self.is_busy() && self.chance.random_bool(0.000_3) {
            self.summary.crashes += 1;
            return self.crash_node(node);
        }
        self.turn_for(node, ROUNDS)
    }

    /// Its process dies half way through what is awake.
    pub(super) fn crash_node(&mut self, node: usize) -> Result<(), String> {
        let rounds = self.chance.random_range(0..ROUNDS);
        if self.nodes[node].paused.is_none() {
            self.turn_for(node, rounds)?;
        }
        self.note(|| format!("scheduler {node} crashes"));
        self.end_node(node);
        Ok(())
    }

    fn turn_for(&mut self, node: usize, rounds: usize) -> Result<(), String> {
        let now = self.nodes[node].clock.now(self.now_ms);
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let (news, ended) = process.turn(now, rounds);
        let wakes_ms = process.wakes_ms();
        for (link, message) in news.to_agents {
            match message {
                Some(message) => self.send_to_agent(link, message),
                None => self.reset(link),
            }
        }
        for (number, answer) in news.answers {
            self.load.answered(number, answer);
            self.dirty = true;
        }
        self.prove(node, news.proofs);
        for _ in 0..news.looks {
            self.look_at_own_key(node);
        }
        self.nodes[node].writer.queue.extend(news.appended);
        self.write(node)?;
        match ended {
            Some(Ended::Broken(words)) => return Err(words),
            Some(Ended::Deposed(why)) => {
                self.note(|| format!("scheduler {node} ends: {why}"));
                if self.scenario.home == Home::Embedded && why.contains("another scheduler leads") {
                    return Err(format!("the only scheduler there is steps down: {why}"));
                }
                if why.contains("own leader key is gone") && self.own_key_is_there(node) {
                    return Err(format!("a scheduler whose key is there steps down: {why}"));
                }
                self.summary.deposed += 1;
                self.end_node(node);
                return Ok(());
            }
            None => {}
        }
        if let Some(wakes_ms) = wakes_ms {
            let at_ms = self.nodes[node].clock.world_ms(wakes_ms).max(self.now_ms + 1);
            self.plan_turn(node, at_ms - self.now_ms);
        }
        Ok(())
    }

    /// Who leads by their own account, under the highest epoch.
    pub(super) fn leading(&self) -> Option<usize> {
        let leading = self.nodes.iter().enumerate().filter(|(_, node)| node.is_leading());
        leading.max_by_key(|(_, node)| node.candidacy.epoch).map(|(number, _)| number)
    }
}

impl Node {
    /// Goes on after it was suspended: its clock did not notice.
    pub fn resumed(&mut self, now_ms: u64) {
        if let Some(since_ms) = self.suspended_ms.take() {
            self.clock.stood_ms += now_ms - since_ms;
        }
    }
}
