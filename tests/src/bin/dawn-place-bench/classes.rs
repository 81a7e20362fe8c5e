//! kube-scheduler's classes at 5,000 nodes and Aurora's set-ups, re-created.

use std::collections::BTreeMap;

use dawn_proto::v1::Tier;
use dawn_scheduler::decide::place::PlaceSettings;
use dawn_scheduler::model::{Affinity, Attributes, Constraint, JobSpec, Near, Rule, Spread};

use crate::cluster::{Cluster, cpu_time, job, limit, resources};
use crate::table::row;

fn attributes(pairs: &[(&str, String)]) -> Attributes {
    pairs.iter().map(|(name, value)| ((*name).to_string(), vec![value.clone()])).collect()
}

/// 5,000 nodes of 32 cpus in 10 zones and 250 racks, as the upstream throughput tests have them.
fn five_thousand() -> Cluster {
    let mut cluster = Cluster::new(&PlaceSettings::default());
    for node in 0..5000u32 {
        let zone = ("zone", format!("zone{}", node % 10));
        let rack = ("rack", format!("rack{}", node / 20));
        cluster.agent(resources(32_000, 131_072), attributes(&[zone, rack]), vec![(31_000, 32_000)]);
    }
    cluster
}

fn pods(name: &str, count: u32, rule: impl Fn(&mut JobSpec, u32)) -> Vec<JobSpec> {
    // In jobs of 10, as controllers of that size make them.
    (0..count / 10)
        .map(|at| {
            let mut spec = job(&format!("role{}/{name}/job{at}", at % 10), 10, resources(100, 500));
            rule(&mut spec, at);
            spec
        })
        .collect()
}

fn near(job: &str, topology: &str, weight: i32, required: bool) -> Affinity {
    let job = job.parse().expect("keys of the benchmark are valid");
    Affinity { weight, required, near: Near::Job { job, topology: topology.into() } }
}

fn measure(name: &str, specs: Vec<JobSpec>) {
    let mut cluster = five_thousand();
    cluster.submit(job("target/x/target", 250, resources(100, 500)));
    cluster.place(4096);
    let pods: u32 = specs.iter().map(|spec| spec.instances).sum();
    specs.into_iter().for_each(|spec| cluster.submit(spec));
    let measured = cluster.place(4096);
    row(&[
        name,
        &format!("{} of {pods}", measured.placed),
        &format!("{:.0}", measured.rate()),
        &format!("{:.0}", measured.rate_applied()),
        &format!("{:.2}", measured.quantile_us(0.5)),
        &format!("{:.2}", measured.quantile_us(0.99)),
    ]);
}

pub fn kube() {
    println!(
        "\nkube-scheduler's classes, 5,000 nodes, 10,000 pods (its own floors: 24-810 pods/s, on other machines: read as ratios)"
    );
    row(&["class", "placed", "decided/s", "with apply/s", "p50 us", "p99 us"]);
    measure("basic", pods("basic", 10_000, |_, _| {}));
    let spread = |attribute: &str| Spread { attribute: attribute.into(), share_percent: BTreeMap::new(), weight: 50 };
    measure("topology spread", pods("spread", 10_000, |spec, _| spec.spreads.push(spread("zone"))));
    let zones = Constraint { attribute: "zone".into(), rule: Rule::OneOf(vec!["zone1".into(), "zone2".into()]) };
    measure("node affinity", pods("affinity", 10_000, |spec, _| spec.constraints.push(zones.clone())));
    measure("pod anti-affinity", pods("anti", 10_000, |spec, _| spec.constraints.push(limit("host", 1))));
    let to_target = |weight, required| {
        move |spec: &mut JobSpec, _| spec.affinities.push(near("target/x/target", "zone", weight, required))
    };
    measure("inter-job affinity (required, zone)", pods("near", 10_000, to_target(100, true)));
    measure("inter-job affinity (preferred, zone)", pods("prefer", 10_000, to_target(100, false)));
    let apart = |spec: &mut JobSpec, at: u32| {
        let other = format!("role{}/far/job{}", (at + 1) % 10, at + 1);
        spec.affinities.push(near(&other, "host", -1, true));
    };
    measure("inter-job anti-affinity (required, host)", pods("far", 10_000, apart));
}

pub fn aurora() {
    println!("\nAurora's set-ups (its benchmark published about 876 tasks/s; other machines: read as ratios)");
    fill_cluster();
    limit_mismatch();
    for pending in [1, 10, 100, 1000] {
        preemptor_search(pending);
    }
}

/// FillCluster: 200,000 hosts of 8 cpus, tasks of 6 cpus.
fn fill_cluster() {
    let mut cluster = Cluster::new(&PlaceSettings::default());
    for host in 0..200_000u32 {
        cluster.agent(resources(8000, 16_384), attributes(&[("rack", format!("rack{}", host / 40))]), Vec::new());
    }
    for at in 0..200 {
        cluster.submit(job(&format!("role{}/fill/job{at}", at % 10), 1000, resources(6000, 8192)));
    }
    let measured = cluster.place(4096);
    println!(
        "FillCluster, 200,000 hosts of 8 cpus, tasks of 6: {} placed, {:.0}/s ({:.0}/s with apply), p99 {:.2} us",
        measured.placed,
        measured.rate(),
        measured.rate_applied(),
        measured.quantile_us(0.99)
    );
}

/// A job whose limit leaves nothing on 1,000 hosts: how long it takes to know.
fn limit_mismatch() {
    let mut cluster = Cluster::new(&PlaceSettings::default());
    for _ in 0..1000u32 {
        cluster.agent(resources(8000, 16_384), attributes(&[("rack", "one".into())]), Vec::new());
    }
    let mut took = Vec::new();
    for at in 0..1000 {
        let mut spec = job(&format!("role/mismatch/job{at}"), 2, resources(10, 16));
        spec.constraints = vec![limit("rack", 1)];
        cluster.submit(spec);
        let begun = cpu_time();
        let decided = cluster.placer.place(&cluster.state, cluster.now, 4096);
        took.push((cpu_time() - begun).as_secs_f64() * 1e6);
        decided.iter().for_each(|mutation| cluster.apply(mutation));
    }
    took.sort_by(f64::total_cmp);
    println!(
        "limit constraint mismatch, 1,000 hosts: one placed, one refused everywhere: p50 {:.1} us, p99 {:.1} us",
        took[500], took[990]
    );
}

/// Full of batch tasks: `pending` production tasks look for victims on 10,000 hosts.
fn preemptor_search(pending: u32) {
    let mut cluster = Cluster::new(&PlaceSettings::default());
    for host in 0..10_000u32 {
        cluster.agent(resources(8000, 16_384), attributes(&[("rack", format!("rack{}", host / 40))]), Vec::new());
    }
    for at in 0..80 {
        let mut spec = job(&format!("role{}/batch/job{at}", at % 10), 1000, resources(1000, 2048));
        (spec.tier, spec.priority) = (Tier::Batch, (at % 7) as u16);
        cluster.submit(spec);
    }
    cluster.place(4096);
    cluster.submit(job("wanted/prod/web", pending, resources(3000, 4096)));
    let begun = cpu_time();
    let measured = cluster.place(usize::MAX);
    println!(
        "preemptor search, 10,000 full hosts, {pending} pending: {} victims in {:.2} ms ({:.2} ms with apply)",
        measured.victims,
        measured.deciding.as_secs_f64() * 1e3,
        (cpu_time() - begun).as_secs_f64() * 1e3
    );
}
