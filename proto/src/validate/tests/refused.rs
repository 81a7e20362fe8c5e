//! What is refused: one change to a valid job, and exactly the one error it must bring.

use super::*;
use crate::v1::affinity::Target;
use crate::v1::constraint::Rule;
use crate::v1::health_check::Probe;

/// Applies the change to a valid job of the kind and demands this error, whose message has this part, and no other.
fn refused(kind: JobKind, change: impl FnOnce(&mut JobSpec), path: &str, part: &str) {
    let mut spec = job(kind);
    change(&mut spec);
    let errors = job_spec(spec).expect_err(path);
    assert!(errors.len() == 1 && errors[0].path == path && errors[0].message.contains(part), "{path}: {errors:?}");
}

fn service(change: impl FnOnce(&mut JobSpec), path: &str, part: &str) {
    refused(JobKind::Service, change, path, part);
}

fn task(change: impl FnOnce(&mut TaskSpec), path: &str, part: &str) {
    service(|spec| change(spec.task.as_mut().unwrap()), path, part);
}

fn processes(more: Vec<ProcessSpec>, path: &str, part: &str) {
    task(|task| task.processes = more, path, part);
}

fn after(name: &str, after: &[&str]) -> ProcessSpec {
    ProcessSpec { after: after.iter().map(ToString::to_string).collect(), ..process(name) }
}

#[test]
fn keys_kinds_and_numbers() {
    service(|spec| spec.key = None, "key", "role/env/name");
    service(|spec| spec.key.as_mut().unwrap().env = "a b".into(), "key.env", "not valid");
    service(|spec| spec.kind = 0, "kind", "missing");
    service(|spec| spec.kind = 9, "kind", "9 is no kind");
    service(|spec| spec.instances = 0, "instances", "0 is not between 1 and 100000");
    service(|spec| spec.instances = 100_001, "instances", "100001");
    service(|spec| spec.priority = 1_001, "priority", "1001 is not between 0 and 1000");
    service(|spec| spec.tier = 9, "tier", "no tier");
    service(|spec| spec.labels = [("a b".into(), "x".into())].into(), "labels.a b", "name of a label");
    service(|spec| spec.labels = [("a".into(), "x\n".into())].into(), "labels.a", "control characters");
    service(|spec| spec.labels = (0..65).map(|i| (format!("l{i}"), String::new())).collect(), "labels", "65 labels");
    service(|spec| spec.dedicated = "x\u{7}".into(), "dedicated", "control");
    let huge = |spec: &mut JobSpec| {
        spec.labels = [("a".into(), "x".repeat(1 << 20))].into();
    };
    service(huge, "", "at most 1048576");
}

