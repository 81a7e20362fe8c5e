//! Answers on their way out. What is made for a client counts as long as it is here, and until the connection has sent it:
//! the request's place, and the bytes of what is large. A client that does not read for too long, or whose place is given to
//! somebody else, has what was made for it dropped, and its connection closed where that does not set it free. The stream
//! library asks for nothing while its client reads nothing, so none of this can wait to be asked.

use super::refusals::{busy, late};
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use hyper::body::{Body as HttpBody, Bytes, Frame};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::HeaderMap;

use super::connection::Standing;
use crate::shares::{Refused, Share, StreamPlaces, TakenAway};

/// Smaller pieces are bounded by the number of requests and streams.
const COUNTED_BYTES: usize = 16 << 10;
/// Handed on at a time; taking one is reading on.
const PIECE_BYTES: usize = 64 << 10;
/// For a client to take what is left for it, before more is done.
const MOMENT: Duration = Duration::from_secs(1);

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer(Arc<Slot>);

/// What is made for one request. Whatever of it is on its way holds this.
#[derive(Debug)]
struct Slot {
    inside: Mutex<Inside>,
    reader: AtomicWaker,
    standing: Arc<Standing>,
    _place: Option<Share>,
    /// Dropped with it.
    _gone: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Inside {
    body: Option<Body>,
    /// Made, and not handed on.
    rest: Bytes,
    /// What comes after the rest, and ends it.
    last: Option<Result<Frame<Bytes>, Status>>,
    /// Since when it is the client's turn; None: it waits for more.
    unread_since: Option<Instant>,
}

/// Bytes that count until the connection has sent them.
struct Counted {
    bytes: Bytes,
    _counted: Option<Share>,
    _slot: Arc<Slot>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answer {
    /// Takes the body over. What of it can be had at once is made at once: then it is known how large it is. A stream that has
    /// places of its own ends with them, may be read as slowly as its client likes, and gives the request's place back.
    pub fn begin(
        body: Body,
        standing: &Arc<Standing>,
        place: Option<Share>,
        stream: Option<StreamPlaces>,
        context: &mut Context<'_>,
    ) -> Answer {
        let place = place.filter(|_| stream.is_none());
        let read_within = stream.is_none().then_some(standing.places().move_within);
        // An answer that is made gets a moment to be read.
        let of_request = place.iter().map(|place| (place.watch(), MOMENT));
        let of_stream = stream.into_iter().flat_map(|places| places.0).map(|taken| (taken, Duration::ZERO));
        let places: Vec<_> = of_request.chain(of_stream).collect();
        let (gone, on_gone) = oneshot::channel();
        let inside = Inside { body: Some(body), rest: Bytes::new(), last: None, unread_since: Some(Instant::now()) };
        let (standing, reader) = (standing.clone(), AtomicWaker::new());
        let slot = Arc::new(Slot { inside: Mutex::new(inside), reader, standing, _place: place, _gone: gone });
        tokio::spawn(attend(Arc::downgrade(&slot), on_gone, places, read_within));
        // Not ready: the connection asks on.
        _ = slot.make(&mut slot.inside(), context);
        Answer(slot)
    }
}

/// Cuts an answer off whose places are taken away, or that is not read. Ends when it is gone.
async fn attend(
    slot: Weak<Slot>,
    gone: oneshot::Receiver<()>,
    places: Vec<(TakenAway, Duration)>,
    read_within: Option<Duration>,
) {
    let status = tokio::select! {
        _ = gone => return,
        refused = first_taken(places) => busy(refused),
        within = unread(&slot, read_within) => {
            let words = format!("the answer was not read on for {}; ask again, and read it", dawn_proto::amounts::whole_seconds(within));
            late(words)
        }
    };
    cut(slot, status).await;
}

async fn first_taken(places: Vec<(TakenAway, Duration)>) -> Refused {
    let taken = |(mut place, after): (TakenAway, Duration)| async move {
        let refused = place.wait().await.then(|| place.reason());
        sleep(if refused.is_some() { after } else { Duration::ZERO }).await;
        refused
    };
    let mut taken: FuturesUnordered<_> = places.into_iter().map(taken).collect();
    while let Some(refused) = taken.next().await {
        if let Some(refused) = refused {
            return refused;
        }
    }
    pending().await
}

/// Resolves when it was the client's turn for so long.
async fn unread(slot: &Weak<Slot>, within: Option<Duration>) -> Duration {
    let Some(within) = within else { return pending().await };
    loop {
        let since = slot.upgrade().and_then(|slot| slot.inside().unread_since);
        let until = since.unwrap_or_else(Instant::now) + within;
        if until <= Instant::now() {
            return within;
        }
        sleep_until(until).await;
    }
}

/// Drops what was made and what makes it. What the connection holds of it goes with the connection.
async fn cut(slot: Weak<Slot>, status: Status) {
    let Some(cut) = slot.upgrade() else { return };
    let dropped = cut.inside().end(status);
    drop(dropped);
    cut.reader.wake();
    let standing = Arc::downgrade(&cut.standing);
    drop(cut);
    sleep(MOMENT).await;
    if slot.strong_count() > 0
        && let Some(standing) = standing.upgrade()
    {
        standing.close("it does not read what was answered to it");
    }
}

impl Inside {
    /// What is to be dropped once nothing is locked.
    fn end(&mut self, status: Status) -> (Option<Body>, Bytes) {
        let mut trailers = HeaderMap::new();
        // A status whose words can't be sent is one without.
        self.last = Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers)));
        (self.body.take(), std::mem::take(&mut self.rest))
    }
}

