//! Whether this scheduler may act.

/// Who acts. Changes at most once from following to leading; one that led then ends its process, and says until then that it
/// follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Leading,
    /// Reads are answered, writes and agents are sent to the leader, if anybody knows one.
    Following {
        leader: Option<String>,
    },
}

impl Role {
    pub fn is_leading(&self) -> bool {
        *self == Role::Leading
    }
}
