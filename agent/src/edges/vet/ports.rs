//! Whether a port can be bound, and what the kernel shows of who has one that can't.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};

use dawn_proto::v1::PortHolder;

use crate::model::{Port, Refusal};

/// The kernel's lists of sockets, of the agent's own network: listening ones come first.
const SOCKETS: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
/// Listening sockets that are looked at in each list.
const MAX_LISTENERS: usize = 20_000;
/// The state of a socket in those lists that listens.
const LISTENS: &str = "0A";

/// Binds and closes at once: a connection that lingers from an earlier task that set SO_REUSEADDR does not count, a listener
/// does.
///
/// # Errors
/// `PortBusy`, with what is known of who has it.
pub fn try_to_bind(port: &Port) -> Result<(), Refusal> {
    let Err(error) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number)) else { return Ok(()) };
    let holder = match error.kind() {
        ErrorKind::AddrInUse if has_listener(port.number) => PortHolder::Listener,
        ErrorKind::AddrInUse => PortHolder::Unseen,
        _ => PortHolder::Unspecified,
    };
    let known = match holder {
        PortHolder::Listener => "; a process listens on it that Dawn did not give it to",
        PortHolder::Unseen => {
            "; it may be held by another process, or by connections that a former one left behind for up to a minute"
        }
        PortHolder::Unspecified => "",
    };
    let message = format!("port {} ({}) can't be bound on this node: {error}{known}", port.number, port.name);
    Err(Refusal::PortBusy { port: port.clone(), holder, message })
}

fn has_listener(port: u16) -> bool {
    SOCKETS.iter().filter_map(|path| File::open(path).ok()).any(|list| is_listened_on(BufReader::new(list), port))
}

/// Whether a list names a socket that listens on the port. What stands behind the listening sockets is not read: it may
/// be very long.
fn is_listened_on(list: impl BufRead, port: u16) -> bool {
    let rows = list.lines().skip(1).take(MAX_LISTENERS).map_while(Result::ok);
    let listening = rows.map_while(|row| {
        let mut fields = row.split_whitespace().skip(1);
        let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
        (state == LISTENS).then(|| local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok()))
    });
    listening.flatten().any(|listened| listened == port)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::ReuseAddr;

    use super::*;

    fn port(number: u16) -> Port {
        Port { name: "http".into(), number }
    }

    fn refused(port: &Port) -> (PortHolder, String) {
        let Err(Refusal::PortBusy { port: busy, holder, message }) = try_to_bind(port) else { panic!("bound") };
        assert_eq!(busy, *port);
        assert!(
            message.starts_with(&format!("port {} (http) can't be bound on this node: ", port.number)),
            "{message}"
        );
        (holder, message)
    }

    #[test]
    fn a_port_that_a_process_listens_on_is_named_and_free_again_after() {
        for address in ["127.0.0.1:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = port(listener.local_addr().unwrap().port());
            let (holder, message) = refused(&port);
            assert_eq!(holder, PortHolder::Listener, "{message}");
            assert!(message.ends_with("a process listens on it that Dawn did not give it to"), "{message}");
            drop(listener);
            assert_eq!(try_to_bind(&port), Ok(()));
        }
    }

    /// As programs leave it that don't set SO_REUSEADDR: the side that closes first keeps the connection for a minute.
    #[test]
    fn a_port_with_connections_that_a_former_process_left_behind_is_not_said_to_have_a_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = port(listener.local_addr().unwrap().port());
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        setsockopt(&listener, ReuseAddr, &false).unwrap();
        setsockopt(&served, ReuseAddr, &false).unwrap();
        drop(served);
        drop(listener);
        let (holder, message) = refused(&port);
        assert_eq!(holder, PortHolder::Unseen, "{message}");
        assert!(message.ends_with("by connections that a former one left behind for up to a minute"), "{message}");
        drop(client);
    }

    #[test]
    fn only_listening_sockets_are_looked_at() {
        let row =
            |number, port, state| format!("   {number}: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000\n");
        let list = format!("  sl  local_address\n{}{}", row(0, 80, "0A"), row(1, 8080, "0A"));
        assert!(is_listened_on(list.as_bytes(), 8080) && !is_listened_on(list.as_bytes(), 81));
        let list = format!("{list}{}{}", row(2, 90, "06"), row(3, 91, "0A"));
        assert!(!is_listened_on(list.as_bytes(), 90) && !is_listened_on(list.as_bytes(), 91));
        assert!(!is_listened_on(&b"sl\n no row\n"[..], 80));
    }
}
