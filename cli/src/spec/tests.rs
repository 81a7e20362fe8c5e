//! Job files in, exact errors or specs out; and every spec written and read back.

mod changing;

use dawn_proto::v1::{self, JobSpec};

use super::*;

/// 2026-11-22T12:00:00Z.
const NOW_MS: i64 = 1_795_348_800_000;

const FULL: &str = include_str!("tests/full.yaml");

fn jobs(text: &str) -> Vec<JobSpec> {
    parse("web.yaml", text, NOW_MS).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn error(text: &str) -> String {
    parse("web.yaml", text, NOW_MS).expect_err(text).to_string()
}

#[test]
fn the_short_form_is_a_job_of_one_process() {
    let jobs = jobs("job: www/prod/web\nkind: service\nrun: exec server\n");
    let task = jobs[0].task.as_ref().unwrap();
    assert_eq!(jobs[0].instances, 1);
    assert_eq!(task.processes.len(), 1);
    assert_eq!((task.processes[0].name.as_str(), task.processes[0].shell.as_str()), ("main", "exec server"));
}

#[test]
fn a_file_with_every_field_reads_and_round_trips() {
    let jobs = jobs(FULL);
    assert_eq!(jobs.len(), 2);
    for spec in &jobs {
        for text in [to_yaml(spec), to_json(spec)] {
            assert_eq!(
                parse("again", &text, NOW_MS).unwrap_or_else(|e| panic!("{e}\n{text}")),
                std::slice::from_ref(spec),
                "{text}"
            );
        }
    }
    let task = jobs[0].task.as_ref().unwrap();
    let resources = task.resources.as_ref().unwrap();
    assert_eq!((resources.cpu_milli, resources.memory_bytes), (500, 128 << 20));
    assert_eq!(resources.custom_milli["licenses"], 1_500);
    assert_eq!(task.ports[1], v1::PortSpec { name: "admin".into(), fixed: 8081 });
    assert_eq!(task.processes[1].argv, ["server", "--port", "8080"]);
    assert_eq!(jobs[0].constraints.len(), 8);
    assert_eq!(jobs[1].cron.as_ref().unwrap().time_zone, "Europe/Berlin");
}

#[test]
fn texts_that_yaml_could_take_for_something_else_survive() {
    for text in [
        "true",
        "no",
        "1",
        "1.0",
        "0x1f",
        "~",
        "null",
        "",
        " a ",
        "a: b",
        "# x",
        "a #b",
        "- a",
        "\"q\"",
        "'q'",
        "a\nb",
        "a\nb\n",
        "a\nb\n\n",
        "  a\nb",
        "\ta",
        "a\tb",
        "a\r\nb",
        "\u{e9}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}x",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "{a}",
        "[a]",
        "a\\b",
        "\u{1f600}",
        "<<",
        "?",
        "-",
        "---",
        "...",
        "a\n\n b\n",
        "\n",
        "\u{1b}[0m",
    ] {
        let mut spec = jobs("job: a/b/c\nkind: batch\nrun: x\n").remove(0);
        spec.task.as_mut().unwrap().env.insert("X".into(), text.into());
        spec.task.as_mut().unwrap().processes[0].shell = format!("x{text}");
        for written in [to_yaml(&spec), to_json(&spec)] {
            let read = parse("x", &written, NOW_MS).unwrap_or_else(|e| panic!("{text:?}: {e}\n{written}"));
            assert_eq!(read, std::slice::from_ref(&spec), "{text:?}\n{written}");
        }
    }
}

#[test]
fn several_jobs_come_as_documents_or_as_a_list() {
    let one = "kind: batch\nrun: x\n";
    assert_eq!(jobs(&format!("job: a/b/c\n{one}---\njob: a/b/d\n{one}")).len(), 2);
    let list = "x-base: &base {kind: batch, run: x}\njobs:\n  - {<<: *base, job: a/b/c}\n  - {<<: *base, job: a/b/d}\n";
    assert_eq!(jobs(list).len(), 2);
    let twice = format!("job: a/b/c\n{one}---\njob: a/b/c\n{one}");
    assert_eq!(error(&twice), "web.yaml:5:1: a/b/c is there twice; first in line 1");
}

#[test]
fn every_problem_is_said_at_once_where_it_stands() {
    let text = "\
job: www/prod/web
kind: servise
instances: 0
resources:
  cpuu: 1
  memory: 128
  disk: lots
ports: [http, http]
processes:
  - name: web
    run: exec server
    after: [setup]
    deamon: true
  - name: again
    daemon: yes
    run: [a, [b]]
restart: {backoff: 0s}
colour: blue
";
    let expected = "\
web.yaml:2:7: kind: `servise` is not one of service, batch, cron, daemon; did you mean `service`?
web.yaml:3:12: instances: 0 is not between 1 and 100000
web.yaml:5:3: resources.cpuu: unknown field `cpuu`; did you mean `cpu`?
web.yaml:6:11: resources.memory: 128 bytes is below 1 MiB; is a unit missing, as in 128MiB?
web.yaml:7:9: resources.disk: `lots` is no size; write 128MiB, 1.5GiB, 500MB or plain bytes
web.yaml:8:15: ports[1].name: `http` is there twice; names of ports are unique
web.yaml:12:13: processes[0].after[0]: no process is named `setup`; there are: again, web
web.yaml:13:5: processes[0].deamon: unknown field `deamon`; did you mean `daemon`?
web.yaml:15:13: processes[1].daemon: `yes` is neither true nor false
web.yaml:16:14: processes[1].run[1]: is a list; a single value belongs here
web.yaml:17:20: restart.backoff: `0s` must be above zero; leave it out for the default
web.yaml:18:1: colour: unknown field `colour`; there are: job, kind, instances, tier, priority, user, resources, ports, \
                    env, labels, constraints, affinities, spread, dedicated, run, processes, restart, cron, partition, \
                    grace_period, finalization_wait, artifacts, health, lifecycle, logs, max_pids, \
                    max_files, max_failed_processes, max_concurrency, max_run_time, disruption_budget, at_most_one, isolation, \
                    root_fs, after, max_running, gang, deadline, parameters, update, sla, announce";
    assert_eq!(error(text), expected);
}

#[test]
fn what_is_missing_is_said_where_it_would_stand() {
    assert_eq!(error("kind: batch\nrun: x\n"), "web.yaml:1:1: job: is missing; a job needs its key: role/env/name");
    assert_eq!(error("\njob: a/b/c\nrun: x\n"), "web.yaml:2:1: kind: missing: service, batch, cron or daemon");
    assert_eq!(
        error("job: a/b/c\nkind: batch\n"),
        "web.yaml:1:1: processes: a job needs at least one process: give `run`, the one command, or a list of `processes`"
    );
    let no_cron = error("job: a/b/c\nkind: cron\nrun: x\n");
    assert_eq!(no_cron, "web.yaml:1:1: cron: a cron job needs its schedule");
    assert_eq!(error(""), "web.yaml:1:1: contains no job");
    assert_eq!(error("[]"), "web.yaml:1:1: is a list; a mapping of fields belongs here");
    assert_eq!(error("jobs: 3"), "web.yaml:1:7: jobs: is a single value; a list of jobs belongs here");
}

#[test]
fn schedules_and_zones_are_checked_with_their_place() {
    let cron = |fields: &str| format!("job: a/b/c\nkind: cron\nrun: x\ncron:\n{fields}");
    assert!(error(&cron("  schedule: 61 * * * *\n")).starts_with("web.yaml:5:13: cron.schedule: "));
    assert_eq!(error(&cron("  schedule: 0 0 30 2 *\n")), "web.yaml:5:13: cron.schedule: `0 0 30 2 *` never fires");
    assert_eq!(
        error(&cron("  schedule: '@daily'\n  time_zone: Mars/Base\n")),
        "web.yaml:6:14: cron.time_zone: there is no time zone `Mars/Base`; IANA names are like Europe/Berlin"
    );
    let spec = jobs(&cron("  schedule: '30 2 * * *'\n  time_zone: Europe/Berlin\n")).remove(0);
    // Berlin is at UTC+1 in November: 02:30 there is 01:30 UTC.
    assert_eq!(
        repeating::next_tick(spec.cron.as_ref().unwrap(), NOW_MS),
        Ok(Some(NOW_MS + 13 * 3_600_000 + 30 * 60_000))
    );
}

#[test]
fn constraints_and_wishes_name_their_field() {
    let with = |fields: &str| format!("job: a/b/c\nkind: batch\nrun: x\n{fields}");
    let at = "web.yaml:5:";
    let constraint = |text: &str| error(&with(&format!("constraints:\n  - {text}\n")));
    assert_eq!(
        constraint("{attribute: rack, in: [a], limit: 2}"),
        format!("{at}5: constraints[0]: says `in` and `limit`; one rule for each constraint, so write two")
    );
    assert!(constraint("{attribute: rack}").contains("says no rule"), "{}", constraint("{attribute: rack}"));
    let several = constraint("{attribute: rack, in: ['']}");
    assert_eq!(several, format!("{at}28: constraints[0].in[0]: an attribute's value is never empty"));
    assert_eq!(
        constraint("{attribute: n, number: '>='}"),
        format!("{at}28: constraints[0].number: `>=` compares with nothing; write \">= 4\"")
    );
    assert_eq!(
        constraint("{distinct_hosts: false}"),
        format!("{at}5: constraints[0]: `distinct_hosts` can only be true; leave it out otherwise")
    );
    let affinity = error(&with("affinities:\n  - {job: a/b/d, attribute: rack, in: [a], weight: 1}\n"));
    assert_eq!(affinity, format!("{at}5: affinities[0]: is about a job or about an attribute, not about both"));
}

#[test]
fn nothing_in_a_file_reaches_the_terminal_raw() {
    for text in
        ["job: \"a/b/\\e[2J\"\nkind: batch\nrun: x\n", "\"\\e[2J\": 1\n", "job: a/b/c\nkind: \"\\e[2J\"\nrun: x\n"]
    {
        assert!(!error(text).contains('\u{1b}'), "{:?}", error(text));
    }
}

#[test]
fn files_are_bounded_and_must_be_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.yaml");
    std::fs::write(&path, vec![b'#'; (4 << 20) + 1]).unwrap();
    assert!(load(&path, NOW_MS).unwrap_err().to_string().contains("larger than 4 MiB"));
    std::fs::write(&path, b"job: a/b/c\nkind: \xff\n").unwrap();
    assert!(load(&path, NOW_MS).unwrap_err().to_string().ends_with("big.yaml:2:1: is no UTF-8 text"));
    let gone = load(&dir.path().join("gone.yaml"), NOW_MS).unwrap_err();
    assert!(gone.to_string().ends_with("gone.yaml: the job file can't be read"), "{gone}");
    assert!(std::error::Error::source(&gone).is_some());
}

