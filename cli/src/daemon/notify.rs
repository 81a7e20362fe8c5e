//! What systemd is told of a daemon (sd_notify): that it is ready, what it does, that it lives, that it stops. Without a
//! socket of systemd's nothing is told.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a daemon is looked at, at least.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// In the time within which systemd wants to hear of it, a daemon that lives says so this often.
const WATCHED_TIMES: u32 = 4;

/// How a daemon does, as systemd wants to know it.
pub struct Report {
    /// Its start is over.
    pub started: bool,
    /// None of its parts is wedged.
    pub lives: bool,
    /// One line for people.
    pub status: String,
}

/// systemd's socket.
pub struct Notify {
    socket: UnixDatagram,
    to: SocketAddr,
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says; None: systemd did not start this process, or does not listen.
    pub fn from_environment() -> Option<Arc<Notify>> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 0).map(Duration::from_micros);
        match Notify::to(&name, watchdog) {
            Ok(notify) => Some(Arc::new(notify)),
            Err(error) => {
                tracing::warn!(socket = %name.display(), %error, "systemd can't be told how this daemon does");
                None
            }
        }
    }

    /// A path, or with `@` a name in the abstract namespace.
    fn to(name: &OsStr, watchdog: Option<Duration>) -> io::Result<Notify> {
        let to = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        // Whoever reads too slowly is told again.
        socket.set_nonblocking(true)?;
        Ok(Notify { socket, to, watchdog })
    }

    fn tell(&self, words: &str) -> bool {
        self.socket.send_to_addr(words.as_bytes(), &self.to).is_ok()
    }

    /// The daemon stops, or has ended with these words. It is given so long, if that is longer than the unit's time to stop.
    pub fn stopping(&self, why: &str, within: Option<Duration>) {
        let extend = within.map(|within| format!("EXTEND_TIMEOUT_USEC={}\n", within.as_micros())).unwrap_or_default();
        self.tell(&format!("STOPPING=1\nSTATUS={}\n{extend}", line(why)));
    }

    /// Tells what `look` sees for as long as the process lives, from a thread of its own: it is to notice when all others
    /// hang.
    pub fn watch(self: Arc<Notify>, look: impl Fn() -> Report + Send + 'static) -> io::Result<()> {
        let every = self.watchdog.map_or(LOOK_EVERY, |within| (within / WATCHED_TIMES).min(LOOK_EVERY));
        let watch = move || {
            let mut told = Told::default();
            loop {
                told.tell(&self, look());
                std::thread::sleep(every);
            }
        };
        std::thread::Builder::new().name("notify".into()).spawn(watch).map(drop)
    }
}

/// What systemd knows.
#[derive(Default)]
struct Told {
    started: bool,
    status: String,
    lived: Option<Instant>,
}

impl Told {
    /// Only what is new; what can't be told now is told the next time.
    fn tell(&mut self, notify: &Notify, report: Report) {
        let status = line(&report.status);
        if report.started && !self.started {
            self.started = notify.tell("READY=1\n");
        }
        if status != self.status && notify.tell(&format!("STATUS={status}\n")) {
            self.status = status;
        }
        let Some(watchdog) = notify.watchdog.filter(|_| report.lives) else { return };
        let is_due = self.lived.is_none_or(|at| at.elapsed() >= watchdog / WATCHED_TIMES);
        if is_due && notify.tell("WATCHDOG=1\n") {
            self.lived = Some(Instant::now());
        }
    }
}

/// Words in one line.
fn line(words: &str) -> String {
    words.split(['\n', '\r', '\0']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 1024];
        let next =
            || socket.recv(&mut buffer).ok().map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
        std::iter::from_fn(next).collect()
    }

    fn report(started: bool, lives: bool, status: &str) -> Report {
        Report { started, lives, status: status.into() }
    }

    #[test]
    fn systemd_is_told_what_is_new_and_that_it_lives_only_while_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("dawn-notify-{}", std::process::id());
        let hidden = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&hidden).unwrap(), format!("@{name}").into()),
        ] {
            let notify = Notify::to(&name, Some(Duration::from_nanos(4))).unwrap();
            let mut told = Told::default();
            told.tell(&notify, report(false, true, "waits:\n the journal"));
            assert_eq!(heard(&socket), ["STATUS=waits: the journal\n", "WATCHDOG=1\n"]);
            told.tell(&notify, report(true, true, "leads"));
            assert_eq!(heard(&socket), ["READY=1\n", "STATUS=leads\n", "WATCHDOG=1\n"]);
            told.tell(&notify, report(true, true, "leads"));
            assert_eq!(heard(&socket), ["WATCHDOG=1\n"]);
            told.tell(&notify, report(true, false, "leads"));
            assert_eq!(heard(&socket), [""; 0], "a wedged one does not say that it lives");
            notify.stopping("asked to", None);
            assert_eq!(heard(&socket), ["STOPPING=1\nSTATUS=asked to\n"]);
            notify.stopping("asked to", Some(Duration::from_secs(60)));
            assert_eq!(heard(&socket), ["STOPPING=1\nSTATUS=asked to\nEXTEND_TIMEOUT_USEC=60000000\n"]);
            let unwatched = Notify::to(&name, None).unwrap();
            Told::default().tell(&unwatched, report(true, true, ""));
            assert_eq!(heard(&socket), ["READY=1\n"]);
        }
    }

    #[test]
    fn what_can_not_be_told_now_is_told_later_and_other_sockets_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let notify = Notify::to(path.as_os_str(), None).unwrap();
        let mut told = Told::default();
        told.tell(&notify, report(true, true, "leads"));
        let socket = UnixDatagram::bind(&path).unwrap();
        told.tell(&notify, report(true, true, "leads"));
        assert_eq!(heard(&socket), ["READY=1\n", "STATUS=leads\n"]);
        assert!(Notify::to(OsStr::new("vsock:2:1"), None).is_err());
    }
}
