//! GET over http and https, with redirections; a server that sends nothing is given up.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_LENGTH, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self as tls, CertificateError, ClientConfig, RootCertStore};

use super::FetchError;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const MAX_REDIRECTIONS: usize = 5;
/// Where systems keep the certificates they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

pub(super) type Body = Incoming;

/// Whom https servers must be vouched for by: a PEM file, or the system's own.
#[derive(Clone, Debug, Default)]
pub struct Roots(pub Option<PathBuf>);

impl Roots {
    fn connector(&self) -> Result<TlsConnector, FetchError> {
        let path = match &self.0 {
            Some(path) => Some(path.clone()),
            None => SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.is_file()),
        };
        let path = path.ok_or_else(|| FetchError::Source("this machine has no list of trusted certificates".into()))?;
        let wrong = |error: &dyn std::fmt::Display| FetchError::Source(format!("{}: {error}", path.display()));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| wrong(&error))? {
            // One that this library can't use is one server less to be reached.
            let _ = certificate.map(|certificate| roots.add(certificate));
        }
        if roots.is_empty() {
            return Err(wrong(&"it has no certificate that can be used"));
        }
        let provider = Arc::new(tls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| wrong(&error))?.with_root_certificates(roots).with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// Length, if it is told, and body of what an address names.
pub(super) async fn get(uri: &str, roots: &Roots, stall: Duration) -> Result<(Option<u64>, Body), FetchError> {
    let mut at: Uri = uri.parse().map_err(|error| FetchError::Source(format!("it is no address: {error}")))?;
    for _ in 0..=MAX_REDIRECTIONS {
        let asking = tokio::time::timeout(stall, ask(&at, roots)).await;
        let answer = asking.map_err(|_| FetchError::Passing(stalled(stall)))??;
        let status = answer.status();
        if status.is_success() {
            let length = answer.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            return Ok((length, answer.into_body()));
        }
        let told = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_string);
        match told.filter(|_| status.is_redirection()) {
            Some(location) => at = redirected(&at, &location)?,
            None if status.is_server_error() => {
                return Err(FetchError::Passing(format!("the server answers {status}")));
            }
            None => return Err(FetchError::Source(format!("the server answers {status}"))),
        }
    }
    Err(FetchError::Source(format!("more than {MAX_REDIRECTIONS} redirections")))
}

fn stalled(stall: Duration) -> String {
    format!(
        "the server sent nothing for {}",
        dawn_proto::amounts::duration(u64::try_from(stall.as_millis()).unwrap_or(u64::MAX))
    )
}

fn redirected(at: &Uri, location: &str) -> Result<Uri, FetchError> {
    let wrong = || FetchError::Source("the server redirects to no address".into());
    let next: Uri = location.parse().map_err(|_| wrong())?;
    let secure = at.scheme_str() == Some("https");
    if next.scheme().is_some() {
        // What was asked for in secret is not fetched in the open.
        return if secure && next.scheme_str() != Some("https") { Err(wrong()) } else { Ok(next) };
    }
    let path = next.path_and_query().cloned().filter(|path| path.as_str().starts_with('/')).ok_or_else(wrong)?;
    let mut parts = at.clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|_| wrong())
}

async fn ask(uri: &Uri, roots: &Roots) -> Result<Response<Incoming>, FetchError> {
    let (secure, usual_port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(FetchError::Source("it is neither http nor https".into())),
    };
    let host = uri.host().ok_or_else(|| FetchError::Source("the address has no host".into()))?;
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let connector = if secure { Some(roots.connector()?) } else { None };
    let connecting = TcpStream::connect((plain, uri.port_u16().unwrap_or(usual_port)));
    let connected = tokio::time::timeout(CONNECT_WITHIN, connecting).await;
    let connected = connected.map_err(|_| FetchError::Passing(format!("{host} does not answer")))?;
    let stream = connected.map_err(|error| FetchError::Passing(format!("{host} can't be reached: {error}")))?;
    let Some(connector) = connector else { return send(uri, stream).await };
    let name = ServerName::try_from(plain.to_string()).map_err(|error| FetchError::Source(error.to_string()))?;
    let secured = connector.connect(name, stream).await;
    send(uri, secured.map_err(|error| unsecured(host, &error))?).await
}

/// A wrong certificate or protocol will be wrong again; a connection that broke may hold the next time.
fn unsecured(host: &str, error: &io::Error) -> FetchError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let advice = match cause {
        Some(tls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "; whom to trust is said to the agent by --artifact-ca"
        }
        _ => "",
    };
    let message = format!("no TLS with {host}: {error}{advice}");
    if error.kind() == io::ErrorKind::InvalidData { FetchError::Source(message) } else { FetchError::Passing(message) }
}

async fn send(
    uri: &Uri,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Response<Incoming>, FetchError> {
    let passing = |error: hyper::Error| FetchError::Passing(format!("the connection broke: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(passing)?;
    // Ends with the body.
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("dawn-agent/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|error| FetchError::Source(format!("it is no address: {error}")))?;
    sender.send_request(request).await.map_err(passing)
}

/// The next piece of a body; None: that was all.
pub(super) async fn next(body: &mut Body, stall: Duration) -> Result<Option<Vec<u8>>, FetchError> {
    loop {
        let frame = tokio::time::timeout(stall, body.frame()).await;
        let frame = frame.map_err(|_| FetchError::Passing(stalled(stall)))?;
        match frame.transpose() {
            // Trailers are passed over.
            Ok(Some(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data.to_vec()));
                }
            }
            Ok(None) => return Ok(None),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                return Err(FetchError::Passing(format!("it broke off: {cause}")));
            }
        }
    }
}
