//! What becomes of a leader's appends: one at a time on its way to the journal's home, which may be slow, full, out of
//! reach, or die half way. What is asked of etcd and what its answers mean is the scheduler's own code.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use dawn_proto::v1::{NodeState, Reason, TaskState, TickOutcome};
use dawn_scheduler::drive::{AppendError, Gathered};
use dawn_scheduler::etcd::{Ask, Ledger, Outcome, SEGMENT_MUTATIONS, pack_batches, unpack_batches};
use dawn_scheduler::model::{AgentAvoided, AgentMoved, Batch, Mutation, TaskMoved, Ticked};
use rand::Rng;

use super::agenda::Happening;
use super::election::EtcdAsk;
use super::network::Place;
use super::nodes::NodeEvent;
use super::process::Done;
use super::promises::CronLedger;
use super::{Home, Planted, World};

/// Of a call to etcd, and the wait before it is made again.
const AGAIN_MS: u64 = 2_600;
const RETRY_MS: u64 = 100;

/// A scheduler's end of its journal.
#[derive(Default)]
pub(super) struct Writer {
    pub queue: VecDeque<(Arc<Batch>, Done)>,
    pub ledger: Option<Ledger>,
    in_flight: Option<InFlight>,
    tries: u64,
    /// After a failed write nothing is written any more.
    failed: bool,
    /// Planted: records held back.
    late: Vec<Mutation>,
}

struct InFlight {
    batches: Vec<Arc<Batch>>,
    waiting: Vec<Done>,
    ask: Option<Ask>,
    again: bool,
}

#[derive(Debug)]
pub(super) enum News {
    /// What etcd answered: whether it applied and else what the head holds; Err: out of space.
    Answered {
        number: u64,
        answer: Result<(bool, Option<Vec<u8>>), ()>,
    },
    NotAnswered {
        number: u64,
    },
    /// The disk is done.
    Synced {
        number: u64,
    },
}

impl World {
    /// Begins to write what waits, unless something is on its way.
    pub(super) fn write(&mut self, node: usize) -> Result<(), String> {
        let late = self.scenario.planted == Some(Planted::CronRecordedLate);
        let skips = self.scenario.planted == Some(Planted::CronLateSkipped);
        let writer = &mut self.nodes[node].writer;
        if writer.in_flight.is_some() || writer.queue.is_empty() || writer.failed {
            return Ok(());
        }
        let (mut gathered, mut batches, mut waiting) = (Gathered::new(SEGMENT_MUTATIONS), Vec::new(), Vec::new());
        while writer.queue.front().is_some_and(|(next, _)| gathered.takes(next))
            && let Some((batch, done)) = writer.queue.pop_front()
        {
            batches.push(match () {
                () if late => writer.record_late(&batch),
                () if skips => skip_late(&batch, &self.promises.cron),
                () => batch,
            });
            waiting.push(done);
        }
        let ask = writer.ledger.as_ref().and_then(|ledger| ledger.ask(&batches));
        let noted: Vec<Arc<Batch>> = if self.trace.is_some() { batches.clone() } else { Vec::new() };
        for batch in noted {
            self.note(|| format!("scheduler {node} appends {}: {:?}", batch.index, batch.mutations));
        }
        if self.scenario.home == Home::Embedded {
            self.nodes[node].disk.write(&batches)?;
        }
        self.nodes[node].writer.in_flight = Some(InFlight { batches, waiting, ask, again: false });
        self.send_append(node);
        Ok(())
    }

    fn send_append(&mut self, node: usize) {
        let writer = &mut self.nodes[node].writer;
        writer.tries += 1;
        let number = writer.tries;
        let Some(in_flight) = &mut writer.in_flight else { return };
        let again = std::mem::replace(&mut in_flight.again, true);
        match in_flight.ask.clone() {
            Some(ask) => {
                self.ask_etcd(node, EtcdAsk::Append { number, again, ask: Box::new(ask) });
                self.plan(node, AGAIN_MS, NodeEvent::Journal(News::NotAnswered { number }));
            }
            None => {
                let delay = if self.disk_slow { self.within(500, 5_000) } else { self.within(1, 20) };
                self.plan(node, delay, NodeEvent::Journal(News::Synced { number }));
            }
        }
    }

