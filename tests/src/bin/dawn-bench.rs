//! Prints the figures of BENCHMARKS.md: the bare loop and the same work through a real cluster, in one run.
//! `dawn-bench [--starts N] [--repeats N] [--tasks N,N,…] [--idle SECONDS] [--log MIB]`; 0 leaves a part out.

use std::time::Duration;

use anyhow::{Context, bail};
use dawn_tests::bench::many::{Sizes, many};
use dawn_tests::bench::{bare, floor, live, peers, table};

/// Sizes by flag.
struct Flags {
    starts: u32,
    repeats: u32,
    tasks: Vec<u32>,
    idle: u64,
    log: u64,
}

fn flags() -> anyhow::Result<Flags> {
    let mut flags = Flags { starts: 600, repeats: 100, tasks: vec![100], idle: 10, log: 200 };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{flag} needs a value"))?;
        let number = || value.parse::<u32>().with_context(|| format!("{flag} {value}: no number"));
        match flag.as_str() {
            "--starts" => flags.starts = number()?,
            "--repeats" => flags.repeats = number()?,
            "--idle" => flags.idle = number()?.into(),
            "--log" => flags.log = number()?.into(),
            "--tasks" => {
                let numbers = value.split(',').map(str::parse::<u32>).collect::<Result<Vec<_>, _>>();
                flags.tasks = numbers.with_context(|| format!("{flag} {value}: no numbers"))?;
                flags.tasks.retain(|tasks| *tasks > 0);
            }
            _ => bail!("{flag}: there is --starts, --repeats, --tasks, --idle, --log"),
        }
    }
    Ok(flags)
}

/// Where an agent's directory is on a machine in use. Below /tmp, which every task has for itself, each sandbox would
/// need its whole path made anew. Removed at the very end: ext4 without a journal searches what was removed in the last five
/// minutes for each file it makes.
const PLACE: &str = "/var/lib";

fn main() -> anyhow::Result<()> {
    let flags = flags()?;
    let place = match std::env::var_os("TMPDIR") {
        None => Some(tempfile::Builder::new().prefix("dawn-bench-").tempdir_in(PLACE).context(PLACE)?),
        Some(_) => None,
    };
    if let Some(place) = &place {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("TMPDIR", place.path()) };
    }
    if cfg!(debug_assertions) {
        eprintln!("dawn-bench: a debug build; its figures say little. Use `cargo build --release --workspace`.");
    }
    let mut figures = Vec::new();
    if flags.starts > 0 {
        let starts = flags.starts as usize;
        figures.push(bare::run(starts).context("the bare loop")?);
        figures.push(floor::run(starts).context("the bare loop of a whole start")?);
        figures.extend(live::starts(flags.starts));
        figures.push(bare::run(starts).context("the bare loop, again")?);
        figures.push(floor::run(starts).context("the bare loop of a whole start, again")?);
        figures.extend(peers::systemd(starts.min(50)));
        figures.extend(peers::runc(starts.min(50)));
    }
    if flags.repeats > 0 {
        figures.extend(live::latency(flags.repeats as usize));
        figures.extend(live::reuse(flags.repeats));
    }
    for tasks in &flags.tasks {
        for health in [false, true] {
            let sizes = Sizes { tasks: *tasks, idle: Duration::from_secs(flags.idle), health };
            let found = many(sizes).into_iter().flatten();
            // It takes long, and what is known by then is not lost with what follows.
            figures.extend(found.inspect(|figure| eprintln!("dawn-bench: {}: {}", figure.what, figure.value)));
        }
    }
    if flags.log > 0 {
        figures.extend(peers::logs(flags.log << 20).into_iter().flatten());
    }
    print!("{}", table(&figures));
    Ok(())
}
