//! Evaluates in a process of its own, whose memory and time are bounded by the system: one operation of the language
//! can be too large to be stopped from inside. Not here: the evaluation.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

use super::errors::{ConfigError, ErrorKind, Position};
use super::evaluate::{Evaluated, Options, evaluate_in_process};
use super::prepass;

/// The hidden subcommand under which the own program is started; its `main` calls [`child_main`].
pub const CHILD_COMMAND: &str = "config-eval";

/// Room for the place of the running statement at the start of the child's standard error.
const PROGRESS_BYTES: usize = 32;
/// Stands before the answer, so that nothing else the program may print is taken for it.
const ANSWER_MARK: &[u8] = b"\x1edawn-config\x1e";
/// Most that an answer may have.
const MAX_ANSWER_BYTES: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
struct Request {
    path: PathBuf,
    options: Options,
}

/// Evaluates a file within the bounds of `options.limits`.
///
/// # Errors
/// What is wrong with the file; the bound that was reached, with the statement that was being run.
pub fn evaluate(path: &Path, options: &Options) -> Result<Evaluated, ConfigError> {
    let program = std::env::current_exe().map_err(|e| internal(format!("own program: {e}")))?;
    let mut command = Command::new(program);
    command.arg(CHILD_COMMAND);
    evaluate_with(command, path, options)
}

fn evaluate_with(mut command: Command, path: &Path, options: &Options) -> Result<Evaluated, ConfigError> {
    let mut errors = scratch().map_err(|e| internal(format!("scratch file: {e}")))?;
    let request = Request { path: path.to_path_buf(), options: options.clone() };
    let request = serde_json::to_vec(&request).map_err(|e| internal(format!("request: {e}")))?;
    let stderr = errors.try_clone().map_err(|e| internal(format!("scratch file: {e}")))?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(|e| internal(format!("starting the evaluation: {e}")))?;
    let answer = converse(&mut child, &request, options);
    // Also after an answer: whatever the child still does has no use.
    let _ = child.kill();
    let status = child.wait();
    let limits = &options.limits;
    let stopped = |position, message| Err(ConfigError::new(ErrorKind::Limit, position, message));
    let Some(said) = answer else {
        let (position, _) = running_statement(&mut errors, path, options);
        return stopped(
            position,
            format!(
                "stopped: this runs longer than {}",
                dawn_proto::amounts::duration(limits.deadline.as_millis() as u64)
            ),
        );
    };
    match read_answer(&said) {
        Some(Err(error)) if error.kind == ErrorKind::Limit && error.position.is_none() => {
            Err(ConfigError { position: running_statement(&mut errors, path, options).0, ..error })
        }
        Some(answer) => answer,
        None => {
            let (position, said) = running_statement(&mut errors, path, options);
            if said.contains("memory allocation of") {
                let most = limits.max_address_space_bytes >> 20;
                return stopped(
                    position,
                    format!("stopped: this statement or the next one needs more than {most} MiB of memory"),
                );
            }
            let status = status.map_or_else(|e| e.to_string(), |status| status.to_string());
            Err(ConfigError {
                position,
                ..internal(format!("the evaluation ended without an answer ({status}): {said}"))
            })
        }
    }
}

/// What stands after the mark; `None` if there is no mark, or the child broke off in the middle.
fn read_answer(said: &[u8]) -> Option<Result<Evaluated, ConfigError>> {
    let start = said.windows(ANSWER_MARK.len()).position(|window| window == ANSWER_MARK)? + ANSWER_MARK.len();
    serde_json::Deserializer::from_slice(&said[start..]).into_iter().next()?.ok()
}

/// Sends the request and waits for the whole answer; `None` if the deadline comes first.
fn converse(child: &mut Child, request: &[u8], options: &Options) -> Option<Vec<u8>> {
    if let Some(mut stdin) = child.stdin.take() {
        // A child that is gone already shows by its empty answer.
        let _ = stdin.write_all(request);
    }
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        let _ = stdout.take(MAX_ANSWER_BYTES).read_to_end(&mut answer);
        let _ = sender.send(answer);
    });
    receiver.recv_timeout(options.limits.deadline).ok()
}

