//! What stands in front of every service: whether a request's connection has a place, and the codes of refusals that the
//! gRPC library makes itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::connection::Standing;
use crate::shares::Caller;

/// Paths of what agents ask for begin so.
const AGENTS: &str = "/dawn.v1.AgentLink/";
const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
/// Most bytes of a message as it is sent: some clients take no more than 8 KiB of headers, and lose the message with them.
const MOST_MESSAGE_BYTES: usize = 7_000;
const CUT: &str = "%20%E2%80%A6";

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
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let standing = request.extensions().get::<Arc<Standing>>().cloned();
        let place = match &standing {
            // Tests that serve without the listener.
            None => Ok(None),
            Some(standing) => enter(standing, request.uri().path()),
        };
        let place = match place {
            Ok(place) => place,
            Err(refused) => return Box::pin(async move { Ok(refused.into_http()) }),
        };
        if let Some(standing) = standing {
            request.extensions_mut().insert(Caller(standing.holder));
        }
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await.map(with_true_code);
            drop(place);
            answer
        })
    }
}

/// The place of a request until it is answered; an agent's needs none.
fn enter(standing: &Arc<Standing>, path: &str) -> Result<Option<crate::shares::Share>, Status> {
    if path.starts_with(AGENTS) {
        return standing.agent().map(|()| None).map_err(|most| {
            Status::resource_exhausted(format!(
                "all {most} places for connections of agents are taken; try again later"
            ))
        });
    }
    let refused = |refused: crate::shares::Refused| Status::resource_exhausted(refused.to_string());
    standing.client().map_err(refused)?;
    standing.request().map(Some).map_err(refused)
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
