//! What scenarios ask of several schedulers: always of whoever leads, as a client that knows them all does.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::{JobKey, v1};
use tonic::{Code, Status};

use super::Several;
use crate::cluster::kernel::{Process, marked, variable};
use crate::cluster::{Api, Patience, Spec, spec, waiting};

impl Several {
    /// Who leads by their own account, with the highest epoch; and that epoch.
    pub fn leading(&self) -> Option<(usize, u64)> {
        let infos = self.apis.iter().enumerate().filter(|(number, _)| self.schedulers[*number].is_alive());
        let leaders = infos.filter_map(|(number, api)| {
            let info = api.server_info().ok().filter(|info| info.leader && info.epoch > 0)?;
            Some((number, info.epoch))
        });
        leaders.max_by_key(|(_, epoch)| *epoch)
    }

    /// Waits for a leader.
    pub fn leader(&self) -> usize {
        self.leader_after(0).0
    }

    /// Waits for a leader of a higher epoch.
    pub fn leader_after(&self, epoch: u64) -> (usize, u64) {
        self.eventually(&format!("somebody leads after epoch {epoch}"), Patience::LONG, || {
            self.leading().filter(|(_, found)| *found > epoch).ok_or_else(|| "nobody".to_string())
        })
    }

    /// Asks one after the other until one answers. Asks again what was answered with UNAVAILABLE, as a client may whose
    /// question does no harm twice.
    ///
    /// # Errors
    /// What was last refused, once the patience has run out.
    pub fn try_ask<T>(&self, patience: Patience, ask: impl Fn(&Api) -> Result<T, Status>) -> Result<T, String> {
        waiting::until(patience, || {
            let mut said = Vec::new();
            for (number, api) in self.apis.iter().enumerate() {
                match ask(api) {
                    Ok(answer) => return Ok(answer),
                    Err(status) if may_pass(&status) => said.push(format!("{number}: {}", status.message())),
                    Err(status) => panic!("{status}\n{}", self.last_words()),
                }
            }
            Err(said.join("; "))
        })
    }

    pub fn ask<T>(&self, what: &str, ask: impl Fn(&Api) -> Result<T, Status>) -> T {
        self.try_ask(Patience::LONG, ask).unwrap_or_else(|last| panic!("{what}: {last}\n{}", self.last_words()))
    }

    /// What the leader says: reads of others may be behind.
    pub fn read<T>(&self, ask: impl Fn(&Api) -> Result<T, Status>) -> Result<T, String> {
        let (leader, _) = self.leading().ok_or("nobody leads")?;
        ask(&self.apis[leader]).map_err(|status| status.to_string())
    }

    /// Submits until it is acknowledged.
    pub fn submit(&self, spec: Spec) -> JobKey {
        let (key, marked) = spec.marked(&self.name);
        self.ask(&format!("submitting {key}"), |api| api.submit(marked.clone()));
        key
    }

    /// The environment entry that every process of the job carries.
    pub fn mark(&self, job: &JobKey) -> String {
        format!("CLUSTER_MARK={}:{job}", self.name)
    }

    /// Waits until exactly `count` tasks of the job are in `state` and returns them, by instance.
    pub fn tasks_in(&self, job: &JobKey, state: v1::TaskState, count: usize) -> Vec<v1::Task> {
        self.eventually(&format!("{count} tasks of {job} in {}", state.plain_name()), Patience::LONG, || {
            let all = self.read(|api| api.tasks(job))?;
            let mut found: Vec<v1::Task> = all.iter().filter(|task| task.state() == state).cloned().collect();
            found.sort_by_key(|task| task.instance);
            if found.len() == count { Ok(found) } else { Err(spec::tell(&all)) }
        })
    }

    pub fn running(&self, job: &JobKey, count: usize) -> Vec<v1::Task> {
        self.tasks_in(job, v1::TaskState::Running, count)
    }

    /// Waits until the kernel knows exactly `count` processes that carry the mark of the job.
    pub fn processes_of(&self, job: &JobKey, count: usize) -> Vec<Process> {
        let mark = self.mark(job);
        self.eventually(&format!("{count} processes of {job}"), Patience::LONG, || {
            let found = marked(&mark);
            if found.len() == count { Ok(found) } else { Err(format!("{} processes: {found:?}", found.len())) }
        })
    }

    /// Waits until exactly the instances asked for live, once each, where the journal says, and the kernel agrees.
    pub fn lives_exactly(&self, job: &JobKey, instances: usize) {
        self.eventually(&format!("each of {instances} instances of {job} lives once"), Patience::minutes(5), || {
            let tasks = self.read(|api| api.tasks(job))?;
            let living: Vec<&v1::Task> = tasks.iter().filter(|task| !task.state().is_terminal()).collect();
            let running = living.iter().filter(|task| task.state() == v1::TaskState::Running);
            let running: BTreeMap<u32, String> = running.map(|task| (task.instance, format!("t{}", task.id))).collect();
            let processes = marked(&self.mark(job));
            let found: Vec<String> = processes.iter().filter_map(|one| variable(one.pid, "DAWN_TASK_ID")).collect();
            let unique: BTreeSet<&String> = found.iter().collect();
            let agree = unique == running.values().collect() && found.len() == instances;
            if agree && living.len() == instances && running.len() == instances {
                return Ok(());
            }
            let odd: Vec<&&v1::Task> = living.iter().filter(|task| task.state() != v1::TaskState::Running).collect();
            let odd = odd.first().map_or_else(String::new, |task| spec::tell(&[(***task).clone()]));
            let (tasks, running, kernel) = (living.len(), running.len(), found.len());
            Err(format!("{tasks} tasks live, {running} of them run, the kernel has {kernel}; {odd}"))
        });
    }

    pub fn agents_are_up(&self) {
        let count = self.agents.len();
        self.eventually(&format!("{count} agents are up"), Patience::LONG, || {
            let nodes = self.read(Api::nodes)?;
            let up = nodes.iter().filter(|node| node.state() == v1::NodeState::Up).count();
            (up == count).then_some(()).ok_or(format!("{up} of {} nodes up", nodes.len()))
        });
    }

    pub(super) fn kill_all_jobs(&self) {
        let jobs = self.eventually("the jobs are listed", Patience::LONG, || self.read(Api::all_jobs));
        for job in jobs.iter().filter(|job| !job.ended) {
            let key = job.key.as_ref().and_then(|key| JobKey::try_from(key).ok()).expect("listed jobs have keys");
            self.ask(&format!("killing {key}"), |api| match api.kill(&key) {
                // The first one was done, and its answer lost.
                Err(status) if status.code() == Code::FailedPrecondition => Ok(()),
                killed => killed.map(|_| ()),
            });
        }
    }
}

/// A call that another scheduler, or the same a moment later, may answer. A full queue says RESOURCE_EXHAUSTED.
fn may_pass(status: &Status) -> bool {
    let is_transport = std::error::Error::source(status).is_some();
    let unclear = [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::ResourceExhausted];
    is_transport || unclear.contains(&status.code())
}
