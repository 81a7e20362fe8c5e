//! Packing on real traces: the placer replayed by the protocols of the trace files' README, beside the plain policies that
//! its reference scorers have. Archives are read through `gzip` and `tar`.

use std::cmp::Reverse;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dawn_scheduler::decide::place::PlaceSettings;
use dawn_scheduler::model::{Attributes, Constraint, JobSpec, Mutation, Rule};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::azure;
use crate::cluster::{Cluster, job, resources};

fn traces() -> Option<PathBuf> {
    let shared = std::env::var_os("DAWN_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let traces = shared.join("traces");
    if traces.is_dir() {
        return Some(traces);
    }
    println!("\nno traces at {}: set DAWN_SHARED; the packing table is left out", traces.display());
    None
}

pub fn unpacked(program: &str, options: &[&str], file: &Path) -> std::io::Result<String> {
    let mut child = Command::new(program).args(options).arg(file).stdout(Stdio::piped()).spawn()?;
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text)?;
    }
    child.wait()?;
    Ok(text)
}

pub fn run(only: Option<&str>) {
    let Some(traces) = traces() else { return };
    let on = |name: &str| only.is_none_or(|only| only == name);
    if on("azure") {
        azure::run(&traces.join("azure"));
    }
    if only == Some("compact") {
        azure::compact(&traces.join("azure"));
    }
    if on("fgd") {
        fgd(&traces.join("fgd"));
    }
    if on("vbp") {
        vbp(&traces.join("vbp"));
    }
}

struct Pod {
    cpu_milli: u64,
    mib: u64,
    gpu_milli: u64,
    models: Vec<String>,
}

fn fgd_pods(text: &str) -> Vec<Pod> {
    let parse = |line: &str| -> Option<Pod> {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells.get(at)?.parse::<u64>().ok();
        let gpus = number(3)?;
        let models =
            cells.get(5).map(|spec| spec.split('|').filter(|model| !model.is_empty()).map(str::to_string).collect());
        let gpu_milli = gpus * if gpus > 0 { number(4)? } else { 0 };
        Some(Pod { cpu_milli: number(1)?, mib: number(2)?, gpu_milli, models: models.unwrap_or_default() })
    };
    text.lines().skip(1).filter_map(parse).collect()
}

fn fgd(folder: &Path) {
    println!("\nfgd: share of gpu capacity allocated at arrivals of 100 % and 130 % (published best, FGD, beside)");
    let bars = [
        ("default", 95.23, 95.39),
        ("cpu100", 95.21, 95.35),
        ("gpushare40", 93.96, 94.15),
        ("gpuspec10", 94.66, 94.95),
        ("multigpu20", 95.53, 95.65),
    ];
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let nodes = read("openb_node_list_gpu_node.csv");
    let seeds = std::env::var("DAWN_FGD_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(10);
    for (list, at_100, at_130) in bars {
        let base = fgd_pods(&read(&format!("openb_pod_list_{list}.csv")));
        let runs: Vec<(f64, f64)> = (0..seeds).map(|seed| fgd_run(&nodes, &base, seed)).collect();
        let mean = |part: fn(&(f64, f64)) -> f64| runs.iter().map(part).sum::<f64>() / seeds as f64;
        println!("  {list}: {:.2} / {:.2} (FGD {at_100} / {at_130})", mean(|run| run.0), mean(|run| run.1));
    }
}

fn fgd_run(nodes: &str, base: &[Pod], seed: u64) -> (f64, f64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut cluster = Cluster::new(&PlaceSettings { preemption: false, ..PlaceSettings::default() });
    let mut capacity = 0;
    for line in nodes.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells.get(at).and_then(|cell| cell.parse::<u64>().ok()).unwrap_or(0);
        let mut total = resources(number(1), number(2));
        total.gpu_milli = number(3) * 1000;
        capacity += total.gpu_milli;
        let model = cells.get(4).map(|model| (*model).to_string()).unwrap_or_default();
        cluster.agent(total, Attributes::from([("model".to_string(), vec![model])]), Vec::new());
    }
    let mut pods: Vec<usize> = (0..base.len()).collect();
    let mut asked: u64 = base.iter().map(|pod| pod.gpu_milli).sum();
    while asked * 10 > capacity * 13 {
        asked -= base[pods.swap_remove(random.random_range(0..pods.len()))].gpu_milli;
    }
    loop {
        let clone = random.random_range(0..base.len());
        if (asked + base[clone].gpu_milli) * 10 > capacity * 13 {
            break;
        }
        asked += base[clone].gpu_milli;
        pods.push(clone);
    }
    pods.shuffle(&mut random);
    let (mut arrived, mut allocated, mut at_100) = (0, 0, None);
    for (at, pod) in pods.into_iter().map(|pod| &base[pod]).enumerate() {
        arrived += pod.gpu_milli;
        if fgd_place(&mut cluster, at, pod) {
            allocated += pod.gpu_milli;
        }
        if at_100.is_none() && arrived >= capacity {
            at_100 = Some(allocated);
        }
    }
    let percent = |amount: u64| 100.0 * amount as f64 / capacity as f64;
    (percent(at_100.unwrap_or(allocated)), percent(allocated))
}

