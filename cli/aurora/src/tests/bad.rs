//! What is wrong with a file is said with its place, its field and the nearest right name.

use super::super::Options;
use super::{BASE, BASE_LINES, evaluate_files, job, refused};

/// Refused text after `BASE`, with `LINE` for the first line of the text.
fn refused_after_base(text: &str) -> String {
    refused(&format!("{BASE}{text}")).replace(&format!("t.aurora:{}:", BASE_LINES + 1), "LINE:")
}

#[test]
fn an_unknown_field_names_the_nearest_one() {
    let text = "jobs = [J(task = Task(processes = [Process(name = 'x',\n    comand = 'cmdline = 1')]))]";
    assert_eq!(
        refused_after_base(text),
        "t.aurora:5:5: Process has no field `comand`; it has cmdline, name, resources, max_failures, daemon, ephemeral, \
         min_duration, final, logger"
    );
    let said = refused_after_base("jobs = [J(instnces = 2)]");
    assert_eq!(said, "LINE:11: Job has no field `instnces`; did you mean `instances`?");
    let said = refused_after_base("jobs = [Job({'rol': 'x'})]");
    assert!(said.starts_with("LINE:9: Job has no field `rol`; did you mean `role`?"), "{said}");
}

#[test]
fn every_wrong_type_names_field_and_value() {
    let cases = [
        ("instances = 'abc'", "Job.instances: 'abc' is not an integer"),
        ("instances = None", "Job.instances: None is not an integer"),
        ("instances = []", "Job.instances: a list is not an integer"),
        ("service = 'yes'", "Job.service: 'yes' is not a boolean"),
        ("name = {}", "Job.name: a map is not a string"),
        ("task = P", "Job.task: a Process is not a Task"),
        ("task = '{{t}}'", "Job.task: '{{t}}' is not a Task"),
        ("constraints = 'x'", "Job.constraints: 'x' is not a map of String to String"),
        ("constraints = {'a': []}", "Job.constraints[a]: a list is not a string"),
        ("metadata = [{'key': 'k', 'valu': 'v'}]", "Metadata has no field `valu`; did you mean `value`?"),
        ("container = P", "Job.container: a Process is not a Container or a Docker or a Mesos"),
        ("name = len", "is not a string"),
        (
            "health_check_config = HealthCheckConfig(timeout_secs = 'x')",
            "HealthCheckConfig.timeout_secs: 'x' is not a float",
        ),
    ];
    for (field, expected) in cases {
        let said = refused_after_base(&format!("jobs = [J({field})]"));
        assert!(said.starts_with("LINE:") && said.contains(expected), "{field}: {said}");
    }
    let said = refused("m = Mode('RX')");
    assert_eq!(said, "t.aurora:1:5: Mode: 'RX' is not one of RO, RW; did you mean 'RO'?");
}

#[test]
fn what_is_missing_is_a_problem_of_the_job() {
    let job = super::job("jobs = [Job(role = 'r', cluster = 'c', task = Task(processes = [Process(name = 'x')]))]");
    let said: Vec<_> = job.problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
    assert_eq!(said, ["environment: is required in Job", "task.processes[0].cmdline: is required in Process"]);
    assert!(job.problems.iter().all(|p| p.position.as_ref().is_some_and(|p| p.line as usize == BASE_LINES + 1)));
}

#[test]
fn a_number_that_waits_for_a_binding_says_what_it_waits_for() {
    let job = job("jobs = [J(instances = '{{n}}')]");
    let said = job.problems[0].to_string();
    assert!(
        said.contains("instances: '{{n}}' is not an integer; {{n}} is not bound: looked in Job's fields"),
        "{said}"
    );
    let said = refused_after_base("jobs = [J(instances = '{{n}}').bind(n = 'x')]");
    assert!(said.starts_with("LINE:11: instances: 'x' is not an integer"), "{said}");
}

