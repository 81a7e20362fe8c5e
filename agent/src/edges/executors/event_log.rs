//! Reading a task's event log as it grows. A torn last frame is one being written; what follows damage is not read.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use dawn_proto::FrameError;
use tracing::warn;

use super::{FoundExecutor, O_NONBLOCK, process, spawn};
use crate::model::{ExecutorEvent, ExecutorProbe, ProcessIdentity, Report, TaskDir};
use crate::wire;

/// A place in a task's event log.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    offset: u64,
    damaged: bool,
    /// There are zeroes where an event should be.
    blank: bool,
}

impl EventLog {
    pub fn new(dir: &TaskDir) -> Self {
        EventLog { path: dir.events(), offset: 0, damaged: false, blank: false }
    }

    /// The whole events written since the last call.
    ///
    /// # Errors
    /// What the file system answers; a log that is not there yet is empty.
    pub fn read_new(&mut self) -> io::Result<Vec<ExecutorEvent>> {
        // A pipe in its place must not be waited for.
        let opened = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&self.path);
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::new(file);
        let mut events = Vec::new();
        while !self.damaged {
            match dawn_proto::read_frame(&mut reader) {
                // No event is empty: a power cut can leave zeroes, and those frame as empty bodies.
                Ok(body) if body.is_empty() => {
                    self.blank = true;
                    break;
                }
                Ok(body) => {
                    match wire::decode_event(&body) {
                        Ok(event) => events.push(event),
                        Err(error) => self.damage(&error),
                    }
                    self.offset += body.len() as u64 + 8;
                }
                Err(FrameError::End | FrameError::Torn) => break,
                Err(FrameError::Io(error)) => return Err(error),
                Err(error @ FrameError::Corrupt) => self.damage(&error),
            }
        }
        Ok(events)
    }

    fn damage(&mut self, error: &dyn std::error::Error) {
        warn!(path = %self.path.display(), offset = self.offset, error = error.to_string(), "damaged event log; its rest is not read");
        self.damaged = true;
    }
}

/// Whether a task's log or the agent's verdict ends it.
pub fn is_over(dir: &TaskDir) -> bool {
    dir.verdict().exists()
        || EventLog::new(dir).read_new().is_ok_and(|events| events.last().is_some_and(ExecutorEvent::is_terminal))
}

/// Finds out how a task's executor stands. Its process is looked for only where it may live: not when the task is over,
/// and not when it was started under another boot of the machine (`may_live` is false). What can't be read is said in the
/// log and left where it is.
pub fn probe(dir: &TaskDir, may_live: bool) -> FoundExecutor {
    let mut log = EventLog::new(dir);
    let read = |log: &mut EventLog| {
        log.read_new().unwrap_or_else(|error| {
            warn!(task = %dir.task, path = %dir.events().display(), %error, "its event log can't be read; left aside");
            log.damaged = true;
            Vec::new()
        })
    };
    let mut events = read(&mut log);
    let is_over = events.last().is_some_and(ExecutorEvent::is_terminal);
    let probe = match looked_for(dir, &events, may_live && !is_over) {
        Some(probe) => probe,
        // It may have written its first event and died since the log was read.
        None => {
            events.extend(read(&mut log));
            // The lock is made just before a start, and says whether one began: then it may have run, and its log was lost.
            // What is told of another boot may not have come to the disk.
            let is_blank = events.is_empty() && !log.damaged && !log.blank;
            let has_lock = if may_live { spawn::may_have_begun(dir) } else { dir.executor_lock().exists() };
            let never = is_blank && !has_lock;
            if never { ExecutorProbe::NeverStarted } else { ExecutorProbe::Dead }
        }
    };
    if probe == ExecutorProbe::Dead {
        events.extend(read(&mut log));
    }
    let mut found = FoundExecutor { probe, heard: 0, last: None, kill_begun: None, processes: BTreeMap::new() };
    for event in events {
        found.take_in(dir, event);
    }
    found
}

/// How the executor's process stands; None: nothing of it is there.
fn looked_for(dir: &TaskDir, events: &[ExecutorEvent], may_live: bool) -> Option<ExecutorProbe> {
    let executor = started(events);
    if !may_live {
        return executor.map(|_| ExecutorProbe::Dead);
    }
    match executor.map(process::open) {
        Some(Ok(Some(_))) => Some(ExecutorProbe::Alive),
        Some(Ok(None)) => Some(ExecutorProbe::Dead),
        Some(Err(error)) => {
            warn!(task = %dir.task, %error, "its executor can't be looked at now; taken for living until it can");
            Some(ExecutorProbe::Alive)
        }
        None => match spawn::is_running(dir) {
            Ok(is_running) => is_running.then_some(ExecutorProbe::Booting),
            Err(error) => {
                let path = dir.executor_lock();
                warn!(task = %dir.task, path = %path.display(), %error, "its executor's lock can't be looked at; left aside");
                Some(ExecutorProbe::Dead)
            }
        },
    }
}

/// Who a task's executor is; None: it has not said so yet.
///
/// # Errors
/// When the log can't be read.
pub fn identity(dir: &TaskDir) -> io::Result<Option<ProcessIdentity>> {
    Ok(started(&EventLog::new(dir).read_new()?))
}

/// Who the executor says it is; the newest when it was started over.
pub fn started(events: &[ExecutorEvent]) -> Option<ProcessIdentity> {
    events.iter().rev().find_map(|event| match event {
        ExecutorEvent::Started { identity, .. } => Some(*identity),
        _ => None,
    })
}

