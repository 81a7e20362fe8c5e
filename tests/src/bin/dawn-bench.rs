//! Prints the figures of BENCHMARKS.md: the bare loop and the same work through a real cluster, in one run.

use anyhow::Context;
use dawn_tests::bench::{bare, live, table};

/// Starts measured, and repeats of the times.
const STARTS: u32 = 600;
const REPEATS: usize = 100;

fn main() -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("dawn-bench: a debug build; its figures say little. Use `cargo build --release --workspace`.");
    }
    let mut figures = vec![bare::run(STARTS as usize).context("the bare loop")?];
    figures.extend(live::starts(STARTS));
    figures.push(bare::run(STARTS as usize).context("the bare loop, again")?);
    figures.extend(live::latency(REPEATS));
    figures.extend(live::reuse(100));
    print!("{}", table(&figures));
    Ok(())
}
