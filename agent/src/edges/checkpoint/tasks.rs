//! The task directories: plan, verdict and release marks; finding them again; removing them.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use dawn_proto::{TaskId, Timestamp};
use tracing::warn;

use super::{CheckpointError, O_NONBLOCK, framed, io_error, read_framed, replace_file, set_aside, sync_dir};
use crate::model::{Report, TaskDir, TaskPlan};
use crate::tree;
use crate::wire::{self, KeptPlan};

/// A task directory as the checkpoint knows it; the executor's side comes from its event log.
#[derive(Debug)]
pub struct FoundTask {
    pub dir: TaskDir,
    /// None: torn or corrupt.
    pub record: Option<TaskPlan>,
    pub checkpointed_at: Timestamp,
    pub verdict: Option<Report>,
    pub released: bool,
}

/// All task directories of a work directory.
#[derive(Clone, Debug)]
pub struct Tasks {
    work_dir: PathBuf,
}

impl Tasks {
    /// Makes the directories, and finishes deletions that were cut short.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn open(work_dir: &Path) -> Result<Self, CheckpointError> {
        let tasks = Tasks { work_dir: work_dir.to_path_buf() };
        for path in [TaskDir::parent(work_dir), tasks.trash()] {
            if let Err(error) = usable(&path) {
                set_aside(&path, &error.to_string());
                usable(&path).map_err(io_error("create", &path))?;
            }
        }
        if let Err(error) = tasks.empty_trash() {
            warn!(%error, "what was discarded is not removed");
        }
        Ok(tasks)
    }

    pub fn dir(&self, task: TaskId) -> TaskDir {
        TaskDir::new(&self.work_dir, task)
    }

    fn trash(&self) -> PathBuf {
        self.work_dir.join("trash")
    }

    /// Makes a task's directory with its plan, durably. Nothing else of the task may be made before.
    ///
    /// # Errors
    /// What the file system answers; a repeat over an existing plan is an error.
    pub fn write_plan(&self, task: TaskId, plan: &[u8]) -> Result<(), CheckpointError> {
        let dir = self.dir(task);
        match DirBuilder::new().mode(0o711).create(dir.path()) {
            // The rest of a launch that failed before its plan was whole.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(io_error("create", dir.path()))?,
        }
        let path = dir.plan();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(io_error("create", &path))?;
        let bytes = framed(plan, &path)?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io_error("write", &path));
        let synced =
            written.and_then(|()| sync_dir(dir.path())).and_then(|()| sync_dir(&TaskDir::parent(&self.work_dir)));
        if synced.is_err() {
            // Nobody relies on it yet: a restart must not find a launch that was reported as refused.
            let _ = fs::remove_file(&path);
        }
        synced
    }

    /// Writes the end the agent decided, durably.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn write_verdict(&self, report: &Report) -> Result<(), CheckpointError> {
        let path = self.dir(report.task).verdict();
        replace_file(&path, 0o600, &framed(&wire::encode_report(report), &path)?)
    }

    /// Notes that a task's end is acknowledged. Not synced: if lost, the end is reported once more.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn mark_released(&self, task: TaskId) -> Result<(), CheckpointError> {
        let path = self.dir(task).released();
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).custom_flags(O_NONBLOCK).open(&path);
        opened.map_err(io_error("create", &path))?;
        Ok(())
    }

    /// Makes a task's directory cease to be one, at once; what it took is given back by `empty_trash`.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn discard(&self, task: TaskId) -> Result<(), CheckpointError> {
        let (path, trash) = (self.dir(task).path().to_path_buf(), self.trash().join(task.to_string()));
        match fs::rename(&path, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved.map_err(io_error("move away", &path)),
        }
    }

    /// Whether nothing of a discarded task takes room any more.
    pub fn is_gone(&self, task: TaskId) -> bool {
        matches!(self.trash().join(task.to_string()).symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// Removes what was discarded, symbolic links unfollowed. What can't be removed is left with a warning.
    ///
    /// # Errors
    /// When the trash itself can't be read.
    pub fn empty_trash(&self) -> Result<(), CheckpointError> {
        for entry in fs::read_dir(self.trash()).map_err(io_error("read", &self.trash()))? {
            let path = entry.map_err(io_error("read", &self.trash()))?.path();
            match tree::remove(&path) {
                Ok(()) => {}
                // Another pass was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => warn!(path = %path.display(), %error, "can't remove"),
            }
        }
        Ok(())
    }

    /// Every task directory, in order of id. What can't be read is said in the log and left alone: a task that can't be
    /// read is found without its record.
    pub fn scan(&self, default_pids: u32) -> Vec<FoundTask> {
        let parent = TaskDir::parent(&self.work_dir);
        let unreadable =
            |error: io::Error| warn!(path = %parent.display(), %error, "tasks may be left out: it can't be read");
        let mut found = Vec::new();
        for entry in fs::read_dir(&parent).map_err(unreadable).into_iter().flatten() {
            let Ok(entry) = entry.map_err(unreadable) else { continue };
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix('t')).and_then(|digits| digits.parse().ok());
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            match id.filter(|id| is_dir && TaskId(*id).to_string().as_str() == name) {
                Some(id) => found.push(self.find(TaskId(id), default_pids)),
                None => warn!(?name, "not a task's directory; left alone"),
            }
        }
        found.sort_by_key(|one| one.dir.task);
        found
    }

    /// What a task's plan says; None when it can't be read.
    pub fn kept(&self, task: TaskId, default_pids: u32) -> Option<KeptPlan> {
        read_or_warn(&self.dir(task).plan(), |body| wire::decode_plan(body, default_pids).ok())
    }

    /// A task's plan as it lies on disk; None when it can't be read.
    pub fn plan(&self, task: TaskId) -> Option<Vec<u8>> {
        read_or_warn(&self.dir(task).plan(), |body| Some(body.to_vec()))
    }

    fn find(&self, task: TaskId, default_pids: u32) -> FoundTask {
        let dir = self.dir(task);
        let touched = |path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let modified = touched(dir.plan()).max(touched(dir.fetching()));
        let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        FoundTask {
            record: read_or_warn(&dir.plan(), |body| wire::decode_plan(body, default_pids).ok())
                .map(|kept| kept.record),
            checkpointed_at: Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            verdict: read_or_warn(&dir.verdict(), |body| {
                wire::decode_report(body).ok().filter(|report| report.task == task && report.state.is_terminal())
            }),
            released: dir.released().exists(),
            dir,
        }
    }
}

