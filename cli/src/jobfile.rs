//! Job files of either kind: YAML and JSON read as they are, Starlark (with Aurora's words) evaluated first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use dawn_proto::v1::JobSpec;
use dawn_proto::validate;

use crate::exit::{Exit, Failure, chain};
use crate::render::{self, time};
use crate::spec;
use dawn_aurora::{EvaluatedJob, Options};

/// Endings of files that are evaluated.
const EVALUATED: [&str; 4] = ["aurora", "star", "mesos", "bzl"];
/// Endings of files that are read as they are.
const PLAIN: [&str; 3] = ["yaml", "yml", "json"];

/// What an evaluated file may see.
#[derive(Args, Clone, Debug, Default)]
pub struct Reading {
    /// In evaluated files (.aurora, .star), give a {{name}} this value
    #[arg(long, value_name = "NAME=VALUE", value_parser = bind)]
    bind: Vec<(String, String)>,
    /// Let evaluated files see the environment
    #[arg(long)]
    allow_env: bool,
    /// Let evaluated files read files beside them
    #[arg(long)]
    allow_read: bool,
}

fn bind(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("write NAME=VALUE".to_string()),
    }
}

fn ending(path: &Path) -> &str {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

/// Whether a name is one that only a job file has.
pub fn is_named_as_file(target: &str) -> bool {
    let ending = ending(Path::new(target));
    target == "-" || PLAIN.contains(&ending) || EVALUATED.contains(&ending)
}

/// How a file of this name is formatted.
pub enum Style {
    Language,
    Yaml,
}

/// By a file's ending; none: it is no job file's.
pub fn style(path: &Path) -> Option<Style> {
    match ending(path) {
        "json" => Some(Style::Language),
        ending if EVALUATED.contains(&ending) => Some(Style::Language),
        ending if PLAIN.contains(&ending) => Some(Style::Yaml),
        _ => None,
    }
}

/// The jobs of all files, each key once; or everything that is wrong.
pub fn load(files: &[PathBuf], reading: &Reading) -> Result<Vec<JobSpec>, Failure> {
    let mut specs = Vec::new();
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<String, &PathBuf> = BTreeMap::new();
    let mut notes = Vec::new();
    if !files.iter().any(|file| EVALUATED.contains(&ending(file))) {
        refuse_what_has_no_effect(reading)?;
    }
    for file in files {
        let read = match EVALUATED.contains(&ending(file)) {
            true => evaluate(file, reading),
            false => spec::load(file, time::now_ms()).map_err(|error| chain(&error)).map(|(specs, more)| {
                notes.extend(more);
                specs
            }),
        };
        match read {
            Ok(more) => {
                for spec in more {
                    let key = render::key(spec.key.as_ref());
                    if let Some(first) = seen.insert(key.clone(), file) {
                        wrong.push(format!("{}: {key} is in {} too", file.display(), first.display()));
                    }
                    specs.push(spec);
                }
            }
            Err(error) => wrong.push(error),
        }
    }
    if let Some(circle) = circle(&specs) {
        let message = format!("{}: jobs wait for each other: {}", named(files), circle.join(" after "));
        wrong.push(message);
    }
    if !wrong.is_empty() {
        return Err(Failure::in_files(wrong.join("\n")));
    }
    for note in notes {
        eprintln!("dawn: note: {}", render::safe(&note));
    }
    for spec in &specs {
        if spec.cron.as_ref().is_some_and(spec::restricts_both_days) {
            let key = render::key(spec.key.as_ref());
            eprintln!("dawn: note: {key}: cron.schedule names days of the month and of the week: it fires on either");
        }
    }
    Ok(specs)
}

/// Whether a warning of the scheduler says what was noted when the file was read.
pub fn was_noted(warning: &str) -> bool {
    warning.starts_with("the schedule names days of the month and of the week")
}

/// Files that are read as they are take no values and see nothing.
fn refuse_what_has_no_effect(reading: &Reading) -> Result<(), Failure> {
    if let Some((name, _)) = reading.bind.first() {
        let message =
            format!("--bind {name}=… has no effect: only .aurora and .star files have {{{{names}}}} that are bound");
        return Err(Failure::new(Exit::Usage, message).hint("put the value into the job file, or into its `env:`"));
    }
    for (given, flag, seen) in
        [(reading.allow_env, "--allow-env", "the environment"), (reading.allow_read, "--allow-read", "other files")]
    {
        if given {
            let message = format!("{flag} has no effect: only .aurora and .star files can see {seen}");
            return Err(Failure::new(Exit::Usage, message).hint(format!("leave {flag} out")));
        }
    }
    Ok(())
}

fn named(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Jobs of the files that wait for each other, if any do; the first is named again at the end.
fn circle(specs: &[JobSpec]) -> Option<Vec<String>> {
    let by_key: BTreeMap<String, &JobSpec> = specs.iter().map(|spec| (render::key(spec.key.as_ref()), spec)).collect();
    let after = |key: &str| -> Vec<String> {
        let spec = by_key.get(key);
        spec.into_iter().flat_map(|spec| &spec.dependencies).map(|one| render::key(one.job.as_ref())).collect()
    };
    let mut done = BTreeSet::new();
    for start in by_key.keys() {
        let mut way: Vec<(String, Vec<String>)> = vec![(start.clone(), after(start))];
        while let Some((key, left)) = way.last_mut() {
            let Some(next) = left.pop() else {
                done.insert(key.clone());
                way.pop();
                continue;
            };
            if let Some(from) = way.iter().position(|(key, _)| *key == next) {
                return Some(way[from..].iter().map(|(key, _)| key.clone()).chain([next]).collect());
            }
            if !done.contains(&next) {
                let after = after(&next);
                way.push((next, after));
            }
        }
    }
    None
}

/// Evaluates one file in a process of its own and makes specs of its jobs. What it printed, and what of it has no
/// effect in Dawn, goes to standard error.
fn evaluate(file: &Path, reading: &Reading) -> Result<Vec<JobSpec>, String> {
    let mut options = Options { binds: reading.bind.clone(), ..Options::default() };
    if reading.allow_env {
        options = options.allow_env();
    }
    if reading.allow_read {
        options = options.allow_read_beside(file);
    }
    let evaluated = dawn_aurora::evaluate(file, &options).map_err(|error| match error.position {
        Some(_) => error.to_string(),
        None => format!("{}: {error}", file.display()),
    })?;
    for line in &evaluated.printed {
        eprintln!("{}", render::safe(line));
    }
    for note in &evaluated.notes {
        eprintln!("dawn: note: {}", render::safe(note));
    }
    let specs: Vec<_> = evaluated.jobs.iter().map(|job| lowered(file, job)).collect();
    let (specs, wrong): (Vec<_>, Vec<_>) = specs.into_iter().partition(Result::is_ok);
    let wrong: Vec<_> = wrong.into_iter().filter_map(Result::err).collect();
    match wrong.is_empty() {
        true => Ok(specs.into_iter().filter_map(Result::ok).collect()),
        false => Err(wrong.join("\n")),
    }
}

fn lowered(file: &Path, job: &EvaluatedJob) -> Result<JobSpec, String> {
    let key = job.key();
    let all = |problems: Vec<String>| problems.join("\n");
    let told = |problem: &dawn_aurora::Problem| match problem.position {
        Some(_) => problem.to_string(),
        None => format!("{}: {key}: {problem}", file.display()),
    };
    if !job.problems.is_empty() {
        return Err(all(job.problems.iter().map(told).collect()));
    }
    let lowered = dawn_aurora::lower(job).map_err(|problems| all(problems.iter().map(told).collect()))?;
    for warning in &lowered.warnings {
        eprintln!("dawn: note: {}", render::safe(&told(warning)));
    }
    let place = |error: &validate::FieldError| format!("{}: {key}: {error}", file.display());
    let spec = validate::job_spec(lowered.spec).map_err(|errors| all(errors.iter().map(place).collect()))?;
    for doubt in validate::unreplaced_references(&spec) {
        eprintln!("dawn: note: {}", render::safe(&place(&doubt)));
    }
    match spec::check_schedule(&spec, time::now_ms()) {
        Some(error) => Err(place(&error)),
        None => Ok(spec),
    }
}

/// As `load` reads one file, without a process of its own for what is evaluated.
#[cfg(test)]
pub fn load_here(path: &Path) -> Result<Vec<JobSpec>, String> {
    if !EVALUATED.contains(&ending(path)) {
        return spec::load(path, time::now_ms()).map(|(specs, _)| specs).map_err(|error| chain(&error));
    }
    let evaluated =
        dawn_aurora::evaluate_in_process(path, &Options::default(), None).map_err(|error| error.to_string())?;
    evaluated.jobs.iter().map(|job| lowered(path, job)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_has_a_name_and_keeps_every_other_equals_sign() {
        assert_eq!(bind("a=b=c"), Ok(("a".to_string(), "b=c".to_string())));
        assert!(bind("=b").is_err() && bind("b").is_err());
    }

    #[test]
    fn values_for_files_that_take_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yaml");
        std::fs::write(&path, "job: a/b/c\nkind: batch\nrun: x\n").unwrap();
        let reading = Reading { bind: vec![("X".into(), "1".into())], ..Reading::default() };
        let said = load(std::slice::from_ref(&path), &reading).unwrap_err().to_string();
        assert!(said.starts_with("--bind X=… has no effect: only .aurora and .star files"), "{said}");
        for (flag, reading) in [
            ("--allow-env", Reading { allow_env: true, ..Reading::default() }),
            ("--allow-read", Reading { allow_read: true, ..Reading::default() }),
        ] {
            let said = load(std::slice::from_ref(&path), &reading).unwrap_err().to_string();
            assert!(said.starts_with(&format!("{flag} has no effect: only .aurora and .star files")), "{said}");
        }
    }

    #[test]
    fn a_file_without_a_user_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yaml");
        let notes = |user: &str| {
            std::fs::write(&path, format!("job: www/b/c\nkind: batch\n{user}run: x\n")).unwrap();
            spec::load(&path, 0).unwrap().1
        };
        assert_eq!(notes(""), ["www/b/c: no `user:` is given, so it runs as the unix user `www`, its role"]);
        assert_eq!(notes("user: www\n"), [""; 0]);
    }

    #[test]
    fn references_are_named_by_the_fields_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yaml");
        let read = |fields: &str| {
            std::fs::write(&path, format!("job: www/b/c\nkind: batch\nuser: u\nports: [http]\n{fields}\n")).unwrap();
            let told = spec::load(&path, 0).map(|(_, notes)| notes).unwrap_or_else(|error| vec![error.to_string()]);
            told.join("\n").replace(&format!("{}:", path.display()), "")
        };
        let refused = "`{{port:htp}}`: no port of the task is named `htp`; did you mean `{{port:http}}`?";
        let noted = "`{{hostname}}` is not replaced here: commands (`run`, `health.shell`)";
        for (fields, expected) in [
            ("run: serve {{port:htp}}", format!("5:6: run: {refused}")),
            ("run: [serve, '{{port:htp}}']", format!("5:14: run[1]: {refused}")),
            ("processes: [{ name: a, run: 'x {{port:htp}}' }]", format!("5:29: processes[0].run: {refused}")),
            (
                "processes: [{ name: a, run: x, env: { A: '{{port:htp}}' } }]",
                format!("5:42: processes[0].env.A: {refused}"),
            ),
            ("run: x\nenv: { A: '{{port:htp}}' }", format!("6:11: env.A: {refused}")),
            ("run: x\nhealth: { shell: 'x {{port:htp}}' }", format!("6:18: health.shell: {refused}")),
            (
                "run: x\nhealth: { http: { port: http, path: '/{{hostname}}' } }",
                format!("6:37: health.http.path: {noted}"),
            ),
            ("run: x\nlabels: { a: '{{hostname}}' }", format!("6:14: labels.a: {noted}")),
            (
                "run: x\nlifecycle: { port: http, graceful_path: '/{{hostname}}' }",
                format!("6:41: lifecycle.graceful_path: {noted}"),
            ),
            (
                "run: x\nartifacts: [{ uri: 'http://x/{{hostname}}', sha256: '0000000000000000000000000000000000000000000000000000000000000000', destination: d }]",
                format!("6:20: artifacts[0].uri: {noted}"),
            ),
        ] {
            let said = read(fields);
            assert!(said.starts_with(&expected), "{fields}: {said}");
        }
    }

    #[test]
    fn jobs_of_files_that_wait_for_each_other_are_refused_with_their_circle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flow.yaml");
        let job = |name: &str, after: &str| format!("job: a/b/{name}\nkind: batch\nrun: x\nafter: [{after}]\n");
        let text = [job("x", "a/b/y"), job("y", "a/b/z, a/b/w"), job("z", "a/b/x"), job("w", "a/b/elsewhere")];
        std::fs::write(&path, text.join("---\n")).unwrap();
        let said = load(std::slice::from_ref(&path), &Reading::default()).unwrap_err().to_string();
        assert!(said.contains("jobs wait for each other: a/b/"), "{said}");
        assert_eq!(said.matches(" after ").count(), 3, "{said}");
        std::fs::write(&path, [job("x", "a/b/y"), job("y", "a/b/z"), job("z", "a/b/w")].join("---\n")).unwrap();
        assert_eq!(load(&[path], &Reading::default()).unwrap().len(), 3);
    }

    #[test]
    fn an_evaluated_cron_job_that_never_fires_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("never.aurora");
        let text = "jobs = [Job(role = 'r', cluster = 'c', environment = 'e', name = 'n', cron_schedule = '0 0 30 2 *',
            task = Task(resources = Resources(cpu = 1, ram = 64*MB, disk = 64*MB),
                processes = [Process(name = 'p', cmdline = 'x')]))]";
        std::fs::write(&path, text).unwrap();
        let evaluated = dawn_aurora::evaluate_in_process(&path, &Options::default(), None).unwrap();
        let said = lowered(&path, &evaluated.jobs[0]).unwrap_err();
        assert!(said.ends_with("cron.schedule: `0 0 30 2 *` never fires"), "{said}");
    }

    #[test]
    fn names_of_files_are_told_from_keys() {
        assert!(is_named_as_file("a/b/c.aurora") && is_named_as_file("x.yaml") && is_named_as_file("-"));
        assert!(!is_named_as_file("www/prod/web") && !is_named_as_file("www/prod/web-1.2"));
    }

    #[test]
    fn the_examples_of_the_reference_are_the_jobs_that_it_says() {
        let reference = include_str!("../JOBFILE.md");
        let folder = tempfile::tempdir().unwrap();
        for (fence, name) in [("```yaml\n", "web.yaml"), ("```python\n", "web.star")] {
            let text = reference.split(fence).nth(1).and_then(|rest| rest.split("```").next()).expect(fence);
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let jobs = load_here(&path).unwrap_or_else(|error| panic!("{error}"));
            let keys: Vec<String> = jobs.iter().map(|job| render::key(job.key.as_ref())).collect();
            assert_eq!(keys, ["www/prod/web"], "{name}");
            assert_eq!(jobs[0].instances, 3, "{name}");
        }
    }
}
