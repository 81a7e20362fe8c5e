//! Where a task's files are in the work directory. Names only; nothing here touches them.

use std::path::{Path, PathBuf};

use dawn_proto::TaskId;

/// The directory of one task, `<work_dir>/tasks/t<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDir {
    pub task: TaskId,
    path: PathBuf,
}

impl TaskDir {
    pub fn new(work_dir: &Path, task: TaskId) -> Self {
        TaskDir { task, path: Self::parent(work_dir).join(task.to_string()) }
    }

    /// The directory of all tasks.
    pub fn parent(work_dir: &Path) -> PathBuf {
        work_dir.join("tasks")
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One frame, an ExecutorPlan; written by the agent before anything else of the task is made.
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan")
    }

    /// Frames of ExecutorEvent, appended by the executor: the truth about the task.
    pub fn events(&self) -> PathBuf {
        self.path.join("events")
    }

    /// One frame, a TaskReport: the end that the agent decided.
    pub fn verdict(&self) -> PathBuf {
        self.path.join("verdict")
    }

    /// There once the terminal report is acknowledged.
    pub fn released(&self) -> PathBuf {
        self.path.join("released")
    }

    /// Touched while its artifacts are fetched, gone afterwards.
    pub fn fetching(&self) -> PathBuf {
        self.path.join("fetching")
    }

    pub fn socket_name() -> &'static str {
        "socket"
    }

    pub fn sandbox(&self) -> PathBuf {
        self.path.join("sandbox")
    }

    /// Its /tmp and what else it has for itself.
    pub fn private(&self) -> PathBuf {
        self.path.join("private")
    }

    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Locked by every executor for life.
    pub fn executor_lock(&self) -> PathBuf {
        self.path.join("executor.lock")
    }

    /// The executor's own output.
    pub fn executor_log(&self) -> PathBuf {
        self.path.join("executor.log")
    }
}
