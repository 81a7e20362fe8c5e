//! Looks at the kernel all the time and remembers every instance of a job that was there twice at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::kernel::{Process, marked, variable};

/// Found doubles kept at most.
const MOST: usize = 20;

/// Runs until ended or dropped.
pub struct Doubles {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Doubles {
    /// Over the processes that carry this entry in their environment.
    pub fn watch(mark: String) -> Doubles {
        Doubles::watch_every(mark, Duration::from_millis(20))
    }

    /// The same with so much time between two looks, where there are many processes.
    pub fn watch_every(mark: String, pause: Duration) -> Doubles {
        let ended = Arc::new(AtomicBool::new(false));
        let stop = ended.clone();
        let thread = std::thread::spawn(move || {
            let mut doubles = Vec::new();
            while !stop.load(Ordering::Relaxed) && doubles.len() < MOST {
                doubles.extend(twice(&marked(&mark)));
                std::thread::sleep(pause); // poll
            }
            doubles
        });
        Doubles { ended, thread: Some(thread) }
    }

    /// What was there twice.
    pub fn end(mut self) -> Vec<String> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().expect("ended once").join().expect("the watch does not panic")
    }
}

impl Drop for Doubles {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Instances with more than one process.
fn twice(found: &[Process]) -> Vec<String> {
    let mut by_instance: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for process in found {
        let (Some(instance), Some(task)) =
            (variable(process.pid, "DAWN_INSTANCE"), variable(process.pid, "DAWN_TASK_ID"))
        else {
            continue;
        };
        by_instance.entry(instance).or_default().push(format!("{task} pid {}", process.pid));
    }
    let doubles = by_instance.into_iter().filter(|(_, tasks)| tasks.len() > 1);
    doubles.map(|(instance, tasks)| format!("instance {instance}: {tasks:?}")).collect()
}
