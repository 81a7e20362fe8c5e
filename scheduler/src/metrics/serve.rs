//! Serves a few pages by HTTP. Whoever asks after the health is answered, whoever else has connections and reads nothing.
//! Not here: what is on the pages.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Connections at once; the oldest gives way to one more.
const MAX_CONNECTIONS: usize = 64;
/// Pages that are made at once, but for those of health: each looks at the whole state.
const MAX_PAGES: usize = 4;
/// A page is asked for, made and read within this time.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
/// A request's head comes within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Asked for by whoever ends this scheduler if it is not answered.
const HEALTH: [&str; 2] = ["/livez", "/readyz"];

/// What is answered to a GET.
pub enum Page {
    /// In Prometheus' text form.
    Metrics(String),
    Json(String),
    Text(String),
    /// It is not there now: what it waits for.
    Unavailable(String),
    /// The request asks for nothing that is there: what, and what to ask instead.
    Missing(String),
}

/// Answers every GET with `page` of its target, made on a thread where it may take its time, until dropped.
pub async fn serve(listener: TcpListener, page: impl Fn(&Uri) -> Page + Send + Sync + 'static) {
    let (page, turns) = (Arc::new(page), Arc::new(Semaphore::new(MAX_PAGES)));
    let mut serving = JoinSet::new();
    let mut open = VecDeque::<AbortHandle>::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "can't take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while serving.try_join_next().is_some() {}
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let (page, turns) = (page.clone(), turns.clone());
        open.push_back(serving.spawn(async move {
            let service = service_fn(move |request| answer(request, page.clone(), turns.clone()));
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).keep_alive(false);
            // The reader has gone, or takes too long.
            _ = timeout(SERVED_WITHIN, server.serve_connection(TokioIo::new(stream), service)).await;
        }));
    }
}

async fn answer<P>(
    request: Request<Incoming>,
    page: Arc<P>,
    turns: Arc<Semaphore>,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    P: Fn(&Uri) -> Page + Send + Sync + 'static,
{
    const TEXT: &str = "text/plain; charset=utf-8";
    let uri = request.uri().clone();
    let page = match *request.method() {
        // Made in a moment: no thread has to be free for it.
        Method::GET if HEALTH.contains(&uri.path()) => Some(page(&uri)),
        Method::GET => {
            // Held by the thread, which goes on when its reader is gone. Never closed.
            let turn = turns.acquire_owned().await;
            let made = tokio::task::spawn_blocking(move || (page(&uri), turn));
            made.await.ok().map(|(page, _)| page)
        }
        _ => return Ok(response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is answered here\n".into())),
    };
    Ok(match page {
        Some(Page::Metrics(text)) => response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
        Some(Page::Json(text)) => response(StatusCode::OK, "application/json", text),
        Some(Page::Text(text)) => response(StatusCode::OK, TEXT, format!("{text}\n")),
        Some(Page::Unavailable(why)) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        Some(Page::Missing(why)) => response(StatusCode::NOT_FOUND, TEXT, format!("{why}\n")),
        None => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, String::new()),
    })
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: std::net::SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn health_is_told_whoever_reads_no_pages_and_however_long_they_take() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = std::sync::Mutex::new(released);
        let serving = tokio::spawn(serve(listener, move |uri| match uri.path() {
            "/livez" => Page::Text("ok".into()),
            "/slow" => {
                _ = released.lock().unwrap().recv();
                Page::Text("at last".into())
            }
            _ => Page::Metrics("x".repeat(16 << 20)),
        }));
        let mut unread = Vec::new();
        for number in 0..3 * MAX_CONNECTIONS {
            unread.push(ask(address, if number % 2 == 0 { "/metrics" } else { "/slow" }).await);
        }
        let mut answer = String::new();
        let mut health = ask(address, "/livez").await;
        let read = timeout(Duration::from_secs(20), health.read_to_string(&mut answer)).await;
        read.expect("health is told").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
        drop(release);
        serving.abort();
    }
}
