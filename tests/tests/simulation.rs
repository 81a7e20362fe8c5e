//! Random faults from seeds: every promise holds, and what was asked for comes true once the faults have ended.

use dawn_tests::simulator::{Home, Planted, Scenario, Summary, Word, replay, run};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Seeds of every run.
const SEEDS: [u64; 17] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    14,
    232_458_884,
    252_891_867,
    343_061_445,
    420_152_309,
    488_261_798,
    791_939_558,
    878_455_001,
    992_598_134,
];
/// Seeds of every run that nobody has seen before; `DAWN_FRESH` is another number of them.
const FRESH: u64 = 5;
/// Seeds with which most machines are lost.
const MOST_LOST_SEEDS: std::ops::Range<u64> = 0..6;
/// Within so many seeds each planted mistake is found.
const PLANTED_SEEDS: u64 = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")))
}

#[test]
fn without_faults_everything_asked_for_comes_true() {
    for home in [Home::Etcd, Home::Embedded] {
        let scenario = Scenario { home, faults: false, ..Scenario::new(7) };
        let summary = run(scenario).unwrap_or_else(|broken| panic!("{broken:?}"));
        assert!(summary.batches > 20 && summary.tasks > 20, "{summary:?}");
        let ticks = summary.cron.values().map(|count| (count.launched, count.missed));
        assert!(ticks.clone().all(|(launched, missed)| launched > 0 && missed == 0), "{summary:?}");
    }
}

/// For longer than an agent's lease and all that is waited after it, under a leader whose own lease etcd renews.
#[test]
fn while_nothing_can_be_appended_heartbeats_are_answered_and_what_must_not_live_twice_lives_on() {
    for seed in [3, 4, 7] {
        let full_ms = Some((60_000, 110_000));
        let scenario = Scenario { home: Home::Etcd, faults: false, full_ms, ..Scenario::new(seed) };
        let (trace, ended) = replay(scenario);
        let summary = ended.unwrap_or_else(|broken| panic!("{broken}"));
        let lapsed: Vec<&String> = trace.iter().filter(|line| line.contains("AgentLost")).collect();
        assert_eq!((summary.leaders, summary.deposed), (1, 0), "the leader keeps its lease: {summary:?}");
        assert_eq!((summary.unreachable, summary.lapsed), (0, 0), "agents count as heard, tasks run on: {lapsed:#?}");
    }
}

/// Nothing is decided for three ticks of cron, by a leader that stays.
fn late_cron(seed: u64) -> Scenario {
    let full_ms = Some((65_000, 265_000));
    Scenario { home: Home::Etcd, faults: false, busy_ms: 300_000, full_ms, ..Scenario::new(seed) }
}

#[test]
fn runs_of_cron_that_were_missed_within_the_limit_are_run_one_after_another() {
    let mut all = Summary::default();
    for seed in 0..12 {
        all.add(&run(late_cron(seed)).unwrap_or_else(|broken| panic!("{broken:?}")));
    }
    for policy in ["cancel_new/all", "queue/all"] {
        let counts = all.cron.get(policy).copied().unwrap_or_default();
        assert!(counts.launched > 0 && counts.missed > 0, "{policy} was not late: {:?}", all.cron);
    }
}

