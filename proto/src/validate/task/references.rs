//! What stands in double braces in commands: names of Dawn's own are looked at before they reach the task, where a typing
//! mistake would be text for a shell. Others are whoever's they are, and stay.

use super::super::Errors;
use crate::v1::{TaskSpec, health_check::Probe};

/// Replaced by what they name when a task starts; ports are `port:NAME`.
const NAMES: [&str; 3] = ["instance", "task_id", "hostname"];

pub(in crate::validate) fn check(task: &TaskSpec, errors: &mut Errors) {
    let mut look = |path: String, text: &str| {
        for name in names(text) {
            if let Some(message) = mistake(task, name) {
                errors.at(path.clone(), message);
            }
        }
    };
    for (i, process) in task.processes.iter().enumerate() {
        look(format!("task.processes[{i}].shell"), &process.shell);
        for (at, argument) in process.argv.iter().enumerate() {
            look(format!("task.processes[{i}].argv[{at}]"), argument);
        }
    }
    if let Some(Probe::Shell(command)) = task.health.as_ref().and_then(|health| health.probe.as_ref()) {
        look("task.health.shell".into(), command);
    }
}

/// What stands between `{{` and the next `}}`, found as the executor finds it.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let opens = (0..text.len()).filter(|at| text.as_bytes()[*at..].starts_with(b"{{")).map(|at| &text[at + 2..]);
    let names = opens.filter_map(|rest| rest.find("}}").map(|close| &rest[..close]));
    names.filter(|name| !name.contains('{'))
}

fn mistake(task: &TaskSpec, name: &str) -> Option<String> {
    let name = name.trim();
    if let Some(port) = name.strip_prefix("port:") {
        if task.ports.iter().any(|known| known.name == port) {
            return None;
        }
        let known: Vec<&str> = task.ports.iter().map(|port| port.name.as_str()).collect();
        let hint = match known.iter().find(|known| is_near(known, port)) {
            Some(near) => format!("did you mean `{{{{port:{near}}}}}`?"),
            None if known.is_empty() => "the task has no ports".to_string(),
            None => format!("there are: {}", known.join(", ")),
        };
        return Some(format!("`{{{{{name}}}}}`: no port of the task is named `{port}`; {hint}"));
    }
    let near = NAMES.iter().find(|known| **known != name && is_near(known, name))?;
    Some(format!("`{{{{{name}}}}}` is replaced by nothing; did you mean `{{{{{near}}}}}`?"))
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
    use crate::v1::{HealthCheck, PortSpec, ProcessSpec};

    fn said(shell: &str) -> Vec<String> {
        let process = ProcessSpec { shell: shell.into(), ..Default::default() };
        let health = HealthCheck { probe: Some(Probe::Shell("test {{port:htpt}}".into())), ..Default::default() };
        let ports = vec![PortSpec { name: "http".into(), fixed: 0 }];
        let task = TaskSpec { processes: vec![process], ports, health: Some(health), ..Default::default() };
        let mut errors = Errors(Vec::new());
        check(&task, &mut errors);
        let last = errors.0.pop().unwrap();
        let expected =
            "task.health.shell: `{{port:htpt}}`: no port of the task is named `htpt`; did you mean `{{port:http}}`?";
        assert_eq!(last.to_string(), expected);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_of_dawns_own_that_are_mistyped_are_refused_and_others_stay() {
        for (shell, expected) in [
            ("serve {{port:nosuch}}", "`{{port:nosuch}}`: no port of the task is named `nosuch`; there are: http"),
            ("echo {{instnace}}", "`{{instnace}}` is replaced by nothing; did you mean `{{instance}}`?"),
            ("echo {{taskid}} {{x}}", "`{{taskid}}` is replaced by nothing; did you mean `{{task_id}}`?"),
        ] {
            assert_eq!(said(shell), [format!("task.processes[0].shell: {expected}")]);
        }
        for shell in
            ["{{port:http}} {{instance}} {{hostname}}", "{{ .Values.x }} {{user}} {{", "${{{instance}}}", "{{}}"]
        {
            assert_eq!(said(shell), [] as [String; 0], "{shell}");
        }
    }
}
