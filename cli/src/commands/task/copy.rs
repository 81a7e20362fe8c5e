//! `dawn task cp`: files and folders out of a sandbox and into one. A copy cut short leaves no file behind.
//! `-` is standard output, or standard input.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use clap::Args;
use dawn_proto::TaskId;
use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_open::What;
use dawn_proto::v1::reach_up::Message as Up;
use dawn_proto::v1::{self, FileKind};

use super::files;
use super::target::{Target, about};
use crate::args::Context;
use crate::exit::{Exit, Failure};
use crate::render;

/// Folders inside folders.
const MAX_DEPTH: usize = 64;

#[derive(Args)]
pub struct Cp {
    /// With whatever is in folders; links are left out
    #[arg(long, short)]
    recursive: bool,
    /// What to copy: a path here (- is standard input), or TASK:PATH in a sandbox, as in www/prod/web/0:data/x or t12:/
    from: String,
    /// Where to: a local path (- is standard output) if FROM is in a task, else TASK:PATH
    to: String,
    /// Where to, when one of the two before is a task alone: `TASK PATH` is the same as `TASK:PATH`
    #[arg(value_name = "TO")]
    third: Option<String>,
}

/// Stands for standard input and standard output.
const STREAM: &str = "-";

impl Cp {
    /// The two places, one of them as `TASK:PATH`.
    fn places(&self) -> (String, String) {
        let is_task = |text: &str| text.parse::<Target>().is_ok();
        let Some(third) = &self.third else { return (self.from.clone(), self.to.clone()) };
        match is_task(&self.from) && !(is_task(&self.to) && Path::new(&self.from).exists()) {
            true => (format!("{}:{}", self.from, self.to), third.clone()),
            false => (self.from.clone(), format!("{}:{third}", self.to)),
        }
    }
}

/// `TASK:PATH`; None: a path on this machine.
fn in_task(text: &str) -> Option<(Target, String)> {
    let (target, path) = text.split_once(':')?;
    Some((target.parse().ok()?, path.to_string()))
}

struct Copying<'a> {
    context: &'a mut Context,
    task: TaskId,
    recursive: bool,
    files: u64,
    bytes: u64,
}

pub async fn run(args: Cp, context: &mut Context) -> Result<Exit, Failure> {
    let usage = |text: &str| Err(Failure::new(Exit::Usage, text).hint("see `dawn task cp --help`"));
    let (from, to) = args.places();
    let (target, path, here, out) = match (in_task(&from), in_task(&to)) {
        (Some((target, path)), None) => (target, path, to, true),
        (None, Some((target, path))) => (target, path, from, false),
        (Some(_), Some(_)) => return usage("copying from task to task: copy to this machine first"),
        (None, None) => return usage("neither of the two paths is in a task: write one as TASK:PATH"),
    };
    let task = target.find(context).await?;
    let mut copying = Copying { context, task, recursive: args.recursive, files: 0, bytes: 0 };
    match (out, here.as_str()) {
        (true, STREAM) => {
            copying.print(&path).await?;
            return Ok(Exit::Done);
        }
        (true, here) => copying.fetch(&path, Path::new(here)).await?,
        (false, STREAM) => copying.give_input(&path).await?,
        (false, here) => copying.give(Path::new(here), &path).await?,
    }
    let Copying { context, files, bytes, .. } = copying;
    if context.out.json {
        let fields = serde_json::json!({ "task": task.to_string(), "files": files, "bytes": bytes });
        context.out.value(&render::json::object(fields));
    } else {
        context.out.line(&format!("{}, {}", render::count(files, "file"), render::bytes(bytes)));
    }
    Ok(Exit::Done)
}

fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let text = format!("{what} {}", path.display());
    move |error| Failure::new(Exit::Failed, format!("{text}: {error}"))
}

/// The last part of a path; none for "/" and the like.
fn last_name(path: &str) -> Option<&str> {
    path.rsplit('/').find(|part| !part.is_empty()).filter(|part| !matches!(*part, "." | ".."))
}

