//! etcd as this edge uses it: one client, a deadline on every call, answers as large as a writer can make them.

use std::future::Future;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, KeyValue, KvClient, TlsOptions};

use super::error::{EtcdError, classify};
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

/// No call waits longer: half of the shortest lease allowed.
const CALL_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Keys read at once when a range is long and they are small, and while it isn't known that they are: each may hold
/// [`VALUE_BYTES`](crate::model::bounds::VALUE_BYTES).
const PAGE: i64 = 64;
const FIRST_PAGE: i64 = 8;
/// A page of so few bytes has small keys.
const SMALL_PAGE_BYTES: usize = 256 << 10;

/// A connected client with the cluster's keys.
#[derive(Clone)]
pub struct Store {
    pub client: Client,
    pub keys: Keys,
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
        let client = in_time(&endpoints, "connecting", connect).await?;
        Ok(Store { client, keys: Keys::new(&config.prefix), endpoints })
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
        in_time(&self.endpoints, doing, call).await
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

    /// Every key under `prefix` from `start` on, in key order, page by page, as of one revision; with that revision.
    pub async fn read_from(
        &self,
        doing: &'static str,
        prefix: &str,
        start: String,
        mut each: impl FnMut(KeyValue) -> Result<(), EtcdError>,
    ) -> Result<i64, EtcdError> {
        let (mut from, mut revision, mut limit) = (start.into_bytes(), 0, FIRST_PAGE);
        loop {
            let options = GetOptions::new().with_range(end_of(prefix)).with_limit(limit).with_revision(revision);
            let mut kv = self.kv();
            let mut page = self.call(doing, kv.get(from, Some(options))).await?;
            if revision == 0 {
                revision = page.header().map_or(0, |header| header.revision());
            }
            let more = page.more();
            let kvs = page.take_kvs();
            let Some(last) = kvs.last() else { return Ok(revision) };
            from = last.key().to_vec();
            from.push(0);
            limit = page_after(&kvs);
            for kv in kvs {
                each(kv)?;
            }
            if !more {
                return Ok(revision);
            }
        }
    }
}

/// How many keys the next page may have.
pub fn page_after(kvs: &[KeyValue]) -> i64 {
    let bytes: usize = kvs.iter().map(|kv| kv.value().len()).sum();
    if bytes <= SMALL_PAGE_BYTES { PAGE } else { FIRST_PAGE }
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
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(classify(endpoints, doing, error)),
        Err(_) => Err(EtcdError::Unavailable { endpoints: endpoints.into(), doing, source: None }),
    }
}
