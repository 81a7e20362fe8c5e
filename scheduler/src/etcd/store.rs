//! etcd as this edge uses it: one client, a deadline on every call, answers as large as a writer can make them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, GetResponse, Identity, KeyValue, KvClient, TlsOptions,
};

use super::error::{EtcdError, classify};
use super::growth::Growth;
use super::keys::{Keys, end_of};

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

/// A connected client with the cluster's keys.
#[derive(Clone)]
pub struct Store {
    pub client: Client,
    pub keys: Keys,
    /// Of the journal there, as far as it was read or written here.
    pub growth: Arc<Growth>,
    endpoints: String,
}

impl Store {
    /// # Errors
    /// When the endpoints or the TLS material are unusable, or user and password are refused.
    pub async fn connect(config: &EtcdConfig) -> Result<Store, EtcdError> {
        let endpoints = config.endpoints.join(",");
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
        let connect = Client::connect(&config.endpoints, Some(options));
        let client = in_time(&endpoints, "connecting", CALL_TIMEOUT, connect).await?;
        Ok(Store { client, keys: Keys::new(&config.prefix), growth: Arc::default(), endpoints })
    }

    /// Where etcd is looked for.
    pub fn endpoints(&self) -> &str {
        &self.endpoints
    }

    /// Runs one call under the deadline and names what it was for.
    pub async fn call<T>(
        &self,
        doing: &'static str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, EtcdError> {
        in_time(&self.endpoints, doing, CALL_TIMEOUT, call).await
    }

    /// For reading: a page holds as much as its keys do, which their writers bound.
    pub fn kv(&self) -> KvClient {
        self.client.kv_client().max_decoding_message_size(usize::MAX)
    }

    /// One key's value and mod revision, linearizable.
    pub async fn read(&self, doing: &'static str, key: &str) -> Result<Option<KeyValue>, EtcdError> {
        let mut kv = self.kv();
        let mut answer = self.call(doing, kv.get(key, None)).await?;
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
            let mut kv = self.kv();
            match in_time(&self.endpoints, doing, patience, kv.get(from, Some(options))).await {
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

async fn in_time<T>(
    endpoints: &str,
    doing: &'static str,
    patience: Duration,
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    match tokio::time::timeout(patience, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(classify(endpoints, doing, error)),
        Err(_) => Err(EtcdError::Unavailable { endpoints: endpoints.into(), doing, source: None }),
    }
}