fn scratch() -> std::io::Result<File> {
    let mut file = File::from(memfd_create("dawn-config", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&[b' '; PROGRESS_BYTES])?;
    Ok(file)
}

/// The place of the statement that ran last, and what else the child said. Of a statement at the top level the
/// language may compute parts before it counts as running.
fn running_statement(errors: &mut File, path: &Path, options: &Options) -> (Option<Position>, String) {
    let mut text = Vec::new();
    if errors.rewind().is_err() || errors.take(64 << 10).read_to_end(&mut text).is_err() {
        return (None, String::new());
    }
    let text = String::from_utf8_lossy(&text);
    let (progress, said) = text.split_at(PROGRESS_BYTES.min(text.len()));
    let mut numbers = progress.split_whitespace().map(str::parse::<usize>);
    let position = match (numbers.next(), numbers.next()) {
        (Some(Ok(line)), Some(Ok(column))) => prepass::prepare(path, &options.limits, options.include_anywhere)
            .ok()
            .and_then(|source| source.position(line, column)),
        _ => None,
    };
    (position, said.trim().chars().take(500).collect())
}

/// What the started process does: bounds itself, reads a request, evaluates, answers.
pub fn child_main() -> ExitCode {
    let answer = serve();
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(ANSWER_MARK).is_ok() && serde_json::to_writer(&mut stdout, &answer).is_ok();
    if written && stdout.flush().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve() -> Result<Evaluated, ConfigError> {
    let mut request = Vec::new();
    std::io::stdin().read_to_end(&mut request).map_err(|e| internal(format!("request: {e}")))?;
    let request: Request = serde_json::from_slice(&request).map_err(|e| internal(format!("request: {e}")))?;
    let limits = &request.options.limits;
    let bytes = limits.max_address_space_bytes;
    setrlimit(Resource::RLIMIT_AS, bytes, bytes).map_err(|e| internal(format!("memory limit: {e}")))?;
    // Should the parent be gone, nobody else ends this process.
    let seconds = limits.deadline.as_secs() + 1;
    setrlimit(Resource::RLIMIT_CPU, seconds, seconds).map_err(|e| internal(format!("cpu limit: {e}")))?;
    let progress = std::io::stderr().as_fd().try_clone_to_owned().map(File::from).ok();
    evaluate_in_process(&request.path, &request.options, progress.as_ref())
}

fn internal(message: String) -> ConfigError {
    ConfigError::new(ErrorKind::Internal, None, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Not a test of its own: the process that the others start, which is this test program again.
    #[test]
    fn as_child() {
        if std::env::var_os("DAWN_TEST_CONFIG_CHILD").is_some() {
            child_main();
            std::process::exit(0);
        }
    }

    fn evaluated(text: &str, change: impl FnOnce(&mut Options)) -> Result<Evaluated, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.aurora");
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child::tests::as_child", "--exact", "--nocapture"]).env("DAWN_TEST_CONFIG_CHILD", "1");
        let mut options = Options::default();
        change(&mut options);
        evaluate_with(command, &path, &options)
    }

    #[test]
    fn a_file_is_evaluated_in_the_child() {
        let text = "print('hello')\nP = Process(name = 'a', cmdline = 'b{{c}}')\n\
            jobs = [Job(role = 'r', cluster = 'c', environment = 'e', task = Task(processes = [P]))]\n";
        let evaluated = evaluated(text, |options| options.binds = vec![("c".into(), "d".into())]).unwrap();
        assert_eq!(evaluated.printed, ["hello"]);
        assert_eq!(evaluated.jobs.len(), 1);
        assert_eq!(evaluated.jobs[0].tree["task"]["processes"][0]["cmdline"], "bd");
    }

    #[test]
    fn a_refusal_comes_back_whole() {
        let error = evaluated("a = 1\nb = nothing\n", |_| ()).unwrap_err();
        let position = error.position.unwrap();
        assert_eq!((position.line, position.column, error.kind), (2, 5, ErrorKind::Evaluation));
    }

    #[test]
    fn one_operation_that_takes_too_much_memory_is_stopped_with_its_line() {
        let error = evaluated("a = 'x'\nb = [1]\nc = a * 1000000000\njobs = []\n", |options| {
            options.limits.max_address_space_bytes = 768 << 20;
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit, "{error}");
        assert!(matches!(error.position.as_ref().map(|position| position.line), Some(2 | 3)), "{error}");
        assert!(error.message.contains("more than 768 MiB"), "{error}");
    }

    #[test]
    fn many_values_that_take_too_much_memory_are_a_limit_and_no_fault_of_dawn() {
        let text = "x = 'a' * 1000000\ny = [x * 1000 for i in range(100)]\njobs = []\n";
        let error = evaluated(text, |options| options.limits.max_address_space_bytes = 768 << 20).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit, "{error}");
        assert!(error.message.contains("more than 768 MiB") && error.position.is_some(), "{error}");
    }

    #[test]
    fn whatever_runs_too_long_is_stopped_with_its_line() {
        let error = evaluated("a = 1\nfor i in range(2000000000):\n  a = i\n", |options| {
            options.limits.deadline = Duration::from_secs(2);
            options.limits.max_steps = u64::MAX;
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit, "{error}");
        assert!(matches!(error.position.as_ref().map(|position| position.line), Some(2 | 3)), "{error}");
        assert!(error.message.contains("longer than 2s"), "{error}");
    }
}
