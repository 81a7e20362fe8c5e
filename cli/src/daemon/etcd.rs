//! The flags of a journal in etcd.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dawn_scheduler::etcd::{EtcdConfig, EtcdTls};

use crate::args::duration;
use crate::exit::{Exit, Failure};

const HEADING: &str = "Several schedulers, of which one leads";

#[derive(Args, Default)]
pub struct Etcd {
    /// Keep the journal in this etcd instead of files; the schedulers that share it elect a leader
    #[arg(long, help_heading = HEADING, value_name = "URL,…", value_delimiter = ',', value_parser = url)]
    etcd: Vec<String>,
    /// Where in etcd; clusters that share one need different ones
    #[arg(long, help_heading = HEADING, default_value = "dawn", value_name = "PREFIX", requires = "etcd")]
    etcd_prefix: String,
    /// How long a silent leader stays leader
    #[arg(long, help_heading = HEADING, default_value = "5s", value_name = "DURATION", value_parser = duration,
          requires = "etcd")]
    etcd_lease: Duration,
    /// User at etcd
    #[arg(long, help_heading = HEADING, value_name = "NAME", requires = "etcd_password_file")]
    etcd_user: Option<String>,
    /// Holds the user's password
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "etcd_user")]
    etcd_password_file: Option<PathBuf>,
    /// Authority that signed etcd's certificate, PEM
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "etcd")]
    etcd_ca: Option<PathBuf>,
    /// This scheduler's own certificate, PEM
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "etcd_key")]
    etcd_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "etcd_cert")]
    etcd_key: Option<PathBuf>,
}

fn url(text: &str) -> Result<String, String> {
    let text = if text.contains("://") { text.to_string() } else { format!("http://{text}") };
    match text.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() => Ok(text),
        _ => Err("write http://HOST:PORT or https://HOST:PORT".to_string()),
    }
}

fn read(flag: &str, path: &PathBuf) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::new(Exit::Usage, format!("{flag} {}: {error}", path.display())))
}

impl Etcd {
    pub fn is_given(&self) -> bool {
        !self.etcd.is_empty()
    }

    /// None without --etcd.
    pub fn config(self) -> Result<Option<EtcdConfig>, Failure> {
        if self.etcd.is_empty() {
            return Ok(None);
        }
        let password = self.etcd_password_file.as_ref().map(|path| read("--etcd-password-file", path)).transpose()?;
        let password = password.map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_string());
        let ca = self.etcd_ca.as_ref().map(|path| read("--etcd-ca", path)).transpose()?;
        let identity = match (&self.etcd_cert, &self.etcd_key) {
            (Some(cert), Some(key)) => Some((read("--etcd-cert", cert)?, read("--etcd-key", key)?)),
            _ => None,
        };
        let tls = (ca.is_some() || identity.is_some()).then_some(EtcdTls { ca, identity, domain: None });
        Ok(Some(EtcdConfig {
            endpoints: self.etcd,
            prefix: self.etcd_prefix,
            user: self.etcd_user.zip(password),
            tls,
            lease_ms: u64::try_from(self.etcd_lease.as_millis()).unwrap_or(u64::MAX),
        }))
    }
}
