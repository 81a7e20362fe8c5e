//! What is known only while it lasts: who is connected, when an agent was last heard. Never journaled; empty after a
//! change of leader, and filled again by registrations.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dawn_proto::{AgentId, TaskId, Timestamp};

use super::{AgentNo, AgentWall, Ahead, Alarm, Contest, CronHold, LinkId, Now, Report};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentLive {
    /// None: not connected.
    pub link: Option<LinkId>,
    /// On the monotonic clock, milliseconds.
    pub heard_ms: u64,
}

/// What a coordinator was asked about a task, and said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinated {
    /// Monotonic, of the last question.
    pub asked_ms: u64,
    /// Monotonic, with the answer; None: it is awaited.
    pub answer: Option<(u64, Result<bool, String>)>,
}

#[derive(Clone, Debug, Default)]
pub struct Live {
    pub agents: BTreeMap<AgentNo, AgentLive>,
    pub links: BTreeMap<LinkId, AgentNo>,
    /// Monotonic times of an agent's latest registrations, oldest first, at most [`Live::KEPT_TIMES`].
    pub registrations: BTreeMap<AgentNo, VecDeque<u64>>,
    /// Agents that came, came back or offer something else since the last tick.
    pub fresh: BTreeSet<AgentNo>,
    /// Coordinators' answers about tasks, and questions to them that are open.
    pub coordinated: BTreeMap<TaskId, Coordinated>,
    /// Monotonic time at which this leadership began: an agent not heard since is counted from here.
    pub elected_ms: u64,
    /// Time of the last [`super::Event::Tick`] decided: what is due once is due in the first tick at or after its time.
    pub ticked: Now,
    /// Alarms that stand, with their words.
    pub alarms: BTreeMap<Alarm, String>,
    /// What agents tell of their wall clocks.
    pub walls: BTreeMap<AgentNo, AgentWall>,
    /// Ends that agents told while it was not known how long nobody had led, at most `Live::KEPT_ENDS`: when they were by the
    /// agents' clocks.
    pub told_ends: BTreeMap<TaskId, Timestamp>,
    /// Cron waits, or did, under this leader.
    pub cron_hold: Option<CronHold>,
    /// Monotonic time at which the brake's release is over; None: it is not released.
    pub brake_back_ms: Option<u64>,
    /// Agents that show that they know more than this journal, at most [`Ahead::MOST`].
    pub ahead: BTreeMap<AgentId, Ahead>,
    /// When the own leader key was last looked at.
    pub looked_ms: Option<u64>,
    /// Where an earlier boot of the machine, or one that it is a copy of, may still have tasks that must not live twice.
    pub earlier_boots: BTreeMap<AgentNo, Earlier>,
    /// The same of the link before the present one, whose tasks the present one may have no trace of.
    pub earlier_links: BTreeMap<AgentNo, Earlier>,
    /// Monotonic time from which agents are given time to say what they hold, after a restore.
    pub asked_since_ms: u64,
    /// Where another boot of a machine was refused because the one before was still heard.
    pub contested: BTreeMap<AgentNo, Contest>,
}

/// The boot or link of an agent before the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Monotonic; it was heard no later.
    pub heard_ms: u64,
    /// When the present one was taken in.
    pub welcomed_at: Timestamp,
    /// From then on nothing of it can live.
    pub until_ms: u64,
    /// Its tasks were asked after since.
    pub asked: bool,
}

impl Live {
    pub const KEPT_TIMES: usize = 8;
    const KEPT_ENDS: usize = 100_000;
    const ANSWERS_KEPT_MS: u64 = 120_000;

    /// A coordinator is asked about a task.
    pub fn asked(&mut self, task: TaskId, mono_ms: u64) {
        self.coordinated.insert(task, Coordinated { asked_ms: mono_ms, answer: None });
    }

    /// It said something. An answer to a question nobody remembers counts nothing.
    pub fn coordinated(&mut self, task: TaskId, answer: &Result<bool, String>, mono_ms: u64) {
        if let Some(known) = self.coordinated.get_mut(&task) {
            known.answer = Some((mono_ms, answer.clone()));
        }
    }

    /// Nobody has asked about them for a while.
    pub fn forget_old_answers(&mut self, mono_ms: u64) {
        self.coordinated.retain(|_, known| mono_ms.saturating_sub(known.asked_ms) < Self::ANSWERS_KEPT_MS);
    }

    /// An alarm is raised, or cleared where there are no words.
    pub fn alarmed(&mut self, alarm: Alarm, words: Option<&String>) {
        match words {
            Some(words) => self.alarms.insert(alarm, words.clone()),
            None => self.alarms.remove(&alarm),
        };
    }

    /// The agent is no more.
    pub fn forget(&mut self, agent: AgentNo) {
        self.agents.remove(&agent);
        self.earlier_boots.remove(&agent);
        self.earlier_links.remove(&agent);
        self.contested.remove(&agent);
        self.registrations.remove(&agent);
        self.walls.remove(&agent);
    }

    pub fn heard(&mut self, link: LinkId, mono_ms: u64) {
        if let Some(agent) = self.links.get(&link).and_then(|agent| self.agents.get_mut(agent)) {
            agent.heard_ms = mono_ms;
        }
    }

    /// The link becomes the agent's only one.
    pub fn bind(&mut self, link: LinkId, agent: AgentNo, mono_ms: u64) {
        let before = self.agents.insert(agent, AgentLive { link: Some(link), heard_ms: mono_ms });
        if let Some(old) = before.and_then(|live| live.link) {
            self.links.remove(&old);
        }
        self.links.insert(link, agent);
        keep(self.registrations.entry(agent).or_default(), mono_ms);
    }

    /// An agent told of a task while cron waits: an end is kept until then.
    pub fn told_end(&mut self, report: &Report, now: Now) {
        match self.cron_hold.is_some_and(|hold| now.wall < hold.until) {
            true if report.state.is_terminal() && report.at.0 > 0 && self.told_ends.len() < Live::KEPT_ENDS => {
                self.told_ends.insert(report.task, report.at);
            }
            true => {}
            false => self.told_ends.clear(),
        }
    }

    pub fn closed(&mut self, link: LinkId) {
        if let Some(agent) = self.links.remove(&link).and_then(|agent| self.agents.get_mut(&agent)) {
            agent.link = None;
        }
    }

    /// When the agent was last heard under this leadership; its start when never.
    pub fn heard_ms(&self, agent: AgentNo) -> u64 {
        self.agents.get(&agent).map_or(self.elected_ms, |live| live.heard_ms)
    }
}

fn keep(times: &mut VecDeque<u64>, mono_ms: u64) {
    times.push_back(mono_ms);
    if times.len() > Live::KEPT_TIMES {
        times.pop_front();
    }
}
