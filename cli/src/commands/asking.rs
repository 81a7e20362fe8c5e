//! The question before something that can't be undone. A person answers it on a terminal; everybody else answers it
//! beforehand with `--yes`, and without that nothing is done.

use std::io::{BufRead, IsTerminal, Write};

use crate::exit::{Exit, Failure};

/// Whether to go on. The question goes to standard error, so that standard output holds nothing but results.
///
/// # Errors
/// When nobody can be asked and `yes` was not given.
pub fn agreed(question: &str, yes: bool) -> Result<bool, Failure> {
    let input = std::io::stdin();
    ask(question, yes, input.is_terminal(), &mut input.lock(), &mut std::io::stderr())
}

fn ask(
    question: &str,
    yes: bool,
    is_terminal: bool,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !is_terminal {
        let message =
            format!("{question} Nobody can be asked, because standard input is no terminal; nothing was done");
        return Err(Failure::new(Exit::Usage, message).hint("give --yes (or -y) to do it without being asked"));
    }
    let mut answer = String::new();
    let asked = write!(output, "{question} [y/N] ").and_then(|()| output.flush());
    let read = asked.and_then(|()| input.read_line(&mut answer));
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(yes: bool, is_terminal: bool, answer: &str) -> (Result<bool, Failure>, String) {
        let mut said = Vec::new();
        let agreed = ask("Kill a/b/c (3 tasks)?", yes, is_terminal, &mut answer.as_bytes(), &mut said);
        (agreed, String::from_utf8(said).unwrap())
    }

    #[test]
    fn only_a_yes_goes_on() {
        for (answer, agreed) in
            [("y\n", true), ("Y\n", true), ("yes\n", true), ("n\n", false), ("\n", false), ("", false), ("ye\n", false)]
        {
            let (decided, said) = asked(false, true, answer);
            assert_eq!((decided.unwrap(), said.as_str()), (agreed, "Kill a/b/c (3 tasks)? [y/N] "), "{answer:?}");
        }
    }

    #[test]
    fn without_a_terminal_the_answer_is_never_read() {
        for answer in ["y\n", "n\n", ""] {
            let (decided, said) = asked(false, false, answer);
            let failure = decided.unwrap_err();
            assert_eq!((failure.exit, said.as_str()), (Exit::Usage, ""));
            let words = failure.to_string();
            assert!(words.contains("Kill a/b/c (3 tasks)?") && words.contains("give --yes"), "{words}");
        }
    }

    #[test]
    fn a_yes_given_beforehand_asks_nothing() {
        for is_terminal in [true, false] {
            let (decided, said) = asked(true, is_terminal, "n\n");
            assert_eq!((decided.unwrap(), said.as_str()), (true, ""));
        }
    }
}
