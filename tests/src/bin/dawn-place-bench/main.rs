//! `dawn-place-bench [mix|aurora|classes|traces]...`: how fast and how well placement decides, in one table. Placement
//! alone in memory, one thread; what is journaled and sent is measured elsewhere.

mod cluster;
mod mix;
mod table;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let on = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if on("mix") {
        mix::run(50_000, 2_000_000);
    }
    if wanted.iter().any(|wanted| wanted == "small") {
        mix::run(5_000, 200_000);
    }
}
