//! The scheduler: its real pulse over a journal that is slow and may lose what was not yet durable.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use dawn_proto::v1::{self, agent_message, scheduler_message::Message};
use dawn_proto::{Epoch, SpecId, Timestamp};
use dawn_scheduler::drive::{Pulse, PulseSettings};
use dawn_scheduler::model::{Batch, Effect, Event, LinkId, Now, Settings, State};
use dawn_scheduler::wire;
use prost::Message as _;
use rand::Rng;

use super::agenda::Happening;
use super::{Planted, World};

const APPEND_MS: (u64, u64) = (1, 20);
const TICK_MS: u64 = 250;
pub(super) const HEARTBEAT_MS: u64 = 1_000;
pub(super) const LEASE_MS: u64 = 5_000;

#[derive(Default)]
pub(super) struct Leader {
    pub life: u64,
    pulse: Option<Pulse>,
    inbox: Vec<Event>,
    step_planned: bool,
    in_flight: VecDeque<Arc<Batch>>,
    /// The journal's encoded batches, as they lie on disk.
    journal: Vec<Vec<u8>>,
    /// State of the durable batches: what readers and effects see.
    pub durable: State,
    specs_sent: BTreeSet<(u64, SpecId)>,
}

impl Leader {
    pub fn is_up(&self) -> bool {
        self.pulse.is_some()
    }

    /// State with everything decided, while it is up.
    pub fn state(&self) -> Option<&State> {
        self.pulse.as_ref().map(Pulse::state)
    }
}

fn settings() -> Settings {
    Settings {
        agent_lease_ms: LEASE_MS,
        heartbeat_interval_ms: HEARTBEAT_MS,
        down_after_ms: 15_000,
        assigned_timeout_ms: 20_000,
        resend_interval_ms: 4_000,
        reconcile_interval_ms: 30_000,
        // Shorter than the calm at the end, within which everything must run.
        avoid_ms: 5_000,
        max_avoid_ms: 10_000,
        ..Settings::default()
    }
}

impl World {
    fn leader_now(&self) -> Now {
        Now { wall: Timestamp(self.wall_ms()), mono_ms: self.now_ms }
    }

    /// Replays the journal and begins a new epoch.
    pub(super) fn start_leader(&mut self) -> Result<(), String> {
        if self.leader.is_up() {
            return Ok(());
        }
        let mut state = State::default();
        for bytes in &self.leader.journal {
            let wire = v1::Batch::decode(&bytes[..]).map_err(|error| format!("journal: {error}"))?;
            let batch = wire::batch_from_wire(wire).map_err(|error| format!("journal: {error}"))?;
            state.apply(&batch);
        }
        let (replayed, live) = (wire::digest(&state), wire::digest(&self.leader.durable));
        if replayed != live {
            return Err(format!("S11: replay to index {} differs from the live state", state.index));
        }
        self.leader.life += 1;
        self.leader.specs_sent.clear();
        let epoch = Epoch(state.epoch.0 + 1);
        self.leader.pulse = Some(Pulse::new(state, settings(), PulseSettings::default()));
        self.note(|| format!("leader begins epoch {epoch}"));
        let life = self.leader.life;
        self.after(TICK_MS, Happening::LeaderTick { life });
        self.leader_event(Event::Elected { epoch, fresh_cluster_id: "simulated".into() });
        Ok(())
    }

    /// Its memory is void; of the batches in flight any first few may have reached the disk.
    pub(super) fn crash_leader(&mut self) -> Result<(), String> {
        if self.leader.pulse.take().is_none() {
            return Ok(());
        }
        let kept = self.within(0, self.leader.in_flight.len() as u64);
        self.note(|| format!("leader crashes; {kept} of the batches in flight are on disk"));
        for _ in 0..kept {
            self.write_oldest()?;
        }
        if self.planted(Planted::DurableLost) {
            self.leader.journal.pop();
        }
        self.leader.in_flight.clear();
        self.leader.inbox.clear();
        self.leader.step_planned = false;
        self.summary.crashes += 1;
        self.reset_all(|_| true);
        Ok(())
    }

