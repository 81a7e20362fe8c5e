//! What would come of a job that is refused at the moment, were it not for what refuses it: tried on a copy of its own, from which
//! that is taken away.

use dawn_proto::JobKey;
use dawn_proto::v1::UpdateAction;

use super::{Planned, STEPS, Trial, link_of};
use crate::model::{AgentNo, Bounds, Command, Event, Job, JobSpec, Refusal, ReplyTo, UpdateCommand};

/// Refused submissions of one trial that are planned as if they were not: each takes a copy of the state.
const MOST: usize = 8;

/// A submission that would be refused.
#[derive(Debug)]
pub struct Refused {
    pub refusal: Refusal,
    /// What would come of it without what refuses it; None: nobody can say, as the spec itself is what is refused.
    pub otherwise: Option<Box<Planned>>,
}

impl Trial {
    pub(super) fn otherwise(&mut self, spec: &JobSpec, refusal: &Refusal) -> Option<Box<Planned>> {
        let passes =
            matches!(refusal, Refusal::Updating { .. } | Refusal::StillEnding { .. } | Refusal::OverQuota { .. });
        if !passes || self.otherwise >= MOST {
            return None;
        }
        self.otherwise += 1;
        let connected = self.live.agents.keys().copied().collect();
        let mut copy = Trial::new(self.state.clone(), &connected, &self.settings, &self.bounds, self.now);
        match refusal {
            Refusal::Updating { .. } => copy.end_update(&spec.key),
            Refusal::StillEnding { .. } => copy.end_tasks(&spec.key),
            _ => copy.lift_quota(spec.key.role()),
        }
        copy.try_to(spec).ok().map(Box::new)
    }

    /// The update that is under way goes through or, where it does not, is aborted.
    fn end_update(&mut self, key: &JobKey) {
        self.play_update(key);
        let current = self.state.job(key).and_then(|job| self.state.current_spec(job));
        // What started was healthy for as long as that is watched.
        let watch_ms = current.map_or(0, |spec| spec.job.update.watch_ms);
        self.pass_ms(watch_ms);
        let (key, author, message) = (key.clone(), String::new(), String::new());
        let action = UpdateAction::Abort;
        self.tell(Command::Update(UpdateCommand::Control { key, action, author, message }));
    }

    /// Time passes in which nothing happens and every agent is heard of, as before.
    fn pass_ms(&mut self, passed_ms: u64) {
        self.now.wall = self.now.wall.plus_ms(passed_ms);
        self.now.mono_ms = self.now.mono_ms.saturating_add(passed_ms);
        self.live.ticked = self.now;
        let agents: Vec<AgentNo> = self.live.agents.keys().copied().collect();
        for agent in agents {
            self.live.bind(link_of(agent), agent, self.now.mono_ms);
        }
    }

    /// What is left of the job's last life stops.
    fn end_tasks(&mut self, key: &JobKey) {
        let Some(id) = self.state.job(key).map(|job| job.id) else { return };
        for _ in 0..STEPS {
            let is_settled = self.state.jobs.get(&id).is_none_or(|job| job.settled == Job::SETTLED);
            if is_settled || !self.tick() & !self.do_as_told(id) {
                break;
            }
        }
    }

    fn lift_quota(&mut self, role: &str) {
        let (role, free) = (role.to_string(), Some(Bounds::default()));
        self.tell(Command::SetQuota { role, guarantee: free, limit: free, weight: None, author: String::new() });
    }

    fn tell(&mut self, command: Command) {
        self.event(&Event::Command { reply: ReplyTo(0), command });
    }
}
