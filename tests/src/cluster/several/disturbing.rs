//! What is done to them, and how it is undone.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use super::{Several, Who};
use crate::cluster::{Patience, waiting};

impl Several {
    /// The number of a daemon's host.
    fn host_of(&self, who: Who) -> usize {
        match who {
            Who::Member(number) => number,
            Who::Scheduler(number) => self.members.len() + number,
            Who::Agent(number) => self.members.len() + self.schedulers.len() + number,
        }
    }

    /// Nothing goes to its host or comes from it. Only where daemons are apart.
    pub fn cut(&self, who: Who) {
        self.network.as_ref().expect("they are apart").cut(self.host_of(who));
    }

    /// It hears the others, and nobody hears it. Only where daemons are apart.
    pub fn mute(&self, who: Who) {
        self.network.as_ref().expect("they are apart").mute(self.host_of(who));
    }

    /// The others hear it, and it hears nobody. Only where daemons are apart.
    pub fn deafen(&self, who: Who) {
        self.network.as_ref().expect("they are apart").deafen(self.host_of(who));
    }

    /// Mends the network, lets what was paused go on, and starts what has ended, as whoever supervises daemons does.
    pub fn heal(&self) {
        if let Some(network) = &self.network {
            network.mend();
        }
        for daemon in self.everybody() {
            daemon.resume();
        }
        self.start_the_ended();
    }

    /// Lets a fault work for so long.
    pub fn pass(&self, time: Duration) {
        _ = waiting::until::<()>(Patience(time), || Err("it works".into()));
    }

    /// Has etcd take writes again that was out of space and has got some.
    ///
    /// # Errors
    /// While it does not answer.
    pub fn disarm(&self) -> Result<(), String> {
        let mut etcdctl = Command::new("etcdctl");
        etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &self.endpoints.join(","), "alarm", "disarm"]);
        let done = etcdctl.output().map_err(|error| error.to_string())?;
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
    }

    pub fn start_the_ended(&self) {
        self.start_the_ended_but(&BTreeSet::new());
    }

    /// As whoever supervises daemons does, except for those with these names.
    pub fn start_the_ended_but(&self, names: &BTreeSet<String>) {
        for daemon in self.everybody().filter(|daemon| !names.contains(&daemon.name) && !daemon.is_alive()) {
            daemon.kill_9();
            daemon.start();
        }
    }
}
