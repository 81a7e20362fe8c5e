//! Election: a lease, a campaign, renewals. etcd is simulated, and the way there fails; how long a leader may count on its
//! lease is the scheduler's own code.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dawn_scheduler::etcd::{Ask, Head, Ledger, Tenure};
use tokio::sync::oneshot;

use super::agenda::Happening;
use super::network::Place;
use super::nodes::NodeEvent;
use super::settings::LEADER_LEASE_MS;
use super::{Planted, World};

const CALL_TIMEOUT_MS: u64 = 2_500;
/// At least between two renewals.
const APART_MS: u64 = 50;

/// Where a scheduler stands with etcd.
#[derive(Default)]
pub(super) struct Candidacy {
    /// Grows with each try.
    number: u64,
    lease: Option<u64>,
    tenure: Option<Tenure<Duration>>,
    renewal: u64,
    /// A renewal is on its way.
    renewing: bool,
    /// Who wants to know that the lease lives, and since when.
    proofs: Vec<(u64, oneshot::Sender<bool>)>,
    pub epoch: u64,
    /// The leader key that it was elected with.
    key: Vec<u8>,
    good_until_ms: Arc<AtomicU64>,
}

impl Candidacy {
    pub fn after_death(&self) -> Candidacy {
        Candidacy { number: self.number, renewal: self.renewal, ..Candidacy::default() }
    }
}

/// Of one that no lease binds.
pub(super) fn for_ever() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(u64::MAX))
}

/// What comes back from etcd, or does not.
#[derive(Debug)]
pub(super) enum News {
    Granted {
        number: u64,
        lease: u64,
        asked_ms: u64,
    },
    NotGranted {
        number: u64,
    },
    Elected {
        lease: u64,
        key: Vec<u8>,
        revision: u64,
    },
    /// The campaign's stream broke.
    Broken {
        lease: u64,
    },
    ReadToEnd {
        lease: u64,
        key: Vec<u8>,
    },
    NotRead {
        lease: u64,
    },
    /// Unless another one was sent since, or is due sooner.
    RenewalDue {
        lease: u64,
        renewal: u64,
    },
    Renewed {
        lease: u64,
        renewal: u64,
        sent_ms: u64,
        ttl: i64,
    },
    NotRenewed {
        lease: u64,
        renewal: u64,
    },
    OwnKey {
        is_there: bool,
    },
}

