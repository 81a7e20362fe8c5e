//! What stands in double braces: names of Dawn's own are looked at before they reach the task, where a typing mistake
//! would be text for a shell. Names of others stay as they are.

use super::super::{Errors, FieldError, text};
use crate::v1::{self, JobSpec, TaskSpec, constraint::Rule, health_check::Probe, root_fs::Source, sla_policy::Policy};

/// Replaced by what they name when a task starts; ports are `port:NAME`.
const NAMES: [&str; 3] = ["instance", "task_id", "hostname"];
/// The same in Aurora's files.
const OF_AURORA: [(&str, &str); 3] =
    [("mesos.instance", "instance"), ("mesos.hostname", "hostname"), ("thermos.task_id", "task_id")];

/// Refuses references that the executor would leave as they are, in the texts in which it replaces references.
pub(in crate::validate) fn check(spec: &JobSpec, errors: &mut Errors) {
    let Some(task) = &spec.task else { return };
    for (path, text) in replaced(spec, task) {
        for name in names(text) {
            if let Some(message) = mistake(task, name) {
                errors.at(path.clone(), message);
            }
        }
    }
}

/// References of Dawn's own where nobody replaces them: most probably their author thinks otherwise.
pub fn unreplaced_references(spec: &JobSpec) -> Vec<FieldError> {
    let mut found = Vec::new();
    for (path, text) in kept(spec) {
        if let Some(name) = names(text).find(|name| is_own(name)) {
            let message = format!(
                "`{{{{{name}}}}}` is not replaced here: commands (`run`, `health.shell`) and values of `env` are the texts \
                 in which it is"
            );
            found.push(FieldError { path, message });
        }
    }
    found
}

type Texts<'a> = Vec<(String, &'a str)>;

/// Texts in which the executor replaces references. A template's defaults are variables of the jobs made from it.
fn replaced<'a>(spec: &'a JobSpec, task: &'a TaskSpec) -> Texts<'a> {
    let mut texts = Vec::new();
    for (i, process) in task.processes.iter().enumerate() {
        texts.push((format!("task.processes[{i}].shell"), process.shell.as_str()));
        for (at, argument) in process.argv.iter().enumerate() {
            texts.push((format!("task.processes[{i}].argv[{at}]"), argument));
        }
        texts.extend(
            process.env.iter().map(|(name, value)| (format!("task.processes[{i}].env.{name}"), value.as_str())),
        );
    }
    texts.extend(task.env.iter().map(|(name, value)| (format!("task.env.{name}"), value.as_str())));
    if let Some(Probe::Shell(command)) = task.health.as_ref().and_then(|health| health.probe.as_ref()) {
        texts.push(("task.health.shell".into(), command));
    }
    let defaults = spec.parameters.iter().flat_map(|parameters| &parameters.optional);
    texts.extend(defaults.map(|(name, value)| (format!("parameters.optional.{name}"), value.as_str())));
    texts
}

/// Texts in which nobody replaces anything.
fn kept(spec: &JobSpec) -> Texts<'_> {
    let mut texts: Texts<'_> =
        spec.labels.iter().map(|(name, value)| (format!("labels.{name}"), value.as_str())).collect();
    if let Some(task) = &spec.task {
        of_task(task, &mut texts);
    }
    if let Some(Policy::Coordinator(asked)) = spec.sla.as_ref().and_then(|sla| sla.policy.as_ref()) {
        texts.push(("sla.coordinator.url".into(), &asked.url));
    }
    for (i, constraint) in spec.constraints.iter().enumerate() {
        let (field, values) = match &constraint.rule {
            Some(Rule::OneOf(set)) => ("one_of.values", set.values.as_slice()),
            Some(Rule::NoneOf(set)) => ("none_of.values", set.values.as_slice()),
            _ => continue,
        };
        for (at, value) in values.iter().enumerate() {
            texts.push((format!("constraints[{i}].{field}[{at}]"), value));
        }
    }
    texts
}

