//! Watches what a task takes on disk: how much its processes write says when to look, and a look says what there is. Not
//! here: what is too much (decide).

mod activity;
mod pace;
mod unnamed;
mod walk;

use std::collections::BTreeSet;
use std::path::PathBuf;

use activity::Activity;
use pace::Pace;
pub use walk::Found;
use walk::Walk;

/// Looks again and again, as often as the task gives cause to.
#[derive(Debug)]
pub struct Disk {
    roots: Vec<PathBuf>,
    activity: Activity,
    pace: Pace,
    walk: Option<Walk>,
}

impl Disk {
    /// Of these directories together, for a task in these groups that may have so much; 0 bytes: anything.
    pub fn new(roots: Vec<PathBuf>, groups: Vec<PathBuf>, limits: Found, now_ms: i64) -> Self {
        let activity = Activity::new(groups, roots.first().map(PathBuf::as_path));
        Disk { roots, activity, pace: Pace::new(limits.bytes, limits.files, now_ms), walk: None }
    }

    /// When the next turn is due.
    pub fn due_ms(&self) -> i64 {
        if self.walk.is_some() { i64::MIN } else { self.pace.due_ms() }
    }

    /// The machine's disk has lost what nobody is known to have taken: maybe it was this task, one of so many.
    pub fn suspect(&mut self, now_ms: i64, tasks: u32) {
        self.pace.suspect(now_ms, tasks);
    }

    /// Goes on where a turn is due, for a task with these processes; what there is once all was looked at.
    pub fn turn(&mut self, now_ms: i64, members: impl FnOnce() -> BTreeSet<i32>) -> Option<Found> {
        if self.walk.is_none() && now_ms >= self.pace.due_ms() {
            let seen = self.activity.look(members);
            if self.pace.sampled(now_ms, seen) {
                let unnamed = self.roots.first().map_or(0, |root| unnamed::bytes(root, self.activity.pids()));
                self.walk = Some(Walk::over(&self.roots, unnamed));
            }
        }
        let found = self.walk.as_mut()?.go_on()?;
        self.walk = None;
        self.pace.looked(now_ms, found);
        Some(found)
    }
}
