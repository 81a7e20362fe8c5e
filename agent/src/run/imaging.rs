//! Turns for work on root file systems, which reads files that jobs name and may take long: never among the steps of
//! launches, and one at a time for each role, so that no role's large files keep another role's tasks waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

/// Roles whose files are read at once; more wait.
const MAX_AT_ONCE: usize = 4;

/// Who works and who waits.
pub(super) struct Imaging {
    places: Semaphore,
    roles: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Default for Imaging {
    fn default() -> Self {
        Imaging { places: Semaphore::new(MAX_AT_ONCE), roles: Mutex::default() }
    }
}

impl Imaging {
    /// Runs the deed of a role on a thread for it, when it is its turn. None: it broke down.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        role: &str,
        deed: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let turn = self.turn(role);
        let _turn = turn.lock().await;
        // Closed never.
        let _place = self.places.acquire().await.ok()?;
        super::hands::blocking(deed).await
    }

    fn turn(&self, role: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        roles.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = roles.get(role).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        roles.insert(role.to_string(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_role_whose_files_take_long_keeps_only_itself_waiting() {
        let imaging = Arc::new(Imaging::default());
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let slow: Vec<_> = (0..10)
            .map(|_| {
                let (imaging, ended) = (imaging.clone(), ended.clone());
                let wait = move || ended.lock().unwrap().recv_timeout(LONG).is_ok();
                tokio::spawn(async move { imaging.work("slow", wait).await })
            })
            .collect();
        for _ in 0..20 {
            let other = imaging.work("other", || 7);
            assert_eq!(tokio::time::timeout(LONG, other).await.unwrap(), Some(7));
        }
        assert!(slow.iter().all(|one| !one.is_finished()));
        (0..10).for_each(|_| end.send(()).unwrap());
        for one in slow {
            assert_eq!(tokio::time::timeout(LONG, one).await.unwrap().unwrap(), Some(true));
        }
        imaging.turn("other");
        assert_eq!(imaging.roles.lock().unwrap().len(), 1, "who has no work is forgotten");
    }
}
