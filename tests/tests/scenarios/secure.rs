//! An etcd that wants certificates, a user and a password: the scheduler there, and the commands that read and write its journal.

use std::path::Path;
use std::process::Command;

use dawn_tests::cluster::{Cluster, Daemon, Output, Patience, Plan, PortBlock, dawn, service, skip};

fn run(folder: &Path, program: &str, args: &str) -> Result<(), String> {
    let run = Command::new(program).args(args.split(' ')).current_dir(folder).env("ETCDCTL_API", "3").output();
    match run {
        Ok(run) if run.status.success() => Ok(()),
        other => Err(format!("{program} {args}: {other:?}")),
    }
}

/// An authority, `ca.pem`, and a certificate of its for this machine as server and as client, `own.pem`.
fn certificates(folder: &Path) -> Result<(), String> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let ext = "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n";
    std::fs::write(folder.join("ext"), ext).expect("it can be written");
    run(folder, "openssl", &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"))?;
    run(folder, "openssl", &format!("req -new {key} -keyout own.key -out own.csr -subj /CN=own"))?;
    let signed = "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out own.pem";
    run(folder, "openssl", signed)
}

/// One member that takes only those that its authority vouches for.
fn etcd(folder: &Path, ports: &PortBlock) -> (Daemon, String) {
    let url = format!("https://127.0.0.1:{}", ports.first());
    let peer = format!("http://127.0.0.1:{}", ports.first() + 1);
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let flags = [
        ("data-dir", file("data")),
        ("listen-client-urls", url.clone()),
        ("advertise-client-urls", url.clone()),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer.clone()),
        ("initial-cluster", format!("default={peer}")),
        ("trusted-ca-file", file("ca.pem")),
        ("cert-file", file("own.pem")),
        ("key-file", file("own.key")),
        ("log-level", "error".to_string()),
    ];
    let mut args: Vec<String> = flags.into_iter().flat_map(|(flag, value)| [format!("--{flag}"), value]).collect();
    args.push("--client-cert-auth".into());
    (Daemon::new("etcd", Path::new("etcd"), args, folder), url)
}

/// User root, and user dawn with a password, who may use one prefix alone.
fn enable_users(folder: &Path, url: &str) -> Result<(), String> {
    let ctl = format!("--endpoints {url} --cacert ca.pem --cert own.pem --key own.key");
    [
        "user add root:toor",
        "user grant-role root root",
        "role add dawn",
        "role grant-permission --prefix=true dawn readwrite /hall/",
        "user add dawn:secret",
        "user grant-role dawn dawn",
        "auth enable",
    ]
    .into_iter()
    .try_for_each(|command| run(folder, "etcdctl", &format!("{ctl} {command}")))
}

#[test]
fn the_journal_is_kept_read_and_restored_in_an_etcd_that_wants_certificates_and_a_password() {
    let (folder, ports) = (tempfile::tempdir().expect("a temporary directory"), PortBlock::reserve());
    if let Err(why) = certificates(folder.path()) {
        return skip(&format!("needs openssl to make certificates with: {why}"));
    }
    if run(folder.path(), "etcdctl", "version").is_err() {
        return skip("needs etcd; install etcd-server and etcd-client");
    }
    let (etcd, url) = etcd(folder.path(), &ports);
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        if !text.is_empty() {
            std::fs::write(&path, text).expect("it can be written");
        }
        path.to_string_lossy().into_owned()
    };
    let (ca, cert, key) = (file("ca.pem", ""), file("own.pem", ""), file("own.key", ""));
    let (password, wrong) = (file("password", "secret\n"), file("wrong", "guess\n"));
    let here = ["--etcd", &url, "--etcd-prefix", "hall", "--etcd-lease", "5s", "--etcd-ca", &ca, "--etcd-cert", &cert];
    let key = ["--etcd-key", &key, "--etcd-user", "dawn", "--etcd-password-file"];
    let with = |command: &[&str], password: &str| -> Output { dawn(&[command, &here, &key, &[password]].concat()) };
    let scheduler_extra = [&here[..], &key, &[&password]].concat().into_iter().map(String::from).collect();
    let cluster = Cluster::lay_out(&Plan { scheduler_extra, ..Plan::default() });
    let advertised = format!("localhost:{}", cluster.address().port());
    let more = ["--advertise".to_string(), advertised.clone()];
    cluster.scheduler.args.lock().expect("no test thread panicked").extend(more);
    etcd.start();
    cluster.eventually("etcd has users", Patience::START, || enable_users(folder.path(), &url));
    cluster.scheduler.start();
    cluster.scheduler_answers();
    let (job, spec) = service("web").marked(&cluster.name);
    cluster.eventually("it leads and takes a job", Patience::START, || {
        cluster.api.submit(spec.clone()).map(|_| ()).map_err(|status| status.to_string())
    });
    let version = cluster.dawn(&["--json", "version"]).succeeded().json();
    assert_eq!(version["server"]["leader_address"], *advertised, "{version}");
    let backup = file("backup", "");
    cluster.dawn(&["admin", "backup", &backup]).succeeded();

    let read = with(&["admin", "journal"], &password).succeeded().stdout;
    assert!(read.contains(&job.to_string()), "{read}");
    let refused = with(&["admin", "journal"], &wrong);
    assert!(refused.code != Some(0) && refused.stderr.contains("refuses this user"), "{refused:?}");
    cluster.kill(&job);
    cluster.scheduler.terminate();
    let unsure = with(&["admin", "restore", &backup], &password);
    assert!(unsure.code != Some(0) && unsure.stderr.contains("--replace"), "{unsure:?}");
    with(&["admin", "restore", "--replace", &backup], &password).succeeded();
    cluster.scheduler.start();
    cluster.scheduler_answers();
    // The client waits until it leads again.
    let killed = cluster.dawn(&["job", "kill", &job.to_string(), "--yes"]).succeeded();
    assert!(killed.stdout.contains("killed 1 task"), "the backup knows it as living: {killed:?}");
    cluster.end();
    etcd.kill_9();
}
