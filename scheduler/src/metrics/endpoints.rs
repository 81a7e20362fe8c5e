//! Where a job's tasks listen, in the form of Prometheus' HTTP service discovery, which load balancers and scripts read as
//! well: a list of targets, each with labels.

use dawn_proto::{JobKey, v1};
use hyper::Uri;

use super::{Page, Sources};

/// `/endpoints?job=ROLE/ENV/NAME[&port=NAME]`; without a port the primary one.
pub fn page(sources: &Sources, uri: &Uri) -> Page {
    let (mut job, mut port) = (None, None);
    for (name, value) in pairs(uri.query().unwrap_or_default()) {
        match name {
            "job" => job = Some(value),
            "port" => port = Some(value),
            other => return Page::Missing(format!("unknown parameter {other:?}; there are job and port")),
        }
    }
    let Some(key) = job.as_deref().and_then(|job| job.parse::<JobKey>().ok()) else {
        return Page::Missing("say which job: /endpoints?job=ROLE/ENV/NAME[&port=NAME]".into());
    };
    match sources.follower.read(|state| (sources.endpoints)(state, &key)) {
        Some(listed) => Page::Json(targets(&key, port.as_deref(), &listed)),
        None => Page::Missing(format!("there is no job {key}")),
    }
}

/// Names and values of a query, `%2F` and the like decoded.
fn pairs(query: &str) -> impl Iterator<Item = (&str, String)> {
    let given = query.split('&').filter(|pair| !pair.is_empty());
    given.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| (name, decoded(value)))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = (*first == b'%').then(|| std::str::from_utf8(tail.get(..2)?).ok()).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One group a task; tasks without the port are left out.
fn targets(key: &JobKey, port: Option<&str>, listed: &v1::ListEndpointsResponse) -> String {
    let group = |endpoint: &v1::Endpoint| {
        let number = match port {
            Some(name) => endpoint.ports.get(name).copied().unwrap_or(0),
            None => endpoint.port,
        };
        let host = match endpoint.hostname.contains(':') {
            true => format!("[{}]", endpoint.hostname),
            false => endpoint.hostname.clone(),
        };
        (number > 0).then(|| {
            serde_json::json!({
                "targets": [format!("{host}:{number}")],
                "labels": {
                    "job": key.to_string(),
                    "instance_no": endpoint.instance.to_string(),
                    "version": endpoint.version.to_string(),
                    "task": format!("t{}", endpoint.task_id),
                },
            })
        })
    };
    serde_json::Value::Array(listed.endpoints.iter().filter_map(group).collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_with_its_escapes() {
        let uri: Uri = "/endpoints?job=www%2Fprod%2fweb&port=http&&x".parse().unwrap();
        let read: Vec<_> = pairs(uri.query().unwrap()).collect();
        assert_eq!(read, [("job", "www/prod/web".into()), ("port", "http".into()), ("x", String::new())]);
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%4"), "%zz%4");
        assert_eq!(decoded("%ff"), "\u{fffd}");
    }

    #[test]
    fn targets_are_as_prometheus_reads_them() {
        let endpoint = |instance, hostname: &str, port| v1::Endpoint {
            task_id: 7,
            instance,
            version: 2,
            hostname: hostname.into(),
            port,
            ports: [("admin".to_string(), 99)].into(),
            agent_id: "a".into(),
        };
        let listed =
            v1::ListEndpointsResponse { endpoints: vec![endpoint(0, "h", 80), endpoint(1, "::1", 0)], index: 1 };
        let key = "www/prod/web".parse().unwrap();
        let read = |port| serde_json::from_str::<serde_json::Value>(&targets(&key, port, &listed)).unwrap();
        let labels = serde_json::json!({ "job": "www/prod/web", "instance_no": "0", "version": "2", "task": "t7" });
        assert_eq!(read(None), serde_json::json!([{ "targets": ["h:80"], "labels": labels }]));
        let admin: Vec<_> =
            read(Some("admin")).as_array().unwrap().iter().map(|one| one["targets"][0].clone()).collect();
        assert_eq!(admin, ["h:99", "[::1]:99"]);
        assert_eq!(read(Some("none")), serde_json::json!([]));
    }
}
