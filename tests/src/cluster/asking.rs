//! What scenarios ask a cluster, of its scheduler and of the kernel, and what they do to it.

use std::path::Path;

use dawn_proto::{JobKey, v1};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::kernel::{self, Process, marked};
use super::{Cluster, Patience, Spec, cleanup, spec};

impl Cluster {
    /// Waits until exactly `count` tasks of the job are in `state` and returns them, by instance.
    pub fn tasks_in(&self, job: &JobKey, state: v1::TaskState, count: usize, patience: Patience) -> Vec<v1::Task> {
        self.eventually(&format!("{count} tasks of {job} in {}", state.plain_name()), patience, || {
            let all = self.api.tasks(job).map_err(|status| status.to_string())?;
            let mut found: Vec<v1::Task> = all.iter().filter(|task| task.state() == state).cloned().collect();
            found.sort_by_key(|task| task.instance);
            if found.len() == count { Ok(found) } else { Err(spec::tell(&all)) }
        })
    }

    pub fn running(&self, job: &JobKey, count: usize) -> Vec<v1::Task> {
        self.tasks_in(job, v1::TaskState::Running, count, Patience::STEP)
    }

    /// Waits until the kernel knows exactly `count` processes that carry the mark of the job.
    pub fn processes_of(&self, job: &JobKey, count: usize) -> Vec<Process> {
        let mark = self.mark(job);
        self.eventually(&format!("{count} processes of {job}"), Patience::STEP, || {
            let found = marked(&mark);
            if found.len() == count { Ok(found) } else { Err(format!("{} processes: {found:?}", found.len())) }
        })
    }

    /// The environment entry that every process of the job carries.
    pub fn mark(&self, job: &JobKey) -> String {
        format!("CLUSTER_MARK={}:{job}", self.name)
    }

    /// Submits a job whose processes carry its mark.
    pub fn submit(&self, spec: Spec) -> JobKey {
        let (key, marked) = spec.marked(&self.name);
        match self.api.submit(marked) {
            Ok(_) => key,
            Err(status) => panic!("submitting {key}: {status}\n{}", self.last_words()),
        }
    }

    /// Kills the job and waits until nothing of it is left, in the scheduler and in the kernel.
    pub fn kill(&self, job: &JobKey) {
        self.kill_within(job, Patience::STEP);
    }

    /// The same, for jobs whose end takes longer.
    pub fn kill_within(&self, job: &JobKey, patience: Patience) {
        if let Err(status) = self.api.kill(job) {
            panic!("killing {job}: {status}\n{}", self.last_words());
        }
        self.eventually(&format!("{job} is gone"), patience, || {
            let all = self.api.tasks(job).map_err(|status| status.to_string())?;
            if all.iter().all(|task| task.state().is_terminal()) { Ok(()) } else { Err(spec::tell(&all)) }
        });
        self.processes_of(job, 0);
    }

    pub fn job(&self, job: &JobKey) -> v1::JobStatus {
        self.api.job(job).unwrap_or_else(|status| panic!("{job}: {status}\n{}", self.last_words()))
    }

    /// What is kept of a process's log.
    pub fn log(&self, task: &v1::Task, process: &str, stderr: bool) -> String {
        match self.api.log(task.id, process, stderr) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(status) => panic!("log of t{}: {status}\n{}", task.id, self.last_words()),
        }
    }

    /// The texts of every file of this name below the cluster's directory: what tasks left in their sandboxes.
    pub fn files_named(&self, name: &str) -> Vec<String> {
        let files = kernel::files_below(self.folder());
        let ours = files.iter().filter(|path| path.file_name().is_some_and(|own| own == name));
        ours.map(|path| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
            .collect()
    }

    /// Whether a control group is one of the cluster's.
    pub fn owns(&self, group: &Path) -> bool {
        let prefix = format!("{}-", self.name);
        group.components().any(|part| part.as_os_str().to_string_lossy().starts_with(&prefix))
    }

    /// SIGKILL to one process of the cluster.
    pub fn shoot(&self, process: &Process) {
        let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    }

    /// What a power cut does to a machine: its agent, executors and tasks are gone at once.
    pub fn lose_machine(&self, agent: usize) {
        self.agents[agent].kill_9();
        let (group, folder) = (format!("{}-node{agent}", self.name), self.folder().join(format!("node{agent}")));
        cleanup::kill_all(&group, &folder);
    }
}
