//! Why a tunnel can't go on.

/// Told to the client at the tunnel's other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelRefusal {
    pub kind: RefusalKind,
    pub words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no such task, or process of it.
    NotFound,
    /// The log does not reach so far.
    OutOfRange,
    /// As many as the agent serves are open.
    TooMany,
    /// Anything else.
    Failed,
}

impl TunnelRefusal {
    pub fn new(kind: RefusalKind, words: impl Into<String>) -> TunnelRefusal {
        TunnelRefusal { kind, words: words.into() }
    }
}
