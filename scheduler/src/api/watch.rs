//! Watching a job: its status now and after every change. Changes that come faster than the client reads are one.

use std::time::Duration;

use dawn_proto::JobKey;
use dawn_proto::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use super::reads::{ReadError, job_status};
use super::{Reader, status};

/// Least time between two messages: short at first, so that a small job is seen to run at once, then twice as long each
/// time, so that a large one costs little.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// After such a time without a change the next is told at once again.
const QUIET: Duration = Duration::from_secs(1);

/// Sends the job's status until the client goes; ends without error when the job is removed.
///
/// # Errors
/// When there is no such job or version now.
pub async fn job(
    reader: Reader,
    key: JobKey,
    version: u32,
) -> Result<mpsc::Receiver<Result<v1::JobStatus, Status>>, Status> {
    let mut index = reader.index();
    let look = async move || {
        let key = key.clone();
        reader.look(move |state| job_status(state, &key, version)).await
    };
    let mut shown = look().await?.map_err(|error| status::of_read_error(&error))?;
    let (statuses, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut changed = true;
        let (mut pause, mut last) = (FIRST_PAUSE, Instant::now());
        loop {
            if changed && statuses.send(Ok(shown.clone())).await.is_err() {
                return;
            }
            tokio::select! {
                () = statuses.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                () = statuses.closed() => return,
                more = index.changed() => if more.is_err() { return },
            }
            pause = if last.elapsed() > QUIET { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            last = Instant::now();
            match look().await {
                Ok(Ok(next)) => {
                    changed = v1::JobStatus { index: 0, ..next.clone() } != v1::JobStatus { index: 0, ..shown };
                    shown = next;
                }
                Ok(Err(ReadError::NoSuchJob(_))) => return,
                Ok(Err(error)) => {
                    _ = statuses.send(Err(status::of_read_error(&error))).await;
                    return;
                }
                Err(failed) => {
                    _ = statuses.send(Err(failed)).await;
                    return;
                }
            }
        }
    });
    Ok(receiver)
}
