//! Jobs in Aurora's vocabulary as Dawn's specs.

use dawn_proto::v1;
use dawn_proto::v1::constraint::Rule;
use dawn_proto::v1::health_check::Probe;

use super::{Lowered, lower};
use crate::{Options, evaluate_in_process};

const BASE: &str = "T = SequentialTask(name = 't', resources = Resources(cpu = 0.5, ram = 64*MB, disk = 1*GB, gpu = 1),
    processes = [Process(name = 'a', cmdline = 'a'),
        Process(name = 'b', cmdline = 'b {{thermos.ports[http]}} {{mesos.instance}} {{thermos.ports[admin]}}')])
J = Service(role = 'r', cluster = 'c', environment = 'e', name = 'n', task = T)
";

fn lowered(text: &str) -> Result<Lowered, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.aurora");
    std::fs::write(&path, format!("{BASE}{text}")).unwrap();
    let evaluated = evaluate_in_process(&path, &Options::default(), None).unwrap();
    assert_eq!(evaluated.jobs.len(), 1);
    lower(&evaluated.jobs[0])
        .map_err(|refusals| refusals.iter().map(|p| format!("{}: {}", p.path, p.message)).collect())
}

fn spec(text: &str) -> v1::JobSpec {
    lowered(text).unwrap().spec
}

#[test]
fn a_service_keeps_its_key_order_resources_and_ports() {
    let Lowered { spec, warnings } = lowered("jobs = [J(instances = 2, production = True, priority = 3)]").unwrap();
    assert_eq!(warnings, []);
    assert_eq!(spec.key, Some(v1::JobKey { role: "r".into(), env: "e".into(), name: "n".into() }));
    assert_eq!(
        (spec.kind(), spec.tier(), spec.instances, spec.priority),
        (v1::JobKind::Service, v1::Tier::Production, 2, 3)
    );
    let task = spec.task.unwrap();
    let resources = task.resources.unwrap();
    assert_eq!((resources.cpu_milli, resources.memory_bytes, resources.gpu_milli), (500, 64 << 20, 1000));
    assert_eq!(task.processes[1].after, ["a"]);
    assert_eq!(task.processes[1].shell, "b {{port:http}} {{instance}} {{port:admin}}");
    assert_eq!(task.ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["admin", "http"]);
    assert_eq!((task.health, task.http_lifecycle), (None, None));
    assert_eq!((task.finalization_wait_ms, task.processes[0].min_duration_ms), (30_000, 5_000));
}

#[test]
fn an_announcement_names_ports_by_other_names() {
    let text = "jobs = [J(announce = Announcer(primary_port = 'http', portmap = {'health': 'admin', 'admin': 8080}))]";
    let Lowered { spec, warnings } = lowered(text).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let task = spec.task.unwrap();
    let ports: Vec<_> = task.ports.iter().map(|port| (port.name.as_str(), port.fixed)).collect();
    assert_eq!(ports, [("admin", 8080), ("http", 0)]);
    let aliases = [("health".to_string(), "admin".to_string())].into();
    assert_eq!(spec.announce.unwrap(), v1::Announce { primary_port: "http".into(), aliases });
    let text = "jobs = [J(announce = Announcer(portmap = {'health': 'admin'}))]";
    let task = spec_task(text);
    assert_eq!(task.ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["admin", "http"]);
    assert!(
        matches!(&task.health.unwrap().probe, Some(Probe::Http(probe)) if probe.port == "admin" && probe.path == "/health")
    );
    assert_eq!(task.http_lifecycle.unwrap().port, "admin");
    let refusals = lowered("jobs = [J(announce = Announcer(portmap = {'a': 'b', 'b': 'a'}))]").unwrap_err();
    assert!(refusals[0].contains("leads back to itself"), "{refusals:?}");
}

fn spec_task(text: &str) -> v1::TaskSpec {
    spec(text).task.unwrap()
}