#[test]
fn everything_that_is_wrong_is_said_at_once_each_at_its_own_place() {
    let said = error(
        "job: a/b/c\nkind: cron\nrun: x\nlabels:\n  a b: x\nenv:\n  OK: x\n  BAD NAME: x\n  DAWN_X: y\n  NIL:\ncron:\n  schedule: 0 0 31 2 *\n",
    );
    for part in [
        "web.yaml:5:8: labels.a b: `a b` is no name of a label",
        "web.yaml:8:13: env.BAD NAME: `BAD NAME` is no name of an environment variable",
        "web.yaml:9:11: env.DAWN_X: `DAWN_X`: names that start with DAWN_",
        "env.NIL: has no value",
        "web.yaml:12:13: cron.schedule: `0 0 31 2 *` never fires",
    ] {
        assert_eq!(said.matches(part).count(), 1, "{part}: {said}");
    }
    assert_eq!(said.lines().count(), 5, "{said}");
}

#[test]
fn common_slips_say_what_to_write() {
    let job = |rest: &str| format!("job: a/b/c\nkind: batch\n{rest}\n");
    for (rest, part) in [
        ("run: x\ncron: \"*/5 * * * *\"", "write cron: { schedule: \"*/5 * * * *\" }"),
        ("run: echo \"A: b\"", "put quotes around the whole text, or write it below `run: |`"),
        ("run: x\ncron: { schedule: */5 * * * * }", "a text that begins with * needs quotes"),
        ("run: x\nresources: { cpu: 500m }", "write 0.5"),
        ("run: x\nresources: { memory: 128Mi }", "write 128MiB"),
        ("image: nginx:1.25", "Dawn fetches no container images"),
        ("image: nginx:1.25", "`root_fs` names: a directory, a tarball or an OCI layout"),
        ("image: nginx:1.25", "a job needs at least one process: give `run`"),
    ] {
        let said = error(&job(rest));
        assert!(said.contains(part), "{rest}: {said}");
    }
}

