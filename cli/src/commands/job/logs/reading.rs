//! Reads one log to its end or, when it is followed, on through the lives of the instance. Not here: which logs are read.

use std::collections::BTreeSet;
use std::time::Duration;

use dawn_proto::{JobKey, TaskId, v1};
use tokio::time::sleep;

use super::attempts::has_run;
use super::lines::{Lines, describe_gap};
use super::order::{PATIENCE, Place};
use crate::client::{Client, Repeat, Scheduler, broke_off};
use crate::exit::{Exit, Failure};
use crate::render::{self, failure, time};

/// Between two looks for the next life of an instance.
const POLL: Duration = Duration::from_millis(500);

/// One process's log, and how it is shown.
pub struct Reading {
    pub scheduler: Scheduler,
    pub lines: Lines,
    /// Of the instance whose next life is read when one has ended; none: this task alone.
    pub instance: Option<(JobKey, u32)>,
    pub request: v1::ReadLogRequest,
    /// The task of the request was started; false: the first start of the instance is waited for.
    pub started: bool,
    /// Says when the instance begins a new life: one of its processes does.
    pub announces: bool,
    /// Lets the task's other processes come first with what they wrote before; of the first life only.
    pub place: Option<Place>,
    /// What was said of the way to the next life since there was anything to read.
    said: Said,
    shown: bool,
    /// All of this life's log was asked for, from its first byte on.
    is_whole: bool,
    began_ms: i64,
}

/// What became of reading a task's log.
enum Read {
    /// The task has ended, and all of its log was read.
    ToTheEnd,
    BrokeOff,
    /// The node does not answer, with what there is to say of it.
    OutOfReach(String),
}

/// What was said while there was nothing to read.
#[derive(Default)]
struct Said(BTreeSet<String>);

impl Said {
    /// Whether it was not said before, though other things were said since.
    fn is_new(&mut self, what: &str) -> bool {
        self.0.insert(what.to_string())
    }
}

impl Reading {
    pub fn new(scheduler: Scheduler, lines: Lines, request: v1::ReadLogRequest) -> Reading {
        let (said, shown) = (Said::default(), false);
        let (instance, place, is_whole) = (None, None, asks_for_all(&request));
        Reading {
            scheduler,
            lines,
            instance,
            request,
            started: true,
            announces: false,
            place,
            said,
            shown,
            is_whole,
            began_ms: time::now_ms(),
        }
    }

    /// Reads to the end, or for ever when following; says whether there was anything.
    ///
    /// # Errors
    /// Why it can't be read.
    pub async fn read(mut self) -> Result<bool, Failure> {
        if !self.started && !self.next_life(true).await? {
            return Ok(self.shown);
        }
        loop {
            let goes_on = match self.one_task().await? {
                Read::ToTheEnd if !self.request.follow || self.instance.is_none() => return Ok(self.shown),
                Read::ToTheEnd => self.next_life(true).await?,
                // The stream broke under a task that lives: on from there, so that nothing is lost or comes twice.
                Read::BrokeOff => self.pause().await,
                Read::OutOfReach(why) => {
                    self.say(&why);
                    // It may have been replaced on another node.
                    self.instance.is_some() && self.next_life(false).await? || self.pause().await
                }
            };
            if !goes_on {
                return Ok(self.shown);
            }
        }
    }

    async fn pause(&mut self) -> bool {
        if self.request.offset.or(self.request.stderr_offset).is_some() {
            self.request.tail_lines = None;
        }
        sleep(POLL).await; // poll
        true
    }

    async fn one_task(&mut self) -> Result<Read, Failure> {
        let follow = self.request.follow;
        let call = async |client: &mut Client, request| client.tasks().read_log(request).await;
        let mut stream = match self.scheduler.call(self.request.clone(), Repeat::Harmless, call).await {
            Err(failure) if failure.exit == Exit::Unreachable && follow => return Ok(Read::BrokeOff),
            Err(failure) if failure.may_pass() && follow => return Ok(Read::OutOfReach(failure.to_string())),
            other => other?,
        };
        loop {
            match stream.message().await {
                Ok(Some(chunk)) => {
                    self.wait_for_turn(&chunk).await;
                    self.take(&chunk);
                    if chunk.end {
                        self.lines.finish();
                        return Ok(Read::ToTheEnd);
                    }
                }
                Ok(None) => {
                    self.lines.finish();
                    return Ok(if follow { Read::BrokeOff } else { Read::ToTheEnd });
                }
                Err(_) if follow => return Ok(Read::BrokeOff),
                Err(status) => {
                    self.lines.finish();
                    return Err(broke_off(&format!("the log of {}", TaskId(self.request.task_id)), &status));
                }
            }
        }
    }

    /// Until nothing older can come of the task's other processes, as far as it was written when the command began.
    async fn wait_for_turn(&mut self, chunk: &v1::LogChunk) {
        if chunk.data.is_empty() {
            return;
        }
        let Some(place) = self.place.take() else { return };
        // Where the log is followed, the others may write nothing any more: what comes live comes as it comes.
        let is_live = self.request.follow && (chunk.at_ms == 0 || chunk.at_ms >= self.began_ms);
        if !is_live && place.turn(chunk.at_ms, PATIENCE).await {
            self.place = Some(place);
        }
    }