    pub(super) fn leader_event(&mut self, event: Event) {
        self.leader.inbox.push(event);
        if !self.leader.step_planned {
            self.leader.step_planned = true;
            let life = self.leader.life;
            let delay = self.within(0, 3);
            self.after(delay, Happening::LeaderStep { life });
        }
    }

    pub(super) fn step_leader(&mut self, life: u64, tick: bool) -> Result<(), String> {
        if self.leader.life != life || !self.leader.is_up() {
            return Ok(());
        }
        if tick {
            self.after(TICK_MS, Happening::LeaderTick { life });
            self.leader.inbox.push(Event::Tick);
        } else {
            self.leader.step_planned = false;
        }
        let now = self.leader_now();
        let events = std::mem::take(&mut self.leader.inbox);
        let Some(pulse) = &mut self.leader.pulse else { return Ok(()) };
        let batch = pulse.step(events, now);
        let released = pulse.released();
        if pulse.is_hungry() && !self.leader.step_planned {
            self.leader.step_planned = true;
            self.after(1, Happening::LeaderStep { life });
        }
        if let Some(batch) = batch {
            self.note(|| format!("leader decides {}: {:?}", batch.index, batch.mutations));
            self.leader.in_flight.push_back(batch);
            let delay = self.within(APPEND_MS.0, APPEND_MS.1);
            self.after(delay, Happening::Durable { life });
            if self.planted(Planted::AckBeforeDurable)
                && let Some(pulse) = &mut self.leader.pulse
            {
                let early = pulse.durable(pulse.state().index);
                return self.carry_out(early);
            }
        }
        self.carry_out(released)
    }

    pub(super) fn made_durable(&mut self, life: u64) -> Result<(), String> {
        if self.leader.life != life || self.leader.in_flight.is_empty() {
            return Ok(());
        }
        let index = self.write_oldest()?;
        let Some(pulse) = &mut self.leader.pulse else { return Ok(()) };
        let effects = pulse.durable(index);
        self.carry_out(effects)
    }

