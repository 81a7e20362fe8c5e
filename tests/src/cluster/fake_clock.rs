//! A daemon's wall clock that a test moves, by libfaketime. Its monotonic clocks stay true.

use std::path::{Path, PathBuf};

use super::{Daemon, Several, skip};

/// Where Debian's and others' packages put it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

pub struct FakeClock {
    offset: PathBuf,
}

impl FakeClock {
    /// Puts the daemon's next starts under a clock that is right until it is stepped. None, said aloud, where the library
    /// is not installed.
    pub fn of(daemon: &Daemon, folder: &Path) -> Option<FakeClock> {
        let Some(library) = LIBRARIES.iter().find(|path| Path::new(path).exists()) else {
            skip("needs libfaketime; install it to have clocks stepped");
            return None;
        };
        let clock = FakeClock { offset: folder.join(format!("{}.clock", daemon.name)) };
        clock.step(0);
        daemon.set_env("LD_PRELOAD", library);
        daemon.set_env("FAKETIME_TIMESTAMP_FILE", &clock.offset.to_string_lossy());
        daemon.set_env("FAKETIME_NO_CACHE", "1");
        daemon.set_env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Some(clock)
    }

    /// One for each scheduler.
    pub fn of_schedulers(several: &Several) -> Option<Vec<FakeClock>> {
        several.schedulers.iter().map(|scheduler| FakeClock::of(scheduler, several.folder())).collect()
    }

    /// The wall clock is so many seconds ahead of the true one from now on; behind where negative.
    pub fn step(&self, seconds: i64) {
        // Renamed into place: the daemon reads it at every look at its clock.
        let new = self.offset.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}s")).expect("the cluster's directory is ours");
        std::fs::rename(new, &self.offset).expect("in one directory");
    }
}
