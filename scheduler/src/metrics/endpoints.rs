//! Where a job's tasks listen, in the form of Prometheus' HTTP service discovery, which load balancers and scripts read as
//! well: a list of targets, each with labels.

use dawn_proto::{JobKey, v1};
use hyper::Uri;

use super::{Page, Sources};

/// `/endpoints?job=ROLE/ENV/NAME[&port=NAME]`; without a port the primary one.
pub fn page(sources: &Sources, uri: &Uri) -> Page {
    let (mut job, mut port) = (None, None);
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
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