#[test]
fn health_checks_keep_their_numbers() {
    let task = spec_task(
        "jobs = [J(health_check_config = HealthCheckConfig(max_consecutive_failures = 2, interval_secs = 1.5,
        health_checker = HealthCheckerConfig(shell = ShellHealthChecker(shell_command = 'x {{thermos.ports[http]}}'))))]",
    );
    let health = task.health.unwrap();
    assert_eq!(health.probe, Some(Probe::Shell("x {{port:http}}".into())));
    assert_eq!((health.max_failures, health.interval_ms, health.initial_delay_ms), (3, 1_500, 15_000));
    let checker = "HealthCheckConfig(health_checker = HealthCheckerConfig(tcp = TcpHealthChecker(port = '%s')))";
    let task = spec_task(&format!("jobs = [J(health_check_config = {})]", checker.replace("%s", "http")));
    assert_eq!(task.health.unwrap().probe, Some(Probe::Tcp(v1::TcpProbe { port: "http".into() })));
    let refusals = lowered(&format!("jobs = [J(health_check_config = {})]", checker.replace("%s", "htp"))).unwrap_err();
    assert!(refusals[0].ends_with("tcp.port: no process refers to the port 'htp'"), "{refusals:?}");
}

#[test]
fn constraints_say_values_limits_and_dedication() {
    let spec = spec("jobs = [J(constraints = {'rack': 'a,b', 'zone': '!c', 'host': 'limit:2', 'dedicated': 'r/db'})]");
    let set = |values: &[&str]| v1::ValueSet { values: values.iter().map(|value| value.to_string()).collect() };
    let rules: Vec<_> = spec.constraints.into_iter().map(|c| (c.attribute, c.rule.unwrap())).collect();
    let expected = [
        ("rack".to_string(), Rule::OneOf(set(&["a", "b"]))),
        ("zone".to_string(), Rule::NoneOf(set(&["c"]))),
        ("host".to_string(), Rule::Limit(2)),
    ];
    assert_eq!(rules.len(), 3);
    assert!(expected.iter().all(|rule| rules.contains(rule)), "{rules:?}");
    assert_eq!(spec.dedicated, "r/db");
    let refusals = lowered("jobs = [J(constraints = {'host': 'limit:no'})]").unwrap_err();
    assert_eq!(refusals, ["constraints[host]: 'limit:no': a limit is a number above zero"]);
}

#[test]
fn cron_and_batch_jobs_keep_their_policies() {
    let cron = spec("jobs = [J(service = False, cron_schedule = '*/5 * * * *', cron_collision_policy = 'CANCEL_NEW')]");
    assert_eq!(cron.kind(), v1::JobKind::Cron);
    assert_eq!(cron.cron.unwrap().overlap(), v1::Overlap::CancelNew);
    let batch = spec("jobs = [J(service = False, max_task_failures = -1, tier = 'revocable')]");
    assert_eq!((batch.kind(), batch.tier()), (v1::JobKind::Batch, v1::Tier::Revocable));
    assert_eq!(batch.restart.unwrap().max_failures, u32::MAX);
    let refusals =
        lowered("jobs = [J(cron_schedule = '* * * * *', cron_collision_policy = 'CANCEL_NEV')]").unwrap_err();
    assert!(refusals[0].starts_with("cron_schedule: a service runs for ever"), "{refusals:?}");
    assert!(refusals[1].ends_with("did you mean CANCEL_NEW?"), "{refusals:?}");
    let refusals = lowered("jobs = [J(tier = 'gold')]").unwrap_err();
    assert_eq!(refusals, ["tier: 'gold' is not one of preferred, preemptible, revocable"]);
}

#[test]
fn people_find_metadata_and_partition_policy_again() {
    let spec = spec(
        "jobs = [J(contact = 'x@y', metadata = [Metadata(key = 'k', value = 'v')],
        partition_policy = PartitionPolicy(reschedule = False, delay_secs = 5))]",
    );
    assert_eq!(spec.labels.len(), 2);
    assert_eq!((spec.labels["contact"].as_str(), spec.labels["k"].as_str()), ("x@y", "v"));
    assert_eq!(spec.partition, Some(v1::PartitionPolicy { wait: true, delay_ms: 0 }));
}

