//! Servers that prove who they are, and those that can't or break off on the way.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::super::*;
use super::{World, artifact, ok, serve};

/// Somebody who vouches for servers.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// What a server says who is vouched for under a name.
    fn vouch(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_string()]).unwrap();
        let chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(chain, key.into()).unwrap())
    }
}

type Secured = StreamOwned<ServerConnection, TcpStream>;

fn secured(config: &Arc<ServerConfig>, stream: TcpStream) -> Secured {
    StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream)
}

/// A server that is `localhost` by the word of `authority`.
fn localhost(authority: &Authority) -> (SocketAddr, Arc<AtomicUsize>) {
    let config = authority.vouch("localhost");
    serve(move |_, stream| Some(secured(&config, stream)), |_, out| ok(out, b"content"))
}

/// An agent that was told whom to trust; the file stays as long as its folder.
fn trusting(pem: &str) -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("ca.pem");
    fs::write(&path, pem).unwrap();
    let roots = Roots(Some(path));
    let world =
        World::told(Settings { cache_bytes: 1 << 20, stall: Duration::from_secs(60), peers: Vec::new(), roots });
    (folder, world)
}

fn at_localhost(address: SocketAddr) -> Artifact {
    let uri = format!("https://localhost:{}/tool", address.port());
    Artifact { uri, ..artifact(address, b"content", "tool") }
}

#[tokio::test]
async fn a_server_the_given_authority_vouches_for_is_believed() {
    let authority = Authority::new("one");
    let (address, asked) = localhost(&authority);
    let (_folder, world) = trusting(&authority.pem);
    world.fetch(1, &[at_localhost(address)]).await.unwrap();
    assert_eq!(fs::read(world.sandbox(1).join("tool")).unwrap(), b"content");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_nobody_trusted_vouches_for_is_refused_at_once() {
    let (address, asked) = localhost(&Authority::new("one"));
    let (_folder, world) = trusting(&Authority::new("another").pem);
    let (reason, message) = world.refused(1, at_localhost(address)).await;
    assert_eq!(reason, Reason::ArtifactFailed);
    let told = "no TLS with localhost: invalid peer certificate: UnknownIssuer; whom to trust is said to the agent by \
                --artifact-ca";
    assert!(message.ends_with(told), "{message}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "another try would not help");
    assert!(!world.sandbox(1).join("tool").exists());
}

#[tokio::test]
async fn a_server_of_another_name_is_refused_at_once() {
    let authority = Authority::new("one");
    let config = authority.vouch("elsewhere.example");
    let open = move |_, stream| Some(secured(&config, stream));
    let (address, asked) = serve(open, |_, out| ok(out, b"content"));
    let (_folder, world) = trusting(&authority.pem);
    let (_, message) = world.refused(1, at_localhost(address)).await;
    assert!(message.contains("no TLS with localhost: invalid peer certificate"), "{message}");
    assert!(message.contains("not valid for name \"localhost\"") && message.contains("elsewhere.example"), "{message}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "another try would not help");
    assert!(!world.sandbox(1).join("tool").exists());
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_refused_at_once() {
    let open = |_, mut stream: TcpStream| {
        ok(&mut stream, b"content");
        Some(stream)
    };
    let (address, asked) = serve(open, |_, _| {});
    let (_folder, world) = trusting(&Authority::new("another").pem);
    let (_, message) = world.refused(1, at_localhost(address)).await;
    assert!(message.contains("no TLS with localhost: "), "{message}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "another try would not help");
}

#[tokio::test]
async fn a_handshake_that_breaks_is_tried_again() {
    let authority = Authority::new("one");
    let config = authority.vouch("localhost");
    let open = move |number, mut stream: TcpStream| {
        let mut hello = [0; 4096];
        match number {
            // What was sent is read, so that the client is told of an end.
            0 => stream.read(&mut hello).map(|_| None).unwrap(),
            // And here of a reset: something stays unread.
            1 => stream.read(&mut hello[..1]).map(|_| None).unwrap(),
            _ => Some(secured(&config, stream)),
        }
    };
    let (address, asked) = serve(open, |_, out| ok(out, b"content"));
    let (_folder, world) = trusting(&authority.pem);
    world.fetch(1, &[at_localhost(address)]).await.unwrap();
    assert_eq!(fs::read(world.sandbox(1).join("tool")).unwrap(), b"content");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_list_without_a_certificate_is_named() {
    let (address, asked) = localhost(&Authority::new("one"));
    let (folder, world) = trusting("no certificate\n");
    let (_, message) = world.refused(1, at_localhost(address)).await;
    let path = folder.path().join("ca.pem");
    assert!(message.contains(&format!("{}: it has no certificate", path.display())), "{message}");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody is asked who could not be believed");
}
