//! The members of etcd that this scheduler knows. A call goes to the one that answered last; where that one is dead, silent
//! or cut off, another one is asked within the call's time. Not here: what the answers mean.

use std::error::Error as _;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until};

use super::error::another_may_answer;

/// When a call is sent to another member too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Where it was not sent, since no connection came about: it must not reach etcd twice.
    Unsent,
    /// Also where the connection broke, or the member says that it has lost the others.
    Broken,
    /// Also beside one that is slow to answer.
    Slow,
}

/// A member that has not answered a call for this part of its time is slow.
const SLOW_PART: u32 = 4;

struct Member {
    endpoint: String,
    /// Connected when it is first asked: one that is dead at the start may come up later.
    client: OnceCell<Client>,
}

pub struct Members {
    members: Vec<Member>,
    options: ConnectOptions,
    /// The one that is asked first.
    preferred: AtomicUsize,
}

/// Why a call to one member came to nothing.
struct Failure {
    error: Error,
    sent: bool,
}

impl Members {
    pub fn new(endpoints: &[String], options: ConnectOptions) -> Members {
        let member = |endpoint: &String| Member { endpoint: endpoint.clone(), client: OnceCell::new() };
        // Several schedulers begin with different ones.
        let first = std::process::id() as usize % endpoints.len().max(1);
        Members { members: endpoints.iter().map(member).collect(), options, preferred: AtomicUsize::new(first) }
    }

    /// The number of the member that is asked first.
    pub fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub fn prefer(&self, number: usize) {
        self.preferred.store(number, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub fn connected_one(&self) -> Client {
        self.members.iter().find_map(|member| member.client.get()).cloned().unwrap()
    }

    /// The member did not do what it should: the one after it is asked first from now on, unless another one is already.
    pub fn avoid(&self, number: usize) {
        let next = (number + 1) % self.members.len().max(1);
        // It fails where another one is preferred already.
        _ = self.preferred.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The client of the member that is asked first.
    ///
    /// # Errors
    /// When it has to be connected with user and password, and does not answer or refuses them.
    pub async fn client(&self) -> Result<Client, Error> {
        self.connected(self.preferred()).await
    }

    async fn connected(&self, number: usize) -> Result<Client, Error> {
        let Some(member) = self.members.get(number) else {
            return Err(Error::InvalidArgs("no member of etcd is named".into()));
        };
        let connect = || Client::connect([&member.endpoint], Some(self.options.clone()));
        member.client.get_or_try_init(connect).await.cloned()
    }

    async fn attempt<T, F>(&self, number: usize, call: &impl Fn(Client) -> F) -> (usize, Result<T, Failure>)
    where
        F: Future<Output = Result<T, Error>>,
    {
        let client = match self.connected(number).await {
            Ok(client) => client,
            Err(error) => return (number, Err(Failure { error, sent: false })),
        };
        let called = call(client).await;
        let failure = |error| {
            let sent = !is_unsent(&error);
            Failure { error, sent }
        };
        (number, called.map_err(failure))
    }

    /// Calls one member after the other, as `again` permits, until one answers.
    ///
    /// # Errors
    /// What the last one that was asked says; None: no answer came in time.
    pub async fn call<T, F>(
        &self,
        again: Again,
        patience: Duration,
        call: impl Fn(Client) -> F,
    ) -> Result<T, Option<Error>>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (begun, first) = (Instant::now(), self.preferred());
        let mut left = (0..self.members.len().max(1)).map(|after| (first + after) % self.members.len().max(1));
        let mut asked = FuturesUnordered::new();
        let mut said = None;
        let mut slow_at = begun;
        loop {
            if asked.is_empty() || (again == Again::Slow && Instant::now() >= slow_at) {
                match left.next() {
                    Some(number) => asked.push(self.attempt(number, &call)),
                    None if asked.is_empty() => return Err(said),
                    None => {}
                }
                slow_at = Instant::now() + patience / SLOW_PART;
            }
            let slow_at = if again == Again::Slow && left.len() > 0 { slow_at } else { begun + patience };
            tokio::select! {
                Some((number, answer)) = asked.next() => match answer {
                    Ok(answer) => {
                        self.preferred.store(number, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(failure) if moves_on(again, &failure) => {
                        self.avoid(number);
                        said = Some(failure.error);
                    }
                    Err(failure) => return Err(Some(failure.error)),
                },
                () = sleep_until(slow_at.min(begun + patience)) => {
                    self.avoid(self.preferred());
                    if Instant::now() >= begun + patience {
                        return Err(said);
                    }
                }
            }
        }
    }
}

fn moves_on(again: Again, failure: &Failure) -> bool {
    let another_may = another_may_answer(&failure.error);
    another_may && (!failure.sent || again != Again::Unsent)
}

/// Whether no connection came about, so that nothing was sent.
fn is_unsent(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else { return false };
    let mut source = status.source();
    while let Some(cause) = source {
        if cause.is::<tonic::ConnectError>() {
            return true;
        }
        source = cause.source();
    }
    false
}
