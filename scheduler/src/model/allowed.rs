//! Which coordinators a scheduler may be sent to.

use std::sync::Arc;

/// Which coordinators may be asked: whoever submits a job says where the scheduler connects to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed(Option<Arc<[String]>>);

impl Allowed {
    /// Only these: `host` (any port), `host:port`, or `*.domain`. None at all: everybody.
    pub fn only(patterns: Vec<String>) -> Allowed {
        Allowed((!patterns.is_empty()).then(|| patterns.into()))
    }

    /// Whether the url's host is one of them.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn check(&self, url: &str) -> Result<(), String> {
        let Some(patterns) = &self.0 else { return Ok(()) };
        let uri: Option<hyper::Uri> = url.parse().ok();
        let host = uri.as_ref().and_then(|uri| uri.host()).ok_or("its url has no host")?.to_ascii_lowercase();
        let port = uri.as_ref().and_then(|uri| uri.port_u16()).unwrap_or(80);
        let is_it = |pattern: &String| {
            let pattern = pattern.to_ascii_lowercase();
            match pattern.strip_prefix('*') {
                Some(domain) => host.ends_with(domain),
                None => pattern == host || pattern == format!("{host}:{port}"),
            }
        };
        match patterns.iter().any(is_it) {
            true => Ok(()),
            false => {
                Err(format!("this cluster asks coordinators at {} only, not at {host}:{port}", patterns.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_coordinators_that_are_allowed_are_asked() {
        let only = |patterns: &[&str]| Allowed::only(patterns.iter().map(ToString::to_string).collect());
        let two = only(&["gate.example", "10.0.0.1:8080", "*.safe.example"]);
        for good in
            ["http://gate.example/x", "http://Gate.example:99", "http://10.0.0.1:8080/", "http://a.b.safe.example"]
        {
            assert_eq!(two.check(good), Ok(()), "{good}");
        }
        let bad =
            ["http://10.0.0.1/", "http://other.example", "http://notsafe.example", "http://gate.example.evil", "x y"];
        for bad in bad {
            assert!(two.check(bad).is_err(), "{bad}");
        }
        let said = two.check("http://other.example").unwrap_err();
        assert!(said.contains("gate.example, 10.0.0.1:8080") && said.contains("not at other.example:80"), "{said}");
        assert_eq!(only(&[]).check("http://anything"), Ok(()));
    }
}
