//! Watching a job: its status now and after every change. Changes that come faster than the client reads are one.

use std::time::Duration;

use dawn_proto::JobKey;
use dawn_proto::v1;
use tokio::sync::mpsc;
use tonic::Status;

use super::reads::{ReadError, job_status};
use super::{Reader, status};

/// Least time between two messages.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);

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
        loop {
            if changed && statuses.send(Ok(shown.clone())).await.is_err() {
                return;
            }
            tokio::select! {
                () = statuses.closed() => return,
                () = tokio::time::sleep(AT_MOST_EVERY) => {}
            }
            tokio::select! {
                () = statuses.closed() => return,
                more = index.changed() => if more.is_err() { return },
            }
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
