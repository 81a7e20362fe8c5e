//! A job file's `artifacts`: read and written.

use dawn_proto::v1;

use super::decode::{Fields, Reader};
use super::job::ARTIFACT;

/// Reads the list.
pub fn read(r: &mut Reader, f: &Fields) -> Vec<v1::Artifact> {
    let Some((node, place)) = f.take(r, "artifacts", "task.artifacts") else { return Vec::new() };
    let items = r.items(node, &place).iter().enumerate();
    let artifact = |(i, item)| {
        let f = r.fields(item, place.item(i), ARTIFACT)?;
        Some(v1::Artifact {
            uri: f.text(r, "uri", "uri").unwrap_or_default(),
            sha256: f.text(r, "sha256", "sha256").unwrap_or_default(),
            destination: f.text(r, "destination", "destination").unwrap_or_default(),
            extract: f.flag(r, "extract", "extract"),
            mode: f.above_zero(r, ("mode", "mode"), mode),
        })
    };
    items.filter_map(artifact).collect()
}

/// Octal digits, as `chmod` takes them.
fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).map_err(|_| "is no mode; write octal digits in quotes, as in \"0755\"".to_string())
}

/// As it is written back.
pub fn show_mode(mode: u32) -> String {
    format!("{mode:04o}")
}
