//! How many connections a process holds. What becomes of them is tested on a whole scheduler (`run/tests/clients.rs`).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::Connected;

use super::answer::Answer;
use super::connection::Standing;
use super::*;
use crate::shares::{Holder, StreamPlaces};

/// Pieces without end; says when it is dropped.
struct Endless {
    _dropped: oneshot::Sender<()>,
}

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; 1 << 20])))))
    }
}

/// A connection over which nothing is read, and the places of its listener.
async fn connection() -> (Connection, Arc<Standing>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, address) = listener.accept().await.unwrap();
    let connection = Connection::new(stream, address, Places::new(Bounds::of(1_024))).unwrap();
    let standing = connection.connect_info();
    (connection, standing, peer)
}

#[tokio::test]
async fn a_stream_whose_client_asks_for_nothing_ends_with_its_place() {
    let (_connection, standing, _peer) = connection().await;
    let places = Shares::new("logs", 2);
    let of = |last| Holder::from(std::net::IpAddr::from([10, 0, 0, last]));
    let held = [places.take(of(1)).unwrap(), places.take(of(1)).unwrap()];
    let (dropped, on_dropped) = oneshot::channel();
    let mut body = Some(Body::new(Endless { _dropped: dropped }));
    let ends_with = StreamPlaces(vec![held[1].watch()]);
    let answer = poll_fn(|context| {
        let body = body.take().unwrap_or_default();
        Poll::Ready(Answer::begin(body, &standing, standing.request().ok(), Some(ends_with.clone()), context))
    });
    let answer = answer.await;
    assert_eq!(standing.places().requests.count(), 0, "its place is of another kind");
    assert_eq!(standing.places().answer_bytes.count(), 1 << 20);
    let other = places.take(of(2)).unwrap();
    tokio::time::timeout(Duration::from_secs(20), on_dropped).await.expect("it is dropped").unwrap_err();
    assert_eq!(standing.places().answer_bytes.count(), 0, "nothing of it is kept");
    drop((answer, other, held));
}

#[test]
fn agents_get_what_clients_and_newcomers_cannot_take() {
    for open_files in [0, 100, 200, 1_024, 20_000, 100_000, usize::MAX] {
        let bounds = Bounds::of(open_files);
        let all = bounds.clients + bounds.newcomers + bounds.agents;
        assert!(all + OTHER_DESCRIPTORS <= open_files.max(OTHER_DESCRIPTORS + 8), "{bounds:?} of {open_files}");
        assert!(bounds.agents >= 2 && bounds.clients >= 2 && bounds.newcomers >= 2, "{bounds:?} of {open_files}");
    }
    assert_eq!(
        Bounds::of(100_000),
        Bounds {
            newcomers: 1_024,
            clients: 10_000,
            agents: 88_910,
            requests: MOST_REQUESTS,
            large_requests: MOST_LARGE_REQUESTS,
            answer_bytes: MOST_ANSWER_BYTES,
            move_within: MOVE_WITHIN,
            greet_within: GREET_WITHIN
        }
    );
}