impl Copying<'_> {
    /// Out of the sandbox. As cp has it: into a folder that is there, or to a name of its own.
    async fn fetch(&mut self, path: &str, here: &Path) -> Result<(), Failure> {
        let listed = files::list(self.context, self.task, path).await?;
        let single = listed.len() == 1 && Some(listed[0].name.as_str()) == last_name(path);
        let is_file = single && listed[0].kind() != FileKind::Folder && !self.is_folder(path).await?;
        let here = match last_name(path) {
            Some(name) if here.is_dir() => here.join(name),
            _ => here.to_path_buf(),
        };
        if is_file {
            return self.fetch_file(path, &here).await;
        }
        if !self.recursive {
            return Err(Failure::new(Exit::Usage, format!("{path} is a folder")).hint("give --recursive"));
        }
        self.fetch_folder(path, &here, listed).await
    }

    /// A folder may hold one file of its own name: then the listing alone doesn't tell.
    async fn is_folder(&mut self, path: &str) -> Result<bool, Failure> {
        let inside = format!("{}/.", path.trim_end_matches('/'));
        Ok(files::list(self.context, self.task, &inside).await.is_ok())
    }

    async fn fetch_folder(&mut self, path: &str, here: &Path, listed: Vec<v1::FileEntry>) -> Result<(), Failure> {
        let mut left = vec![(path.trim_end_matches('/').to_string(), here.to_path_buf(), listed, 0)];
        while let Some((path, here, listed, depth)) = left.pop() {
            fs::create_dir_all(&here).map_err(failed("making", &here))?;
            for file in listed {
                // Names come from the task: none may lead anywhere but into this folder.
                let plain = Path::new(&file.name).components().eq([Component::Normal(file.name.as_ref())]);
                let (inside, beside) = (format!("{path}/{}", file.name), here.join(&file.name));
                match file.kind() {
                    FileKind::Regular if plain => self.fetch_file(&inside, &beside).await?,
                    FileKind::Folder if plain && depth < MAX_DEPTH => {
                        let listed = files::list(self.context, self.task, &inside).await?;
                        left.push((inside, beside, listed, depth + 1));
                    }
                    FileKind::Folder if plain => left_out(&inside, "folders go too deep"),
                    FileKind::Regular | FileKind::Folder => left_out(&inside, "its name leads elsewhere"),
                    _ => left_out(&inside, NO_FILE),
                }
            }
        }
        Ok(())
    }

    /// A file to standard output, and nothing else with it.
    async fn print(&mut self, path: &str) -> Result<(), Failure> {
        if self.context.out.json {
            let message = "the file goes to standard output, so that there is no room for --json";
            return Err(Failure::new(Exit::Usage, message));
        }
        if self.is_folder(path).await? {
            return Err(Failure::new(Exit::Usage, format!("{path} is a folder; - takes a file")));
        }
        let read = v1::ReadFile { path: path.to_string(), offset: 0, length: 0 };
        let mut session = self.context.scheduler.reach(about(self.task, What::Read(read))).await?;
        while let Some(message) = session.next().await? {
            match message {
                Down::Data(data) => self.context.out.write(&data),
                Down::Done(_) => return Ok(()),
                _ => {}
            }
        }
        Err(Failure::new(Exit::Failed, format!("{path} broke off")))
    }

    /// Standard input as a file.
    async fn give_input(&mut self, path: &str) -> Result<(), Failure> {
        if path.is_empty() || path.ends_with('/') || self.is_folder(path).await? {
            return Err(Failure::new(Exit::Usage, "standard input has no name; name the file it becomes"));
        }
        self.give_bytes(Box::new(std::io::stdin()), Path::new("standard input"), path, 0o644).await
    }

    async fn fetch_file(&mut self, path: &str, here: &Path) -> Result<(), Failure> {
        let read = v1::ReadFile { path: path.to_string(), offset: 0, length: 0 };
        let mut session = self.context.scheduler.reach(about(self.task, What::Read(read))).await?;
        let mode = match session.next().await? {
            Some(Down::Begun(begun)) => begun.mode & 0o777,
            _ => return Err(Failure::new(Exit::Failed, format!("{path} broke off"))),
        };
        let beside = Beside::new(here)?;
        let mut file = &beside.file;
        loop {
            match session.next().await? {
                Some(Down::Data(data)) => {
                    file.write_all(&data).map_err(failed("writing", here))?;
                    self.bytes += data.len() as u64;
                }
                Some(Down::Done(_)) => break,
                Some(_) => {}
                None => return Err(Failure::new(Exit::Failed, format!("{path} broke off"))),
            }
        }
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed("writing", here))?;
        beside.keep(here)?;
        self.files += 1;
        Ok(())
    }

    /// Into the sandbox.
    async fn give(&mut self, here: &Path, path: &str) -> Result<(), Failure> {
        let meta = fs::metadata(here).map_err(failed("reading", here))?;
        let name = here.file_name().map(|name| name.to_string_lossy().into_owned());
        let into_folder = path.is_empty() || path.ends_with('/') || self.is_folder(path).await?;
        let path = match name {
            Some(name) if into_folder => format!("{}/{name}", path.trim_end_matches('/')),
            _ => path.to_string(),
        };
        if meta.is_file() {
            return self.give_file(here, &path, meta.mode()).await;
        }
        if !self.recursive {
            let message = format!("{} is no regular file", here.display());
            return Err(Failure::new(Exit::Usage, message).hint("give --recursive for a folder"));
        }
        let mut left = vec![(here.to_path_buf(), path)];
        while let Some((here, path)) = left.pop() {
            self.make_folder(&path, fs::metadata(&here).map_or(0o755, |meta| meta.mode())).await?;
            for entry in fs::read_dir(&here).map_err(failed("reading", &here))? {
                let entry = entry.map_err(failed("reading", &here))?;
                let inside = format!("{path}/{}", entry.file_name().to_string_lossy());
                let kind = entry.file_type().map_err(failed("reading", &entry.path()))?;
                if kind.is_dir() {
                    left.push((entry.path(), inside));
                } else if kind.is_file() {
                    let mode = entry.metadata().map_or(0o644, |meta| meta.mode());
                    self.give_file(&entry.path(), &inside, mode).await?;
                } else {
                    left_out(&entry.path().display().to_string(), NO_FILE);
                }
            }
        }
        Ok(())
    }

    async fn make_folder(&mut self, path: &str, mode: u32) -> Result<(), Failure> {
        let write = v1::WriteFile { path: path.to_string(), mode: mode & 0o777, folder: true };
        let mut session = self.context.scheduler.reach(about(self.task, What::Write(write))).await?;
        match session.next().await? {
            Some(Down::Done(_)) => Ok(()),
            _ => Err(Failure::new(Exit::Failed, format!("{path} was not made"))),
        }
    }

    async fn give_file(&mut self, here: &Path, path: &str, mode: u32) -> Result<(), Failure> {
        let file = File::open(here).map_err(failed("reading", here))?;
        match self.give_bytes(Box::new(file), here, path, mode).await {
            // The agent can't tell a missing file from a missing folder before it.
            Err(failure) if failure.to_string().contains("no such file") => {
                let parent = path.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent);
                match parent.is_empty() || self.is_folder(parent).await? {
                    true => Err(failure),
                    false => Err(no_folder(parent)),
                }
            }
            done => done,
        }
    }

    async fn give_bytes(&mut self, mut file: Box<dyn Read>, here: &Path, path: &str, mode: u32) -> Result<(), Failure> {
        let write = v1::WriteFile { path: path.to_string(), mode: mode & 0o777, folder: false };
        let mut session = self.context.scheduler.reach(about(self.task, What::Write(write))).await?;
        let up = session.up.clone();
        let mut sent = 0;
        let sending = async {
            let mut buffer = vec![0; 32 << 10];
            loop {
                let got = file.read(&mut buffer).map_err(failed("reading", here))?;
                if got == 0 {
                    up.say(Up::End(true)).await;
                    return Ok::<(), Failure>(());
                }
                if !up.data(&buffer[..got]).await {
                    return Ok(());
                }
                sent += got as u64;
            }
        };
        let taking = async {
            loop {
                match session.next().await? {
                    Some(Down::Done(_)) => return Ok(()),
                    Some(_) => {}
                    None => return Err(Failure::new(Exit::Failed, format!("{path} broke off"))),
                }
            }
        };
        tokio::pin!(taking);
        tokio::select! {
            sent = sending => {
                sent?;
                taking.await?;
            }
            taken = &mut taking => taken?,
        }
        self.files += 1;
        self.bytes += sent;
        Ok(())
    }
}

