//! What a request is told that is not let in, or not let through: too much is under way, or it takes too long.

use std::fmt;

use dawn_proto::errors::RefusedRequest;
use dawn_proto::v1::ErrorReason;
use tonic::Status;

/// Too many requests, bytes or connections are under way.
pub fn busy(refused: impl fmt::Display) -> Status {
    RefusedRequest::new(ErrorReason::Busy, refused.to_string()).into()
}

/// It took longer than it may.
pub fn late(message: String) -> Status {
    RefusedRequest::new(ErrorReason::TooSlow, message).into()
}
