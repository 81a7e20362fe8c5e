//! Serves one page by HTTP. Not here: what is on it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 16;
/// A request's head comes within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Answers GET /metrics with `page`, made on a thread where it may take its time, until dropped.
pub async fn serve(listener: TcpListener, page: impl Fn() -> String + Send + Sync + 'static) {
    let (page, room) = (Arc::new(page), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    loop {
        // Never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "can't take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let page = page.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, page.clone()));
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
            // The reader has gone.
            _ = server.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

async fn answer<P>(request: Request<Incoming>, page: Arc<P>) -> Result<Response<Full<Bytes>>, Infallible>
where
    P: Fn() -> String + Send + Sync + 'static,
{
    let wanted = request.method() == Method::GET && request.uri().path() == "/metrics";
    let page = if wanted { tokio::task::spawn_blocking(move || page()).await.ok() } else { None };
    let status = match (&page, wanted) {
        (Some(_), _) => StatusCode::OK,
        (None, true) => StatusCode::INTERNAL_SERVER_ERROR,
        (None, false) => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Full::new(Bytes::from(page.unwrap_or_default())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}
