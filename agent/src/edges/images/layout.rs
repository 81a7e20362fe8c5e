//! Reads an OCI image layout (opencontainers/image-spec 1.1): which archives an image is made of.

use std::path::Path;

use serde::Deserialize;

use super::{Blob, HEX_CHARS, ImageError, bad, read_text};

/// Larger descriptions are refused.
const MAX_TEXT_BYTES: u64 = 4 << 20;
const MAX_LAYERS: usize = 100;
/// Indices inside indices.
const MAX_DEPTH: usize = 4;
const TAG: &str = "org.opencontainers.image.ref.name";

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    layers: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// The archives of the image with this tag, or of the only one, the lowest first.
pub(super) fn layers(layout: &Path, tag: &str) -> Result<Vec<Blob>, ImageError> {
    let index: Index = parse(&layout.join("index.json"))?;
    let tagged = |one: &&Descriptor| tag.is_empty() || one.annotations.get(TAG).is_some_and(|found| found == tag);
    let candidates: Vec<Descriptor> = index.manifests.iter().filter(tagged).cloned().collect();
    let manifest = choose(layout, &candidates, tag, MAX_DEPTH)?;
    let path = blob(layout, &manifest.digest)?.file;
    let manifest: Manifest = parse(&path)?;
    if manifest.layers.is_empty() || manifest.layers.len() > MAX_LAYERS {
        return Err(bad(&path, format!("{} layers; 1 to {MAX_LAYERS} are possible", manifest.layers.len())));
    }
    manifest
        .layers
        .iter()
        .map(|layer| match layer.media_type.rsplit(['.', '+']).next() {
            Some("tar" | "gzip" | "zstd" | "") | None => blob(layout, &layer.digest),
            _ => Err(bad(&path, format!("a layer is {}; tar, tar+gzip and tar+zstd are possible", layer.media_type))),
        })
        .collect()
}

/// The one manifest, through indices of several platforms.
fn choose(layout: &Path, candidates: &[Descriptor], tag: &str, depth: usize) -> Result<Descriptor, ImageError> {
    let fits = |one: &&Descriptor| one.platform.as_ref().is_none_or(Platform::is_ours);
    let fitting: Vec<&Descriptor> = candidates.iter().filter(fits).collect();
    let which = if tag.is_empty() { String::new() } else { format!(" tagged {tag}") };
    match fitting[..] {
        [one] if one.media_type.contains("index") && depth > 0 => {
            let index: Index = parse(&blob(layout, &one.digest)?.file)?;
            choose(layout, &index.manifests, tag, depth - 1)
        }
        [one] => Ok(one.clone()),
        [] => Err(bad(layout, format!("no image{which} for this machine"))),
        _ => Err(bad(layout, format!("{} images{which}; name one by its tag", fitting.len()))),
    }
}

impl Platform {
    fn is_ours(&self) -> bool {
        let ours = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        self.os == "linux" && self.architecture == ours
    }
}

/// Where a digest's content is; nothing but a digest becomes a path.
fn blob(layout: &Path, digest: &str) -> Result<Blob, ImageError> {
    let hex = digest.strip_prefix("sha256:").filter(|hex| hex.len() == HEX_CHARS);
    match hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))) {
        Some(hex) => Ok(Blob { file: layout.join("blobs/sha256").join(hex), digest: hex.to_string() }),
        None => Err(bad(layout, format!("{:?} is no sha256 digest", digest.chars().take(80).collect::<String>()))),
    }
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, ImageError> {
    serde_json::from_str(&read_text(path, MAX_TEXT_BYTES)?).map_err(|error| bad(path, error.to_string()))
}
