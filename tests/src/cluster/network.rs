//! Hosts in networks of their own, joined by one switch, that can be cut off. The kernel removes each with its last
//! process and the last value here: none has a name, so nothing can be left behind.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use nix::sched::{CloneFlags, setns, unshare};

/// Set aside for such tests (RFC 2544); no route leads there.
const SUBNET: [u8; 3] = [198, 18, 0];
/// Of the switch itself, where the test's own calls come from.
const SWITCH: u8 = 254;

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Host(Arc<File>);

impl Host {
    fn make() -> io::Result<Host> {
        // A thread of its own, because it stays in the namespace it makes.
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        made.join().expect("it does not panic").map(|file| Host(Arc::new(file)))
    }

    /// Moves the calling thread there.
    ///
    /// # Errors
    /// Without the right to.
    pub fn enter(&self) -> io::Result<()> {
        setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).map_err(Into::into)
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs `ip COMMAND` there.
    fn ip(&self, command: &str) -> io::Result<()> {
        let mut ip = Command::new("ip");
        ip.args(command.split(' '));
        let host = self.clone();
        // SAFETY: setns is async-signal-safe and allocates nothing.
        unsafe {
            ip.pre_exec(move || host.enter());
        }
        let output = ip.output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("ip {command}: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }
}

/// Hosts on one switch.
#[derive(Debug)]
pub struct Network {
    pub switch: Host,
    pub hosts: Vec<Host>,
    deaf: Mutex<BTreeSet<usize>>,
}

impl Network {
    /// # Errors
    /// When this machine has no `ip` or gives no right to make networks.
    pub fn of(hosts: usize) -> io::Result<Network> {
        let switch = Host::make()?;
        let address = address(SWITCH);
        for command in ["link set lo up", "link add bridge type bridge", "link set bridge up"] {
            switch.ip(command)?;
        }
        switch.ip(&format!("address add {address}/24 dev bridge"))?;
        let mut network = Network { switch, hosts: Vec::new(), deaf: Mutex::default() };
        for number in 0..hosts {
            let host = Host::make()?;
            network.plug_in(number, &host)?;
            network.hosts.push(host);
        }
        Ok(network)
    }

    fn plug_in(&self, number: usize, host: &Host) -> io::Result<()> {
        self.switch.ip(&format!("link add port{number} type veth peer name eth0 netns {}", host.path()))?;
        self.switch.ip(&format!("link set port{number} master bridge up"))?;
        host.ip("link set lo up")?;
        host.ip(&format!("address add {}/24 dev eth0", self.address(number)))?;
        host.ip("link set eth0 up")
    }

    pub fn address(&self, host: usize) -> IpAddr {
        address(u8::try_from(host + 1).expect("a handful of hosts"))
    }

    /// Nothing goes to the host or comes from it.
    pub fn cut(&self, host: usize) {
        self.must(&self.switch, &format!("link set port{host} down"));
    }

    /// The host hears the others, and nobody hears it.
    pub fn mute(&self, host: usize) {
        // Halves of the subnet are nearer than the whole.
        for half in HALVES {
            self.must(&self.hosts[host], &format!("route replace blackhole {half}"));
        }
    }

    /// The others hear the host, and it hears nobody.
    pub fn deafen(&self, host: usize) {
        self.deaf.lock().expect("no test thread panicked").insert(host);
        for other in self.all_but(host) {
            self.must(other, &format!("route replace blackhole {}/32", self.address(host)));
        }
    }

    fn all_but(&self, host: usize) -> impl Iterator<Item = &Host> {
        let others = self.hosts.iter().enumerate().filter(move |(number, _)| *number != host);
        others.map(|(_, other)| other).chain([&self.switch])
    }

    /// Undoes every cut.
    pub fn mend(&self) {
        for (number, host) in self.hosts.iter().enumerate() {
            self.must(&self.switch, &format!("link set port{number} up"));
            if self.deaf.lock().expect("no test thread panicked").remove(&number) {
                for other in self.all_but(number) {
                    self.must(other, &format!("route del blackhole {}/32", self.address(number)));
                }
            }
            for half in HALVES {
                // Most were never muted.
                let _ = host.ip(&format!("route del blackhole {half}"));
            }
        }
    }

    fn must(&self, host: &Host, command: &str) {
        host.ip(command).unwrap_or_else(|error| panic!("{error}"));
    }
}

const HALVES: [&str; 2] = ["198.18.0.0/25", "198.18.0.128/25"];

/// Whether it may be dialled from within such a network alone: elsewhere a gateway may lead there, and out.
pub fn is_set_aside(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets().starts_with(&SUBNET))
}

fn address(last: u8) -> IpAddr {
    let [a, b, c] = SUBNET;
    IpAddr::V4(Ipv4Addr::new(a, b, c, last))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::cluster::skip;

    fn within<T: Send + 'static>(host: &Host, act: impl FnOnce() -> T + Send + 'static) -> T {
        let host = host.clone();
        let done = std::thread::spawn(move || {
            host.enter().expect("it was ours");
            act()
        });
        done.join().expect("no panic")
    }

    #[test]
    fn hosts_reach_each_other_unless_cut_off() {
        let network = match Network::of(2) {
            Ok(network) => network,
            Err(error) => return skip(&format!("no networks can be made: {error}")),
        };
        let target = (network.address(1), 7_070);
        let listener = within(&network.hosts[1], move || TcpListener::bind(target)).expect("it is there");
        let reach = |host: &Host| {
            within(host, move || TcpStream::connect_timeout(&target.into(), Duration::from_millis(1_500)).is_ok())
        };
        assert!(reach(&network.hosts[0]) && reach(&network.switch));
        network.cut(0);
        assert!(!reach(&network.hosts[0]) && reach(&network.switch));
        network.mend();
        assert!(reach(&network.hosts[0]));
        for cut_one_way in [Network::mute, Network::deafen] {
            cut_one_way(&network, 1);
            assert!(!reach(&network.hosts[0]));
            network.mend();
            assert!(reach(&network.hosts[0]));
        }
        drop(listener);
    }

    /// Looked at only: a packet from here to such an address would leave the machine.
    #[test]
    fn nothing_of_a_network_is_in_the_namespace_of_the_tests() {
        let seen = |what: &str| {
            let output = Command::new("ip").args(["-o", what, "show"]).output().expect("ip was there a moment ago");
            String::from_utf8(output.stdout).expect("ip speaks ASCII")
        };
        let network = match Network::of(2) {
            Ok(network) => network,
            Err(error) => return skip(&format!("no networks can be made: {error}")),
        };
        let (addresses, links) = (seen("address"), seen("link"));
        for address in [address(SWITCH), network.address(0), network.address(1)] {
            assert!(!addresses.contains(&format!("{address}/")), "{address} is here: {addresses}");
        }
        for link in [": bridge:", ": port0@", ": port1@"] {
            assert!(!links.contains(link), "{link} is here: {links}");
        }
    }

    #[test]
    #[should_panic(expected = "would leave the machine")]
    fn the_harness_dials_no_such_address_from_the_namespace_of_the_tests() {
        let _ = crate::cluster::Api::new((address(1), 7_070).into());
    }
}