/// Makes a directory, or makes one that is there fit for its use.
fn usable(path: &Path) -> io::Result<()> {
    // The tasks' users pass through on the way to their sandboxes.
    DirBuilder::new().recursive(true).mode(0o711).create(path)?;
    if fs::read_dir(path).is_err() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o711))?;
        fs::read_dir(path)?;
    }
    Ok(())
}

fn read_or_warn<T>(path: &Path, decode: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    match read_framed(path) {
        Ok(Some(body)) => {
            let decoded = decode(&body);
            if decoded.is_none() {
                warn!(path = %path.display(), "left aside: what it says can't be understood");
            }
            decoded
        }
        Ok(None) => None,
        Err(error) => {
            warn!(path = %path.display(), %error, "left aside: unreadable");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use dawn_proto::TaskState;
    use dawn_proto::v1::{ExecutorPlan, Reason};
    use prost::Message;

    use super::*;
    use crate::model::Ended;

    fn opened() -> (tempfile::TempDir, Tasks) {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::open(dir.path()).unwrap();
        (dir, tasks)
    }

    fn plan(task: u64) -> Vec<u8> {
        ExecutorPlan { task_id: task, uid: 7, ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn plans_and_verdicts_are_found_again() {
        let (_dir, tasks) = opened();
        tasks.write_plan(TaskId(2), &plan(2)).unwrap();
        tasks.write_plan(TaskId(10), &plan(10)).unwrap();
        assert!(tasks.write_plan(TaskId(2), &plan(2)).is_err(), "a plan is written once");
        let mut report = Report::new(TaskId(10), 4, TaskState::Lost, Timestamp(9), Reason::ExecutorLost, "gone");
        report.ended = Ended::told(None, Some(9), b"its last words".to_vec());
        tasks.write_verdict(&report).unwrap();
        tasks.mark_released(TaskId(10)).unwrap();
        let found = tasks.scan(10);
        assert_eq!(found.iter().map(|one| one.dir.task.0).collect::<Vec<_>>(), [2, 10]);
        assert_eq!(found[0].record.as_ref().unwrap().identity.uid, 7);
        assert_eq!((found[0].verdict.clone(), found[0].released), (None, false));
        assert_eq!((found[1].verdict.clone(), found[1].released), (Some(report), true));
    }

    #[test]
    fn a_plan_torn_at_any_byte_or_damaged_is_found_without_record() {
        let (_dir, tasks) = opened();
        tasks.write_plan(TaskId(1), &plan(1)).unwrap();
        let path = tasks.dir(TaskId(1)).plan();
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(tasks.scan(10)[0].record.is_none(), "cut at {cut}");
        }
        let mut bytes = whole;
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(tasks.scan(10)[0].record.is_none());
    }

    #[test]
    fn foreign_names_are_left_alone() {
        let (dir, tasks) = opened();
        for name in ["t", "x1", "t1x", "t01", "1"] {
            fs::create_dir(dir.path().join("tasks").join(name)).unwrap();
        }
        assert!(tasks.scan(10).is_empty());
        assert!(dir.path().join("tasks/t01").exists());
    }

    #[test]
    fn deletion_follows_no_symbolic_link_and_a_cut_one_is_finished_at_the_next_start() {
        let (dir, tasks) = opened();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        tasks.write_plan(TaskId(1), &plan(1)).unwrap();
        std::os::unix::fs::symlink(&outside, tasks.dir(TaskId(1)).path().join("link")).unwrap();
        tasks.discard(TaskId(1)).unwrap();
        tasks.discard(TaskId(1)).unwrap();
        assert!(tasks.scan(10).is_empty());
        assert!(dir.path().join("trash/t1/plan").exists());
        tasks.empty_trash().unwrap();
        assert!(!dir.path().join("trash/t1").exists());
        assert!(outside.join("precious").exists());
        fs::create_dir_all(dir.path().join("trash/t5/deep")).unwrap();
        Tasks::open(dir.path()).unwrap();
        assert!(!dir.path().join("trash/t5").exists());
    }
}
