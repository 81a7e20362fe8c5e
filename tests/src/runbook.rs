//! Reads a page of Markdown: its sections, and the commands in their blocks.

/// (title, body) of each section, of whatever level; a body ends where the next section begins.
pub fn sections(page: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut in_block = false;
    let (mut title, mut start, mut at) = ("", 0, 0);
    for line in page.split_inclusive('\n') {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        if !in_block && line.starts_with('#') {
            found.push((title, &page[start..at]));
            (title, start) = (line.trim_matches(['#', ' ', '\n']), at + line.len());
        }
        at += line.len();
    }
    found.push((title, &page[start..]));
    found
}

/// The lines of the blocks of shell, without comments.
pub fn commands(body: &str) -> Vec<String> {
    let blocks = body.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_string).collect()
}

/// Where each of these commands is meant to be given: "there" by its comment.
pub fn is_for_a_unit(command: &str) -> bool {
    command.starts_with("systemctl ") || command.starts_with("journalctl ")
}
