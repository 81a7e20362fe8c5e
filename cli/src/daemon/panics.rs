//! What a daemon does when a part of it panics: it says so in its log, and counts it for the metrics.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// From now on every panic is a line of the log, and `count` is called. The part that panicked ends; what else follows is the
/// business of its owner.
pub fn log_and_count(count: impl Fn() + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| {
        count();
        let (place, message) = (place_of(panic), message_of(panic));
        tracing::error!(
            "a part of this process panicked at {place}: {message}. This is a fault of Dawn; please report it"
        );
        // Only where RUST_BACKTRACE asks for it.
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!("the panic's backtrace:\n{backtrace}");
        }
    }));
}

fn place_of(panic: &PanicHookInfo<'_>) -> String {
    panic.location().map_or_else(|| "an unknown place".to_string(), ToString::to_string)
}

fn message_of<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const PANICS_HERE: &str = "DAWN_TEST_PANICS";

    /// In a process of its own, since the hook is the whole process's: this test program again.
    #[test]
    fn a_panic_is_counted_and_a_line_of_the_log() {
        if std::env::var_os(PANICS_HERE).is_some() {
            tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
            let counted = Arc::new(AtomicU64::new(0));
            let seen = counted.clone();
            log_and_count(move || _ = seen.fetch_add(1, Ordering::Relaxed));
            assert!(std::thread::spawn(|| panic!("broken {}", "on purpose")).join().is_err());
            assert_eq!(counted.load(Ordering::Relaxed), 1);
            return;
        }
        let name = "daemon::panics::tests::a_panic_is_counted_and_a_line_of_the_log";
        let mut command = Command::new(std::env::current_exe().unwrap());
        let done = command.args([name, "--exact", "--nocapture"]).env(PANICS_HERE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        assert!(said.contains("ERROR") && said.contains("panics.rs:") && said.contains("broken on purpose"), "{said}");
    }
}
