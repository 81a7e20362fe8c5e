//! Applies what changes about jobs that follow others, are templates, or pause.

use dawn_proto::Timestamp;

use crate::model::{Dispatch, Flow, FlowMutation, Paused, State};

impl State {
    pub(super) fn apply_flow(&mut self, mutation: &FlowMutation, at: Timestamp) {
        match mutation {
            FlowMutation::Released { job } => self.change_job(*job, |job| job.flow.released = true),
            FlowMutation::CronPaused { job, author } => {
                self.change_job(*job, |job| job.flow.paused = Some(Paused { at, by: author.clone() }));
            }
            FlowMutation::CronResumed { job } => {
                self.change_job(*job, |job| (job.flow.paused, job.flow.resumed_at) = (None, at));
            }
            FlowMutation::Dispatched { job, name, content_hash } => {
                let dispatches = &mut self.job_mut(*job).flow.dispatches;
                dispatches.push_back(Dispatch { name: name.clone(), content_hash: *content_hash });
                if dispatches.len() > Flow::KEPT_DISPATCHES {
                    dispatches.pop_front();
                }
            }
        }
    }
}
