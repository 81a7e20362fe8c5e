//! The flags: sizes, so that a small run is quick.

use std::path::PathBuf;

use anyhow::{Context, bail};

#[derive(Clone, Debug)]
pub struct Options {
    pub agents: u32,
    pub tasks: u32,
    /// "embedded", "etcd" (one member) or "etcd3", if it is named.
    pub home: Option<String>,
    /// After which a task ends by itself; 0: never.
    pub lifetime_ms: u64,
    /// Agents that share an HTTP/2 connection: one each would need more open files than there may be.
    pub agents_per_connection: usize,
    /// Length of a stretch that is measured by time.
    pub seconds: u64,
    /// Of the leader in etcd.
    pub lease_ms: u64,
    pub placements_per_step: usize,
    /// Another build of this program, whose schedulers are measured instead of this one's.
    pub program: Option<PathBuf>,
}

impl Options {
    pub fn home(&self) -> &str {
        self.home.as_deref().unwrap_or("embedded")
    }

    pub fn read(args: &[String]) -> anyhow::Result<Options> {
        let mut options = Options {
            agents: 50_000,
            tasks: 1_000_000,
            home: None,
            lifetime_ms: 0,
            agents_per_connection: 100,
            seconds: 10,
            lease_ms: 5_000,
            placements_per_step: 0,
            program: None,
        };
        for pair in args.chunks(2) {
            let [flag, value] = pair else { bail!("{} needs a value", pair[0]) };
            let number = || value.replace('_', "").parse::<u64>().with_context(|| format!("{flag} {value}: no number"));
            match flag.as_str() {
                "--program" => options.program = Some(PathBuf::from(value)),
                "--home" => options.home = Some(value.clone()),
                "--agents" => options.agents = u32::try_from(number()?)?,
                "--tasks" => options.tasks = u32::try_from(number()?)?,
                "--lifetime-ms" => options.lifetime_ms = number()?,
                "--agents-per-connection" => options.agents_per_connection = usize::try_from(number()?)?.max(1),
                "--seconds" => options.seconds = number()?,
                "--lease-ms" => options.lease_ms = number()?,
                "--placements-per-step" => options.placements_per_step = usize::try_from(number()?)?,
                _ => bail!("{flag} is no flag of this program"),
            }
        }
        Ok(options)
    }
}
