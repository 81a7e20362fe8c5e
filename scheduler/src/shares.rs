//! Bounds that clients share: a total, and no bound of one client before it. Once the total is reached the address that
//! holds most is refused; any other address takes the newest place of the one that holds most. Not here: what is counted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Whose share it is: an IPv4 address, or the /64 network of an IPv6 one, since a client has all of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(IpAddr);

impl From<IpAddr> for Holder {
    fn from(address: IpAddr) -> Holder {
        Holder(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose request it is: set by whoever listens, on each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller(pub Holder);

impl Caller {
    /// The holder of a request; this machine where a request did not come over a connection.
    pub fn of(extensions: &tonic::Extensions) -> Holder {
        extensions.get::<Caller>().map_or_else(|| IpAddr::from([127, 0, 0, 1]).into(), |caller| caller.0)
    }
}

/// The total is reached, and nobody holds more than the one that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {total} {what} are taken, and {holder} holds most of them ({held}); end some of them, or try again later")]
pub struct Refused {
    pub what: &'static str,
    pub total: usize,
    pub holder: Holder,
    pub held: usize,
}

/// Places of one kind. Clones count together.
#[derive(Clone, Debug)]
pub struct Shares {
    /// What is counted, in the plural.
    what: &'static str,
    total: usize,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    count: usize,
    next: u64,
    holders: HashMap<Holder, Holding>,
}

/// What one address holds.
#[derive(Debug, Default)]
struct Holding {
    count: usize,
    /// Oldest first, each with how much it counts.
    places: BTreeMap<u64, (usize, watch::Sender<bool>)>,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    holder: Holder,
    number: u64,
    taken_away: watch::Receiver<bool>,
}

/// The places that a stream has of its own, in the extensions of its response: whoever listens ends it with them, since its
/// client may never ask for more.
#[derive(Clone, Debug)]
pub struct StreamPlaces(pub Vec<TakenAway>);

/// Tells of a place that it was taken away.
#[derive(Clone, Debug)]
pub struct TakenAway {
    taken: watch::Receiver<bool>,
    shares: Shares,
    holder: Holder,
}

impl TakenAway {
    /// Resolves when the place is given to a client that holds fewer (true) or given back (false).
    pub async fn wait(&mut self) -> bool {
        self.taken.wait_for(|taken| *taken).await.is_ok()
    }

    /// Why the place was taken away.
    pub fn reason(&self) -> Refused {
        self.shares.refusal(self.holder)
    }
}

/// The way in for a connection on which an agent has yet to show that it is one: taken by its registration, or by a tunnel
/// that somebody waits for. Set by whoever listens, on the requests of agents.
#[derive(Clone)]
pub struct Admission {
    admit: Arc<dyn Fn() -> Result<(), usize> + Send + Sync>,
    /// Held until it is admitted.
    _place: Arc<Share>,
}

impl Admission {
    pub fn new(place: Share, admit: impl Fn() -> Result<(), usize> + Send + Sync + 'static) -> Admission {
        Admission { admit: Arc::new(admit), _place: Arc::new(place) }
    }

    /// The connection is an agent's from now on.
    ///
    /// # Errors
    /// The number of places there are, when all are taken.
    pub fn admit(self) -> Result<(), usize> {
        (self.admit)()
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission")
    }
}

impl Shares {
    pub fn new(what: &'static str, total: usize) -> Shares {
        Shares { what, total, held: Arc::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing under the lock can panic half way.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many places are taken.
    pub fn count(&self) -> usize {
        self.held().count
    }

    fn refusal(&self, holder: Holder) -> Refused {
        let held = self.held().holders.get(&holder).map_or(0, |holding| holding.count);
        Refused { what: self.what, total: self.total, holder, held }
    }

    /// A place for `holder`.
    ///
    /// # Errors
    /// When all are taken and no other address holds more than `holder`.
    pub fn take(&self, holder: Holder) -> Result<Share, Refused> {
        self.take_many(holder, 1)
    }

    /// A place that counts for so many; for all of them when it would count for more.
    ///
    /// # Errors
    /// When there are not so many left and no other address holds more than `holder` would.
    pub fn take_many(&self, holder: Holder, many: usize) -> Result<Share, Refused> {
        let many = many.min(self.total);
        let mut held = self.held();
        while held.count + many > self.total {
            let own = held.holders.get(&holder).map_or(0, |holding| holding.count);
            let most = held.holders.iter().max_by_key(|(_, holding)| holding.count);
            let most = most.map(|(holder, holding)| (*holder, holding.count)).filter(|(_, count)| *count > own + many);
            let Some((most, _)) = most else {
                return Err(Refused { what: self.what, total: self.total, holder, held: own });
            };
            held.take_newest(most);
        }
        let number = held.next;
        held.next += 1;
        held.count += many;
        let (take_away, taken_away) = watch::channel(false);
        let holding = held.holders.entry(holder).or_default();
        holding.count += many;
        holding.places.insert(number, (many, take_away));
        Ok(Share { shares: self.clone(), holder, number, taken_away })
    }
}

impl Held {
    fn take_newest(&mut self, holder: Holder) {
        let newest = self.holders.get(&holder).and_then(|holding| holding.places.keys().next_back().copied());
        if let Some((_, place)) = newest.and_then(|newest| self.remove(holder, newest)) {
            place.send_replace(true);
        }
    }

    fn remove(&mut self, holder: Holder, number: u64) -> Option<(usize, watch::Sender<bool>)> {
        let holding = self.holders.get_mut(&holder)?;
        let removed = holding.places.remove(&number)?;
        holding.count -= removed.0;
        self.count -= removed.0;
        if holding.places.is_empty() {
            self.holders.remove(&holder);
        }
        Some(removed)
    }
}

impl Share {
    /// Resolves when the place was given to a client that holds fewer.
    pub async fn taken_away(&mut self) {
        // The sender lives until the place is taken away or given back, and it is given back by dropping this.
        _ = self.taken_away.wait_for(|taken| *taken).await;
    }

    /// The same for one who does not hold the place.
    pub fn watch(&self) -> TakenAway {
        TakenAway { taken: self.taken_away.clone(), shares: self.shares.clone(), holder: self.holder }
    }

    /// Why the place was taken away.
    pub fn reason(&self) -> Refused {
        self.shares.refusal(self.holder)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // What was taken away is not there any more.
        let removed = self.shares.held().remove(self.holder, self.number);
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(last: u8) -> Holder {
        IpAddr::from([10, 0, 0, last]).into()
    }

    fn is_taken(share: &Share) -> bool {
        *share.taken_away.borrow()
    }

    #[test]
    fn one_client_may_hold_all_until_another_comes() {
        let shares = Shares::new("watches", 4);
        let all: Vec<Share> = (0..4).map(|_| shares.take(holder(1)).unwrap()).collect();
        let refused = shares.take(holder(1)).unwrap_err();
        assert_eq!((refused.held, refused.total), (4, 4));
        let other = shares.take(holder(2)).unwrap();
        let taken: Vec<bool> = all.iter().map(is_taken).collect();
        assert_eq!(taken, [false, false, false, true], "the newest place of the one that held most");
        assert_eq!((shares.count(), is_taken(&other)), (4, false));
        let second = shares.take(holder(2)).unwrap();
        assert!(is_taken(&all[2]) && !is_taken(&all[1]) && !is_taken(&second));
        // Two each: whoever asks now would only swap places with the other.
        shares.take(holder(2)).unwrap_err();
        shares.take(holder(1)).unwrap_err();
    }

    #[test]
    fn a_place_given_back_is_free_and_one_taken_away_is_counted_once() {
        let shares = Shares::new("watches", 2);
        let first = shares.take(holder(1)).unwrap();
        let second = shares.take(holder(1)).unwrap();
        let other = shares.take(holder(2)).unwrap();
        assert!(is_taken(&second));
        drop(second);
        assert_eq!(shares.count(), 2);
        drop((first, other));
        assert_eq!(shares.count(), 0);
        assert!(shares.held().holders.is_empty());
    }

    #[test]
    fn places_that_count_for_many_make_room_for_one_who_would_hold_less() {
        let shares = Shares::new("bytes", 100);
        let large = [shares.take_many(holder(1), 60).unwrap(), shares.take_many(holder(1), 30).unwrap()];
        assert_eq!(shares.take_many(holder(1), 20).unwrap_err().held, 90);
        let other = shares.take_many(holder(2), 20).unwrap();
        assert_eq!((is_taken(&large[0]), is_taken(&large[1]), shares.count()), (false, true, 80));
        assert_eq!(large[1].reason().held, 60);
        shares.take_many(holder(2), 50).unwrap_err();
        drop((large, other));
        let whole = shares.take_many(holder(1), 1_000).unwrap();
        assert_eq!(shares.count(), 100, "what is larger than all has all");
        drop(whole);
        assert_eq!(shares.count(), 0);
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one_client() {
        let of = |text: &str| Holder::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