impl Slot {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing that is half done matters after a panic of what makes the answer: it makes no more.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for more of the body.
    fn make(self: &Arc<Self>, inside: &mut Inside, context: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut inside.body else { return Poll::Ready(()) };
        match ready!(Pin::new(body).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
            None => inside.body = None,
            Some(Ok(Ok(bytes))) => match self.counted(bytes) {
                Ok(bytes) => inside.rest = bytes,
                Err(refused) => drop(inside.end(busy(refused))),
            },
            Some(Ok(Err(trailers))) => inside.last = Some(Ok(trailers)),
            Some(Err(status)) => inside.last = Some(Err(status)),
        }
        Poll::Ready(())
    }

    fn counted(self: &Arc<Self>, bytes: Bytes) -> Result<Bytes, Refused> {
        let counted = match bytes.len() > COUNTED_BYTES {
            true => Some(self.standing.places().answer_bytes.take_many(self.standing.holder, bytes.len())?),
            false => None,
        };
        if let Some(counted) = &counted {
            let (slot, mut taken) = (Arc::downgrade(self), counted.watch());
            tokio::spawn(async move {
                if taken.wait().await {
                    cut(slot, busy(taken.reason())).await;
                }
            });
        }
        Ok(Bytes::from_owner(Counted { bytes, _counted: counted, _slot: self.clone() }))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.reader.register(context.waker());
        let mut inside = self.0.inside();
        loop {
            if !inside.rest.is_empty() {
                inside.unread_since = Some(Instant::now());
                let most = inside.rest.len().min(PIECE_BYTES);
                return Poll::Ready(Some(Ok(Frame::data(inside.rest.split_to(most)))));
            }
            if let Some(last) = inside.last.take() {
                inside.unread_since = Some(Instant::now());
                let body = inside.body.take();
                drop(inside);
                drop(body);
                return Poll::Ready(Some(last));
            }
            if inside.body.is_none() {
                return Poll::Ready(None);
            }
            if self.0.make(&mut inside, context).is_pending() {
                inside.unread_since = None;
                return Poll::Pending;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let inside = self.0.inside();
        let is_over = inside.body.as_ref().is_none_or(HttpBody::is_end_stream);
        is_over && inside.rest.is_empty() && inside.last.is_none()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // What is not handed on holds the slot as well.
        let mut inside = self.0.inside();
        let dropped = (inside.body.take(), std::mem::take(&mut inside.rest));
        drop(inside);
        drop(dropped);
    }
}
