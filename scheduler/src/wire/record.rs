//! What every kind of record can: be written as its message, and be read from it.

use super::parse::WireError;

pub(super) trait Recorded: Sized {
    /// The message of `dawn.v1` that the journal holds.
    type Wire;

    fn to_wire(&self) -> Self::Wire;

    /// # Errors
    /// Names the field that a newer or broken writer left.
    fn from_wire(wire: Self::Wire) -> Result<Self, WireError>;
}