#[test]
fn processes_by_themselves() {
    service(|spec| spec.task = None, "task.processes", "at least one");
    processes(vec![], "task.processes", "at least one");
    processes(vec![process("web"); 201], "task.processes", "201 processes");
    processes(vec![process("")], "task.processes[0].name", "needs a name");
    processes(vec![process("../x")], "task.processes[0].name", "no valid name");
    processes(vec![process("a"), process("a")], "task.processes[1].name", "there twice");
    let with = |change: fn(&mut ProcessSpec)| {
        let mut process = process("web");
        change(&mut process);
        vec![process]
    };
    processes(with(|p| p.shell.clear()), "task.processes[0]", "needs a command");
    processes(with(|p| p.argv = vec!["x".into()]), "task.processes[0]", "has both");
    processes(with(|p| p.shell = " \n".into()), "task.processes[0].shell", "blank");
    processes(with(|p| p.shell = "a\0".into()), "task.processes[0].shell", "NUL");
    processes(with(|p| p.shell = "x".repeat(121 << 10)), "task.processes[0].shell", "at most");
    let argv = |p: &mut ProcessSpec, argv: &[&str]| {
        p.shell.clear();
        p.argv = argv.iter().map(ToString::to_string).collect();
    };
    task(|task| argv(&mut task.processes[0], &[" "]), "task.processes[0].argv[0]", "blank");
    task(|task| argv(&mut task.processes[0], &["a", "b\0"]), "task.processes[0].argv[1]", "NUL");
    task(|task| argv(&mut task.processes[0], &["a"; 1001]), "task.processes[0].argv", "1001 arguments");
    processes(with(|p| p.env = [("1A".into(), String::new())].into()), "task.processes[0].env.1A", "name of an env");
    processes(
        with(|p| p.env = [("DAWN_X".into(), String::new())].into()),
        "task.processes[0].env.DAWN_X",
        "Dawn itself",
    );
    processes(with(|p| p.env = [("A".into(), "\0".into())].into()), "task.processes[0].env.A", "NUL");
    processes(with(|p| p.max_failures = 2_000_000), "task.processes[0].max_failures", "between");
    processes(with(|p| p.min_duration_ms = u64::MAX), "task.processes[0].min_duration_ms", "between");
    let odd = ProcessSpec { r#final: true, daemon: true, ..process("end") };
    processes(vec![process("web"), odd], "task.processes[1]", "neither daemon nor ephemeral");
}

#[test]
fn the_order_of_processes() {
    processes(
        vec![after("a", &["nobody"])],
        "task.processes[0].after[0]",
        "no process is named `nobody`; there are: a",
    );
    processes(vec![process("a"), after("b", &["a", "a"])], "task.processes[1].after[1]", "twice");
    processes(vec![after("a", &["a"])], "task.processes[0].after", "a after a");
    let circle = vec![process("x"), after("c", &["b"]), after("b", &["x", "a"]), after("a", &["c"])];
    processes(circle, "task.processes[3].after", "a after c after b after a");
    let of = |change: fn(&mut ProcessSpec)| {
        let mut first = process("first");
        change(&mut first);
        vec![first, after("second", &["first"])]
    };
    processes(of(|p| p.daemon = true), "task.processes[1].after[0]", "daemon");
    processes(of(|p| p.ephemeral = true), "task.processes[1].after[0]", "ephemeral");
    processes(of(|p| p.r#final = true), "task.processes[1].after[0]", "final");
    let last = ProcessSpec { r#final: true, ..after("second", &["first"]) };
    processes(vec![process("first"), last], "task.processes[1].after", "after all others anyway");
    let ephemeral = ProcessSpec { ephemeral: true, ..process("a") };
    processes(vec![ephemeral], "task.processes", "over before it starts");
    let daemons = |spec: &mut JobSpec| spec.task.as_mut().unwrap().processes[0].daemon = true;
    refused(JobKind::Batch, daemons, "task.processes", "never ends");
}

#[test]
fn resources_and_ports() {
    let resources = |amounts: Resources, path: &str, part: &str| {
        task(|task| task.resources = Some(amounts), &format!("task.resources.{path}"), part);
    };
    let none = Resources::default;
    resources(Resources { cpu_milli: 1 << 50, ..none() }, "cpu_milli", "cpus; at most 1000000");
    resources(Resources { memory_bytes: 128, ..none() }, "memory_bytes", "is a unit missing, as in 128MiB?");
    resources(Resources { disk_bytes: (1 << 50) + 1, ..none() }, "disk_bytes", "above 1 PiB");
    resources(Resources { gpu_milli: 1_500, ..none() }, "gpu_milli", "1.5 gpus: ask for whole ones");
    resources(Resources { gpu_milli: 2_000_000, ..none() }, "gpu_milli", "at most 1000");
    let custom = |name: &str, amount| Resources { custom_milli: [(name.to_string(), amount)].into(), ..none() };
    resources(custom("cpu", 1), "custom_milli.cpu", "a field of its own");
    resources(custom("a b", 1), "custom_milli", "no valid name");
    resources(custom("a", u64::MAX), "custom_milli.a", "absurdly");
    let many = (0..65).map(|i| (format!("c{i}"), 1)).collect();
    resources(Resources { custom_milli: many, ..none() }, "custom_milli", "65 custom resources");

    let ports = |ports: &[(&str, u32)], path: &str, part: &str| {
        let ports = ports.iter().map(|(name, fixed)| PortSpec { name: name.to_string(), fixed: *fixed }).collect();
        task(|task| task.ports = ports, path, part);
    };
    ports(&[("a", 0); 201], "task.ports", "201 ports");
    ports(&[("", 0)], "task.ports[0].name", "needs a name");
    ports(&[("a", 0), ("a", 0)], "task.ports[1].name", "there twice");
    ports(&[("a-b", 0), ("a_b", 0)], "task.ports[1].name", "would both be DAWN_PORT_A_B");
    ports(&[("a", 65536)], "task.ports[0].fixed", "65536 is not between 1 and 65535");
    ports(&[("a", 80), ("b", 80)], "task.ports[1].fixed", "80 is the number of port `a` already");
}

#[test]
fn the_rest_of_the_task() {
    task(|task| task.user = "a b".into(), "task.user", "unix user");
    task(|task| task.user = "-x".into(), "task.user", "unix user");
    task(|task| task.grace_period_ms = 86_400_001, "task.grace_period_ms", "1d is not between 1ms and 1d");
    task(|task| task.finalization_wait_ms = u64::MAX, "task.finalization_wait_ms", "between");
    task(|task| task.max_pids = u32::MAX, "task.max_pids", "between 0 and 4194304");
    task(|task| task.max_files = 1_000_000_001, "task.max_files", "between 0 and 1000000000");
    task(|task| task.max_concurrency = 201, "task.max_concurrency", "between 0 and 200");
    task(|task| task.max_failed_processes = u32::MAX, "task.max_failed_processes", "between");
    task(|task| task.env = [("".into(), String::new())].into(), "task.env", "name of an environment variable");
    let logs = |file_size_bytes, files| Some(LogPolicy { file_size_bytes, files });
    task(|task| task.logs = logs(1, 0), "task.logs.file_size_bytes", "1 bytes is not between 4096 bytes");
    task(|task| task.logs = logs(0, 101), "task.logs.files", "between 1 and 100");
}

#[test]
fn health_checks_and_lifecycles() {
    let health = |probe: Option<Probe>, path: &str, part: &str| {
        task(|task| task.health = Some(HealthCheck { probe, ..Default::default() }), path, part);
    };
    health(None, "task.health", "needs a probe");
    health(Some(Probe::Shell(" ".into())), "task.health.shell", "blank");
    let tcp = |port: &str| Some(Probe::Tcp(TcpProbe { port: port.into() }));
    health(tcp("http"), "task.health.tcp.port", "no port of the task is named `http`; there are none");
    let http = |change: fn(&mut HttpProbe), path: &str, part: &str| {
        let mut probe = HttpProbe { port: "web".into(), ..Default::default() };
        change(&mut probe);
        let with = |task: &mut TaskSpec| {
            task.ports = vec![PortSpec { name: "web".into(), fixed: 0 }];
            task.health = Some(HealthCheck { probe: Some(Probe::Http(probe)), ..Default::default() });
        };
        task(with, path, part);
    };
    http(|probe| probe.port = "x".into(), "task.health.http.port", "there are: web");
    http(|probe| probe.path = "x".into(), "task.health.http.path", "starts with /");
    http(|probe| probe.path = "/a b".into(), "task.health.http.path", "no spaces");
    http(|probe| probe.expected_status = 42, "task.health.http.expected_status", "between 100 and 599");
    http(|probe| probe.expected_body = "x".repeat(5000), "task.health.http.expected_body", "4096");

    let lifecycle = |change: fn(&mut HttpLifecycle), path: &str, part: &str| {
        let mut lifecycle = HttpLifecycle { port: "web".into(), graceful_path: "/quit".into(), ..Default::default() };
        change(&mut lifecycle);
        let with = |task: &mut TaskSpec| {
            task.ports = vec![PortSpec { name: "web".into(), fixed: 0 }];
            task.http_lifecycle = Some(lifecycle);
        };
        task(with, path, part);
    };
    lifecycle(|l| l.port = "x".into(), "task.http_lifecycle.port", "no port");
    lifecycle(|l| l.graceful_path.clear(), "task.http_lifecycle", "graceful_path, a shutdown_path or both");
    lifecycle(|l| l.graceful_path = "quit".into(), "task.http_lifecycle.graceful_path", "starts with /");
    lifecycle(|l| l.shutdown_wait_ms = 1, "task.http_lifecycle.shutdown_wait_ms", "no shutdown_path");
}

#[test]
fn constraints_and_their_contradictions() {
    let constraints = |constraints: Vec<Constraint>, path: &str, part: &str| {
        service(|spec| spec.constraints = constraints, path, part);
    };
    let rule = |rule| Constraint { attribute: "rack".into(), rule };
    let compare = |op: Comparison, value: &str| Compare { op: op.into(), value: value.into() };
    constraints(vec![limit("rack", 1); 101], "constraints", "101 constraints");
    constraints(vec![rule(None)], "constraints[0]", "says no rule");
    constraints(vec![limit("", 1)], "constraints[0].attribute", "needs a name");
    constraints(vec![limit("rack", 0)], "constraints[0].limit", "0 is not between 1");
    constraints(vec![one_of("rack", &[])], "constraints[0].one_of", "no value");
    constraints(vec![one_of("rack", &[""])], "constraints[0].one_of.values[0]", "empty");
    constraints(vec![none_of("rack", &["a\n"])], "constraints[0].none_of.values[0]", "control");
    constraints(vec![one_of("rack", &["a"; 1001])], "constraints[0].one_of", "1001 values");
    constraints(vec![rule(Some(Rule::Exists(false)))], "constraints[0].exists", "only be true");
    constraints(vec![rule(Some(Rule::Regex(String::new())))], "constraints[0].regex", "empty");
    constraints(vec![rule(Some(Rule::Regex("a".repeat(257))))], "constraints[0].regex", "257 bytes; at most 256");
    let number = |op, value| vec![rule(Some(Rule::Number(compare(op, value))))];
    constraints(number(Comparison::Unspecified, "1"), "constraints[0].number.op", "none of");
    constraints(number(Comparison::Less, "1e9"), "constraints[0].number.value", "`1e9` is not a number");
    let version = rule(Some(Rule::Version(compare(Comparison::Equal, "1..2"))));
    constraints(vec![version], "constraints[0].version.value", "not a version");

    let refused = vec![none_of("rack", &["a", "c"]), one_of("rack", &["a"])];
    constraints(refused, "constraints[1]", "`rack` must be in [a], and not_in rules all of them out");
    let apart = vec![one_of("host", &["a"]), one_of("host", &["b"])];
    constraints(apart, "constraints[1]", "no host is in both this and constraints[0]");
    let room = "at most 1 on each of the 2 values of `rack` in constraints[1] leaves room for 2 of 3 instances";
    constraints(vec![limit("rack", 1), one_of("rack", &["a", "b"])], "constraints[0].limit", room);
    let dedicated = |spec: &mut JobSpec| {
        spec.dedicated = "db".into();
        spec.constraints = vec![none_of("dedicated", &["db"])];
    };
    service(dedicated, "dedicated", "contradiction");
}

#[test]
fn wishes_about_neighbours_and_spreads() {
    let affinity = |affinity: Affinity, path: &str, part: &str| {
        service(|spec| spec.affinities = vec![affinity], path, part);
    };
    let near = |weight| Affinity { weight, target: Some(Target::Job(v1_key("a", "b", "c"))), ..Default::default() };
    let wish = |rule| Affinity { weight: 1, target: Some(Target::Attribute(rule)), ..Default::default() };
    let rack = || wish(one_of("rack", &["a"]));
    affinity(near(0), "affinities[0].weight", "says nothing");
    affinity(near(101), "affinities[0].weight", "101 is not between -100 and 100");
    affinity(Affinity { target: None, ..near(1) }, "affinities[0]", "neither an attribute nor a job");
    affinity(Affinity { topology: "a b".into(), ..near(1) }, "affinities[0].topology", "no valid name");
    affinity(Affinity { required: true, ..rack() }, "affinities[0].required", "is a constraint");
    affinity(Affinity { topology: "rack".into(), ..rack() }, "affinities[0].topology", "only with a job");
    affinity(wish(limit("rack", 1)), "affinities[0].attribute.limit", "a limit can't be a wish");
    let nobody = Affinity { target: Some(Target::Job(v1_key("", "b", "c"))), ..near(1) };
    affinity(nobody, "affinities[0].job", "not valid");

    let rule = |weight| Affinity { required: true, ..near(weight) };
    let opposite = |spec: &mut JobSpec| spec.affinities = vec![rule(1), rule(-1)];
    service(opposite, "affinities[1]", "affinities[0] says the opposite");
    let crowded = |spec: &mut JobSpec| {
        let own =
            Affinity { weight: 1, required: true, target: spec.key.clone().map(Target::Job), ..Default::default() };
        (spec.affinities, spec.constraints, spec.instances) = (vec![own], vec![limit("host", 1)], 2);
    };
    service(crowded, "affinities[0]", "all 2 instances on one host, and at most 1 there");

    let spread = |shares: &[(&str, u32)]| Spread {
        attribute: "zone".into(),
        share_percent: shares.iter().map(|(value, percent)| (value.to_string(), *percent)).collect(),
        weight: 1,
    };
    let spreads = |spreads: Vec<Spread>, path: &str, part: &str| service(|spec| spec.spreads = spreads, path, part);
    spreads(vec![spread(&[]); 9], "spreads", "9 levels");
    spreads(vec![spread(&[]), spread(&[])], "spreads[1].attribute", "twice");
    spreads(vec![Spread { weight: 101, ..spread(&[]) }], "spreads[0].weight", "between 1 and 100");
    spreads(vec![spread(&[("a", 60), ("b", 60)])], "spreads[0].share_percent", "120 percent");
    spreads(vec![spread(&[("", 60)])], "spreads[0].share_percent", "empty");
}

#[test]
fn repetition() {
    let restart = |kind, restart: RestartPolicy, path: &str, part: &str| {
        refused(kind, |spec| spec.restart = Some(restart), &format!("restart.{path}"), part);
    };
    let on = |on: RestartOn| RestartPolicy { on: on.into(), ..Default::default() };
    restart(JobKind::Batch, on(RestartOn::AnyExit), "on", "never end");
    restart(JobKind::Service, RestartPolicy { on: 9, ..Default::default() }, "on", "none this version knows");
    let three = |on: RestartOn| RestartPolicy { on: on.into(), max_failures: 3, ..Default::default() };
    restart(JobKind::Service, three(RestartOn::AnyExit), "max_failures", "only for batch and cron");
    restart(JobKind::Batch, three(RestartOn::Never), "max_failures", "contradiction");
    let backoff =
        |initial_backoff_ms, max_backoff_ms| RestartPolicy { initial_backoff_ms, max_backoff_ms, ..Default::default() };
    restart(JobKind::Service, backoff(1, 0), "initial_backoff_ms", "1ms is not between 10ms");
    restart(JobKind::Service, backoff(2000, 1000), "max_backoff_ms", "below the first");

    service(|spec| spec.cron = Some(CronPolicy::default()), "cron", "only for jobs of kind cron");
    service(|spec| spec.max_run_time_ms = 1, "max_run_time_ms", "only for batch and cron");
    refused(JobKind::Batch, |spec| spec.max_run_time_ms = u64::MAX, "max_run_time_ms", "between");
    let waits = Some(PartitionPolicy { wait: true, delay_ms: 1 });
    service(|spec| spec.partition = waits, "partition.delay_ms", "no delay");
    refused(JobKind::Cron, |spec| spec.cron = None, "cron", "needs its schedule");
    let beside = |spec: &mut JobSpec| {
        spec.at_most_one = true;
        spec.cron.as_mut().unwrap().set_overlap(crate::v1::Overlap::Allow);
    };
    refused(JobKind::Cron, beside, "at_most_one", "contradiction");
    let cron = |change: fn(&mut CronPolicy), path: &str, part: &str| {
        refused(JobKind::Cron, |spec| change(spec.cron.as_mut().unwrap()), &format!("cron.{path}"), part);
    };
    cron(|cron| cron.schedule.clear(), "schedule", "missing: five fields");
    cron(|cron| cron.schedule = "* * * *".into(), "schedule", "4 fields instead of five");
    cron(|cron| cron.schedule = "* * * * * *".into(), "schedule", "6 fields");
    cron(|cron| cron.schedule = "@often".into(), "schedule", "`@often` is none of @hourly");
    cron(|cron| cron.schedule = "*".repeat(257), "schedule", "257 bytes");
    cron(|cron| cron.time_zone = "Mars Base".into(), "time_zone", "no IANA name");
    cron(|cron| cron.overlap = 9, "overlap", "none this version knows");
    cron(|cron| cron.misfire = 9, "misfire", "none this version knows");
    cron(|cron| cron.misfire_limit = 1, "misfire_limit", "only with misfire: all");
    cron(|cron| cron.jitter_ms = u64::MAX, "jitter_ms", "between");
    cron(|cron| cron.starting_deadline_ms = u64::MAX, "starting_deadline_ms", "between");
}