fn of_task<'a>(task: &'a TaskSpec, texts: &mut Texts<'a>) {
    match task.health.as_ref().and_then(|health| health.probe.as_ref()) {
        Some(Probe::Http(v1::HttpProbe { path, expected_body, .. })) => {
            texts.push(("task.health.http.path".into(), path));
            texts.push(("task.health.http.expected_body".into(), expected_body));
        }
        Some(Probe::Grpc(grpc)) => texts.push(("task.health.grpc.service".into(), &grpc.service)),
        Some(Probe::Shell(_) | Probe::Tcp(_)) | None => {}
    }
    if let Some(lifecycle) = &task.http_lifecycle {
        texts.push(("task.http_lifecycle.graceful_path".into(), &lifecycle.graceful_path));
        texts.push(("task.http_lifecycle.shutdown_path".into(), &lifecycle.shutdown_path));
    }
    for (i, artifact) in task.artifacts.iter().enumerate() {
        texts.push((format!("task.artifacts[{i}].uri"), &artifact.uri));
        texts.push((format!("task.artifacts[{i}].destination"), &artifact.destination));
    }
    match task.root_fs.as_ref().and_then(|root| root.source.as_ref()) {
        Some(Source::Directory(path)) => texts.push(("task.root_fs.directory".into(), path)),
        Some(Source::Tarball(path)) => texts.push(("task.root_fs.tarball".into(), path)),
        Some(Source::OciLayout(path)) => texts.push(("task.root_fs.oci_layout".into(), path)),
        None => {}
    }
}

/// What stands between `{{` and the next `}}`, found as the executor finds it.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let opens = (0..text.len()).filter(|at| text.as_bytes()[*at..].starts_with(b"{{")).map(|at| &text[at + 2..]);
    let names = opens.filter_map(|rest| rest.find("}}").map(|close| &rest[..close]));
    names.filter(|name| !name.contains('{'))
}

/// Whether a name is one of Dawn's own, however it is written.
fn is_own(given: &str) -> bool {
    let name = given.trim();
    NAMES.iter().any(|known| *known == name || is_near(known, name))
        || name.starts_with("port:")
        || of_aurora(name).is_some()
}

/// The name as Dawn writes it.
fn of_aurora(name: &str) -> Option<String> {
    if let Some(port) = name.strip_prefix("thermos.ports[") {
        return port.strip_suffix(']').map(|port| format!("port:{port}"));
    }
    let (.., ours) = OF_AURORA.iter().find(|(theirs, _)| *theirs == name)?;
    Some(ours.to_string())
}

/// Names are replaced where they are written exactly.
fn mistake(task: &TaskSpec, given: &str) -> Option<String> {
    let name = given.trim();
    if let Some(port) = name.strip_prefix("port:").map(str::trim) {
        if !task.ports.iter().any(|known| known.name == port) {
            return Some(format!("{}: {}", braced(given), no_port(task, port)));
        }
        let right = format!("port:{port}");
        return (given != right).then(|| spaced(given, &right));
    } else if let Some(ours) = of_aurora(name) {
        return Some(format!("{} is Aurora's form; write `{{{{{ours}}}}}`", braced(given)));
    } else if let Some(near) = NAMES.iter().find(|known| **known != name && is_near(known, name)) {
        return Some(format!("{} is not replaced; did you mean `{{{{{near}}}}}`?", braced(given)));
    } else if !NAMES.contains(&name) {
        return None;
    }
    (given != name).then(|| spaced(given, name))
}

/// As it is written, for a message.
fn braced(given: &str) -> String {
    text::shown(&format!("{{{{{given}}}}}"))
}

fn spaced(given: &str, right: &str) -> String {
    format!("{} is not replaced, for its spaces; write `{{{{{right}}}}}`", braced(given))
}

fn no_port(task: &TaskSpec, port: &str) -> String {
    let known: Vec<&str> = task.ports.iter().map(|port| port.name.as_str()).collect();
    let hint = match known.iter().find(|known| is_near(known, port)) {
        Some(near) => format!("did you mean `{{{{port:{near}}}}}`?"),
        None if known.is_empty() => "the task has no ports".to_string(),
        None => text::there_are(known),
    };
    format!("no port of the task is named {}; {hint}", text::shown(port))
}