fn fgd_place(cluster: &mut Cluster, at: usize, pod: &Pod) -> bool {
    let mut spec: JobSpec = job(&format!("tenant/fgd/pod{at}"), 1, resources(pod.cpu_milli, pod.mib));
    spec.demand.gpu_milli = pod.gpu_milli;
    if !pod.models.is_empty() {
        spec.constraints.push(Constraint { attribute: "model".into(), rule: Rule::OneOf(pod.models.clone()) });
    }
    let task = cluster.state.next_task;
    cluster.submit(spec);
    let decided = cluster.placer.place(&cluster.state, cluster.now, usize::MAX);
    decided.iter().for_each(|mutation| cluster.apply(mutation));
    let placed = decided.iter().any(|mutation| matches!(mutation, Mutation::TaskAssigned(_)));
    if !placed {
        cluster.end(task);
    }
    placed
}

/// Two dimensions are cpu and memory, the third disk; more are custom scalars.
fn vbp(folder: &Path) {
    println!(
        "\nvbp: bins over all instances (bound 111,451, best published 119,936; triplets optimum 18,600, best heuristic 21,518)"
    );
    for (name, options) in [
        ("Panigrahy", ["-xz", "--to-command=cat; echo END", "-f"]),
        ("Triplet", ["-xz", "--to-command=cat; echo END", "-f"]),
    ] {
        let archive = folder.join(format!("{name}_instances.tar.gz"));
        let names = unpacked("tar", &["-tzf"], &archive).unwrap_or_default();
        let files = names.lines().filter(|name| name.ends_with(".vbp"));
        let instances = files.count();
        let text = unpacked("tar", &options, &archive).unwrap_or_default();
        let bins = vbp_all(&text);
        println!("  {name}: {} of {instances} instances, {} bins", bins.len(), bins.iter().sum::<usize>());
    }
}

/// Bins of each instance; a text that is no instance is left out.
fn vbp_all(text: &str) -> Vec<usize> {
    // Some sizes are -1, which ask for nothing.
    let number = |word: &str| word.parse::<i64>().map(|number| number.max(0) as u64);
    let parsed = text.split("END").map(|text| text.split_whitespace().map(number).collect::<Result<Vec<_>, _>>());
    parsed.filter_map(|numbers| vbp_instance(&mut numbers.ok()?.into_iter())).collect()
}

fn vbp_instance(numbers: &mut impl Iterator<Item = u64>) -> Option<usize> {
    let dimensions = numbers.next()? as usize;
    let capacity: Vec<u64> = numbers.take(dimensions).collect();
    let mut items: Vec<Vec<u64>> = Vec::new();
    for _ in 0..numbers.next()? {
        let sizes: Vec<u64> = numbers.take(dimensions).collect();
        let count = numbers.next()?;
        items.extend((0..count).map(|_| sizes.clone()));
    }
    Some(vbp_one(&capacity, items))
}

fn amount(sizes: &[u64]) -> dawn_proto::Resources {
    let mut resources = dawn_proto::Resources::default();
    for (at, size) in sizes.iter().enumerate() {
        match at {
            0 => resources.cpu_milli = *size,
            // In units that the index can tell apart.
            1 => resources.memory_bytes = *size << 20,
            2 => resources.disk_bytes = *size,
            _ => _ = (*size > 0).then(|| resources.custom_milli.insert(format!("d{at}"), *size)),
        }
    }
    resources
}

/// Largest first; a bin more only when nothing open holds an item.
fn vbp_one(capacity: &[u64], mut items: Vec<Vec<u64>>) -> usize {
    let part =
        |item: &Vec<u64>| -> u64 { item.iter().zip(capacity).map(|(size, of)| size * 1_000_000 / (*of).max(1)).sum() };
    items.sort_by_cached_key(|item| Reverse(part(item)));
    let mut cluster = Cluster::new(&PlaceSettings { preemption: false, ..PlaceSettings::default() });
    let mut at = 0;
    while at < items.len() {
        let alike = items[at..].iter().take_while(|item| **item == items[at]).count();
        cluster.submit(job(&format!("tenant/vbp/item{at}"), alike as u32, amount(&items[at])));
        loop {
            let decided = cluster.placer.place(&cluster.state, cluster.now, usize::MAX);
            decided.iter().for_each(|mutation| cluster.apply(mutation));
            if cluster.state.indexes().pending.is_empty() {
                break;
            }
            // A bin for each item always suffices, unless an item is larger than a bin.
            assert!(cluster.state.agents.len() < items.len(), "an item of {:?} fits no bin of {capacity:?}", items[at]);
            cluster.agent(amount(capacity), Attributes::new(), Vec::new());
        }
        at += alike;
    }
    cluster.state.agents.len()
}
