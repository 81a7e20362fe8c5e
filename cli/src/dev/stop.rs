//! Asked to stop: SIGINT and SIGTERM, counted, so that the second one can mean more than the first.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::{Exit, Failure};

#[derive(Clone)]
pub struct Stop(watch::Receiver<u32>);

impl Stop {
    /// Takes both signals over for the life of the program.
    ///
    /// # Errors
    /// When the handlers can't be installed.
    pub fn listen() -> Result<Stop, Failure> {
        let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("listening for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let (send, receive) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                send.send_modify(|count| *count += 1);
            }
        });
        Ok(Stop(receive))
    }

    /// Once it was asked so many times.
    pub async fn asked(&mut self, times: u32) {
        // The sender lives as long as the runtime.
        if self.0.wait_for(|count| *count >= times).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
