//! The process table: who descends from whom, and since when a process lives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};

/// The kernel makes the line in one piece; 52 numbers and a name of at most 64 bytes fit.
const LINE_BYTES: usize = 1_536;

/// What is needed of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    is_zombie: bool,
    parent: i32,
    session: i32,
    start_ticks: u64,
}

/// When the process started, in clock ticks since boot: with its pid, a name that is not given twice. None: no such
/// process, or a dead one nobody has reaped.
pub fn start_ticks(pid: i32) -> Option<u64> {
    read(pid).filter(|stat| !stat.is_zombie).map(|stat| stat.start_ticks)
}

/// Whether this process has any child, dead ones included: a reaper without children has no descendants.
pub fn has_children() -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, look) != Err(Errno::ECHILD)
}

/// Living descendants of `root`, and living members of `sessions`.
pub fn family(root: i32, sessions: &BTreeSet<i32>) -> BTreeSet<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let table: BTreeMap<i32, Stat> = pids.filter_map(|pid| Some((pid, read(pid)?))).collect();
    let descends = |pid: i32| {
        let mut at = pid;
        // The table was not read in one moment: parents may form no tree, so the walk is bounded.
        for _ in 0..table.len() {
            match table.get(&at).map(|stat| stat.parent) {
                Some(parent) if parent == root => return true,
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    };
    let lives = |(pid, stat): (&i32, &Stat)| {
        (!stat.is_zombie && (sessions.contains(&stat.session) || descends(*pid))).then_some(*pid)
    };
    table.iter().filter_map(lives).collect()
}

fn read(pid: i32) -> Option<Stat> {
    let mut line = [0; LINE_BYTES];
    let length = fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
    parse(&line[..length])
}

/// The name, second field, is in parentheses and may hold anything, parentheses and bytes beyond UTF-8 included.
fn parse(stat: &[u8]) -> Option<Stat> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let start_ticks = fields.nth(15)?.parse().ok()?;
    Some(Stat { is_zombie: matches!(state, "Z" | "X"), parent, session, start_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_traps_is_skipped() {
        let line = b"12 (a) \xff(b) R 7) S 3 12 11 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2 3";
        let expected = Stat { is_zombie: false, parent: 3, session: 11, start_ticks: 98765 };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(b"12 (short) S 3"), None);
    }

    #[test]
    fn this_process_has_a_start_and_a_parent() {
        let own = std::process::id() as i32;
        assert!(start_ticks(own).is_some());
        assert!(family(std::os::unix::process::parent_id() as i32, &BTreeSet::new()).contains(&own));
        assert!(!family(own, &BTreeSet::new()).contains(&own));
    }
}
