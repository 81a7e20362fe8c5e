//! Tests of placement as a whole, on small clusters and against a brute-force twin.

mod avoided;
mod fairness;
mod fleet;
mod flow;
mod number;
mod properties;
mod quota;
mod refused;
mod spread;
mod stories;
mod twin;
mod world;