#[test]
fn the_promises_hold_under_faults() {
    let mut seeds: Vec<u64> = match (number("DAWN_SEED"), number("DAWN_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (0..count).collect(),
        (None, None) => SEEDS.to_vec(),
    };
    if number("DAWN_SEED").is_none() && number("DAWN_SEEDS").is_none() {
        let mut chance = SmallRng::from_os_rng();
        seeds.extend((0..number("DAWN_FRESH").unwrap_or(FRESH)).map(|_| chance.random_range(1_000..1_000_000_000)));
    }
    let mut broken_seeds = Vec::new();
    let mut all = Summary::default();
    for seed in seeds {
        match run(Scenario::new(seed)) {
            Ok(summary) => {
                println!("seed {seed}: {summary:?}");
                assert!(summary.crashes > 0 && summary.batches > 50, "seed {seed} was idle: {summary:?}");
                all.add(&summary);
            }
            Err(broken) => {
                println!(
                    "{broken:?}\nreplay: DAWN_SEED={seed} cargo test -p dawn-tests --test simulation line_by_line -- --nocapture"
                );
                broken_seeds.push(format!("seed {seed} at {} ms: {}", broken.at_ms, broken.promise));
            }
        }
    }
    println!("all together: {all:?}");
    let many = number("DAWN_SEED").is_none() && number("DAWN_SEEDS").is_none();
    assert!(!many || all.updates.forward > 0 && all.updates.back > 0, "no update went each way: {:?}", all.updates);
    assert!(!many || all.parts > 0, "no step was written in parts");
    assert!(!many || all.avoided > 0, "no agent was avoided");
    assert!(broken_seeds.is_empty(), "{}", broken_seeds.join("\n"));
}

/// Three of five machines burn down at once. Without a word nothing of theirs is replaced; with one everything runs on the
/// rest.
#[test]
fn most_machines_lost_for_good_are_replaced_once_an_operator_says_so() {
    let mut waited = 0;
    for seed in MOST_LOST_SEEDS {
        // Longer, since what is left of the machines is full: missed runs of cron follow one another there.
        let lost = |word| run(Scenario { burnt: 3, word, calm_ms: 240_000, ..Scenario::new(seed) });
        for word in [Word::Down, Word::Release] {
            lost(word).unwrap_or_else(|broken| panic!("{word:?}: {broken:?}"));
        }
        if let Err(broken) = lost(Word::Nothing) {
            assert!(broken.promise.starts_with("liveness"), "{broken:?}");
            waited += 1;
        }
    }
    assert!(waited > 0, "the brake was never on");
}

/// Everything that happened, when a seed is named.
#[test]
fn a_named_seed_is_told_line_by_line() {
    let Some(seed) = number("DAWN_SEED") else { return };
    let (trace, ended) = replay(Scenario::new(seed));
    trace.iter().for_each(|line| println!("{line}"));
    println!("seed {seed} ends: {ended:?}");
}

#[test]
fn a_seed_is_the_same_every_time() {
    for seed in [1, 2] {
        let (first, second) = (replay(Scenario::new(seed)), replay(Scenario::new(seed)));
        assert!(first == second, "seed {seed} has two stories");
    }
}

#[test]
fn every_planted_mistake_is_found() {
    // Each with what it breaks.
    let mistakes = [
        (Planted::AckBeforeDurable, &["S3", "S4"][..]),
        (Planted::AppendTwice, &["S11", "twice", "S6"]),
        (Planted::AppendUnguarded, &["S1", "S11"]),
        (Planted::DurableLost, &["S11"]),
        (Planted::CronRecordedLate, &["cron"]),
        (Planted::CronLateSkipped, &["missed within the limit, and is not run"]),
        (Planted::StaleObeyed, &["S1: agent"]),
        (Planted::ExecutorTwice, &["S2"]),
        (Planted::StopOnAbsence, &["S9"]),
        (Planted::ReleaseForgotten, &["S11: agent"]),
        // An agent with so long a lease also notices as late that nobody hears it.
        (Planted::ReplacedTooEarly, &["S2", "brake", "agents are up"]),
    ];
    let mut wrong = Vec::new();
    for (mistake, breaks) in mistakes {
        let scenario = |seed| match mistake {
            Planted::CronLateSkipped => late_cron(seed),
            _ => Scenario::new(seed),
        };
        let run = |seed| run(Scenario { planted: Some(mistake), ..scenario(seed) }).err();
        match (0..PLANTED_SEEDS).find_map(run) {
            Some(broken) => {
                println!("{mistake:?}: seed {} at {} ms: {}", broken.seed, broken.at_ms, broken.promise);
                if !breaks.iter().any(|word| broken.promise.contains(word)) {
                    wrong.push(format!("{mistake:?} shows as {}", broken.promise));
                }
            }
            None => wrong.push(format!("{mistake:?} is not found")),
        }
    }
    assert!(wrong.is_empty(), "within {PLANTED_SEEDS} seeds: {}", wrong.join("; "));
}
