//! The living processes of one task.

use std::collections::BTreeMap;

use super::ProcessIdentity;

/// By name, in the order of names. Few as a rule, and there is one of these for each task: a map's node would hold eleven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Living(Vec<(String, ProcessIdentity)>);

impl Living {
    pub fn insert(&mut self, name: String, identity: ProcessIdentity) {
        match self.0.binary_search_by(|(other, _)| other.cmp(&name)) {
            Ok(at) => self.0[at].1 = identity,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (name, identity));
            }
        }
    }

    pub fn remove(&mut self, name: &str) {
        if let Ok(at) = self.0.binary_search_by(|(other, _)| other.as_str().cmp(name)) {
            self.0.remove(at);
        }
    }

    pub fn identities(&self) -> Vec<ProcessIdentity> {
        self.0.iter().map(|(_, identity)| *identity).collect()
    }

    /// Those that lived are from now on somebody else's to end.
    pub fn take(&mut self) -> Vec<ProcessIdentity> {
        std::mem::take(&mut self.0).into_iter().map(|(_, identity)| identity).collect()
    }
}

impl From<BTreeMap<String, ProcessIdentity>> for Living {
    fn from(processes: BTreeMap<String, ProcessIdentity>) -> Self {
        Living(processes.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_there_once_and_in_order() {
        let identity = |pid| ProcessIdentity { pid, start_ticks: 7 };
        let mut living = Living::default();
        for (name, pid) in [("web", 1), ("init", 2), ("web", 3), ("log", 4)] {
            living.insert(name.into(), identity(pid));
        }
        living.remove("none");
        living.remove("log");
        assert_eq!(living.identities(), [identity(2), identity(3)]);
        let map = BTreeMap::from([("web".into(), identity(3)), ("init".into(), identity(2))]);
        assert_eq!(living, Living::from(map));
        assert_eq!(living.take().len(), 2);
        assert_eq!(living, Living::default());
    }
}
