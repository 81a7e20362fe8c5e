//! Restarts, bad input and what is refused.
