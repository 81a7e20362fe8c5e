//! Which port numbers a task gets. Fixed ones are what they are; the others are handed out in turn, so that a number just
//! given back rests for as long as possible. Not here: how many ports are kept for tasks to come.

use crate::model::{PortDemand, PortRanges};

/// Numbers in use on one agent.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    pub ranges: PortRanges,
    /// Ascending.
    used: Vec<u16>,
    /// Where the next search begins.
    next: u16,
}

impl Ports {
    pub fn new(ranges: PortRanges) -> Ports {
        Ports { ranges, used: Vec::new(), next: 0 }
    }

    pub fn total(&self) -> u32 {
        self.ranges.iter().map(|(first, last)| u32::from(*last) - u32::from(*first) + 1).sum()
    }

    /// Numbers in use.
    pub fn used(&self) -> usize {
        self.used.len()
    }

    pub fn offers(&self, port: u16) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    pub fn is_used(&self, port: u16) -> bool {
        self.used.binary_search(&port).is_ok()
    }

    /// How many numbers of its ranges are free.
    #[cfg(test)]
    pub fn free(&self) -> u32 {
        let used = self.used.iter().filter(|port| self.offers(**port)).count() as u32;
        self.total() - used
    }

    pub fn hold(&mut self, port: u16) {
        if let Err(at) = self.used.binary_search(&port) {
            self.used.insert(at, port);
        }
    }

    pub fn release(&mut self, port: u16) {
        if let Ok(at) = self.used.binary_search(&port) {
            self.used.remove(at);
        }
    }

    /// Chooses and holds a number for each demand, in their order. The caller has seen that enough are free.
    ///
    /// # Panics
    /// When they are not.
    pub fn assign(&mut self, demands: &[PortDemand]) -> Box<[u16]> {
        for fixed in demands.iter().filter_map(|demand| demand.fixed) {
            self.hold(fixed);
        }
        demands.iter().map(|demand| demand.fixed.unwrap_or_else(|| self.assign_one())).collect()
    }

    fn assign_one(&mut self) -> u16 {
        let next = self.next;
        let after = self.ranges.iter().map(|(first, last)| ((*first).max(next), *last));
        let before = self.ranges.iter().copied();
        let port = after
            .filter(|(first, last)| first <= last)
            .chain(before)
            .find_map(|(first, last)| (first..=last).find(|port| !self.is_used(*port)));
        let port = port.unwrap_or_else(|| panic!("no port of {:?} is free", self.ranges));
        self.next = port.wrapping_add(1);
        self.hold(port);
        port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dynamic() -> PortDemand {
        PortDemand { name: "http".into(), fixed: None }
    }

    #[test]
    fn fixed_ports_are_kept_out_of_the_dynamic_ones_way() {
        let mut ports = Ports::new(vec![(100, 102)]);
        let demands = [dynamic(), PortDemand { name: "admin".into(), fixed: Some(100) }];
        assert_eq!(ports.assign(&demands)[..], [101, 100]);
        assert_eq!(ports.free(), 1);
    }

    #[test]
    fn a_port_given_back_rests_until_the_others_were_used() {
        let mut ports = Ports::new(vec![(1, 2), (65535, 65535)]);
        assert_eq!(ports.assign(&[dynamic()])[..], [1]);
        ports.release(1);
        assert_eq!(ports.assign(&[dynamic(), dynamic(), dynamic()])[..], [2, 65535, 1]);
        assert_eq!(ports.free(), 0);
    }
}
