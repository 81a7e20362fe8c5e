//! Tests of placement as a whole, on small clusters and against a brute-force twin.

mod fairness;
mod flow;
mod properties;
mod quota;
mod refused;
mod spread;
mod stories;
mod twin;
mod world;
