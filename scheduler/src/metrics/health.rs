//! `/livez` and `/readyz`: whether a scheduler works, and whether it is ready.

use hyper::Uri;

use super::Page;
use crate::drive::Vitals;

/// The page, if it is one of health.
pub fn health_page(vitals: &Vitals, uri: &Uri) -> Option<Page> {
    let health = vitals.health();
    let wrong = match uri.path() {
        "/livez" => health.wedged,
        "/readyz" => health.waits_for,
        _ => return None,
    };
    Some(wrong.map_or(Page::Text("ok".into()), Page::Unavailable))
}