#[test]
fn orders_that_never_end_or_name_nothing_are_problems() {
    let text = "jobs = [J(task = T(processes = [P(name = 'a'), P(name = 'b')],
        constraints = order('a', 'b') + order('b', 'a') + order('a', 'c')))]";
    let said: Vec<_> = job(text).problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
    assert_eq!(said[0], "task.constraints[2].order: the task has no process 'c'; did you mean 'a'?");
    assert_eq!(said[1], "task.constraints: the order leads back to itself: a → b → a");
    let said = job("jobs = [J(task = T(processes = [P, P]))]").problems[0].to_string();
    assert!(said.contains("two processes are called 'p'"), "{said}");
    let said = job("jobs = [J(task = T(processes = []))]").problems[0].to_string();
    assert!(said.contains("a task runs at least one process"), "{said}");
}

#[test]
fn two_jobs_of_one_key_are_refused() {
    let said = refused_after_base("jobs = [\n  J(name = 'a'),\n  J(name = 'a', instances = 2)]");
    assert_eq!(said, "t.aurora:6:5: two jobs have the key c/r/e/a");
}

#[test]
fn jobs_must_be_a_list_of_jobs() {
    assert!(refused(BASE).contains("defines no jobs: it needs `jobs = [Job(…), …]`"));
    assert!(refused_after_base("jobs = J").contains("`jobs` must be a list of jobs"));
    assert!(refused_after_base("jobs = [J, T]").contains("jobs[1] is a Task"));
    assert!(refused_after_base("jobs = [J, 1]").contains("jobs[1] is not a Job"));
}

#[test]
fn includes_that_lead_back_show_the_chain() {
    let files = [("a.aurora", "x = 1\ninclude('d/b.aurora')\n"), ("d/b.aurora", "include('../a.aurora')\n")];
    let said = evaluate_files(&files, |_| Options::default()).unwrap_err();
    assert_eq!(
        said,
        "d/b.aurora:1:1: include('../a.aurora') leads back to itself: a.aurora → d/b.aurora → d/../a.aurora"
    );
    let said = evaluate_files(&[("a.aurora", "include('a.aurora')")], |_| Options::default()).unwrap_err();
    assert_eq!(said, "a.aurora:1:1: include('a.aurora') leads back to itself: a.aurora → a.aurora");
}

#[test]
fn includes_are_bounded_and_relative() {
    assert_eq!(
        refused("\n\ninclude('/etc/passwd')"),
        "t.aurora:3:1: include('/etc/passwd'): paths are relative to the file"
    );
    assert_eq!(refused("include('nope')"), "t.aurora:1:1: include('nope'): cannot read nope: no such file");
    let many = "include('b')\n".repeat(5);
    let said = evaluate_files(&[("t", &many), ("b", "x = 1")], |_| {
        let mut options = Options::default();
        options.limits.max_files = 3;
        options
    });
    assert!(said.unwrap_err().starts_with("t:3:1: include('b'): more than 3 files"));
    let said = evaluate_files(&[("t", "include('b')"), ("b", &"#".repeat(5_000))], |_| {
        let mut options = Options::default();
        options.limits.max_source_bytes = 4_000;
        options
    });
    assert!(said.unwrap_err().starts_with("t:1:1: include('b'): b and what came before it exceed 4000 bytes"));
}

#[test]
fn an_error_in_an_included_file_names_that_file_and_its_caller() {
    let files = [
        ("t.aurora", "include('lib.aurora')\n\nx = make(1)\n"),
        ("lib.aurora", "# a library\ndef make(n):\n  return Process(name = 'a', cmdline = n, daemon = 'perhaps')\n"),
    ];
    let said = evaluate_files(&files, |_| Options::default()).unwrap_err();
    assert_eq!(said, "lib.aurora:3:43: Process.daemon: 'perhaps' is not a boolean\n  called from t.aurora:3:5");
}

