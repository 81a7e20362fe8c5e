//! What formatting does, that it does it once, and that it never changes what a file says.

use std::path::Path;

use super::language;

#[track_caller]
fn formatted(text: &str, expected: &str) {
    let once = language(text).unwrap();
    assert_eq!(once, expected);
    assert_eq!(language(&once).unwrap(), once, "twice");
}

#[test]
fn spaces_and_indents_are_put_right_and_comments_stay() {
    formatted(
        "\n\nx=1+ -2 # two\n\n\n\ndef f( a,b = 3 ) :\n      # inside\n      if a :\n          return [ b [ 1 : ],-a,{ 'k' :a} ]\n      # still inside\n\n# outside\ny = f(*z,**w)",
        "x = 1 + -2  # two\n\n\ndef f(a, b = 3):\n  # inside\n  if a:\n    return [b[1:], -a, {'k': a}]\n  # still inside\n\n# outside\ny = f(*z, **w)\n",
    );
}

#[test]
fn what_stands_in_brackets_is_indented_by_the_line_that_opened_them() {
    formatted(
        "jobs=[Job(name='n',\n task = Task(processes=[P( name = \"a#b\",\n\n # why\n   cmdline='''x\n   y'''\n ),]),\n)  # end\n]\n",
        "jobs = [Job(name = 'n',\n  task = Task(processes = [P(name = \"a#b\",\n\n    # why\n    cmdline = '''x\n   y'''\n  ),]),\n)  # end\n]\n",
    );
    formatted("a = b \\\n+ c\n", "a = b \\\n    + c\n");
}

#[test]
fn json_is_written_alike() {
    formatted("{\"a\":[1,-2 , true],\n\"b\":{}}", "{\"a\": [1, -2, true],\n  \"b\": {}}\n");
}

#[test]
fn what_can_not_be_split_is_named_by_its_line() {
    assert_eq!(language("x = 1\ny = (\n"), Err((2, "`(` is never closed".to_string())));
    assert_eq!(language(""), Ok(String::new()));
}

/// Every file of the corpus is the same to its evaluator, and formatted once for all.
#[test]
fn the_corpus_is_formatted_without_changing_a_token() {
    let shared = std::env::var_os("DAWN_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), std::path::PathBuf::from);
    let mut folders = vec![shared.join("aurora-corpus/files")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path)
                && let Ok(once) = language(&text)
            {
                files += 1;
                assert_eq!(language(&once).as_deref(), Ok(once.as_str()), "{}", path.display());
            } else {
                println!("not formatted: {}", path.display());
            }
        }
    }
    println!("corpus: {files} files formatted");
}
