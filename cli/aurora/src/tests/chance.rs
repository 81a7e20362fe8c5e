//! Whatever a file says, it is evaluated or refused: nothing breaks off.

use super::super::{ErrorKind, Options, evaluate_in_process};
use super::BASE;

const SAMPLE: &str = "import os, json as j
class Profile(Struct):
  cmd = Default(String, 'ä {{x}}')  # →
  n = Required(Integer)

with open('x') as f: pass
print 'a', \"b\" 'c'
if 1 is not None: raise ValueError('''é
{{y}}''')
include('other')
jobs = [J(name = '{{profile.cmd}}', instances = '{{profile.n}}').bind(profile = Profile(n = '1'))]
";

/// A generator of chance numbers, the same ones every time (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn damaged_files_never_break_the_evaluation() {
    const PIECES: [&str; 16] =
        ["(", ")", "[", "'", "\"\"\"", "\\", "\n", "\t", "class ", "{{", "}}", "é", ":", "for ", "import ", "with "];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.aurora");
    let whole: Vec<char> = format!("{BASE}{SAMPLE}").chars().collect();
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let mut options = Options::default();
    options.limits.max_steps = 10_000;
    for round in 0..600 {
        let mut text = whole.clone();
        for _ in 0..=chance.below(3) {
            let at = chance.below(text.len());
            match chance.below(3) {
                0 => text.truncate(at.max(1)),
                1 => text.drain(at..(at + 1 + chance.below(12)).min(text.len())).for_each(drop),
                _ => {
                    let piece: Vec<char> = PIECES[chance.below(PIECES.len())].chars().collect();
                    text.splice(at..at, piece);
                }
            }
        }
        let text: String = text.into_iter().collect();
        std::fs::write(&path, &text).unwrap();
        if let Err(error) = evaluate_in_process(&path, &options, None) {
            assert_ne!(error.kind, ErrorKind::Internal, "round {round}: {error}\n{text}");
            assert!(!error.message.is_empty(), "round {round}\n{text}");
        }
    }
}
