//! Applies what the journal says about whose fault failures were.

use dawn_proto::SpecId;

use crate::model::{AgentNo, Avoided, Blame, BlameMutation, JobId, KeptOff, State};

impl State {
    pub(super) fn apply_blame(&mut self, mutation: &BlameMutation) {
        match mutation {
            BlameMutation::KeptOff { job, kept } => self.keep_off(*job, kept),
            BlameMutation::LetIn { job, agent, spec } => self.let_in(*job, *agent, *spec),
            BlameMutation::Blamed { agent, blame } => self.blame(*agent, blame),
            BlameMutation::Proved { agent, reason } => {
                self.agent_mut(*agent).blames.retain(|blame| blame.reason != *reason);
            }
            BlameMutation::Forgiven { agent, .. } => self.forgive(*agent),
        }
    }

    pub(super) fn avoid_agent(&mut self, no: AgentNo, avoided: Option<Avoided>) {
        match avoided {
            Some(_) => self.indexes.avoided.insert(no),
            None => self.indexes.avoided.remove(&no),
        };
        self.agent_mut(no).avoided = avoided;
    }

    fn keep_off(&mut self, id: JobId, kept: &KeptOff) {
        self.indexes.keep_off(&self.truth, id, false);
        let all = &mut self.job_mut(id).kept_off;
        match all.iter_mut().find(|one| one.agent == kept.agent && one.spec == kept.spec) {
            Some(known) => *known = kept.clone(),
            None => all.push(kept.clone()),
        }
        if all.len() > KeptOff::MOST {
            all.remove(0);
        }
        self.indexes.keep_off(&self.truth, id, true);
    }

    fn let_in(&mut self, id: JobId, agent: AgentNo, spec: SpecId) {
        self.indexes.keep_off(&self.truth, id, false);
        self.job_mut(id).kept_off.retain(|kept| kept.agent != agent || kept.spec != spec);
        self.indexes.keep_off(&self.truth, id, true);
    }

    fn blame(&mut self, no: AgentNo, blame: &Blame) {
        let blames = &mut self.agent_mut(no).blames;
        match blames.iter_mut().find(|one| one.job == blame.job && one.reason == blame.reason) {
            Some(known) => known.failures = known.failures.saturating_add(blame.failures),
            None => blames.push(blame.clone()),
        }
        if blames.len() > Blame::MOST {
            blames.remove(0);
        }
    }

    fn forgive(&mut self, no: AgentNo) {
        self.avoid_agent(no, None);
        let agent = self.agent_mut(no);
        agent.blames.clear();
        agent.welcome.copied = None;
        let kept: Vec<_> = self.indexes.kept_off_ends.iter().filter(|(_, _, agent, _)| *agent == no).copied().collect();
        kept.into_iter().for_each(|(_, job, agent, spec)| self.let_in(job, agent, spec));
    }
}
