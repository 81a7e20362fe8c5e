//! The repository's files as the rules read them: text, masked code, and which lines are test code.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::mask;

/// Directories that hold nothing of ours.
const NOT_OURS: [&str; 2] = ["target", ".git"];
/// Files written by tools or by others.
const NOT_WRITTEN_HERE: [&str; 2] = ["Cargo.lock", "LICENSE"];

/// One text file. `path` is relative to the workspace root, with `/`.
pub struct SourceFile {
    pub path: String,
    pub text: String,
    /// Rust only: `text` with comments and literals blanked. Empty otherwise.
    pub code: String,
    test_lines: Vec<bool>,
}

impl SourceFile {
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { mask::code_only(text) } else { String::new() };
        let whole = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
        let mut test_lines = vec![whole; text.lines().count() + 1];
        for range in test_items(&code) {
            test_lines[range].fill(true);
        }
        SourceFile { path: path.into(), text: text.into(), code, test_lines }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether line `line` (from 1) is compiled for tests only.
    pub fn is_test(&self, line: usize) -> bool {
        self.test_lines.get(line - 1).copied().unwrap_or(false)
    }

    /// The workspace member it lies in, and its module path there: ("scheduler", ["decide", "submit"]).
    pub fn module(&self) -> Option<(&str, Vec<&str>)> {
        let (member, rest) = self.path.strip_suffix(".rs")?.split_once("/src/")?;
        let mut parts: Vec<&str> = rest.split('/').collect();
        parts.pop_if(|last| *last == "mod");
        Some((member, parts))
    }

    /// 1-based line of a byte offset.
    pub fn line_at(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
    }
}

/// Lines (from 0) of the items under `#[cfg(test)]`.
fn test_items(code: &str) -> Vec<std::ops::Range<usize>> {
    let line_of = |offset: usize| code[..offset].matches('\n').count();
    let starts = ["#[cfg(test)]", "#[cfg(any(test"].into_iter().flat_map(|mark| code.match_indices(mark));
    starts
        .map(|(at, _)| {
            let after = at + code[at..].find(']').unwrap_or(0);
            let end = match code[after..].find(['{', ';']).map(|n| after + n) {
                Some(open) if code.as_bytes()[open] == b'{' => closing_brace(code, open),
                Some(semicolon) => semicolon,
                None => code.len(),
            };
            line_of(at)..line_of(end) + 1
        })
        .collect()
}

/// Offset of the brace that closes the one at `open`, or the end.
pub fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return offset;
        }
    }
    code.len()
}

/// Everything the rules look at.
pub struct Repository {
    files: Vec<SourceFile>,
}

impl Repository {
    /// Marks files that are modules under `#[cfg(test)]` as test code.
    pub fn new(mut files: Vec<SourceFile>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut only_tests = BTreeSet::new();
        for file in &files {
            only_tests.extend(test_modules(file));
        }
        for file in files.iter_mut().filter(|file| only_tests.iter().any(|path| file.path.starts_with(path))) {
            file.test_lines.fill(true);
        }
        Repository { files }
    }

    /// Reads every text file below `root`.
    ///
    /// # Errors
    /// When a directory or a file can't be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let kind = entry.file_type()?;
                if kind.is_dir() && !NOT_OURS.contains(&name.as_str()) {
                    folders.push(entry.path());
                } else if kind.is_file()
                    && !NOT_OURS.contains(&name.as_str())
                    && !NOT_WRITTEN_HERE.contains(&name.as_str())
                {
                    let path = entry.path();
                    let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                    if let Ok(text) = String::from_utf8(std::fs::read(&path)?) {
                        files.push(SourceFile::new(&relative, &text));
                    }
                }
            }
        }
        Ok(Repository::new(files))
    }

    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Whether workspace member `member` has a top-level module `name`.
    pub fn has_module(&self, member: &str, name: &str) -> bool {
        let (file, folder) = (format!("{member}/src/{name}.rs"), format!("{member}/src/{name}/"));
        self.files.iter().any(|other| other.path == file || other.path.starts_with(&folder))
    }
}

/// Path starts of the files that `file` declares by `#[cfg(test)] mod name;`.
fn test_modules(file: &SourceFile) -> Vec<String> {
    let Some(stem) = file.path.strip_suffix(".rs") else { return Vec::new() };
    let folder = ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem);
    let code = file.code.split("#[cfg(test)]").skip(1);
    code.filter_map(|rest| {
        let item = rest.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        let name = item.strip_prefix("mod ")?.split_once(';')?.0;
        name.chars()
            .all(|c| c.is_alphanumeric() || c == '_')
            .then(|| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")])
    })
    .flatten()
    .collect()
}
