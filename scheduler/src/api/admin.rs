//! What operators ask for: backups, the journal as it lies, an end in order. Not here: files and etcd (the wiring brings a
//! [`Keeper`]).

use dawn_proto::errors::RefusedRequest;
use dawn_proto::v1::ErrorReason;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dawn_proto::v1;
use dawn_proto::v1::admin_server::Admin;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::status;
use super::{ClientService, Reader};
use crate::drive::Role;
use crate::model::{Command, answers};

/// A follower that is behind gets this long to come up with what was asked for.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);
/// Backups that are read at once.
const MOST_BACKUPS: usize = 2;
/// Largest piece of a backup in one message.
const CHUNK_BYTES: usize = 1 << 20;

/// Entries of the journal, or words why there are no more.
pub type Entries = mpsc::Receiver<Result<v1::JournalEntries, String>>;

/// Whoever can get at the journal's home, and end this scheduler.
pub trait Keeper: Send + Sync + 'static {
    /// A backup of the durable state, piece by piece; the words of an error are for people.
    fn backup(&self) -> BoxFuture<'static, Result<Vec<Vec<u8>>, String>>;
    /// Records from the one index to the other (0: the end), as far as there are.
    fn journal(&self, from: u64, to: u64) -> Entries;
    /// Compares everything that should agree; the words of an error are for people.
    fn verify(&self) -> BoxFuture<'static, Result<v1::VerifyResponse, String>>;
    /// Has this scheduler end, and waits for it; `led`: it leads now. Answers who was elected after it, where it led and others
    /// can; the words of an error are for people.
    fn leave(&self, led: bool) -> BoxFuture<'static, Result<Option<String>, String>>;
}

/// The gRPC service of operators.
#[derive(Clone)]
pub struct AdminService {
    pub keeper: Arc<dyn Keeper>,
    pub reader: Reader,
    /// What is decided goes the way of every command.
    pub clients: ClientService,
    pub role: watch::Receiver<Role>,
    /// Nobody else can lead.
    pub alone: bool,
    pub turns: Turns,
}

/// What takes much of a scheduler, and is done for few at a time.
#[derive(Clone, Debug)]
pub struct Turns {
    /// Asks every agent.
    verifying: Arc<Semaphore>,
    /// Holds all of the state until it is read.
    backing_up: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { verifying: Arc::new(Semaphore::new(1)), backing_up: Arc::new(Semaphore::new(MOST_BACKUPS)) }
    }
}

impl AdminService {
    /// Waits until the durable state has a batch.
    async fn reach(&self, index: u64) -> Result<(), Status> {
        let mut reached = self.reader.follower().index();
        let reach = reached.wait_for(|at| *at >= index);
        match tokio::time::timeout(CATCH_UP_WITHIN, reach).await {
            Ok(Ok(_)) => Ok(()),
            _ => {
                let at = *self.reader.follower().index().borrow();
                let words = format!("this scheduler has the journal up to {at} only, not {index}; ask another one");
                Err(RefusedRequest::new(ErrorReason::Behind, words).with("have", at).with("index", index).into())
            }
        }
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Admin for AdminService {
    type BackupStream = Streamed<v1::BackupChunk>;
    type ReadJournalStream = Streamed<v1::JournalEntries>;
    type VerifyStream = Streamed<v1::VerifyResponse>;

    async fn get_server_info(&self, _: Request<v1::GetServerInfoRequest>) -> Result<Response<v1::ServerInfo>, Status> {
        self.clients.server_info().await
    }

    async fn raise_epoch(&self, _: Request<v1::RaiseEpochRequest>) -> Result<Response<v1::RaiseEpochResponse>, Status> {
        let (answers::EpochRaised { epoch, agents }, index) = self.clients.ask(Command::RaiseEpoch).await?;
        Ok(Response::new(v1::RaiseEpochResponse { index, epoch: epoch.0, agents }))
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let turn = self
            .turns
            .backing_up
            .clone()
            .try_acquire_owned()
            .map_err(|_| status::busy(format!("{MOST_BACKUPS} backups are being read already; try again later")))?;
        self.reach(request.get_ref().least_index).await?;
        let pieces = self.keeper.backup().await.map_err(status::internal)?;
        let chunks = pieces.into_iter().flat_map(|piece| {
            let chunks: Vec<Vec<u8>> = piece.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect();
            chunks.into_iter().map(|data| Ok(v1::BackupChunk { data, end: false }))
        });
        let end = Ok(v1::BackupChunk { data: Vec::new(), end: true });
        let chunks = stream::iter(chunks.chain([end])).inspect(move |_| _ = &turn);
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn read_journal(
        &self,
        request: Request<v1::ReadJournalRequest>,
    ) -> Result<Response<Self::ReadJournalStream>, Status> {
        let v1::ReadJournalRequest { from, to } = *request.get_ref();
        if to > 0 && from > to {
            return Err(status::wrong("from", format!("{from} is after {to}")));
        }
        let entries = ReceiverStream::new(self.keeper.journal(from, to));
        Ok(Response::new(Box::pin(
            entries
                .map(|entries| entries.map_err(|words| RefusedRequest::new(ErrorReason::JournalDamaged, words).into())),
        )))
    }

    async fn verify(&self, _: Request<v1::VerifyRequest>) -> Result<Response<Self::VerifyStream>, Status> {
        let turn = self.turns.verifying.clone().try_acquire_owned();
        let turn = turn.map_err(|_| status::busy("it is being verified already; try again later"))?;
        let verified = self.keeper.verify();
        let answer = stream::once(async move {
            let verified = verified.await.map_err(status::internal);
            drop(turn);
            verified
        });
        Ok(Response::new(Box::pin(answer)))
    }

    async fn release_brake(
        &self,
        request: Request<v1::ReleaseBrakeRequest>,
    ) -> Result<Response<v1::ReleaseBrakeResponse>, Status> {
        self.clients.release_brake(request.into_inner()).await
    }

    async fn leave(&self, _: Request<v1::LeaveRequest>) -> Result<Response<v1::LeaveResponse>, Status> {
        let led = self.role.borrow().is_leading();
        tracing::info!(led, "asked to leave");
        let left = self
            .keeper
            .leave(led)
            .await
            .map_err(|words| RefusedRequest::new(ErrorReason::Left, format!("it left: {words}")))?;
        Ok(Response::new(v1::LeaveResponse { led, alone: self.alone, leader: left.unwrap_or_default() }))
    }
}
