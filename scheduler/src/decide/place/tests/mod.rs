//! Tests of placement as a whole, on small clusters and against a brute-force twin.

mod flow;
mod properties;
mod quota;
mod refused;
mod stories;
mod twin;
mod world;
