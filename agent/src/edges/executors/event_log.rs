//! Reading a task's event log as it grows. A torn last frame is one being written; what follows damage is not read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use dawn_proto::FrameError;
use tracing::warn;

use super::{FoundExecutor, process, spawn};
use crate::model::{ExecutorEvent, ExecutorProbe, ProcessIdentity, Report, TaskDir};
use crate::wire;

/// A place in a task's event log.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    offset: u64,
    damaged: bool,
}

impl EventLog {
    pub fn new(dir: &TaskDir) -> Self {
        EventLog { path: dir.events(), offset: 0, damaged: false }
    }

    /// The whole events written since the last call.
    ///
    /// # Errors
    /// What the file system answers; a log that is not there yet is empty.
    pub fn read_new(&mut self) -> io::Result<Vec<ExecutorEvent>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::new(file);
        let mut events = Vec::new();
        while !self.damaged {
            match dawn_proto::read_frame(&mut reader) {
                // No event is empty: a power cut can leave zeroes, and those frame as empty bodies.
                Ok(body) if body.is_empty() => break,
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

/// Finds out how a task's executor stands.
///
/// # Errors
/// When the log can't be read.
pub fn probe(dir: &TaskDir) -> io::Result<FoundExecutor> {
    let mut log = EventLog::new(dir);
    let mut events = log.read_new()?;
    let executor = started(&events);
    let probe = match executor {
        Some(identity) if process::open(identity)?.is_some() => ExecutorProbe::Alive,
        Some(_) => ExecutorProbe::Dead,
        None if spawn::is_running(dir)? => ExecutorProbe::Booting,
        // It may have written its first event and died since the log was read.
        None => {
            events.extend(log.read_new()?);
            if events.is_empty() && !log.damaged { ExecutorProbe::NeverStarted } else { ExecutorProbe::Dead }
        }
    };
    if probe == ExecutorProbe::Dead {
        events.extend(log.read_new()?);
    }
    let mut found = FoundExecutor { probe, heard: 0, last: None, kill_begun: None, processes: BTreeMap::new() };
    for event in events {
        found.take_in(dir, event);
    }
    Ok(found)
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
            ExecutorEvent::Changed { sequence, at, state, reason, message, exit_code } => {
                let report = Report::new(dir.task, sequence, state, at, reason, &message);
                self.last = Some(Report { exit_code, ..report });
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
        assert_eq!(probe(&dir).unwrap().probe, ExecutorProbe::NeverStarted);
        let own = i32::try_from(std::process::id()).unwrap();
        let ticks = process::start_ticks(own).unwrap();
        fs::write(dir.events(), frame(1, start(own, ticks))).unwrap();
        assert_eq!(probe(&dir).unwrap().probe, ExecutorProbe::Alive);
        let mut bytes = frame(1, start(own, ticks + 1));
        bytes.extend(frame(2, changed(TaskState::Running)));
        fs::write(dir.events(), &bytes).unwrap();
        let found = probe(&dir).unwrap();
        assert_eq!((found.probe, found.heard), (ExecutorProbe::Dead, 2));
        assert_eq!(found.last.unwrap().state, TaskState::Running);
        assert!(!is_over(&dir));
        bytes.extend(frame(3, changed(TaskState::Finished)));
        fs::write(dir.events(), &bytes).unwrap();
        assert!(is_over(&dir));
    }
}
