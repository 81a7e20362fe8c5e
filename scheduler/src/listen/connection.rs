//! One connection, and what it has shown to be.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use tonic::transport::server::Connected;

use super::Places;
use crate::shares::{Holder, Refused, Share, TakenAway};

/// What a client begins to speak HTTP/2 with.
const PREFACE_BYTES: usize = 24;
/// For the refusal of a connection's request to be sent before it is closed.
const CLOSE_AFTER: Duration = Duration::from_secs(1);

/// What a connection has shown to be.
#[derive(Debug)]
enum Kind {
    Newcomer(#[allow(dead_code, reason = "held until the connection shows what it is")] Share),
    Client(#[allow(dead_code, reason = "held for as long as the connection lives")] Share),
    Agent(#[allow(dead_code, reason = "held for as long as the connection lives")] OwnedSemaphorePermit),
    /// There was no place for it; it is about to be closed.
    Refused(Refused),
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Connected,
    /// The preface of HTTP/2 came.
    Greeted,
    /// It is a client's or an agent's, or refused.
    Settled,
}

/// What is known of a connection by those who serve its requests.
#[derive(Debug)]
pub struct Standing {
    pub holder: Holder,
    address: SocketAddr,
    places: Places,
    kind: Mutex<Kind>,
    progress: watch::Sender<Progress>,
    is_closed: AtomicBool,
    reader: AtomicWaker,
}

/// The stream of a connection. Ends for its reader when its place is given to somebody else.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    read_bytes: usize,
    standing: Arc<Standing>,
}

impl Connection {
    /// # Errors
    /// When there is no place for a newcomer of this address.
    pub(super) fn new(stream: TcpStream, address: SocketAddr, places: Places) -> Result<Connection, Refused> {
        // Slower without, and no reason to refuse a client.
        _ = stream.set_nodelay(true);
        let holder = Holder::from(address.ip());
        let place = places.newcomers.take(holder)?;
        let taken_away = place.watch();
        let (progress, progressed) = watch::channel(Progress::Connected);
        let standing = Arc::new(Standing {
            holder,
            address,
            places,
            kind: Mutex::new(Kind::Newcomer(place)),
            progress,
            is_closed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        });
        let greet_within = standing.places.greet_within;
        tokio::spawn(receive(Arc::downgrade(&standing), progressed, taken_away, greet_within));
        Ok(Connection { stream, read_bytes: 0, standing })
    }
}

/// Sees to it that a newcomer shows what it is in time. Ends when it has, or is gone.
async fn receive(
    standing: Weak<Standing>,
    mut progress: watch::Receiver<Progress>,
    mut taken_away: TakenAway,
    greet_within: Duration,
) {
    // Nothing here keeps the connection: one that its peer closes gives its place back at once.
    let close = |why| _ = standing.upgrade().inspect(|standing| standing.close(why));
    let (silent, for_another) = ("it says nothing", "its place is given to a client that holds fewer");
    tokio::select! {
        greeted = timeout(greet_within, progress.wait_for(|progress| *progress >= Progress::Greeted)) => match greeted {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            Err(_) => return close(silent),
        },
        // Given back: it has become a client's or an agent's, or is gone.
        taken = taken_away.wait() => return if taken { close(for_another) },
    }
    tokio::select! {
        _ = progress.wait_for(|progress| *progress >= Progress::Settled) => {}
        () = tokio::time::sleep(greet_within) => {
            if standing.upgrade().is_some_and(|standing| standing.client().is_err()) {
                close(silent);
            }
        }
        taken = taken_away.wait() => if taken { close(for_another) },
    }
}

/// Closes a client's connection whose place is given to somebody else.
async fn yield_place(standing: Weak<Standing>, mut taken_away: TakenAway) {
    if taken_away.wait().await
        && let Some(standing) = standing.upgrade()
    {
        standing.close("its place is given to a client that holds fewer");
    }
}

impl Standing {
    fn kind(&self) -> MutexGuard<'_, Kind> {
        // Nothing under the lock can panic half way.
        self.kind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its peer reads and says anything or not.
    pub(super) fn close(&self, why: &str) {
        tracing::debug!(address = %self.address, why, "a connection is closed");
        self.is_closed.store(true, Ordering::Release);
        self.reader.wake();
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    fn greeted(&self) {
        self.progress.send_if_modified(|progress| {
            let is_first = *progress < Progress::Greeted;
            *progress = (*progress).max(Progress::Greeted);
            is_first
        });
    }

    /// A client's request came: the connection takes one of the clients' places, unless it has one.
    ///
    /// # Errors
    /// When there is none for it; the connection is closed soon.
    pub fn client(self: &Arc<Self>) -> Result<(), Refused> {
        let mut kind = self.kind();
        match &*kind {
            Kind::Newcomer(_) => {}
            // An agent's connection may ask what a client may.
            Kind::Client(_) | Kind::Agent(_) => return Ok(()),
            Kind::Refused(refused) => return Err(*refused),
        }
        match self.places.clients.take(self.holder) {
            Ok(place) => {
                tokio::spawn(yield_place(Arc::downgrade(self), place.watch()));
                *kind = Kind::Client(place);
                self.progress.send_replace(Progress::Settled);
                Ok(())
            }
            Err(refused) => {
                *kind = Kind::Refused(refused);
                self.progress.send_replace(Progress::Settled);
                let closing = Arc::downgrade(self);
                tokio::spawn(async move {
                    tokio::time::sleep(CLOSE_AFTER).await;
                    closing.upgrade().inspect(|standing| standing.close("there is no place for it"));
                });
                Err(refused)
            }
        }
    }

    /// An agent registered, or brings what was asked for: the connection takes one of the agents' places, unless it has one.
    ///
    /// # Errors
    /// The number of places, when all are taken.
    pub fn agent(&self) -> Result<(), usize> {
        let mut kind = self.kind();
        if !matches!(*kind, Kind::Agent(_)) {
            let place = self.places.agents.clone().try_acquire_owned().map_err(|_| self.places.most_agents)?;
            *kind = Kind::Agent(place);
            self.progress.send_replace(Progress::Settled);
        }
        Ok(())
    }

    /// A place for one request of a client.
    ///
    /// # Errors
    /// When all are taken and no other address holds more.
    pub fn request(&self) -> Result<Share, Refused> {
        self.places.requests.take(self.holder)
    }
}

impl Connection {
    /// A peer that reads nothing would hold what is still to be written for ever.
    fn is_open(&self) -> io::Result<()> {
        match self.standing.is_closed.load(Ordering::Acquire) {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Standing>;

    fn connect_info(&self) -> Arc<Standing> {
        self.standing.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.standing.reader.register(context.waker());
        if self.standing.is_closed.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.read_bytes < PREFACE_BYTES {
            self.read_bytes += buffer.filled().len() - before;
            if self.read_bytes >= PREFACE_BYTES {
                self.standing.greeted();
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.is_open()?;
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_open()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
