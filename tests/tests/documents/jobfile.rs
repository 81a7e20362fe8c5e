//! The tables of the reference of job files are those that the options of job.proto make. `DAWN_WRITE_DOCUMENTS=1` writes them.

use dawn_proto::amounts;
use dawn_proto::fields::{Default, FieldRules, Kind, MessageRules, Shape, Unit, messages};

use super::{root, text_of};

const PAGE: &str = "cli/JOBFILE.md";

/// The default as a cell: in words, or as a file would say it.
fn default(field: &FieldRules) -> String {
    let code = |text: String| format!("`{text}`");
    match (field.unset, field.default) {
        _ if field.is_needed => "needed".to_string(),
        ("", Default::Text(text)) => code(text.to_string()),
        ("", Default::Number(number)) => match (field.kind, field.unit) {
            (Kind::Word(words), _) => {
                let word = words.iter().find(|(_, known)| i64::from(*known) == number);
                word.map(|(word, _)| code((*word).to_string())).unwrap_or_default()
            }
            (_, Unit::Duration) => code(in_one_unit(number.unsigned_abs())),
            (_, Unit::Size) => code(amounts::bytes(number.unsigned_abs()).replace(' ', "")),
            (_, Unit::Thousandths) => amounts::thousandths(number.unsigned_abs()),
            _ => number.to_string(),
        },
        ("", Default::None) => match (field.kind, field.shape) {
            (Kind::YesNo, Shape::One) if field.choice.is_none() => {
                code(field.words.map_or(field.is_inverted.to_string(), |words| words[0].to_string()))
            }
            _ => String::new(),
        },
        (unset, _) => unset.to_string(),
    }
}

/// Seconds up to a hundred: "60s" rather than "1m".
fn in_one_unit(ms: u64) -> String {
    if ms < 100_000 && ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { amounts::duration(ms) }
}

/// Names, what they mean, and what holds without them.
fn rows(message: &'static MessageRules) -> Vec<[String; 3]> {
    let of_name = |name: &'static str| {
        let also = message.also.iter().find(|(also, _)| *also == name);
        if let Some((_, doc)) = also {
            return [format!("`{name}`"), (*doc).to_string(), String::new()];
        }
        let one = message.in_file().into_iter().find(|one| one.field.file == name);
        let (doc, default) = one.map_or_else(
            || (String::new(), String::new()),
            |one| match one.inline.filter(|inline| inline.message().is_some_and(|inner| !inner.heading.is_empty())) {
                Some(inline) if inline.name == name => (inline.doc.to_string(), String::new()),
                Some(inline) => {
                    let of = inline.message().map(|inner| inner.heading).unwrap_or_default();
                    (format!("as in {of}"), String::new())
                }
                None => (one.field.doc.to_string(), default(one.field)),
            },
        );
        [format!("`{name}`"), doc, default]
    };
    message.names().map(of_name).collect()
}

/// The table of a message; without the column of defaults where there is none.
fn table(message: &'static MessageRules) -> String {
    let rows = rows(message);
    let columns = if rows.iter().all(|[.., default]| default.is_empty()) { 2 } else { 3 };
    let head = [vec!["field", "meaning", "default"], vec!["---"; 3]]
        .map(|cells| cells.iter().map(ToString::to_string).collect());
    let rows = head.into_iter().chain(rows.into_iter().map(Vec::from));
    let line = |cells: Vec<String>| {
        let cells =
            cells.iter().take(columns).map(|cell| if cell.is_empty() { String::new() } else { format!(" {cell}") });
        format!("|{} |\n", cells.collect::<Vec<_>>().join(" |"))
    };
    rows.map(line).collect()
}

/// The page with the table of each section replaced.
fn with_tables(page: &str) -> String {
    let mut page = page.to_string();
    for message in messages().into_iter().filter(|message| !message.heading.is_empty()) {
        let heading = format!("\n## `{}`\n", message.heading);
        let section = page.find(&heading).unwrap_or_else(|| panic!("{PAGE} has no section {heading}")) + heading.len();
        let start = page[section..].find("\n| ").map(|at| section + at + 1).expect("a section has its table");
        let end = page[start..].find("\n\n").map_or(page.len(), |at| start + at + 1);
        page.replace_range(start..end, &table(message));
    }
    page
}

#[test]
fn the_tables_of_the_reference_are_those_of_the_options() {
    let page = text_of(PAGE);
    let made = with_tables(&page);
    if std::env::var_os("DAWN_WRITE_DOCUMENTS").is_some() {
        std::fs::write(root().join(PAGE), &made).unwrap();
        return;
    }
    let other = page.lines().zip(made.lines()).find(|(is, should)| is != should);
    assert!(
        page == made,
        "{PAGE} differs from the options of job.proto, first in {other:#?}; DAWN_WRITE_DOCUMENTS=1 writes it"
    );
}
