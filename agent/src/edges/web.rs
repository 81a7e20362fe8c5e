//! A small HTTP server: GET of texts and files, for those who measure the agent and for agents that ask for its cache.
//! Not here: what is served.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, warn};

/// Connections at once.
const MAX_CONNECTIONS: usize = 64;
/// A request's head comes within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const PIECE_BYTES: usize = 256 << 10;

/// What is there under a path.
pub enum Page {
    Text {
        kind: &'static str,
        text: String,
    },
    File(File),
    /// The agent is not as whoever asks wants it.
    Unavailable(String),
    Nothing,
}

/// What becomes of one more connection than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    /// It waits: the others do work that is worth it.
    Waits,
    /// The oldest connection is closed for a new one: a health probe is answered however many clients read nothing.
    OldestGoes,
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Takes an address.
///
/// # Errors
/// What the kernel answers.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until dropped; `look` runs on a thread where it may block.
pub async fn serve(listener: TcpListener, crowded: Crowded, look: impl Fn(&str) -> Page + Send + Sync + 'static) {
    let (look, room) = (Arc::new(look), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    let mut open = VecDeque::<AbortHandle>::new();
    loop {
        open.retain(|connection| !connection.is_finished());
        if crowded == Crowded::OldestGoes
            && room.available_permits() == 0
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        // Never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "can't take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let look = look.clone();
        let serving = tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, look.clone()));
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                debug!(%error, "a connection broke");
            }
            drop(place);
        });
        open.push_back(serving.abort_handle());
    }
}

async fn answer<L>(request: Request<Incoming>, look: Arc<L>) -> Result<Response<Body>, Infallible>
where
    L: Fn(&str) -> Page + Send + Sync + 'static,
{
    if request.method() != Method::GET {
        return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".into()));
    }
    let path = request.uri().path().to_string();
    let page = tokio::task::spawn_blocking(move || look(&path)).await;
    Ok(match page {
        Ok(Page::Text { kind, text }) => self::text(StatusCode::OK, kind, text),
        Ok(Page::File(file)) => self::file(file),
        Ok(Page::Unavailable(why)) => self::text(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", why),
        Ok(Page::Nothing) => text(StatusCode::NOT_FOUND, "text/plain", "there is no such thing\n".into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
    })
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

fn file(mut file: File) -> Response<Body> {
    let length = file.metadata().map(|meta| meta.len()).unwrap_or(0);
    let (sender, pieces) = mpsc::channel::<std::io::Result<Vec<u8>>>(2);
    // Ends when the reader is gone or has all.
    tokio::task::spawn_blocking(move || {
        let mut left = length;
        while left > 0 {
            let mut piece = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES)];
            let read = file.read(&mut piece).map(|got| piece.truncate(got));
            let (failed, got) = (read.is_err(), piece.len() as u64);
            if sender.blocking_send(read.map(|()| piece)).is_err() || failed || got == 0 {
                return;
            }
            left -= got;
        }
    });
    let frames = ReceiverStream::new(pieces).map(|piece| piece.map(|piece| Frame::data(Bytes::from(piece))));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn the_oldest_connection_that_reads_nothing_gives_way() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let look = |path: &str| match path {
            "/livez" => Page::Text { kind: "text/plain", text: "ok".into() },
            _ => Page::Text { kind: "text/plain", text: "x".repeat(16 << 20) },
        };
        let serving = tokio::spawn(serve(listener, Crowded::OldestGoes, look));
        let mut unread = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            unread.push(ask(address, "/metrics").await);
        }
        let mut health = ask(address, "/livez").await;
        let mut told = [0; 15];
        let read = tokio::time::timeout(Duration::from_secs(20), health.read_exact(&mut told)).await;
        read.expect("health is told").unwrap();
        assert_eq!(&told, b"HTTP/1.1 200 OK");
        serving.abort();
    }
}
