//! etcd as this edge uses it: its members, a deadline on every call, answers as large as a writer can make them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, GetResponse, Identity, KeyValue, KvClient, TlsOptions, Txn,
    TxnResponse,
};

use super::error::{EtcdError, classify};
use super::growth::Growth;
use super::keys::{Keys, end_of};
use super::members::{Again, Members};

/// How to reach etcd and what is ours there.
#[derive(Clone, Debug)]
pub struct EtcdConfig {
    /// "http://host:2379" or "https://…".
    pub endpoints: Vec<String>,
    pub prefix: String,
    /// User and password.
    pub user: Option<(String, String)>,
    pub tls: Option<EtcdTls>,
    /// How long a silent leader stays leader.
    pub lease_ms: u64,
}

/// PEM texts.
#[derive(Clone, Debug)]
pub struct EtcdTls {
    pub ca: Option<Vec<u8>>,
    /// Certificate and key of this client.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    pub domain: Option<String>,
}

/// No call waits longer, but for the last try of a page: half of the shortest lease allowed.
const CALL_TIMEOUT: Duration = Duration::from_millis(2_500);

/// A single key is waited for so long: what was asked for before and did not come in time may still fill the line.
const LAST_PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Keys read at once when a range is long and they are small, and while it isn't known that they are: each may hold
/// [`VALUE_BYTES`](crate::model::bounds::VALUE_BYTES). Fewer, down to one, where so many do not come in time.
const PAGE: i64 = 64;
const FIRST_PAGE: i64 = 8;
/// A page of so few bytes has small keys.
const SMALL_PAGE_BYTES: usize = 256 << 10;

/// The members of etcd with the cluster's keys.
#[derive(Clone)]
pub struct Store {
    pub members: Arc<Members>,
    pub keys: Keys,
    /// Of the journal there, as far as it was read or written here.
    pub growth: Arc<Growth>,
    endpoints: String,
}

