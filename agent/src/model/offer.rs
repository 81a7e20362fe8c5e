//! What may be taken on this machine, and the epoch that moves whenever that changes.

use std::collections::BTreeMap;

use dawn_proto::Resources;

use super::MAX_LIVING_TASKS;

/// Numbers `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// The offer as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    pub epoch: u64,
    /// Taken or not.
    pub total: Resources,
    pub attributes: Vec<(String, Vec<String>)>,
    pub ports: Vec<PortRange>,
    /// Most tasks at once.
    pub max_tasks: u32,
}

/// The offer with what is left out of it for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferState {
    pub epoch: u64,
    pub total: Resources,
    pub attributes: Vec<(String, Vec<String>)>,
    pub ports: Vec<PortRange>,
    /// Ports somebody else listens on, and until when (monotonic ms) they are left out.
    pub excluded: BTreeMap<u16, u64>,
    /// Most tasks at once.
    pub max_tasks: u32,
}

impl Default for OfferState {
    /// Nothing but a number of tasks.
    fn default() -> Self {
        let (total, attributes, ports, excluded) = Default::default();
        OfferState { epoch: 0, total, attributes, ports, excluded, max_tasks: MAX_LIVING_TASKS }
    }
}

impl OfferState {
    /// Leaves a port out until `until_ms`. True when the offer changed by it.
    pub fn exclude(&mut self, port: u16, until_ms: u64) -> bool {
        let changed = self.excluded.insert(port, until_ms).is_none();
        self.epoch += u64::from(changed);
        changed
    }

    /// Offers again what was left out until `now_ms`. True when the offer changed by it.
    pub fn readmit(&mut self, now_ms: u64) -> bool {
        let before = self.excluded.len();
        self.excluded.retain(|_, until_ms| *until_ms > now_ms);
        let changed = self.excluded.len() != before;
        self.epoch += u64::from(changed);
        changed
    }

    /// What is told: the ranges are cut around the excluded ports.
    pub fn offer(&self) -> Offer {
        let mut ports = Vec::new();
        for range in &self.ports {
            let mut first = Some(range.first);
            for port in self.excluded.range(range.first..=range.last).map(|(port, _)| *port) {
                if let Some(start) = first.filter(|start| *start < port) {
                    ports.push(PortRange { first: start, last: port - 1 });
                }
                first = port.checked_add(1);
            }
            if let Some(first) = first.filter(|first| *first <= range.last) {
                ports.push(PortRange { first, last: range.last });
            }
        }
        Offer {
            epoch: self.epoch,
            total: self.total.clone(),
            attributes: self.attributes.clone(),
            ports,
            max_tasks: self.max_tasks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offering(first: u16, last: u16) -> OfferState {
        OfferState { epoch: 5, ports: vec![PortRange { first, last }], ..OfferState::default() }
    }

    fn told(state: &OfferState) -> Vec<(u16, u16)> {
        state.offer().ports.iter().map(|range| (range.first, range.last)).collect()
    }

    #[test]
    fn excluded_ports_are_cut_out_and_come_back() {
        let mut state = offering(10, 14);
        assert!(state.exclude(12, 100));
        assert!(!state.exclude(12, 200), "already out: the offer is the same");
        assert!(state.exclude(10, 100));
        assert_eq!((state.epoch, told(&state)), (7, vec![(11, 11), (13, 14)]));
        assert!(state.readmit(100));
        assert_eq!((state.epoch, told(&state)), (8, vec![(10, 11), (13, 14)]));
        assert!(!state.readmit(199));
        assert!(state.readmit(200));
        assert_eq!((state.epoch, told(&state)), (9, vec![(10, 14)]));
    }

    #[test]
    fn the_edges_of_the_number_space_hold() {
        let mut state = offering(u16::MAX - 1, u16::MAX);
        state.exclude(u16::MAX, 1);
        assert_eq!(told(&state), [(u16::MAX - 1, u16::MAX - 1)]);
        state.exclude(u16::MAX - 1, 1);
        assert_eq!(told(&state), []);
    }
}
