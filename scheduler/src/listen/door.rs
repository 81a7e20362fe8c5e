//! What stands in front of every service: whether a request's connection has a place, for how long it has it, and the codes
//! of refusals that the gRPC library makes itself.

use super::refusals::busy;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper::body::Body as _;
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

use super::answer::Answer;
use super::connection::Standing;
use super::upload::{Progress, Upload};
use crate::shares::{Admission, Caller, Holder, Refused, Shares, StreamPlaces};

/// Paths of what agents ask for begin so.
const AGENTS: &str = "/dawn.v1.AgentLink/";
const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
/// Most bytes of a message as it is sent: some clients take no more than 8 KiB of headers, and lose the message with them.
const MOST_MESSAGE_BYTES: usize = 7_000;
const CUT: &str = "%20%E2%80%A6";

/// Clients' sessions, whose requests go on while they are answered.
const SESSION: &str = "/dawn.v1.Reach/Open";

type Answering = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

/// A service behind the door.
#[derive(Clone, Debug)]
pub struct Door<S>(pub S);

impl<S: NamedService> NamedService for Door<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Door<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(standing) = request.extensions().get::<Arc<Standing>>().cloned() else {
            // Tests that serve without the listener.
            let answer = self.0.call(request);
            return Box::pin(async move { answer.await.map(with_true_code) });
        };
        let entered = match request.uri().path().starts_with(AGENTS) {
            true => self.agent(&standing, request),
            false => self.client(standing, request),
        };
        entered.unwrap_or_else(|refused| Box::pin(async move { Ok(busy(refused).into_http()) }))
    }
}

impl<S> Door<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    /// A link or tunnel: its connection becomes an agent's once it has shown that it is one.
    fn agent(&mut self, standing: &Arc<Standing>, request: http::Request<Body>) -> Result<Answering, Refused> {
        let place = standing.places().strangers.take(standing.holder)?;
        let (mut request, progress) = received(request, &standing.places().large_registrations, standing.holder);
        let weak = Arc::downgrade(standing);
        let admission = Admission::new(place, move || {
            progress.is_over();
            // A connection that is gone needs none.
            weak.upgrade().map_or(Ok(()), |standing| standing.agent())
        });
        request.extensions_mut().insert(admission);
        let answer = self.0.call(request);
        Ok(Box::pin(async move { answer.await.map(with_true_code) }))
    }

    /// The place of a request stays with it until its answer is sent.
    fn client(&mut self, standing: Arc<Standing>, request: http::Request<Body>) -> Result<Answering, Refused> {
        standing.client()?;
        let place = standing.request()?;
        // What comes in a session comes as long as it lives.
        let within = (request.uri().path() != SESSION).then_some(standing.places().move_within);
        let (mut request, progress) = received(request, &standing.places().large_requests, standing.holder);
        request.extensions_mut().insert(Caller(standing.holder));
        let answer = self.0.call(request);
        Ok(Box::pin(async move {
            let answer = tokio::select! {
                biased;
                answer = answer => answer.map(with_true_code)?,
                status = progress.overdue(place.watch(), within) => return Ok(status.into_http()),
            };
            progress.is_over();
            let (mut parts, body) = answer.into_parts();
            if body.is_end_stream() {
                return Ok(http::Response::from_parts(parts, body));
            }
            let stream = parts.extensions.remove::<StreamPlaces>();
            let mut made = Some((body, place, stream));
            let answer = poll_fn(|context| {
                let made = made
                    .take()
                    .map(|(body, place, stream)| Answer::begin(body, &standing, Some(place), stream, context));
                Poll::Ready(made)
            });
            Ok(http::Response::from_parts(parts, answer.await.map_or_else(Body::empty, Body::new)))
        }))
    }
}

fn received(request: http::Request<Body>, places: &Shares, holder: Holder) -> (http::Request<Body>, Arc<Progress>) {
    let (parts, body) = request.into_parts();
    let (upload, progress) = Upload::new(body, places.clone(), holder);
    (http::Request::from_parts(parts, Body::new(upload)), progress)
}

/// A request that can't be read is the caller's mistake, and one that is too large exhausts what there is for it: the
/// library answers INTERNAL and OUT_OF_RANGE.
fn with_true_code(mut answer: http::Response<Body>) -> http::Response<Body> {
    let headers = answer.headers_mut();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Some(short) = shortened(text(MESSAGE)) {
        headers.insert(MESSAGE, short);
        return with_true_code(answer);
    }
    let code = match (text(STATUS).parse().map(Code::from_i32), text(MESSAGE)) {
        (Ok(Code::Internal), message) if message.starts_with("failed%20to%20decode%20Protobuf") => {
            Code::InvalidArgument
        }
        (Ok(Code::OutOfRange), message) if message.contains("message%20length%20too%20large") => {
            Code::ResourceExhausted
        }
        _ => return answer,
    };
    headers.insert(STATUS, http::HeaderValue::from(code as i32));
    answer
}

/// The beginning of a message that is too long, percent-encoded as it was.
fn shortened(message: &str) -> Option<http::HeaderValue> {
    if message.len() <= MOST_MESSAGE_BYTES {
        return None;
    }
    // The cut is made before a whole character: bytes beyond ASCII are escaped, and all but the first of a character
    // begin with the bits 10.
    let kept = (0..=MOST_MESSAGE_BYTES - CUT.len()).rev().find(|end| {
        let inside = |back: usize| end.checked_sub(back).is_some_and(|at| message.as_bytes()[at] == b'%');
        let goes_on = |text: &str| matches!(text.as_bytes(), [b'%', b'8' | b'9' | b'A' | b'B', _, ..]);
        !inside(1) && !inside(2) && !goes_on(&message[*end..])
    })?;
    format!("{}{CUT}", &message[..kept]).parse().ok()
}
