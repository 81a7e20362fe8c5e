//! Benchmarks: figures to be read and compared within one run, never tests with a limit on time.

pub mod bare;
pub mod floor;
pub mod live;
pub mod many;
pub mod peers;

use std::time::Duration;

/// One figure of the table.
#[derive(Clone, Debug)]
pub struct Figure {
    pub what: String,
    pub value: String,
}

impl Figure {
    pub fn rate(what: impl Into<String>, count: usize, took: Duration) -> Figure {
        let rate = count as f64 / took.as_secs_f64();
        Figure { what: what.into(), value: format!("{rate:.0}/s ({count} in {:.2} s)", took.as_secs_f64()) }
    }

    /// p50, p99 and the largest of some times.
    pub fn latencies(what: impl Into<String>, mut times: Vec<Duration>) -> Figure {
        times.sort();
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1e3;
        let value =
            format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} times)", at(0.5), at(0.99), at(1.0), times.len());
        Figure { what: what.into(), value }
    }
}

/// The figures as a Markdown table.
pub fn table(figures: &[Figure]) -> String {
    let rows = figures.iter().map(|figure| format!("| {} | {} |\n", figure.what, figure.value));
    format!("| what | measured |\n| --- | --- |\n{}", rows.collect::<String>())
}
