//! What may be taken on this machine, and the epoch that moves whenever that changes.

use std::collections::BTreeMap;

use dawn_proto::Resources;
use dawn_proto::v1::PortHolder;
use dawn_proto::validate::MAX_TAKEN_PORTS;

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
    /// The first [`MAX_TAKEN_PORTS`] of those that `ports` leaves out, ascending.
    pub taken_ports: Vec<(u16, PortHolder)>,
}

/// A port that could not be bound though Dawn gave it to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excluded {
    pub holder: PortHolder,
    /// Monotonic; it is offered again from then on.
    pub until_ms: u64,
}

/// The offer with what is left out of it for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferState {
    pub epoch: u64,
    pub total: Resources,
    pub attributes: Vec<(String, Vec<String>)>,
    pub ports: Vec<PortRange>,
    pub excluded: BTreeMap<u16, Excluded>,
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
    pub fn exclude(&mut self, port: u16, holder: PortHolder, until_ms: u64) -> bool {
        let before = self.excluded.insert(port, Excluded { holder, until_ms });
        let changed = before.is_none_or(|before| before.holder != holder);
        self.epoch += u64::from(changed);
        changed
    }

    /// Offers again what was left out until `now_ms`. True when the offer changed by it.
    pub fn readmit(&mut self, now_ms: u64) -> bool {
        let before = self.excluded.len();
        self.excluded.retain(|_, excluded| excluded.until_ms > now_ms);
        let changed = self.excluded.len() != before;
        self.epoch += u64::from(changed);
        changed
    }

    /// What is told: the ranges are cut around the excluded ports.
    pub fn offer(&self) -> Offer {
        let (mut ports, mut taken_ports) = (Vec::new(), Vec::new());
        for range in &self.ports {
            let mut first = Some(range.first);
            for (port, excluded) in self.excluded.range(range.first..=range.last) {
                taken_ports.push((*port, excluded.holder));
                let port = *port;
                if let Some(start) = first.filter(|start| *start < port) {
                    ports.push(PortRange { first: start, last: port - 1 });
                }
                first = port.checked_add(1);
            }
            if let Some(first) = first.filter(|first| *first <= range.last) {
                ports.push(PortRange { first, last: range.last });
            }
        }
        taken_ports.sort_unstable();
        taken_ports.dedup();
        taken_ports.truncate(MAX_TAKEN_PORTS);
        Offer {
            epoch: self.epoch,
            total: self.total.clone(),
            attributes: self.attributes.clone(),
            ports,
            max_tasks: self.max_tasks,
            taken_ports,
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

    fn taken(state: &OfferState) -> Vec<(u16, PortHolder)> {
        state.offer().taken_ports
    }

    #[test]
    fn excluded_ports_are_cut_out_and_told_and_come_back() {
        use PortHolder::{Listener, Unseen};
        let mut state = offering(10, 14);
        assert!(state.exclude(12, Unseen, 100));
        assert!(!state.exclude(12, Unseen, 200), "already out: the offer is the same");
        assert!(state.exclude(10, Listener, 100));
        assert_eq!((state.epoch, told(&state)), (7, vec![(11, 11), (13, 14)]));
        assert_eq!(taken(&state), [(10, Listener), (12, Unseen)]);
        assert!(state.exclude(12, Listener, 200), "more is known of who holds it");
        assert!(state.readmit(100));
        assert_eq!((state.epoch, told(&state), taken(&state)), (9, vec![(10, 11), (13, 14)], vec![(12, Listener)]));
        assert!(!state.readmit(199));
        assert!(state.readmit(200));
        assert_eq!((state.epoch, told(&state), taken(&state)), (10, vec![(10, 14)], vec![]));
    }

    #[test]
    fn so_many_taken_ports_are_told_and_all_are_cut_out() {
        let mut state = offering(1_000, 1_999);
        state.ports.push(PortRange { first: 1_000, last: 1_001 });
        (1_000..2_000).for_each(|port| _ = state.exclude(port, PortHolder::Listener, 100));
        state.exclude(80, PortHolder::Listener, 100);
        assert_eq!((told(&state), taken(&state).len()), (vec![], MAX_TAKEN_PORTS));
        assert_eq!(taken(&state)[1], (1_001, PortHolder::Listener), "each once, and none that it never offered");
    }

    #[test]
    fn the_edges_of_the_number_space_hold() {
        let mut state = offering(u16::MAX - 1, u16::MAX);
        state.exclude(u16::MAX, PortHolder::Unseen, 1);
        assert_eq!(told(&state), [(u16::MAX - 1, u16::MAX - 1)]);
        state.exclude(u16::MAX - 1, PortHolder::Unseen, 1);
        assert_eq!(told(&state), []);
    }
}
