//! Why etcd did not do what was asked, told apart by what it says. Not here: when something is tried again.

use etcd_client::Error;
use tonic::{Code, Status};

/// Why etcd did not do what was asked. Each repeats what etcd said, where it said anything.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Nothing came back in time, or no connection came about.
    #[error("etcd at {endpoints} does not answer while {doing}")]
    Unavailable { endpoints: String, doing: &'static str, source: Option<Error> },
    /// etcd answers that it can't do it now.
    #[error("etcd at {endpoints} can't go on just now while {doing}: it says {said:?}")]
    Passing { endpoints: String, doing: &'static str, said: String },
    #[error(
        "etcd is out of space while {doing}: it says {said:?}. Remove what others keep there, compact and defragment it \
         (etcdctl compact, etcdctl defrag); if Dawn alone fills it, raise --quota-backend-bytes. Then `etcdctl alarm disarm`"
    )]
    NoSpace { doing: &'static str, said: String },
    #[error(
        "etcd at {endpoints} takes no transaction as large as the journal's while {doing}: it says {said:?}. Start every \
         member of etcd with --max-request-bytes={LEAST_REQUEST_BYTES} or more (its default is enough), and let nothing \
         between here and etcd limit the size of messages"
    )]
    TooLarge { endpoints: String, doing: &'static str, said: String },
    #[error("etcd refuses this user while {doing}; check --etcd-user and its role on the prefix")]
    Denied { doing: &'static str, source: Error },
    #[error("etcd answers with an error while {doing}")]
    Failed { doing: &'static str, source: Error },
    #[error("{key} in etcd {problem}")]
    Corrupt { key: String, problem: String },
    #[error("{what} took the place of the journal in etcd while it was read")]
    Overtaken { what: &'static str },
}

/// What `--max-request-bytes` must at least be at each member: etcd's own default.
pub const LEAST_REQUEST_BYTES: usize = 1_572_864;

impl EtcdError {
    /// Trying again later can help.
    pub fn is_passing(&self) -> bool {
        use EtcdError::{NoSpace, Overtaken, Passing, Unavailable};
        matches!(self, Unavailable { .. } | Passing { .. } | NoSpace { .. } | Overtaken { .. })
    }

    /// What etcd itself said of an error that this page has no name for.
    pub fn said(&self) -> Option<&str> {
        match self {
            EtcdError::Passing { said, .. } | EtcdError::NoSpace { said, .. } | EtcdError::TooLarge { said, .. } => {
                Some(said)
            }
            EtcdError::Denied { source: Error::GRpcStatus(status), .. }
            | EtcdError::Failed { source: Error::GRpcStatus(status), .. } => Some(status.message()),
            _ => None,
        }
    }
}

/// By etcd's words, and where it has none of its own by the status code. A word for it in all releases from 3.4 on
/// (`rpctypes`); gRPC's own words where a message is above what either end takes.
pub(super) fn classify(endpoints: &str, doing: &'static str, error: Error) -> EtcdError {
    let endpoints = endpoints.to_string();
    let status = match &error {
        Error::GRpcStatus(status) => status,
        Error::IoError(_) | Error::TransportError(_) => {
            return EtcdError::Unavailable { endpoints, doing, source: Some(error) };
        }
        _ => return EtcdError::Failed { doing, source: error },
    };
    let said = status.message().to_string();
    match verdict(status) {
        Verdict::TooLarge => EtcdError::TooLarge { endpoints, doing, said },
        Verdict::Full => EtcdError::NoSpace { doing, said },
        Verdict::Denied => EtcdError::Denied { doing, source: error },
        Verdict::Silent => EtcdError::Unavailable { endpoints, doing, source: Some(error) },
        Verdict::Passing => EtcdError::Passing { endpoints, doing, said },
        Verdict::Refused => EtcdError::Failed { doing, source: error },
    }
}

/// Whether another member may do what this one did not: it is dead or cut off from the others.
pub(super) fn another_may_answer(error: &Error) -> bool {
    match error {
        Error::IoError(_) | Error::TransportError(_) => true,
        Error::GRpcStatus(status) => match verdict(status) {
            Verdict::Silent => true,
            // Its own words; "election: no leader" is an answer.
            Verdict::Passing => status.message().starts_with("etcdserver:"),
            _ => false,
        },
        _ => false,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passing,
    /// Passing too, but nobody said anything: the connection did not come about or broke.
    Silent,
    TooLarge,
    Full,
    Denied,
    Refused,
}

/// Words that say more than the code beside them.
const WORDS: [(&str, Verdict); 9] = [
    ("request is too large", Verdict::TooLarge),
    // gRPC of either end: "received message larger than max", "trying to send message larger than max".
    ("message larger than max", Verdict::TooLarge),
    ("message length too large", Verdict::TooLarge),
    ("database space exceeded", Verdict::Full),
    ("authentication failed", Verdict::Denied),
    ("user name is empty", Verdict::Denied),
    ("permission denied", Verdict::Denied),
    // Users or roles were changed while the request was on its way.
    ("revision of auth store is old", Verdict::Passing),
    // A member that lags behind too far takes nothing for a while.
    ("too many requests", Verdict::Passing),
];

fn verdict(status: &Status) -> Verdict {
    let words = status.message();
    if let Some((_, verdict)) = WORDS.iter().find(|(word, _)| words.contains(word)) {
        return *verdict;
    }
    match status.code() {
        // Made at this end, since nothing came from the other.
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
            if std::error::Error::source(status).is_some() =>
        {
            Verdict::Silent
        }
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        | Code::Unknown
        | Code::ResourceExhausted
        | Code::Internal => Verdict::Passing,
        Code::Unauthenticated | Code::PermissionDenied => Verdict::Denied,
        _ => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: Code, words: &str) -> Verdict {
        verdict(&Status::new(code, words))
    }

    #[test]
    fn each_answer_of_etcd_is_what_it_says() {
        for (code, words, verdict) in [
            (Code::InvalidArgument, "etcdserver: request is too large", Verdict::TooLarge),
            (Code::ResourceExhausted, "grpc: received message larger than max (3 vs. 2)", Verdict::TooLarge),
            (Code::ResourceExhausted, "grpc: trying to send message larger than max (3 vs. 2)", Verdict::TooLarge),
            (Code::ResourceExhausted, "trying to send message larger than max (3 vs. 2)", Verdict::TooLarge),
            (Code::OutOfRange, "Error, decoded message length too large: found 5 bytes", Verdict::TooLarge),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Verdict::Full),
            (Code::ResourceExhausted, "etcdserver: too many requests", Verdict::Passing),
            (Code::Unavailable, "etcdserver: request timed out", Verdict::Passing),
            (Code::Unavailable, "etcdserver: leader changed", Verdict::Passing),
            (Code::Unavailable, "etcdserver: no leader", Verdict::Passing),
            (Code::Unknown, "raft proposal dropped", Verdict::Passing),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old", Verdict::Passing),
            (Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password", Verdict::Denied),
            (Code::InvalidArgument, "etcdserver: user name is empty", Verdict::Denied),
            (Code::PermissionDenied, "etcdserver: permission denied", Verdict::Denied),
            (Code::Unauthenticated, "etcdserver: invalid auth token", Verdict::Denied),
            (Code::InvalidArgument, "etcdserver: too many operations in txn request", Verdict::Refused),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", Verdict::Refused),
            (Code::DataLoss, "etcdserver: corrupt cluster", Verdict::Refused),
            (Code::Unimplemented, "unknown service etcdserverpb.KV", Verdict::Refused),
        ] {
            assert_eq!(class(code, words), verdict, "{code:?} {words}");
        }
    }

    #[test]
    fn an_error_repeats_what_etcd_said_and_says_what_to_do() {
        let told = |code, words: &str| {
            let status = Status::new(code, words);
            classify("http://e:2379", "appending to the journal", Error::GRpcStatus(status)).to_string()
        };
        let large = told(Code::InvalidArgument, "etcdserver: request is too large");
        assert!(
            large.contains("\"etcdserver: request is too large\"") && large.contains("--max-request-bytes=1572864")
        );
        let full = told(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
        assert!(full.contains("\"etcdserver: mvcc: database space exceeded\"") && full.contains("defrag"), "{full}");
        let passing = told(Code::Unavailable, "etcdserver: request timed out");
        assert!(passing.contains("etcd at http://e:2379 can't go on just now while appending"), "{passing}");
        assert!(passing.contains("\"etcdserver: request timed out\"") && !passing.contains("does not answer"));
    }
}
