//! Serves a few pages by HTTP. Not here: what is on them.

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

/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 16;
/// A request's head comes within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

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
    P: Fn(&Uri) -> Page + Send + Sync + 'static,
{
    const TEXT: &str = "text/plain; charset=utf-8";
    let uri = request.uri().clone();
    let page = match request.method() {
        &Method::GET => tokio::task::spawn_blocking(move || page(&uri)).await.ok(),
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
