//! Asks the coordinators of jobs over HTTP whether a task may be stopped. One POST of a small JSON object a question; the
//! answer, or why there is none, goes back as an event. How many are open at once is `decide::sla`'s bound.

use std::time::Duration;

use dawn_proto::TaskId;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::drive::Inbox;
use crate::model::{Allowed, Event};

/// For the whole exchange; below what decisions wait for.
const WITHIN: Duration = Duration::from_secs(10);
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// What a coordinator is told about the task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub job: String,
    pub instance: u32,
    pub agent: String,
    pub hostname: String,
}

/// Asks in the background.
#[derive(Clone, Debug)]
pub struct Coordinators {
    pub inbox: Inbox,
    pub allowed: Allowed,
}

impl Coordinators {
    /// Must be called inside a runtime. A scheduler that stops meanwhile loses the answer: the next leader asks again.
    pub fn ask(&self, task: TaskId, url: String, status_key: String, about: About) {
        let inbox = self.inbox.clone();
        // What was submitted before it was forbidden is not asked either.
        let allowed = self.allowed.check(&url);
        tokio::spawn(async move {
            let asked = async { tokio::time::timeout(WITHIN, post(&url, &status_key, task, &about)).await };
            let answer = match allowed {
                Ok(()) => asked.await.unwrap_or_else(|_| {
                    Err(format!("it took longer than {}", dawn_proto::amounts::whole_seconds(WITHIN)))
                }),
                Err(why) => Err(why),
            };
            _ = inbox.link_event(Event::Coordinated { task, answer }).await;
        });
    }
}

async fn post(url: &str, status_key: &str, task: TaskId, about: &About) -> Result<bool, String> {
    let uri: hyper::Uri = url.parse().map_err(|_| "its url is not valid".to_string())?;
    let host = uri.host().ok_or("its url has no host")?.to_string();
    let port = uri.port_u16().unwrap_or(80);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let body = serde_json::json!({
        "task": task.to_string(), "job": about.job, "instance": about.instance,
        "agent": about.agent, "hostname": about.hostname,
    });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = hyper::Request::post(path)
        .header("host", format!("{host}:{port}"))
        .header("content-type", "application/json")
        .header("user-agent", "dawn")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| error.to_string())?;
    let said = read(sender.send_request(request).await.map_err(|error| error.to_string())?, status_key).await;
    driver.abort();
    said
}

async fn read(answer: hyper::Response<hyper::body::Incoming>, status_key: &str) -> Result<bool, String> {
    if !answer.status().is_success() {
        return Err(format!("it answers with status {}", answer.status().as_u16()));
    }
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| format!("its answer broke off: {error}"))?.to_bytes();
    let object: serde_json::Value = serde_json::from_slice(&body).map_err(|_| "its answer is no JSON".to_string())?;
    match object.get(status_key).and_then(serde_json::Value::as_bool) {
        Some(yes) => Ok(yes),
        None => Err(format!("its answer has no {status_key:?} that is true or false")),
    }
}

#[cfg(test)]
mod tests;
