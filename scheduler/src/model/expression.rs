//! Regular expressions of constraints: what is taken, and the compiled form. Not here: what they are asked about.

/// Longest expression taken, in bytes.
pub const MAX_REGEX_BYTES: usize = 1024;
/// Most memory one compiled expression takes. Matching is linear in the text whatever the expression, so none runs away.
const MAX_REGEX_PROGRAM_BYTES: usize = 256 << 10;
const MAX_REGEX_NESTING: u32 = 50;

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    #[error("the regular expression has {have} bytes; at most {MAX_REGEX_BYTES} are taken")]
    Long { have: usize },
    #[error("the regular expression {expression:?} is not valid or too large: {cause}")]
    Invalid { expression: String, cause: String },
}

/// Compiles an expression that must match a value as a whole.
///
/// # Errors
/// When it is too long, is none, or compiles to too large a program.
pub fn whole_regex(expression: &str) -> Result<regex_lite::Regex, RegexError> {
    if expression.len() > MAX_REGEX_BYTES {
        return Err(RegexError::Long { have: expression.len() });
    }
    let build = |pattern: &str| {
        let limits = |builder: &mut regex_lite::RegexBuilder| {
            builder.size_limit(MAX_REGEX_PROGRAM_BYTES).nest_limit(MAX_REGEX_NESTING).build()
        };
        limits(&mut regex_lite::RegexBuilder::new(pattern))
            .map_err(|cause| RegexError::Invalid { expression: expression.to_string(), cause: cause.to_string() })
    };
    // By itself first: "a)|(b" would only become an expression by the brackets put around it.
    build(expression)?;
    build(&format!("^(?:{expression})$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_expression_or_too_large_is_refused() {
        assert!(matches!(whole_regex("((a{100}){100}){100}"), Err(RegexError::Invalid { .. })));
        assert!(matches!(whole_regex(&"a".repeat(2000)), Err(RegexError::Long { have: 2000 })));
        assert!(matches!(whole_regex("a)|(b"), Err(RegexError::Invalid { .. })));
        assert!(whole_regex("r(1|2)").is_ok());
    }
}