    fn take(&mut self, chunk: &v1::LogChunk) {
        let task = TaskId(self.request.task_id);
        let stderr = if self.request.both { chunk.stderr } else { self.request.stderr };
        let stream = format!("{task}'s standard {}", if stderr { "error" } else { "output" });
        let next = match self.request.both && chunk.stderr {
            true => &mut self.request.stderr_offset,
            false => &mut self.request.offset,
        };
        let expected = next.or(self.is_whole.then_some(0));
        if let Some(lost) = describe_gap(expected, chunk.offset, &stream) {
            eprintln!("{lost}");
        }
        *next = Some(chunk.offset + chunk.data.len() as u64);
        self.shown |= !chunk.data.is_empty();
        self.lines.show(&chunk.data, stderr, chunk.at_ms);
        if !chunk.data.is_empty() {
            self.said = Said::default();
            self.place.iter().for_each(Place::shown);
        }
    }

    /// Goes on with the next life of the instance that was started, and waits for it if told to; false: there is none.
    async fn next_life(&mut self, waits: bool) -> Result<bool, Failure> {
        let Some((key, instance)) = self.instance.clone() else { return Ok(false) };
        let last = self.started.then_some(self.request.task_id);
        loop {
            let request = v1::ListTasksRequest {
                job: Some((&key).into()),
                instances: vec![v1::InstanceRange { first: instance, last: instance }],
                all: true,
                ..Default::default()
            };
            let call = async |client: &mut Client, request| client.tasks().list_tasks(request).await;
            let tasks = match self.scheduler.call(request, Repeat::Harmless, call).await {
                Err(failure) if failure.exit == Exit::NotFound => return Ok(false),
                Err(failure) if failure.exit == Exit::Unreachable => Vec::new(),
                other => other?.tasks,
            };
            let next = tasks.iter().filter(|task| Some(task.id) > last);
            if let Some(task) = next.clone().filter(|task| has_run(task)).min_by_key(|task| task.id) {
                self.begin(&format!("{key}/{instance}"), task);
                return Ok(true);
            }
            let waiting = next.filter(|task| !task.state().is_terminal()).max_by_key(|task| task.id);
            if let Some(waiting) = waiting {
                self.say(&waits_for(&format!("{key}/{instance}"), waiting));
            } else if has_ended(&mut self.scheduler, &key, instance).await {
                return Ok(false);
            }
            if !waits {
                return Ok(false);
            }
            sleep(POLL).await; // poll
        }
    }

    fn begin(&mut self, name: &str, task: &v1::Task) {
        let (old, new, on) = (TaskId(self.request.task_id), TaskId(task.id), render::safe(&task.hostname));
        if self.announces && self.started {
            eprintln!("--- {name}: {old} ended; now {new} on {on}");
        }
        self.said = Said::default();
        self.place = None;
        let request = std::mem::take(&mut self.request);
        let again = std::mem::replace(&mut self.started, true);
        self.request = v1::ReadLogRequest {
            task_id: task.id,
            offset: None,
            stderr_offset: None,
            // Of a later life all is new.
            tail_lines: request.tail_lines.filter(|_| !again),
            ..request
        };
        self.is_whole = asks_for_all(&self.request);
    }

    /// Says something once, to people: standard output has the log alone.
    fn say(&mut self, what: &str) {
        if self.announces && self.said.is_new(what) {
            eprintln!("--- {what}");
        }
    }
}

/// Whether a log is asked for from its first byte on.
fn asks_for_all(request: &v1::ReadLogRequest) -> bool {
    let v1::ReadLogRequest { tail, tail_lines, since_ms, offset, stderr_offset, .. } = request;
    !tail && *since_ms == 0 && tail_lines.is_none() && offset.is_none() && stderr_offset.is_none()
}

/// How the way to the next life stands.
fn waits_for(name: &str, task: &v1::Task) -> String {
    let failed = failure::of(task).map_or_else(String::new, |failed| format!(", after: {}", failure::cause(&failed)));
    let (id, state) = (TaskId(task.id), render::state(task.state()));
    let until = match task.ready_at_ms {
        0 => String::new(),
        at_ms => format!(" until {}", time::local(at_ms)),
    };
    format!("{name}: waits for the start of {id} ({state}{until}){failed}")
}

async fn has_ended(scheduler: &mut Scheduler, key: &JobKey, instance: u32) -> bool {
    let request = v1::GetJobRequest { key: Some(key.into()), version: 0 };
    let call = async |client: &mut Client, request| client.jobs().get_job(request).await;
    match scheduler.call(request, Repeat::Harmless, call).await {
        Ok(status) => {
            let summary = status.summary.unwrap_or_default();
            // A finished instance of a batch job has no next life, even while others go on.
            let batch = summary.kind() == v1::JobKind::Batch;
            let newest = status.tasks.iter().filter(|task| task.instance == instance).max_by_key(|task| task.id);
            let settled =
                newest.is_some_and(|task| matches!(task.state(), v1::TaskState::Finished | v1::TaskState::Killed));
            summary.ended || (batch && settled) || (newest.is_none() && summary.instances <= instance)
        }
        Err(failure) => failure.exit == Exit::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_turns_is_said_once() {
        let mut said = Said::default();
        let turns = ["node n2 is out of reach", "waits for the start of t38"].repeat(3);
        let told: Vec<&str> = turns.into_iter().filter(|what| said.is_new(what)).collect();
        assert_eq!(told, ["node n2 is out of reach", "waits for the start of t38"]);
    }
}
