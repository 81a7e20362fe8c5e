//! Serves `WatchJob` in front of the generated service, which would copy and encode a status once for each client.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use dawn_proto::v1;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};

use crate::api::status;
use crate::api::{ClientService, MAX_REQUEST_BYTES, command};
use crate::shares::Caller;

const PATH: &str = "/dawn.v1.Jobs/WatchJob";

/// The generated service of clients, with its watches served from here.
#[derive(Clone)]
pub struct WatchFront<S> {
    pub inner: S,
    pub client: ClientService,
}

impl<S: NamedService> NamedService for WatchFront<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for WatchFront<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PATH {
            return Box::pin(self.inner.call(request));
        }
        let watch = WatchJob(self.client.clone());
        Box::pin(async move {
            let mut grpc = Grpc::new(Encoded).apply_max_message_size_config(Some(MAX_REQUEST_BYTES), Some(usize::MAX));
            Ok(grpc.server_streaming(watch, request).await)
        })
    }
}

struct WatchJob(ClientService);

impl ServerStreamingService<v1::GetJobRequest> for WatchJob {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<v1::GetJobRequest>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let holder = Caller::of(request.extensions());
            let request = request.into_inner();
            let key = command::key(request.key.as_ref())?;
            let (places, shown) = client.watches.watch(holder, key, request.version).await?;
            let encoded = shown.map(|shown| shown.map(|shown| shown.encoded.clone()));
            let mut response = Response::new(Box::pin(encoded) as Self::ResponseStream);
            response.extensions_mut().insert(places);
            Ok(response)
        })
    }
}

/// Statuses go out as they were encoded.
#[derive(Clone, Copy, Debug, Default)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = v1::GetJobRequest;
    type Encoder = Encoded;
    type Decoder = Encoded;

    fn encoder(&mut self) -> Encoded {
        Encoded
    }

    fn decoder(&mut self) -> Encoded {
        Encoded
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, status: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(status);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = v1::GetJobRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<v1::GetJobRequest>, Status> {
        let message = buffer.copy_to_bytes(buffer.remaining());
        let decoded = v1::GetJobRequest::decode(message);
        decoded.map(Some).map_err(|error| status::wrong("", format!("the request is no GetJobRequest: {error}")))
    }
}
