//! Requests on their way in. One that is large takes a place from when that shows until all of it has come; it comes within
//! some time.

use super::refusals::{busy, late};
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use hyper::body::{Body as HttpBody, Bytes, Frame};
use tonic::Status;
use tonic::body::Body;

use crate::shares::{Holder, Refused, Share, Shares, TakenAway};

/// What comes of a request without a place among the large ones.
const SMALL_BYTES: usize = 32 << 10;

/// The body of a request.
#[derive(Debug)]
pub(super) struct Upload {
    body: Body,
    received: usize,
    progress: Arc<Progress>,
}

/// How far it has come.
#[derive(Debug)]
pub(super) struct Progress {
    large: Mutex<Large>,
    reader: AtomicWaker,
    places: Shares,
    holder: Holder,
}

#[derive(Debug)]
enum Large {
    NotYet,
    Held(#[allow(dead_code, reason = "held until all has come")] Share),
    Refused(Refused),
    /// All has come, or what comes is not counted any more.
    Over,
}

impl Upload {
    pub fn new(body: Body, places: Shares, holder: Holder) -> (Upload, Arc<Progress>) {
        let (large, reader) = (Mutex::new(Large::NotYet), AtomicWaker::new());
        let progress = Arc::new(Progress { large, reader, places, holder });
        (Upload { body, received: 0, progress: progress.clone() }, progress)
    }
}

impl Progress {
    fn large(&self) -> MutexGuard<'_, Large> {
        // Nothing under the lock can panic half way.
        self.large.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes from now on is not counted.
    pub fn is_over(&self) {
        let before = std::mem::replace(&mut *self.large(), Large::Over);
        drop(before);
    }

    /// Resolves when it has not come in time, or the request's place was taken away before.
    pub async fn overdue(&self, mut place: TakenAway, within: Option<Duration>) -> Status {
        let overdue = async {
            match within {
                Some(within) => tokio::time::sleep(within).await,
                None => pending().await,
            }
        };
        let status = tokio::select! {
            _ = place.wait() => busy(place.reason()),
            () = overdue => late(format!(
                "the request did not come whole within {}; nothing was done",
                dawn_proto::amounts::whole_seconds(within.unwrap_or_default())
            )),
        };
        match *self.large() {
            // It is being answered, which takes no longer for it.
            Large::Over => {}
            _ => return status,
        }
        pending().await
    }

    /// More of it has come.
    fn received(self: &Arc<Self>, bytes: usize) -> Result<(), Refused> {
        let mut large = self.large();
        if let Large::Refused(refused) = *large {
            return Err(refused);
        }
        if bytes <= SMALL_BYTES || !matches!(*large, Large::NotYet) {
            return Ok(());
        }
        let place = self.places.take(self.holder)?;
        let (mut taken, progress) = (place.watch(), Arc::downgrade(self));
        tokio::spawn(async move {
            if taken.wait().await
                && let Some(progress) = progress.upgrade()
            {
                let refused = std::mem::replace(&mut *progress.large(), Large::Refused(taken.reason()));
                drop(refused);
                progress.reader.wake();
            }
        });
        *large = Large::Held(place);
        Ok(())
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.progress.reader.register(context.waker());
        if let Err(refused) = self.progress.received(0) {
            return Poll::Ready(Some(Err(busy(refused))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            None => self.progress.is_over(),
            Some(Ok(frame)) => {
                self.received = self.received.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                if let Err(refused) = self.progress.received(self.received) {
                    return Poll::Ready(Some(Err(busy(refused))));
                }
                if self.body.is_end_stream() {
                    self.progress.is_over();
                }
            }
            Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