impl FoundExecutor {
    fn take_in(&mut self, dir: &TaskDir, event: ExecutorEvent) {
        self.heard = event.sequence();
        match event {
            ExecutorEvent::ProcessStarted { name, identity, .. } => {
                self.processes.insert(name, identity);
            }
            ExecutorEvent::ProcessExited { name, .. } => {
                self.processes.remove(&name);
            }
            ExecutorEvent::KillBegun { reason, .. } => self.kill_begun = Some(reason),
            ExecutorEvent::Changed { sequence, at, state, reason, message, ended } => {
                let report = Report::new(dir.task, sequence, state, at, reason, &message);
                self.last = Some(Report { ended, ..report });
            }
            ExecutorEvent::Started { .. } | ExecutorEvent::Other { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use dawn_proto::v1::{self, executor_event::Event};
    use dawn_proto::{TaskId, TaskState};
    use prost::Message;

    use super::*;

    fn frame(sequence: u64, event: Event) -> Vec<u8> {
        let event = v1::ExecutorEvent { sequence, at_ms: 1_000, event: Some(event) };
        let mut bytes = Vec::new();
        dawn_proto::write_frame(&mut bytes, &event.encode_to_vec()).unwrap();
        bytes
    }

    fn start(pid: i32, start_ticks: u64) -> Event {
        Event::Started(v1::ExecutorStarted { pid, start_ticks, generation: 1 })
    }

    fn changed(state: TaskState) -> Event {
        Event::TaskChanged(v1::TaskChanged { state: state.into(), ..Default::default() })
    }

    fn task_dir() -> (tempfile::TempDir, TaskDir) {
        let work = tempfile::tempdir().unwrap();
        let dir = TaskDir::new(work.path(), TaskId(1));
        fs::create_dir_all(dir.path()).unwrap();
        (work, dir)
    }

    #[test]
    fn a_growing_log_is_read_frame_by_frame_wherever_it_is_cut() {
        let (_work, dir) = task_dir();
        let mut whole = frame(1, start(5, 6));
        whole.extend(frame(2, changed(TaskState::Running)));
        for cut in 0..=whole.len() {
            let mut log = EventLog::new(&dir);
            fs::write(dir.events(), &whole[..cut]).unwrap();
            let mut events = log.read_new().unwrap();
            fs::write(dir.events(), &whole).unwrap();
            events.extend(log.read_new().unwrap());
            assert_eq!(events.iter().map(ExecutorEvent::sequence).collect::<Vec<_>>(), [1, 2], "cut at {cut}");
            assert!(log.read_new().unwrap().is_empty());
        }
    }

    #[test]
    fn nothing_after_damage_is_believed() {
        let (_work, dir) = task_dir();
        let mut bytes = frame(1, start(5, 6));
        let first = bytes.len();
        bytes.extend(frame(2, changed(TaskState::Running)));
        bytes[first + 9] ^= 0xff;
        bytes.extend(frame(3, changed(TaskState::Finished)));
        fs::write(dir.events(), &bytes).unwrap();
        assert_eq!(EventLog::new(&dir).read_new().unwrap().len(), 1);
        assert!(!is_over(&dir));
    }

    #[test]
    fn executors_are_found_as_they_stand() {
        let (_work, dir) = task_dir();
        assert_eq!(probe(&dir, true).probe, ExecutorProbe::NeverStarted);
        let own = i32::try_from(std::process::id()).unwrap();
        let ticks = process::start_ticks(own).unwrap();
        fs::write(dir.events(), frame(1, start(own, ticks))).unwrap();
        assert_eq!(probe(&dir, true).probe, ExecutorProbe::Alive);
        assert_eq!(probe(&dir, false).probe, ExecutorProbe::Dead, "nothing outlives a boot");
        let mut bytes = frame(1, start(own, ticks + 1));
        bytes.extend(frame(2, changed(TaskState::Running)));
        fs::write(dir.events(), &bytes).unwrap();
        let found = probe(&dir, true);
        assert_eq!((found.probe, found.heard), (ExecutorProbe::Dead, 2));
        assert_eq!(found.last.unwrap().state, TaskState::Running);
        assert!(!is_over(&dir));
        bytes.extend(frame(3, changed(TaskState::Finished)));
        fs::write(dir.events(), &bytes).unwrap();
        assert!(is_over(&dir));
    }

    #[test]
    fn what_can_not_be_read_is_found_dead_and_left_where_it_is() {
        let (_work, dir) = task_dir();
        fs::create_dir(dir.events()).unwrap();
        assert_eq!(probe(&dir, true).probe, ExecutorProbe::Dead);
        assert!(dir.events().is_dir());
        fs::remove_dir(dir.events()).unwrap();
        fs::write(dir.events(), [0; 64]).unwrap();
        assert_eq!(probe(&dir, true).probe, ExecutorProbe::Dead, "something was written there");
        fs::remove_file(dir.events()).unwrap();
        assert_eq!(probe(&dir, true).probe, ExecutorProbe::NeverStarted);
        fs::write(dir.executor_lock(), "").unwrap();
        assert_eq!(probe(&dir, true).probe, ExecutorProbe::Dead, "one may have run");
        fs::remove_file(dir.executor_lock()).unwrap();
        fs::create_dir(dir.executor_lock()).unwrap();
        assert_eq!(probe(&dir, true).probe, ExecutorProbe::Dead);
    }

    #[test]
    fn the_process_of_a_task_that_is_over_is_not_looked_for() {
        let (_work, dir) = task_dir();
        let own = i32::try_from(std::process::id()).unwrap();
        let mut bytes = frame(1, start(own, process::start_ticks(own).unwrap()));
        bytes.extend(frame(2, changed(TaskState::Finished)));
        fs::write(dir.events(), &bytes).unwrap();
        let found = probe(&dir, true);
        assert_eq!((found.probe, found.last.unwrap().state), (ExecutorProbe::Dead, TaskState::Finished));
    }
}
