//! What failed tasks wrote last to standard error: as their agents said it, or else the end of their logs.

use std::time::Duration;

use dawn_proto::TaskId;
use dawn_proto::v1::{self, TaskState};
use futures_util::future::join_all;
use tonic::Status;

use super::ClientService;
use super::status;
use crate::model::{AgentNo, State, Task};
use crate::shares::Holder;

/// Tasks that may be asked about at once.
const MOST_TASKS: usize = 32;
/// Of one task.
const MOST_OF_TASK_BYTES: usize = 2 << 10;
/// An agent says what it has of a log within this time.
const AGENT_WITHIN: Duration = Duration::from_secs(1);

/// A failed task.
struct Failed {
    task: TaskId,
    agent: AgentNo,
    /// The process that decided the end; empty: it is not known, so the first one is asked about.
    process: String,
}

impl ClientService {
    /// In the order asked for; empty where nobody knows.
    pub(super) async fn last_words(&self, holder: Holder, tasks: &[u64]) -> Result<v1::GetLastWordsResponse, Status> {
        // Only the leader hears the agents.
        self.only_leader()?;
        if tasks.len() > MOST_TASKS {
            let message = format!("{} tasks; at most {MOST_TASKS} may be asked about at once", tasks.len());
            return Err(status::wrong("task_ids", message));
        }
        let ids: Vec<TaskId> = tasks.iter().copied().map(TaskId).collect();
        let look = move |state: &State| -> Vec<_> { ids.iter().map(|id| failed(state.tasks.get(id)?)).collect() };
        let found = self.reader.find(look).await?;
        let words = found.into_iter().zip(tasks).map(|(failed, task_id)| async move {
            let data = match failed {
                Some(failed) => self.words_of(holder, failed).await,
                None => Vec::new(),
            };
            v1::LastWords { task_id: *task_id, data }
        });
        Ok(v1::GetLastWordsResponse { tasks: join_all(words).await })
    }

    async fn words_of(&self, holder: Holder, failed: Failed) -> Vec<u8> {
        if let Some(words) = self.logs.last_words(failed.agent, failed.task) {
            return words;
        }
        // The agent has told them to an earlier leader, or has none.
        let asked = tokio::time::timeout(AGENT_WITHIN, self.end_of_log(holder, &failed)).await;
        asked.unwrap_or_default()
    }

    /// The whole lines in the last part of what the process wrote to standard error; empty when its agent says nothing.
    async fn end_of_log(&self, holder: Holder, failed: &Failed) -> Vec<u8> {
        let Ok(_place) = self.streams.log(failed.agent, holder) else { return Vec::new() };
        let request = v1::ReadLogRequest {
            task_id: failed.task.0,
            process: failed.process.clone(),
            stderr: true,
            tail: true,
            tail_bytes: MOST_OF_TASK_BYTES as u64,
            ..Default::default()
        };
        let Ok(mut chunks) = self.logs.read_log(failed.agent, request).await else { return Vec::new() };
        let (mut first, mut words) = (None, Vec::new());
        while let Some(Ok(chunk)) = chunks.recv().await {
            first.get_or_insert(chunk.offset);
            words.extend(chunk.data);
            if chunk.end || words.len() > MOST_OF_TASK_BYTES {
                break;
            }
        }
        words.truncate(MOST_OF_TASK_BYTES);
        if first.unwrap_or(0) > 0 {
            cut_to_line(&mut words);
        }
        words
    }
}

/// Begins with a whole line, where there is more than one.
fn cut_to_line(words: &mut Vec<u8>) {
    let next_line = words.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
    if let Some(start) = next_line.filter(|start| *start < words.len()) {
        words.drain(..start);
    }
}

/// None: it has not failed, or was never on an agent.
fn failed(task: &Task) -> Option<Failed> {
    if task.state() != TaskState::Failed {
        return None;
    }
    let message = task.history.last().map_or("", |transition| &transition.message);
    // An executor names the process first: "process web ended with exit code 3"; one of before "process web: exit code 3".
    let process = message.strip_prefix("process ").and_then(|rest| rest.split([' ', ':']).next()).unwrap_or("");
    Some(Failed { task: task.id, agent: task.status.place()?.agent, process: process.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_were_cut_begin_with_a_whole_line_where_there_is_one() {
        let cut = |text: &str| {
            let mut words = text.as_bytes().to_vec();
            cut_to_line(&mut words);
            String::from_utf8(words).unwrap()
        };
        assert_eq!(cut("f a line\nthe next\n"), "the next\n");
        assert_eq!(cut("one long line\n"), "one long line\n");
        assert_eq!(cut("one long line"), "one long line");
    }
}