#[test]
fn update_configs_and_sla_policies_are_taken_over() {
    use v1::sla_policy::Policy;
    let spec = spec(
        "jobs = [J(service = True, update_config = UpdateConfig(batch_size = 4, watch_secs = 7, max_total_failures = 2, \
         rollback_on_failure = False, pulse_interval_secs = 60), \
         sla_policy = CountSlaPolicy(count = 1, duration_secs = 5))]",
    );
    let update = spec.update.unwrap();
    assert_eq!((update.group_sizes, update.watch_ms, update.max_failed_instances), (vec![4], Some(7_000), 2));
    assert_eq!((update.no_rollback, update.pulse_interval_ms), (true, 60_000));
    assert_eq!(spec.sla, Some(v1::SlaPolicy { policy: Some(Policy::Count(1)), duration_ms: 5_000 }));
    let spec = self::spec(
        "jobs = [J(service = True, update_config = UpdateConfig(update_strategy = VariableBatchUpdateStrategy(\
         batch_sizes = [1, 3], autopause_after_batch = True)), \
         sla_policy = CoordinatorSlaPolicy(coordinator_url = 'http://c/ask'))]",
    );
    let update = spec.update.unwrap();
    assert_eq!(update.strategy(), v1::UpdateStrategy::Batches);
    assert_eq!((update.group_sizes, update.pause_between, update.watch_ms), (vec![1, 3], true, Some(45_000)));
    let coordinator = v1::Coordinator { url: "http://c/ask".into(), status_key: "drain".into() };
    assert_eq!(spec.sla.unwrap().policy, Some(Policy::Coordinator(coordinator)));
}

#[test]
fn what_dawn_lacks_is_named() {
    let text = "jobs = [J(container = Docker(image = 'img'), executor_config = ExecutorConfig(name = 'own'))]";
    let refusals = lowered(text).unwrap_err();
    assert_eq!(refusals.len(), 2);
    assert!(
        refusals.iter().any(|r| r.starts_with("container.image: 'img': Dawn fetches no container images")),
        "{refusals:?}"
    );
    assert!(refusals.iter().any(|r| r.starts_with("executor_config: ")), "{refusals:?}");
    let refusals = lowered(
        "jobs = [J(container = Mesos(volumes = [Volume(container_path = 'a', host_path = 'b', mode = 'RO')]))]",
    );
    assert_eq!(refusals.unwrap_err(), ["container.volumes: Dawn mounts no volumes"]);
}

#[test]
fn open_references_are_refused_unless_the_executor_fills_them_in() {
    let refusals = lowered("jobs = [J(contact = '{{who}}', name = 'n{{mesos.instance}}')]").unwrap_err();
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    assert!(refusals[0].starts_with("contact: {{who}} is not bound; looked in Job's fields"), "{refusals:?}");
    assert!(refusals[1].starts_with("name: {{mesos.instance}} is known on the agent only"), "{refusals:?}");
}

#[test]
fn a_job_with_problems_is_not_lowered() {
    let refusals = lowered("jobs = [J(instances = '{{n}}')]").unwrap_err();
    assert!(refusals[0].starts_with("instances: '{{n}}' is not an integer"), "{refusals:?}");
}

/// A name of the vocabulary that nobody takes over would be dropped in silence.
#[test]
fn every_field_of_the_vocabulary_becomes_a_field_of_dawn_or_is_a_known_leftover() {
    let schema = crate::schema::json::json_schema().unwrap();
    let definitions = schema["$defs"].as_object().unwrap();
    let properties = |(message, definition): (&String, &serde_json::Value)| {
        let fields = definition["properties"].as_object().unwrap();
        fields.keys().map(|field| format!("{message}.{field}")).collect::<Vec<_>>()
    };
    let vocabulary: std::collections::BTreeSet<String> = definitions.iter().flat_map(properties).collect();
    let fields = dawn_proto::fields::messages().into_iter().flat_map(|message| message.fields);
    let taken = fields.flat_map(|field| field.aurora).copied();
    let known: std::collections::BTreeSet<String> =
        taken.chain(super::leftover::LEFTOVERS.map(|(name, _)| name)).map(str::to_string).collect();
    assert_eq!(vocabulary, known);
}