#[test]
fn the_list_of_all_fields_is_said_once() {
    let said = error("apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec: { replicas: 3 }\n");
    assert_eq!(said.matches("unknown field").count(), 3, "{said}");
    assert_eq!(said.matches("there are: ").count(), 1, "{said}");
    assert!(said.lines().all(|line| line.starts_with("web.yaml:") && !line.ends_with([';', ' '])), "{said}");
}

#[test]
fn every_field_is_explained_in_the_reference() {
    let reference = include_str!("../../JOBFILE.md");
    for message in dawn_proto::fields::messages().into_iter().filter(|message| !message.heading.is_empty()) {
        let (mapping, fields) = (message.heading, message.names());
        let heading = format!("\n## `{mapping}`");
        let start = reference.find(&heading).unwrap_or_else(|| panic!("no section{heading}"));
        let section = &reference[start + 1..];
        let section = section.find("\n## ").map_or(section, |end| &section[..end]);
        for field in fields {
            assert!(section.contains(&format!("| `{field}` |")), "`{field}` is not in the section `{mapping}`");
        }
    }
}

#[test]
fn the_example_jobs_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/jobs");
    let mut keys = std::collections::BTreeSet::new();
    for folder in [folder.clone(), folder.join("later")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // Those in Aurora's language are run by the scenarios.
            if path.extension().is_some_and(|ending| ending == "yaml") {
                let (jobs, _) = load(&path, NOW_MS).unwrap_or_else(|error| panic!("{error}"));
                keys.extend(jobs.iter().map(|job| crate::render::key(job.key.as_ref())));
            }
        }
    }
    let expected = [
        "demo/ops/backup",
        "demo/ops/collect",
        "demo/prod/urgent",
        "demo/prod/web",
        "demo/test/filler",
        "demo/test/greet",
        "demo/test/primes",
        "demo/test/shards",
        "demo/test/sum",
        "demo/test/tell",
    ];
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn what_a_job_follows_has_short_and_long_forms_and_is_checked() {
    let one = |rest: &str| parse("f", &format!("job: a/b/c\nkind: batch\nrun: x\n{rest}"), 0);
    let after = |rest: &str| one(rest).unwrap().remove(0).dependencies;
    assert_eq!(after("after: a/b/d"), after("after: [a/b/d]"));
    assert_eq!(after("after: a/b/d"), after("after: { job: a/b/d, on: success }"));
    assert_eq!(after("after: [{ job: a/b/d, on: any }]")[0].on(), dawn_proto::v1::DependsOn::AnyEnd);
    for (rest, said) in [
        ("after: a/b", "f:4:8: after[0]: is no job key"),
        ("after: [{ job: a/b/d, if: x }]", "f:4:23: after[0].if: unknown field `if`; there are: job, on"),
        ("after: [{ on: any }]", "f:4:9: after[0].job: is missing"),
        ("after: [{ job: a/b/d, on: sucess }]", "f:4:27: after[0].on: `sucess` is not one of success, failure, any"),
        ("after: [a/b/c]", "f:4:9: after[0].job: a job can't wait for itself"),
        ("gang: maybe", "f:4:7: gang: `maybe` is neither true nor false"),
        ("max_running: 0", "f:4:14: max_running: `0` must be above zero"),
        ("deadline: soon", "f:4:11: deadline: `soon` is no duration"),
        ("parameters: { requird: [A] }", "parameters.requird: unknown field `requird`; did you mean `required`?"),
        ("parameters: { required: [1A] }", "parameters.required[0]: `1A` is no name of an environment variable"),
        ("parameters: { payload: maybe }", "parameters.payload: `maybe` is not one of forbidden, optional, required"),
    ] {
        let error = one(rest).unwrap_err().to_string();
        assert!(error.contains(said), "{rest}: {error}");
    }
    let text = "after: [a/b/d, { job: a/b/e, on: failure }]\ninstances: 4\nmax_running: 2\ndeadline: 1h\n";
    let template = "gang: true\ninstances: 3\nparameters: { required: [A, B], optional: { C: d }, payload: required }";
    for rest in [text, template] {
        let specs = one(rest).unwrap();
        assert_eq!(parse("again", &to_yaml(&specs[0]), 0).unwrap(), specs);
        assert_eq!(parse("again", &to_json(&specs[0]), 0).unwrap(), specs);
    }
    let daemon = parse("f", "job: a/b/c\nkind: daemon\nrun: x\n", 0).unwrap();
    assert_eq!(parse("again", &to_yaml(&daemon[0]), 0).unwrap(), daemon);
}