    fn write_oldest(&mut self) -> Result<u64, String> {
        let batch = self.leader.in_flight.pop_front().ok_or("nothing is in flight")?;
        let bytes = wire::batch_to_wire(&batch).encode_to_vec();
        if self.planted(Planted::AppendTwice) && self.chance.random_bool(0.05) {
            self.leader.journal.push(bytes.clone());
        }
        self.leader.journal.push(bytes);
        self.promises.batch(&self.leader.durable, &batch)?;
        self.leader.durable.apply(&batch);
        self.promises.state(&self.leader.durable)?;
        self.summary.batches += 1;
        Ok(batch.index)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            self.carry_out_one(effect)?;
        }
        Ok(())
    }

    fn link_of(&self, agent: dawn_scheduler::model::AgentNo) -> Option<u64> {
        self.leader.pulse.as_ref()?.live().agents.get(&agent)?.link.map(|link| link.0)
    }

    fn carry_out_one(&mut self, effect: Effect) -> Result<(), String> {
        let epoch = self.leader.durable.epoch.0;
        match effect {
            Effect::Launch { agent, task } => {
                let placed = self.leader.durable.tasks.get(&task).filter(|task| task.held_on() == Some(agent));
                let (Some(link), Some(placed)) = (self.link_of(agent), placed) else { return Ok(()) };
                let spec = self.leader.durable.spec_of(placed).clone();
                let launch = v1::Launch {
                    epoch,
                    task_id: task.0,
                    spec_id: spec.id.0,
                    instance: placed.instance,
                    attempt: placed.attempt,
                    ports: placed
                        .status
                        .place()
                        .map(|place| wire::assigned_ports(&spec.job, place))
                        .unwrap_or_default(),
                    run_at_ms: placed.run_at.0,
                };
                if self.leader.specs_sent.insert((link, spec.id)) {
                    self.send_spec(link, spec.id)?;
                }
                self.send_to_agent(link, Message::Launch(launch));
            }
            Effect::Kill { agent, task, reason, grace_period_ms } => {
                let kill = v1::Kill { epoch, task_id: task.0, reason: reason.into(), grace_period_ms };
                if let Some(link) = self.link_of(agent) {
                    self.send_to_agent(link, Message::Kill(kill));
                }
            }
            // No simulated job has a coordinator.
            Effect::AskCoordinator { .. } => {}
            Effect::Ack { link, task, sequence } => {
                self.send_to_agent(link.0, Message::Ack(v1::Ack { task_id: task.0, sequence }));
            }
            Effect::Reconcile { agent, tasks } => {
                let task_ids = tasks.into_iter().map(|task| task.0).collect();
                if let Some(link) = self.link_of(agent) {
                    self.send_to_agent(link, Message::Reconcile(v1::Reconcile { epoch, task_ids }));
                }
            }
            Effect::Welcome { link, epoch, .. } => {
                let cluster_id = self.leader.durable.cluster_id.clone();
                let longer = if self.planted(Planted::ReplacedTooEarly) { 30 } else { 1 };
                let (heartbeat_interval_ms, lease_ms) = (HEARTBEAT_MS, longer * LEASE_MS);
                let registered = v1::Registered { epoch: epoch.0, cluster_id, heartbeat_interval_ms, lease_ms };
                self.send_to_agent(link.0, Message::Registered(registered));
            }
            Effect::TellTasks { link } => self.send_to_agent(link.0, Message::TellTasks(v1::TellTasks { epoch })),
            Effect::HeartbeatAck { link, sequence } => {
                self.send_to_agent(link.0, Message::HeartbeatAck(v1::HeartbeatAck { sequence, epoch }));
            }
            Effect::Refuse { link, reason, is_final } => {
                let refused = v1::Refused { reason, leader_address: String::new(), r#final: is_final };
                self.send_to_agent(link.0, Message::Refused(refused));
            }
            Effect::Reply { to, answer } => self.load.answered(to, answer),
            Effect::Describe { .. } => return Err("nothing was restored".into()),
            Effect::StepDown { reason } => return Err(format!("the only leader there is steps down: {reason}")),
        }
        Ok(())
    }

    fn send_spec(&mut self, link: u64, id: SpecId) -> Result<(), String> {
        let Some(spec) = self.leader.durable.specs.get(&id) else { return Ok(()) };
        let spec_version = spec.version;
        let job = v1::JobSpec::decode(&*spec.job.wire).map_err(|error| format!("{id}: {error}"))?;
        self.send_to_agent(link, Message::Spec(v1::Spec { spec_id: id.0, spec: Some(job), version: spec_version }));
        Ok(())
    }

    pub(super) fn leader_hears(&mut self, link: u64, message: v1::AgentMessage) -> Result<(), String> {
        let id = LinkId(link);
        let unreadable = |error: wire::WireError| format!("the scheduler can't read an agent: {error}");
        let event = match message.message {
            Some(agent_message::Message::Register(register)) => {
                let registration = Box::new(wire::registration(register).map_err(unreadable)?);
                Event::Registered { link: id, registration }
            }
            Some(agent_message::Message::Heartbeat(beat)) => Event::Heartbeat { link: id, sequence: beat.sequence },
            Some(agent_message::Message::Report(report)) => {
                Event::Reported { link: id, report: wire::report(report).map_err(unreadable)? }
            }
            Some(agent_message::Message::Offer(offer)) => {
                Event::Offered { link: id, offer: wire::offer(&offer).map_err(unreadable)? }
            }
            Some(agent_message::Message::HeldTasks(held)) => {
                Event::TasksTold { link: id, tasks: wire::held_tasks(held).map_err(unreadable)? }
            }
            Some(agent_message::Message::NeedSpec(need)) => return self.send_spec(link, SpecId(need.spec_id)),
            Some(agent_message::Message::Inspection(_)) => return Err("nobody asked what is there".into()),
            Some(agent_message::Message::Description(_)) => return Err("nobody asked what a task is".into()),
            None => return Err("an empty message".into()),
        };
        self.leader_event(event);
        Ok(())
    }
}
