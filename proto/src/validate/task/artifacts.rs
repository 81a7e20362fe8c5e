//! Rules for what a task has fetched: from where, its checksum, and where it goes.

use crate::v1::Artifact;
use crate::validate::{Errors, text};

const MAX_URI_BYTES: usize = 4_096;
const MAX_PATH_BYTES: usize = 1_024;

pub(super) fn check(artifacts: &mut [Artifact], errors: &mut Errors) {
    if errors.refuses("task.artifacts") {
        return;
    }
    for (i, artifact) in artifacts.iter_mut().enumerate() {
        let path = format!("task.artifacts[{i}]");
        let is_address = uri(&format!("{path}.uri"), &artifact.uri, errors);
        artifact.sha256 = artifact.sha256.to_ascii_lowercase();
        let digits = artifact.sha256.len() == 64 && artifact.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits {
            errors.at(format!("{path}.sha256"), "is no checksum: write the 64 digits that `sha256sum FILE` prints");
        }
        if artifact.destination.is_empty() && !artifact.extract {
            artifact.destination = last_part(&artifact.uri).to_string();
        }
        // An address that is none names no file either; once is enough.
        if is_address || !artifact.destination.is_empty() {
            destination(&format!("{path}.destination"), &artifact.destination, artifact.extract, errors);
        }
    }
}

/// Whether it is an address.
fn uri(path: &str, uri: &str, errors: &mut Errors) -> bool {
    let known = ["http://", "https://", "file:///"].iter().find_map(|scheme| uri.strip_prefix(scheme));
    let message = match known {
        Some(rest) if !rest.is_empty() && uri.len() <= MAX_URI_BYTES && uri.bytes().all(|b| b.is_ascii_graphic()) => {
            return true;
        }
        Some(_) => format!("{} is no address of a file", text::shown(uri)),
        None => format!("{} begins with none of http://, https://, file:///", text::shown(uri)),
    };
    errors.at(path, message);
    false
}

/// The file's name in an address, without query.
fn last_part(uri: &str) -> &str {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    path.split_once('/').map_or("", |(_, path)| path.rsplit('/').next().unwrap_or_default())
}

fn destination(path: &str, destination: &str, extract: bool, errors: &mut Errors) {
    if destination.is_empty() {
        if !extract {
            errors.at(path, "is missing, and the address names no file");
        }
        return;
    }
    let parts: Vec<&str> = destination.trim_end_matches('/').split('/').collect();
    let plain = parts.iter().all(|part| !part.is_empty() && !matches!(*part, "." | ".."));
    if !plain || destination.len() > MAX_PATH_BYTES || destination.chars().any(char::is_control) {
        let message =
            format!("{} is no path inside the sandbox: no leading /, no . and no ..", text::shown(destination));
        errors.at(path, message);
    } else if !extract && destination.ends_with('/') {
        errors.at(path, format!("{} names a folder; name the file", text::shown(destination)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::bounds::{At, Bounded};

    fn checked(mut artifact: Artifact) -> (Artifact, Vec<String>) {
        if artifact.sha256.is_empty() {
            artifact.sha256 = "AB".repeat(32);
        }
        let mut errors = Errors::default();
        artifact.bound(At::root("artifact"), &mut errors);
        let mut artifacts = vec![artifact];
        check(&mut artifacts, &mut errors);
        (artifacts.remove(0), errors.0.iter().map(|error| error.to_string()).collect())
    }

    #[test]
    fn defaults_are_filled_in() {
        let artifact = Artifact { uri: "https://host/a/tool.bin?x=/y".into(), ..Default::default() };
        let (artifact, errors) = checked(artifact);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!((artifact.destination.as_str(), artifact.mode), ("tool.bin", 0o644));
        assert_eq!(artifact.sha256, "ab".repeat(32));
    }

    #[test]
    fn what_can_not_be_fetched_or_would_leave_the_sandbox_is_refused() {
        let good = Artifact { uri: "http://h/f".into(), ..Default::default() };
        let bad = [
            Artifact { uri: "ftp://h/f".into(), ..good.clone() },
            Artifact { uri: "file://relative".into(), ..good.clone() },
            Artifact { uri: "http://h/a b".into(), ..good.clone() },
            Artifact { uri: "http://host".into(), ..good.clone() },
            Artifact { sha256: "abc".into(), ..good.clone() },
            Artifact { destination: "/etc/x".into(), ..good.clone() },
            Artifact { destination: "a/../x".into(), ..good.clone() },
            Artifact { destination: "folder/".into(), ..good.clone() },
            Artifact { mode: 0o4755, ..good.clone() },
        ];
        assert!(checked(good).1.is_empty());
        for artifact in bad {
            assert_eq!(checked(artifact.clone()).1.len(), 1, "{artifact:?}");
        }
    }
}
