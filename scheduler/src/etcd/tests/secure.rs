//! etcd that wants certificates, or a user and a password.

use std::path::Path;
use std::process::Command;

use etcd_client::{Client, Permission};

use super::super::fixture::{etcd, etcd_over, store};
use super::super::*;
use super::{batch, lead, replayed};
use crate::drive::Journal;
use crate::wire::digest;

/// Elected, written and read back.
async fn works(config: &EtcdConfig) {
    let store = store(config).await;
    claim(&store, "one", "").await.unwrap();
    let (leadership, mut journal) = lead(config, &store).await;
    for index in 1..=3 {
        journal.append(batch(index, leadership.epoch)).await.unwrap();
    }
    let state = load(&store).await.unwrap().state;
    assert_eq!(digest(&state), digest(&replayed(1..=3, leadership.epoch)));
    assert!(write_snapshot(&store, &state, 1).await.unwrap());
    leadership.resign().await.unwrap();
}

fn openssl(dir: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, `ca.pem`, and a certificate of its for this machine as server and as client, `own.pem`.
fn certificates(dir: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    openssl(dir, &format!("req -new {key} -keyout own.key -out own.csr -subj /CN=own"));
    std::fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n").unwrap();
    openssl(dir, "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out own.pem");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_both_sides_are_checked() {
    if Command::new("openssl").arg("version").output().is_err() {
        return crate::skip::skip("no openssl in PATH to make certificates with");
    }
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (ca, certificate, key) = (path("ca.pem"), path("own.pem"), path("own.key"));
    let flags = ["--trusted-ca-file", &ca, "--cert-file", &certificate, "--key-file", &key, "--client-cert-auth"];
    let Some(mut etcd) = etcd_over("https", &flags) else { return };
    let read = |path: &str| std::fs::read(path).unwrap();
    let tls = EtcdTls { ca: Some(read(&ca)), identity: Some((read(&certificate), read(&key))), domain: None };
    etcd.config.tls = Some(tls.clone());
    works(&etcd.config).await;

    let without_identity = EtcdTls { identity: None, ..tls };
    for tls in [Some(without_identity), None] {
        let config = EtcdConfig { tls, ..etcd.config.clone() };
        let read = match Store::connect(&config).await {
            Ok(store) => store.read("reading", "/none").await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(read.is_err(), "{:?}", config.tls);
    }
}

/// User root, and user dawn who may use its prefix alone.
async fn enable_users(endpoints: &[String]) {
    let mut client = Client::connect(endpoints, None).await.unwrap();
    client.user_add("root", "toor", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.role_add("dawn").await.unwrap();
    let permission = Permission::read_write("/dawn/").with_prefix();
    client.role_grant_permission("dawn", permission).await.unwrap();
    client.user_add("dawn", "secret", None).await.unwrap();
    client.user_grant_role("dawn", "dawn").await.unwrap();
    client.auth_enable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_let_in_to_its_prefix_with_its_password() {
    let Some(mut etcd) = etcd() else { return };
    store(&etcd.config).await;
    enable_users(&etcd.config.endpoints).await;
    let user = |password: &str| Some(("dawn".to_string(), password.to_string()));
    etcd.config.user = user("secret");
    let known = Store::connect(&etcd.config).await.unwrap();
    assert_eq!(claim(&known, "one", "").await.unwrap(), "one");
    let (leadership, mut journal) = lead(&etcd.config, &known).await;
    journal.append(batch(1, leadership.epoch)).await.unwrap();
    let state = load(&known).await.unwrap().state;
    assert!(write_snapshot(&known, &state, 1).await.unwrap());

    let elsewhere = EtcdConfig { prefix: "other".into(), ..etcd.config.clone() };
    let elsewhere = Store::connect(&elsewhere).await.unwrap();
    let denied = claim(&elsewhere, "one", "").await.unwrap_err();
    assert!(denied.to_string().contains("refuses this user") && !denied.is_passing(), "{denied}");
    let wrong = EtcdConfig { user: user("guess"), ..etcd.config.clone() };
    let denied = Store::connect(&wrong).await.err().unwrap();
    assert!(denied.to_string().contains("refuses this user") && !denied.is_passing(), "{denied}");
}
