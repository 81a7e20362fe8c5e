//! Random faults from seeds: every promise holds, and what was asked for comes true once the faults have ended.

use dawn_tests::simulator::{Planted, Scenario, run};

/// Seeds of every run.
const SEEDS: std::ops::Range<u64> = 0..20;

#[test]
fn without_faults_everything_asked_for_comes_true() {
    let summary = run(Scenario { faults: false, ..Scenario::new(7) }).unwrap_or_else(|broken| panic!("{broken:?}"));
    assert!(summary.batches > 20 && summary.tasks > 20, "{summary:?}");
}

#[test]
fn the_promises_hold_under_faults() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match (number("DAWN_SEED"), number("DAWN_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => SEEDS,
    };
    for seed in seeds {
        let summary = run(Scenario::new(seed)).unwrap_or_else(|broken| panic!("{broken:?}\nreplay: DAWN_SEED={seed}"));
        println!("seed {seed}: {summary:?}");
        assert!(summary.crashes > 3, "seed {seed} was idle: {summary:?}");
    }
}

#[test]
fn every_planted_mistake_is_found() {
    let mistakes = [
        Planted::AckBeforeDurable,
        Planted::AppendTwice,
        Planted::DurableLost,
        Planted::ExecutorTwice,
        Planted::StopOnAbsence,
        Planted::ReplacedTooEarly,
    ];
    for mistake in mistakes {
        let found = (0..60).find_map(|seed| run(Scenario { planted: Some(mistake), ..Scenario::new(seed) }).err());
        let broken = found.unwrap_or_else(|| panic!("{mistake:?} was not found within the seeds"));
        println!("{mistake:?}: seed {} at {} ms: {}", broken.seed, broken.at_ms, broken.promise);
    }
}