/// What etcd is asked.
#[derive(Debug)]
pub(super) enum EtcdAsk {
    Grant { number: u64, asked_ms: u64 },
    Campaign { lease: u64 },
    Read { lease: u64, key: Vec<u8> },
    Renew { lease: u64, renewal: u64, sent_ms: u64 },
    OwnKey { key: Vec<u8>, revision: u64 },
    Append { number: u64, again: bool, ask: Box<Ask> },
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl World {
    fn mono_ms(&self, node: usize) -> u64 {
        self.nodes[node].clock.mono_ms(self.now_ms)
    }

    pub(super) fn ask_etcd(&mut self, node: usize, ask: EtcdAsk) {
        if self.is_blocked(Place::Node(node), Place::Etcd) {
            return;
        }
        let (delay, life) = (self.etcd_delay(), self.nodes[node].life);
        self.after(delay, Happening::Etcd { node, life, ask });
    }

    fn etcd_delay(&mut self) -> u64 {
        match self.within(0, 99) {
            0 if self.is_busy() => self.within(50, 4_000),
            _ if self.etcd_slow => self.within(200, 3_500),
            _ => self.within(0, 6),
        }
    }

    pub(super) fn etcd_answers(&mut self, node: usize, life: u64, event: NodeEvent) {
        if !self.is_blocked(Place::Etcd, Place::Node(node)) {
            let delay = self.etcd_delay();
            self.after(delay, Happening::Node { node, life, event });
        }
    }

    pub(super) fn etcd_hears(&mut self, node: usize, life: u64, ask: EtcdAsk) -> Result<(), String> {
        if !self.etcd.up {
            return Ok(());
        }
        self.etcd.expire(self.now_ms);
        let news = match ask {
            EtcdAsk::Grant { number, asked_ms } => {
                let lease = self.etcd.grant(LEADER_LEASE_MS, self.now_ms);
                News::Granted { number, lease, asked_ms }
            }
            EtcdAsk::Campaign { lease } => {
                self.etcd.campaign(node, life, lease);
                self.tell_leader();
                return Ok(());
            }
            EtcdAsk::Read { lease, key } => News::ReadToEnd { lease, key },
            EtcdAsk::Renew { lease, renewal, sent_ms } => {
                let ttl = self.etcd.renew(lease, self.now_ms);
                News::Renewed { lease, renewal, sent_ms, ttl }
            }
            EtcdAsk::OwnKey { key, revision } => {
                News::OwnKey { is_there: self.etcd.get(&key).is_some_and(|kv| kv.made == revision) }
            }
            EtcdAsk::Append { number, again, ask } => return self.etcd_appends(node, life, number, again, *ask),
        };
        self.etcd_answers(node, life, NodeEvent::Election(news));
        Ok(())
    }

    /// Now and then, so that leases end in time.
    pub(super) fn tick_etcd(&mut self) {
        self.after(100, Happening::EtcdTick);
        self.etcd.expire(self.now_ms);
        self.tell_leader();
    }

    fn tell_leader(&mut self) {
        if !self.etcd.up {
            return;
        }
        let Some(leader) = self.etcd.news() else { return };
        let (node, life, lease) = (leader.node, leader.life, leader.lease);
        self.note(|| format!("etcd: scheduler {node} is elected under {}", leader.revision));
        if self.is_blocked(Place::Etcd, Place::Node(node)) {
            let event = NodeEvent::Election(News::Broken { lease });
            self.after(CALL_TIMEOUT_MS, Happening::Node { node, life, event });
        } else {
            let elected = News::Elected { lease, key: leader.key, revision: leader.revision };
            self.etcd_answers(node, life, NodeEvent::Election(elected));
        }
    }

    /// A leader asks whether its own key is there; one that nobody can depose knows.
    pub(super) fn look_at_own_key(&mut self, node: usize) {
        if self.scenario.home == super::Home::Embedded {
            return self.plan(node, 0, NodeEvent::Election(News::OwnKey { is_there: true }));
        }
        let candidacy = &self.nodes[node].candidacy;
        let (key, revision) = (candidacy.key.clone(), candidacy.epoch);
        self.ask_etcd(node, EtcdAsk::OwnKey { key, revision });
    }

    pub(super) fn own_key_is_there(&self, node: usize) -> bool {
        let candidacy = &self.nodes[node].candidacy;
        self.etcd.get(&candidacy.key).is_some_and(|kv| kv.made == candidacy.epoch)
    }

    /// Stands for election, with a new lease.
    pub(super) fn stand(&mut self, node: usize) {
        let asked_ms = self.mono_ms(node);
        let candidacy = &mut self.nodes[node].candidacy;
        candidacy.number += 1;
        (candidacy.lease, candidacy.tenure, candidacy.renewing) = (None, None, false);
        let number = candidacy.number;
        self.ask_etcd(node, EtcdAsk::Grant { number, asked_ms });
        self.plan(node, CALL_TIMEOUT_MS + 500, NodeEvent::Election(News::NotGranted { number }));
    }

    pub(super) fn election(&mut self, node: usize, news: News) -> Result<(), String> {
        let mono_ms = self.mono_ms(node);
        let candidacy = &mut self.nodes[node].candidacy;
        match news {
            News::Granted { number, lease, asked_ms } => {
                if candidacy.number == number && candidacy.lease.is_none() {
                    let life = Duration::from_millis(LEADER_LEASE_MS);
                    let tenure = Tenure::new(Duration::from_millis(asked_ms), life);
                    candidacy.good_until_ms = Arc::new(AtomicU64::new(ms(tenure.good_until())));
                    (candidacy.lease, candidacy.tenure) = (Some(lease), Some(tenure));
                    let renewal = candidacy.renewal;
                    self.ask_etcd(node, EtcdAsk::Campaign { lease });
                    self.plan(node, 0, NodeEvent::Election(News::RenewalDue { lease, renewal }));
                }
            }
            News::NotGranted { number } => {
                if candidacy.number == number && candidacy.lease.is_none() {
                    self.stand(node);
                }
            }
            News::Broken { lease } => {
                if candidacy.lease == Some(lease) && !self.nodes[node].is_leading() {
                    self.stand(node);
                }
            }
            News::Elected { lease, key, revision } => {
                if candidacy.lease == Some(lease) {
                    candidacy.epoch = revision;
                    self.ask_etcd(node, EtcdAsk::Read { lease, key });
                    self.plan(node, CALL_TIMEOUT_MS, NodeEvent::Election(News::NotRead { lease }));
                }
            }
            News::ReadToEnd { lease, key } => {
                if candidacy.lease == Some(lease) && !self.nodes[node].is_leading() {
                    return self.begin_to_lead(node, key);
                }
            }
            News::NotRead { lease } => {
                if candidacy.lease == Some(lease) && !self.nodes[node].is_leading() {
                    self.end_node(node);
                }
            }
            News::RenewalDue { lease, renewal } if candidacy.lease == Some(lease) && candidacy.renewal == renewal => {
                let Some(tenure) = candidacy.tenure else { return Ok(()) };
                if mono_ms >= ms(tenure.good_until()) {
                    self.lease_lost(node);
                    return Ok(());
                }
                candidacy.renewal += 1;
                candidacy.renewing = true;
                let renewal = candidacy.renewal;
                self.ask_etcd(node, EtcdAsk::Renew { lease, renewal, sent_ms: mono_ms });
                let wait_ms = ms(tenure.retry_after());
                self.plan(node, wait_ms, NodeEvent::Election(News::NotRenewed { lease, renewal }));
            }
            News::NotRenewed { lease, renewal } if candidacy.lease == Some(lease) && candidacy.renewal == renewal => {
                return self.election(node, News::RenewalDue { lease, renewal });
            }
            News::Renewed { lease, renewal, sent_ms, ttl } => self.renewed(node, lease, renewal, sent_ms, ttl),
            News::OwnKey { is_there } => {
                if let Some(process) = &self.nodes[node].process {
                    process.own_key_seen(is_there);
                    self.plan_turn(node, 0);
                }
            }
            News::RenewalDue { .. } | News::NotRenewed { .. } => {}
        }
        Ok(())
    }

    fn renewed(&mut self, node: usize, lease: u64, renewal: u64, sent_ms: u64, ttl: i64) {
        let candidacy = &mut self.nodes[node].candidacy;
        let Some(tenure) = candidacy.tenure.as_mut().filter(|_| candidacy.lease == Some(lease)) else { return };
        if !tenure.renewed(Duration::from_millis(sent_ms), ttl) {
            return self.lease_lost(node);
        }
        candidacy.good_until_ms.store(ms(tenure.good_until()), Ordering::Relaxed);
        let every_ms = ms(tenure.renew_every());
        // Those were asked before it was sent.
        let proved = candidacy.proofs.extract_if(.., |(asked_ms, _)| *asked_ms <= sent_ms);
        let proved = proved.map(|(_, proof)| _ = proof.send(true)).count();
        let wait_ms = if candidacy.proofs.is_empty() { every_ms } else { APART_MS };
        if candidacy.renewal == renewal {
            // The one planned for want of an answer is not wanted any more.
            candidacy.renewal += 1;
            candidacy.renewing = false;
            let renewal = candidacy.renewal;
            self.plan(node, wait_ms, NodeEvent::Election(News::RenewalDue { lease, renewal }));
        }
        if proved > 0 {
            self.plan_turn(node, 0);
        }
    }

    /// Somebody wants to know that the leader's lease lives now: at once where no lease binds, otherwise by a renewal that is
    /// sent from now on.
    pub(super) fn prove(&mut self, node: usize, proofs: Vec<oneshot::Sender<bool>>) {
        if proofs.is_empty() {
            return;
        }
        let asked_ms = self.mono_ms(node);
        let candidacy = &mut self.nodes[node].candidacy;
        let Some(lease) = candidacy.lease else {
            proofs.into_iter().for_each(|proof| _ = proof.send(true));
            return self.plan_turn(node, 0);
        };
        candidacy.proofs.extend(proofs.into_iter().map(|proof| (asked_ms, proof)));
        if !candidacy.renewing {
            candidacy.renewal += 1;
            let renewal = candidacy.renewal;
            self.plan(node, APART_MS, NodeEvent::Election(News::RenewalDue { lease, renewal }));
        }
    }

    /// A leader ends; one that waits stands again.
    fn lease_lost(&mut self, node: usize) {
        self.note(|| format!("scheduler {node} has lost its lease"));
        if self.nodes[node].is_leading() {
            self.summary.deposed += 1;
            self.end_node(node);
        } else {
            self.stand(node);
        }
    }

    fn begin_to_lead(&mut self, node: usize, key: Vec<u8>) -> Result<(), String> {
        self.catch_up(node)?;
        let state = self.nodes[node].tail().clone();
        self.same_as_truth(node, &state)?;
        let head = self.etcd.get(self.etcd.names.head().as_bytes()).map(|kv| kv.value.clone());
        let head = Head { index: state.index, value: head };
        let (names, now) = (self.etcd.names.clone(), self.nodes[node].clock.now(self.now_ms));
        let early = self.scenario.planted == Some(Planted::AckBeforeDurable);
        let found = &mut self.nodes[node];
        let (epoch, good_until_ms) = (found.candidacy.epoch, found.candidacy.good_until_ms.clone());
        found.candidacy.key.clone_from(&key);
        found.writer.ledger = Some(Ledger::new(names, key, epoch, head));
        if let Some(process) = &mut found.process {
            process.lead(epoch, state, good_until_ms, early, now);
        }
        self.note(|| format!("scheduler {node} leads under epoch {epoch}"));
        self.summary.leaders += 1;
        self.plan_turn(node, 0);
        Ok(())
    }
}
