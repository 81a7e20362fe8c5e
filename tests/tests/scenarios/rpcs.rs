//! Every rpc of the wire contract, asked with a message in which every field is missing: plain words, and nothing is done.

use std::path::PathBuf;

use dawn_tests::cluster::{Cluster, Patience, Plan, service};
use tonic::Code;

/// (service, rpc) of all that clients may call, in order.
fn rpcs() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../proto/dawn/v1");
    let (mut found, mut service) = (Vec::new(), String::new());
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("it is there").flatten().map(|one| one.path()).collect();
    files.sort();
    for file in files {
        for line in std::fs::read_to_string(file).expect("it is text").lines() {
            let word = |line: &str| line.split(['(', ' ']).next().unwrap_or_default().to_string();
            if let Some(rest) = line.strip_prefix("service ") {
                service = word(rest);
            } else if let Some(rest) = line.strip_prefix("  rpc ") {
                found.push((service.clone(), word(rest)));
            }
        }
    }
    found
}

#[test]
fn every_rpc_answers_a_message_without_fields_in_plain_words_and_does_nothing() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let web = cluster.submit(service("web"));
    cluster.running(&web, 1);
    let all = rpcs();
    assert!(all.len() > 40, "{all:?}");
    // What ends the scheduler comes last.
    let (last, all): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, rpc)| rpc == "Leave");
    for (service, rpc) in &all {
        if let Err(status) = cluster.api.ask_nothing(service, rpc) {
            let right = [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition].contains(&status.code());
            assert!(right && status.message().len() > 10, "{service}.{rpc}: {status:?}");
            assert!(dawn_proto::errors::reason(&status).is_some(), "{service}.{rpc} names no reason: {status:?}");
        }
    }
    assert_eq!(cluster.running(&web, 1)[0].attempt, 1, "it was left alone");
    assert_eq!(cluster.api.jobs().expect("they are listed").len(), 1);
    cluster.dawn(&["admin", "verify"]).succeeded();
    cluster.kill(&web);
    for (service, rpc) in &last {
        cluster.api.ask_nothing(service, rpc).unwrap_or_else(|status| panic!("{service}.{rpc}: {status:?}"));
    }
    assert_eq!(cluster.scheduler.exit_code(Patience::STEP), Some(0));
    cluster.scheduler.start();
    cluster.scheduler_answers();
    cluster.end();
}
