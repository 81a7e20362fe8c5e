//! Names of the wire contract as people read them: "ROLLING_FORWARD" is "rolling forward".

/// A name in lower-case words.
pub fn of(name: &str) -> String {
    name.to_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_become_words() {
        assert_eq!(super::of("ROLLING_FORWARD"), "rolling forward");
        assert_eq!(super::of("BATCH"), "batch");
    }
}