/// Whether one is the other but for one letter, or two that changed places.
fn is_near(known: &str, given: &str) -> bool {
    let (known, given): (Vec<char>, Vec<char>) = (known.chars().collect(), given.chars().collect());
    if known.len() < 3 || known.len().abs_diff(given.len()) > 1 {
        return false;
    }
    let same = known.iter().zip(&given).take_while(|(a, b)| a == b).count();
    let (a, b) = (&known[same..], &given[same..]);
    let tail = |from_a: usize, from_b: usize| a.get(from_a..).is_some_and(|a| b.get(from_b..) == Some(a));
    let swapped = a.len() > 1 && b.len() > 1 && a[0] == b[1] && a[1] == b[0] && tail(2, 2);
    swapped || tail(1, 0) || tail(0, 1) || tail(1, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{HealthCheck, HttpLifecycle, HttpProbe, Parameters, PortSpec, ProcessSpec};

    fn task(shell: &str) -> TaskSpec {
        let process = ProcessSpec { shell: shell.into(), ..Default::default() };
        let ports = vec![PortSpec { name: "http".into(), fixed: 0 }];
        TaskSpec { processes: vec![process], ports, ..Default::default() }
    }

    fn said(task: TaskSpec) -> Vec<String> {
        let mut errors = Errors(Vec::new());
        check(&JobSpec { task: Some(task), ..Default::default() }, &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_of_dawns_own_that_are_mistyped_are_refused_and_others_stay() {
        for (shell, expected) in [
            ("serve {{port:nosuch}}", "`{{port:nosuch}}`: no port of the task is named `nosuch`; there are: http"),
            ("echo {{instnace}}", "`{{instnace}}` is not replaced; did you mean `{{instance}}`?"),
            ("echo {{taskid}} {{x}}", "`{{taskid}}` is not replaced; did you mean `{{task_id}}`?"),
            ("echo {{ instance }}", "`{{ instance }}` is not replaced, for its spaces; write `{{instance}}`"),
            ("serve {{port:http }}", "`{{port:http }}` is not replaced, for its spaces; write `{{port:http}}`"),
            ("serve {{port: http}}", "`{{port: http}}` is not replaced, for its spaces; write `{{port:http}}`"),
            (
                "serve {{port: a\u{1b}}}",
                "`{{port: a\\u{1b}}}`: no port of the task is named `a\\u{1b}`; there are: http",
            ),
            ("x {{thermos.ports[http]}}", "`{{thermos.ports[http]}}` is Aurora's form; write `{{port:http}}`"),
            ("x {{mesos.instance}}", "`{{mesos.instance}}` is Aurora's form; write `{{instance}}`"),
        ] {
            assert_eq!(said(task(shell)), [format!("task.processes[0].shell: {expected}")]);
        }
        for shell in
            ["{{port:http}} {{instance}} {{hostname}}", "{{ .Values.x }} {{user}} {{", "${{{instance}}}", "{{}}"]
        {
            assert_eq!(said(task(shell)), [] as [String; 0], "{shell}");
        }
    }

    #[test]
    fn every_text_in_which_names_are_replaced_is_looked_at() {
        let wrong = || [("A".to_string(), "{{port:htpt}}".to_string())].into();
        let mut task = task("");
        task.processes[0].argv = vec!["x".into(), "{{port:htpt}}".into()];
        task.processes[0].env = wrong();
        task.env = wrong();
        task.health =
            Some(HealthCheck { probe: Some(Probe::Shell("test {{port:htpt}}".into())), ..Default::default() });
        let parameters = Some(Parameters { optional: wrong(), ..Default::default() });
        let mut errors = Errors(Vec::new());
        check(&JobSpec { task: Some(task), parameters, ..Default::default() }, &mut errors);
        let paths: Vec<_> = errors.0.iter().map(|error| error.path.as_str()).collect();
        let expected = [
            "task.processes[0].argv[1]",
            "task.processes[0].env.A",
            "task.env.A",
            "task.health.shell",
            "parameters.optional.A",
        ];
        assert_eq!(paths, expected);
        assert!(errors.0.iter().all(|error| error.message.ends_with("did you mean `{{port:http}}`?")));
    }

    #[test]
    fn names_of_dawns_own_are_told_where_nobody_replaces_them() {
        let mut task = task("echo {{instance}}");
        let probe = Probe::Http(HttpProbe { path: "/{{instnace}}".into(), ..Default::default() });
        task.health = Some(HealthCheck { probe: Some(probe), ..Default::default() });
        task.http_lifecycle = Some(HttpLifecycle { graceful_path: "/{{ instance }}".into(), ..Default::default() });
        let artifact = |uri: &str| v1::Artifact { uri: uri.into(), ..Default::default() };
        task.artifacts = vec![artifact("http://x/{{user}}"), artifact("http://x/{{port:http}}")];
        let label = |name: &str, value: &str| (name.to_string(), value.to_string());
        let labels = [label("a", "{{thermos.ports[http]}}"), label("b", "{{ team }}")].into();
        let found = unreplaced_references(&JobSpec { task: Some(task), labels, ..Default::default() });
        let paths: Vec<_> = found.iter().map(|found| found.path.as_str()).collect();
        let expected =
            ["labels.a", "task.health.http.path", "task.http_lifecycle.graceful_path", "task.artifacts[1].uri"];
        assert_eq!(paths, expected);
        assert!(found[1].message.starts_with("`{{instnace}}` is not replaced here: commands"), "{}", found[1].message);
    }
}