    pub(super) fn journal(&mut self, node: usize, news: News) -> Result<(), String> {
        let (News::Answered { number, .. } | News::NotAnswered { number } | News::Synced { number }) = news;
        let writer = &mut self.nodes[node].writer;
        if writer.tries != number {
            return Ok(());
        }
        let Some(in_flight) = &mut writer.in_flight else { return Ok(()) };
        match news {
            News::NotAnswered { .. } => {
                self.waits(node, "waits for etcd: it does not answer");
                self.send_append(node);
            }
            News::Answered { answer: Err(()), .. } => {
                self.waits(node, "waits for etcd: it is full");
                self.plan(node, RETRY_MS, NodeEvent::Journal(News::NotAnswered { number }));
            }
            News::Answered { answer: Ok((applied, found)), .. } => {
                let (Some(ledger), Some(ask)) = (&mut writer.ledger, &in_flight.ask) else { return Ok(()) };
                let written = ledger.answered(ask, applied, found.as_deref()) == Outcome::Written;
                self.waits(node, "");
                return self.appended(
                    node,
                    |index| {
                        if written { Ok(()) } else { Err(AppendError::NotLeader { index }) }
                    },
                );
            }
            News::Synced { .. } => return self.synced(node),
        }
        Ok(())
    }

    fn waits(&mut self, node: usize, trouble: &str) {
        if let Some(process) = &self.nodes[node].process {
            process.waits(trouble);
            self.plan_turn(node, 0);
        }
    }

    fn synced(&mut self, node: usize) -> Result<(), String> {
        if self.disk_fails {
            self.nodes[node].disk.crash(&mut self.chance);
            return self.appended(node, |index| {
                let (place, source) = ("the disk".to_string(), "no space left on device".into());
                Err(AppendError::Failed { index, place, source })
            });
        }
        if self.scenario.planted == Some(Planted::AppendTwice) && self.chance.random_bool(0.05) {
            self.nodes[node].disk.write_twice();
        }
        self.nodes[node].disk.sync(&mut self.chance);
        let batches = self.nodes[node].writer.in_flight.as_ref().map(|one| one.batches.clone()).unwrap_or_default();
        self.commit(&batches)?;
        self.appended(node, |_| Ok(()))
    }

    /// Tells the scheduler, and goes on with what waits.
    fn appended(&mut self, node: usize, what: impl Fn(u64) -> Result<(), AppendError>) -> Result<(), String> {
        let writer = &mut self.nodes[node].writer;
        let Some(InFlight { batches, waiting, .. }) = writer.in_flight.take() else { return Ok(()) };
        for (batch, done) in batches.iter().zip(waiting) {
            let told = what(batch.index);
            writer.failed |= told.is_err();
            _ = done.send(told);
        }
        self.plan_turn(node, 0);
        self.write(node)
    }

    pub(super) fn etcd_appends(
        &mut self,
        node: usize,
        life: u64,
        number: u64,
        again: bool,
        mut ask: Ask,
    ) -> Result<(), String> {
        let answer = |answer| NodeEvent::Journal(News::Answered { number, answer });
        if self.etcd.full {
            self.etcd_answers(node, life, answer(Err(())));
            return Ok(());
        }
        if self.scenario.planted == Some(Planted::AppendUnguarded) {
            ask.guards.clear();
        }
        let (mut applied, found) = self.etcd.transact(&ask);
        if applied {
            self.etcd_took(node, &ask)?;
        } else if again && self.scenario.planted == Some(Planted::AppendTwice) {
            applied = self.append_behind(node, &ask)?;
        }
        self.etcd_answers(node, life, answer(Ok((applied, found))));
        Ok(())
    }

