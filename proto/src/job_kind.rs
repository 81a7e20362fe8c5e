//! What kind of job a kind is.

use crate::v1::JobKind;

impl JobKind {
    /// Its tasks never end by themselves for good: a service, a daemon.
    pub fn runs_for_ever(self) -> bool {
        matches!(self, JobKind::Service | JobKind::Daemon)
    }
}
