//! Waiting on conditions with deadlines.

use std::fmt;
use std::time::{Duration, Instant};

/// How long a condition may take on a busy machine before the test fails.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

impl Patience {
    /// A daemon starts, an agent registers.
    pub const START: Patience = Patience(Duration::from_secs(60));
    /// A task moves by one or a few states.
    pub const STEP: Patience = Patience(Duration::from_secs(60));
    /// Something waits for leases or backoffs first.
    pub const LONG: Patience = Patience(Duration::from_secs(120));

    pub const fn minutes(minutes: u64) -> Patience {
        Patience(Duration::from_secs(60 * minutes))
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Asks `check` until it answers Ok.
///
/// # Errors
/// What it last said, once the patience has run out.
pub fn until<T>(patience: Patience, mut check: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + patience.0;
    let mut pause = Duration::from_millis(5);
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() >= deadline => return Err(last),
            Err(_) => std::thread::sleep(pause), // poll
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
