//! `dawn-load-bench append|state|commit|whole|takeover|watches [--flag value]...`: the scheduler under the load of a large
//! cluster, in tables. Simulated agents live in this process, schedulers in processes of their own.

mod agents;
mod append;
mod commit;
mod homes;
mod memory;
mod mix;
mod options;
mod process;
mod state;
mod watches;
mod whole;

use anyhow::Context;
use options::Options;

const USAGE: &str = "\
usage: dawn-load-bench COMMAND [--flag value]...
  append    appending to each home of the journal: batches/s, mutations/s, latency
  state     a State of --tasks: bytes per task, applying, snapshot, loading
  commit    placements decided and durable, agents and clients in the same process (--home)
  whole     placements through a whole scheduler to simulated agents over gRPC, reports back (--home)
  takeover  whole in etcd with a standby, then the leader is killed
  watches   a submission while nobody, 1,000 and 10,000 clients watch jobs that don't change (--home)
flags: --agents N --tasks N --home embedded|etcd|etcd3 --lifetime-ms N --agents-per-connection N --seconds N
       --lease-ms N --placements-per-step N --program PATH (another build of this one, whose
       schedulers are measured)";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, flags)) = args.split_first() else { anyhow::bail!(USAGE) };
    if command == "scheduler" {
        return process::scheduler(flags);
    }
    if cfg!(debug_assertions) {
        eprintln!("dawn-load-bench: a debug build; its figures say little. Use --release.");
    }
    let options = Options::read(flags).context(USAGE)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting tokio")?;
    match command.as_str() {
        "append" => runtime.block_on(append::run(&options)),
        "state" => state::run(&options),
        "commit" => runtime.block_on(commit::run(&options)),
        "whole" => runtime.block_on(whole::run(&options, false)),
        "takeover" => runtime.block_on(whole::run(&options, true)),
        "watches" => runtime.block_on(watches::run(&options)),
        _ => anyhow::bail!(USAGE),
    }
}
