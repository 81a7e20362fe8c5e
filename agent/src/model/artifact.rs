//! What a task has fetched before it starts, and what the agent says of it meanwhile.

/// A file fetched into the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub uri: String,
    /// 64 hexadecimal digits, lower case.
    pub sha256: String,
    /// Path in the sandbox; empty: the sandbox itself.
    pub destination: String,
    pub extract: bool,
    /// Permission bits.
    pub mode: u32,
}

/// Steps of one artifact that are told: its beginning and nine tenths of it.
const STEPS: u64 = 10;

/// Where in the order of a task's reports a step stands; what its executor says comes after all of them.
pub fn step_sequence(artifact: usize, tenth: u64) -> u64 {
    artifact as u64 * STEPS + tenth.min(STEPS - 1) + 1
}

/// The last sequence that fetching may use.
pub fn last_sequence(artifacts: usize) -> u64 {
    artifacts as u64 * STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_sequence_of_its_own_below_the_executors() {
        let steps = (0..3).flat_map(|artifact| (0..10).map(move |tenth| step_sequence(artifact, tenth)));
        let steps: Vec<u64> = steps.collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert_eq!((steps[0], *steps.last().unwrap()), (1, last_sequence(3)));
        assert_eq!(last_sequence(0), 0);
    }
}