impl Store {
    /// # Errors
    /// When the endpoints or the TLS material are unusable, user and password are refused, or with these no member answers.
    pub async fn connect(config: &EtcdConfig) -> Result<Store, EtcdError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CALL_TIMEOUT)
            .with_keep_alive(Duration::from_secs(2), CALL_TIMEOUT)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((user, password)) = &config.user {
            options = options.with_user(user, password);
        }
        if let Some(tls) = &config.tls {
            options = options.with_tls(tls_options(tls));
        }
        let members = Arc::new(Members::new(&config.endpoints, options));
        let (keys, endpoints) = (Keys::new(&config.prefix), config.endpoints.join(","));
        let store = Store { members, keys, growth: Arc::default(), endpoints };
        store.call("connecting", Again::Slow, async |_| Ok(())).await?;
        Ok(store)
    }

    /// A client of one member that was connected.
    #[cfg(test)]
    pub fn client(&self) -> Client {
        self.members.connected_one()
    }

    /// Where etcd is looked for.
    pub fn endpoints(&self) -> &str {
        &self.endpoints
    }

    /// Runs one call under the deadline, at another member where one does not answer, and names what it was for.
    pub async fn call<T, F>(
        &self,
        doing: &'static str,
        again: Again,
        call: impl Fn(Client) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call_within(CALL_TIMEOUT, doing, again, call).await
    }

    async fn call_within<T, F>(
        &self,
        patience: Duration,
        doing: &'static str,
        again: Again,
        call: impl Fn(Client) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let endpoints = self.endpoints.as_str();
        self.members.call(again, patience, call).await.map_err(|error| match error {
            Some(error) => classify(endpoints, doing, error),
            None => EtcdError::Unavailable { endpoints: endpoints.into(), doing, source: None },
        })
    }

    /// One transaction.
    pub async fn transact(&self, doing: &'static str, again: Again, txn: Txn) -> Result<TxnResponse, EtcdError> {
        self.call(doing, again, |client| {
            let txn = txn.clone();
            async move { kv(&client).txn(txn).await }
        })
        .await
    }

    /// Keys with `options`, linearizable.
    pub async fn get(
        &self,
        doing: &'static str,
        key: impl Into<Vec<u8>>,
        options: Option<GetOptions>,
    ) -> Result<GetResponse, EtcdError> {
        let key = key.into();
        self.call(doing, Again::Slow, |client| {
            let (key, options) = (key.clone(), options.clone());
            async move { kv(&client).get(key, options).await }
        })
        .await
    }

    /// Writes one value under a key that nobody else writes.
    pub async fn put(&self, doing: &'static str, key: &str, value: &[u8]) -> Result<(), EtcdError> {
        let put = self.call(doing, Again::Broken, |client| async move { kv(&client).put(key, value, None).await });
        put.await.map(|_| ())
    }

    /// One key's value and mod revision, linearizable.
    pub async fn read(&self, doing: &'static str, key: &str) -> Result<Option<KeyValue>, EtcdError> {
        let mut answer = self.get(doing, key, None).await?;
        Ok(answer.take_kvs().pop())
    }

    /// Every key under `prefix` from `start` on, in key order, page by page; with the revision as of which the last page
    /// was read. Pages may be of different revisions: keys that are written once, in order, are all there as of the last,
    /// and whatever etcd forgets of its history meanwhile is not missed.
    pub async fn read_from(
        &self,
        doing: &'static str,
        prefix: &str,
        start: String,
        mut each: impl FnMut(KeyValue) -> Result<(), EtcdError>,
    ) -> Result<i64, EtcdError> {
        let (mut from, mut pages) = (start.into_bytes(), Pages::default());
        loop {
            let mut page = self.page(doing, prefix, &from, &mut pages).await?;
            let (more, revision) = (page.more(), page.header().map_or(0, |header| header.revision()));
            for kv in page.take_kvs() {
                from = kv.key().to_vec();
                from.push(0);
                each(kv)?;
            }
            if !more {
                return Ok(revision);
            }
        }
    }

    /// As many keys under `prefix` from `from` on as come in time; one alone comes wherever it could be written.
    pub async fn page(
        &self,
        doing: &'static str,
        prefix: &str,
        from: &[u8],
        pages: &mut Pages,
    ) -> Result<GetResponse, EtcdError> {
        loop {
            let options = GetOptions::new().with_range(end_of(prefix)).with_limit(pages.limit);
            let patience = if pages.limit > 1 { CALL_TIMEOUT } else { LAST_PAGE_TIMEOUT };
            let get = |client: Client| {
                let options = options.clone();
                async move { kv(&client).get(from, Some(options)).await }
            };
            match self.call_within(patience, doing, Again::Broken, get).await {
                Ok(page) => {
                    pages.took(page.kvs());
                    return Ok(page);
                }
                Err(error @ EtcdError::Unavailable { .. }) if pages.limit > 1 => {
                    pages.halve();
                    tracing::debug!("{error}; asking for {} keys at once", pages.limit);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// How many keys are asked for at once while a range is read.
#[derive(Debug)]
pub struct Pages {
    limit: i64,
    /// Never more again: more did not come in time.
    most: i64,
}

impl Default for Pages {
    fn default() -> Self {
        Pages { limit: FIRST_PAGE, most: PAGE }
    }
}

impl Pages {
    fn halve(&mut self) {
        self.most = (self.limit / 2).max(1);
        self.limit = self.most;
    }

    fn took(&mut self, kvs: &[KeyValue]) {
        let bytes: usize = kvs.iter().map(|kv| kv.value().len()).sum();
        let next = if bytes <= SMALL_PAGE_BYTES { PAGE } else { FIRST_PAGE };
        self.limit = next.min(self.most);
    }
}

fn tls_options(tls: &EtcdTls) -> TlsOptions {
    let mut options = TlsOptions::new();
    if let Some(ca) = &tls.ca {
        options = options.ca_certificate(Certificate::from_pem(ca));
    }
    if let Some((certificate, key)) = &tls.identity {
        options = options.identity(Identity::from_pem(certificate, key));
    }
    if let Some(domain) = &tls.domain {
        options = options.domain_name(domain);
    }
    options
}

/// For reading: a page holds as much as its keys do, which their writers bound.
fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(usize::MAX)
}