    fn etcd_took(&mut self, node: usize, ask: &Ask) -> Result<(), String> {
        let batches = unpack_batches(&ask.puts[0].1).map_err(|error| error.to_string())?;
        let leader = self.etcd.leader().map(|leader| leader.revision);
        for batch in &batches {
            if leader != Some(batch.epoch.0) {
                let (index, epoch) = (batch.index, batch.epoch);
                return Err(format!("S1: scheduler {node} wrote batch {index} of {epoch} while {leader:?} leads"));
            }
        }
        self.commit(&batches)?;
        for follower in 0..self.nodes.len() {
            if follower != node && !self.is_blocked(Place::Etcd, Place::Node(follower)) {
                let life = self.nodes[follower].life;
                let delay = self.within(0, 20);
                self.after(delay, Happening::Node { node: follower, life, event: NodeEvent::Watched });
            }
        }
        Ok(())
    }

    /// Planted: a retry that finds the journal further on appends there.
    fn append_behind(&mut self, node: usize, ask: &Ask) -> Result<bool, String> {
        let mut next = self.truth.index;
        let renumbered = unpack_batches(&ask.puts[0].1).map_err(|error| error.to_string())?;
        let renumbered: Vec<Arc<Batch>> = renumbered
            .iter()
            .map(|batch| {
                next += 1;
                Arc::new(Batch { index: next, ..Batch::clone(batch) })
            })
            .collect();
        let mut behind = ask.clone();
        behind.guards.truncate(1);
        behind.puts[0] = (self.etcd.names.segment(self.truth.index + 1).into_bytes(), pack_batches(&renumbered));
        let (applied, _) = self.etcd.transact(&behind);
        if applied {
            self.etcd_took(node, &behind)?;
        }
        Ok(applied)
    }

    /// The batches are durable: nothing may undo them from now on.
    pub(super) fn commit(&mut self, batches: &[Arc<Batch>]) -> Result<(), String> {
        for batch in batches {
            // Parts of a step count with the last of them.
            let step = self.truth.whole(batch).map(Cow::into_owned);
            if let Some(step) = &step {
                let time = self.true_time();
                self.promises.batch(&self.truth, step, time)?;
            }
            self.count_lapsed(batch);
            self.truth.apply(batch);
            match step {
                Some(step) => {
                    self.promises.state(&self.truth, &step)?;
                    self.count(&step);
                }
                None => self.summary.parts += 1,
            }
        }
        self.dirty = true;
        Ok(())
    }
}

impl World {
    fn count_lapsed(&mut self, batch: &Batch) {
        let lapsed = batch.mutations.iter().filter(|mutation| match mutation {
            Mutation::TaskMoved(TaskMoved { task, reason: Reason::AgentLost, .. }) => {
                self.truth.tasks.get(task).is_some_and(|task| task.state() == TaskState::Running)
            }
            _ => false,
        });
        self.summary.lapsed += lapsed.count() as u64;
    }

    fn count(&mut self, batch: &Batch) {
        self.summary.batches += 1;
        for mutation in &batch.mutations {
            match mutation {
                Mutation::TaskMoved(TaskMoved { to: TaskState::Preempting, .. }) => self.summary.preempted += 1,
                Mutation::AgentAvoided(AgentAvoided { until: Some(_), .. }) => self.summary.avoided += 1,
                Mutation::AgentMoved(AgentMoved { to: NodeState::Unreachable, .. }) => self.summary.unreachable += 1,
                _ => {}
            }
        }
    }
}

/// Planted: no run that was missed waits for the one before it.
fn skip_late(batch: &Batch, cron: &CronLedger) -> Arc<Batch> {
    let mut mutations = batch.mutations.clone();
    for mutation in &mut mutations {
        if let Mutation::Ticked(Ticked { job, scheduled, outcome: outcome @ TickOutcome::Queued }) = mutation
            && cron.follows_late(*job, *scheduled, batch)
        {
            *outcome = TickOutcome::SkippedOverlap;
        }
    }
    Arc::new(Batch { mutations, ..batch.clone() })
}

impl Writer {
    /// Planted: launch records come a batch after the tasks they are of.
    fn record_late(&mut self, batch: &Batch) -> Arc<Batch> {
        let is_record = |mutation: &Mutation| matches!(mutation, Mutation::Ticked(_));
        let (records, rest): (Vec<_>, Vec<_>) = batch.mutations.iter().cloned().partition(is_record);
        let mutations = std::mem::replace(&mut self.late, records).into_iter().chain(rest).collect();
        Arc::new(Batch { mutations, ..batch.clone() })
    }
}