fn no_folder(path: &str) -> Failure {
    let message = format!("there is no folder {} in the sandbox", render::safe(path));
    Failure::new(Exit::Failed, message).hint("make it first, as with `dawn task exec TASK -- mkdir -p FOLDER`")
}

/// A file being written beside its place; it vanishes unless it is kept.
struct Beside {
    path: PathBuf,
    file: File,
}

impl Beside {
    fn new(here: &Path) -> Result<Beside, Failure> {
        let name = here.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = here.with_file_name(format!(".{name}.dawn-{}", std::process::id()));
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
        Ok(Beside { file: file.map_err(failed("writing", here))?, path })
    }

    fn keep(self, here: &Path) -> Result<(), Failure> {
        fs::rename(&self.path, here).map_err(failed("writing", here))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Why what is neither a file nor a folder is not copied.
const NO_FILE: &str = "it is a link, a socket, a pipe or a device";

fn left_out(path: &str, why: &str) {
    eprintln!("dawn: left out: {}: {why}", render::safe(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_and_its_path_may_be_two_words() {
        let places = |words: [&str; 3]| {
            let [from, to, third] = words.map(str::to_string);
            Cp { recursive: false, from, to, third: Some(third) }.places()
        };
        assert_eq!(places(["t1", "/x", "here"]), ("t1:/x".into(), "here".into()));
        assert_eq!(places(["www/prod/web/0", "a/b/c", "-"]), ("www/prod/web/0:a/b/c".into(), "-".into()));
        assert_eq!(places(["./here", "t1", "/x"]), ("./here".into(), "t1:/x".into()));
    }

    #[test]
    fn a_path_in_a_task_is_told_from_one_here() {
        assert!(in_task("t1:/data").is_some_and(|(_, path)| path == "/data"));
        assert!(in_task("www/prod/web/0:").is_some_and(|(_, path)| path.is_empty()));
        for here in ["/tmp/x", "x", "./t1:x", "a:b"] {
            assert!(in_task(here).is_none(), "{here}");
        }
        assert_eq!((last_name("/a/b/"), last_name("/"), last_name("..")), (Some("b"), None, None));
    }
}