#[test]
fn a_runaway_is_stopped_with_its_line() {
    let stopped = |text: &str, change: fn(&mut Options)| {
        evaluate_files(&[("t.aurora", text)], |_| {
            let mut options = Options::default();
            change(&mut options);
            options
        })
        .unwrap_err()
    };
    let said = stopped("x = 0\nfor i in range(1000000):\n  for j in range(1000000):\n    x = j\n", |o| {
        o.limits.max_steps = 50_000
    });
    assert!(said.starts_with("t.aurora:3:") || said.starts_with("t.aurora:4:"), "{said}");
    assert!(said.contains("stopped: more than 50000 steps"), "{said}");
    let said = stopped("def f(n):\n  return f(n + 1)\n\nf(0)\n", |_| ());
    assert!(said.starts_with("t.aurora:2:10: stopped: more than 200 calls inside each other"), "{said}");
    let said = stopped("x = []\nfor i in range(1000000):\n  x.append('%d' % i * 100)\n", |o| {
        o.limits.max_heap_bytes = 8 << 20
    });
    assert!(said.starts_with("t.aurora:") && said.contains("stopped: more than 8 MiB of values"), "{said}");
}

#[test]
fn depth_is_bounded() {
    let said = refused("t = String\nfor i in range(100):\n  t = List(t)\n");
    assert_eq!(said, "t.aurora:3:7: List: more than 16 types inside each other");
    let said = refused_after_base("x = []\nfor i in range(100):\n  x = [x]\njobs = [J(name = x)]");
    assert!(said.contains("Job.name: a list is not a string"), "{said}");
}

#[test]
fn references_in_a_circle_are_refused() {
    let said = refused_after_base("jobs = [J(name = '{{a}}').bind(a = '{{b}}', b = '{{a}}')]");
    assert!(said.starts_with("LINE:11: name: its references lead back to themselves"), "{said}");
    let said = refused_after_base("jobs = [J(task = T(name = '{{task.name}}'), contact = '{{task.name}}')]");
    assert!(said.contains("its references lead back to themselves"), "{said}");
    let said = refused_after_base("jobs = [J(name = '{{profile}}').bind(profile = T)]");
    assert!(said.contains("name: {{profile}} names a Task, which can't stand in text"), "{said}");
    let grows = "jobs = [J(name = '{{a}}').bind(a = '{{b}}{{b}}', b = '{{c}}{{c}}{{b}}')]";
    let said = refused_after_base(grows);
    assert!(said.contains("too much work") || said.contains("lead back"), "{said}");
}

#[test]
fn the_machine_is_out_of_reach_by_default() {
    let said = refused("import os\nx = os.environ['HOME']");
    assert_eq!(
        said,
        "t.aurora:2:5: os.environ: reading the environment (HOME) is not allowed; allow it with --allow-env"
    );
    assert!(refused("x = getpass.getuser()").contains("allow it with --allow-env"));
    assert!(refused("x = os.environ.get('A', 'b')").contains("--allow-env"));
    assert!(
        refused("x = open('t.aurora')")
            .contains("open('t.aurora'): reading files is not allowed; allow it with --allow-read")
    );
    let outside = evaluate_files(&[("t.aurora", "x = open('../x')")], |folder| {
        Options::default().allow_read_beside(&folder.join("t.aurora"))
    });
    assert!(outside.unwrap_err().contains("only files below"));
}

#[test]
fn failing_on_purpose_says_why() {
    assert_eq!(refused("x = 1\nif x > 0:\n  raise ValueError('x is %d' % x)"), "t.aurora:3:3: x is 1");
    assert_eq!(refused("fail('no', 3)"), "t.aurora:1:1: no 3");
    assert!(
        refused("SequentialTask(processes = [Process(name = 'a', cmdline = 'b')], constraints = order('a'))")
            .contains("can't become a SequentialTask")
    );
}

#[test]
fn what_is_no_language_is_refused_with_its_place() {
    assert!(refused("x = 1\ny = = 2\n").starts_with("t.aurora:2:5: "));
    assert!(refused("x = 'a' 'b' y\n").starts_with("t.aurora:1:13: "), "{}", refused("x = 'a' 'b' y\n"));
    assert!(refused("x = nothing").starts_with("t.aurora:1:5: Variable `nothing` not found"));
}
