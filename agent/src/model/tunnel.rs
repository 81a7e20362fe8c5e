//! What a log's tunnel carries, and why one can't go on.

/// A piece of a log, all of it written at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogChunk {
    /// Of the first byte, in its stream.
    pub offset: u64,
    pub data: Vec<u8>,
    /// The task has ended and all was sent.
    pub end: bool,
    /// Said where both streams are read.
    pub is_stderr: bool,
    /// Milliseconds since 1970; 0: not known.
    pub at_ms: i64,
}

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
