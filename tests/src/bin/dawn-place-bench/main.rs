//! `dawn-place-bench [mix|small|costs|classes|aurora|packing|traces|azure|compact|fgd|vbp]...`: how fast and how well placement
//! decides, in one table. Placement alone in memory, one thread, in cpu time of that thread; what is journaled and sent
//! is measured elsewhere. `small`, `costs` and `compact` run only when named.

mod azure;
mod classes;
mod cluster;
mod costs;
mod mix;
mod packing;
mod plain;
mod table;
mod traces;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let on = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if on("mix") {
        mix::run(50_000, 2_000_000);
    }
    if wanted.iter().any(|wanted| wanted == "small") {
        mix::run(5_000, 200_000);
    }
    if wanted.iter().any(|wanted| wanted == "costs") {
        costs::run();
    }
    if on("classes") {
        classes::kube();
    }
    if on("aurora") {
        classes::aurora();
    }
    if on("packing") {
        packing::run();
    }
    if on("traces") {
        traces::run(None);
    }
    for trace in ["azure", "compact", "fgd", "vbp"] {
        if wanted.iter().any(|wanted| wanted == trace) {
            traces::run(Some(trace));
        }
    }
}
