//! Logs through a tunnel.
