//! `dawn admin backup`: from a scheduler that follows where there is one, beside the file first, and checked before it gets
//! its name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use dawn_proto::v1;
use serde_json::json;

use crate::args::Context;
use crate::client::{Client, Repeat, Scheduler};
use crate::commands::until_timeout;
use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::render::{self, json, time};

#[derive(Args)]
pub struct Backup {
    /// Where to; must not be there yet
    file: PathBuf,
    /// Overwrite the file
    #[arg(long)]
    replace: bool,
}

pub async fn run(args: Backup, context: &mut Context) -> Result<Exit, Failure> {
    let file = &args.file;
    place(file, args.replace)?;
    let (mut scheduler, least_index) = source(context).await?;
    let partial = partial(file);
    let fetched = async { fetch(&mut scheduler, least_index, &partial).await.map(|()| Exit::Done) };
    let got = until_timeout(context.timeout, fetched).await.map(|_| ());
    let checked = got.and_then(|()| daemon::check_backup(&partial));
    let named = checked.and_then(|checked| {
        let renamed = fs::rename(&partial, file).and_then(|()| File::open(folder(file))?.sync_all());
        renamed.map(|()| checked).map_err(|error| writing(file, &error))
    });
    let (head, bytes) = named.inspect_err(|_| _ = fs::remove_file(&partial))?;
    if context.out.json {
        let fields = json!({
            "file": file.display().to_string(), "bytes": bytes, "cluster_id": head.cluster_id, "index": head.index,
            "epoch": head.epoch, "made_at": time::rfc3339(head.made_ms), "jobs": head.jobs, "tasks": head.tasks,
            "nodes": head.agents,
        });
        context.out.value(&json::object(fields));
        return Ok(Exit::Done);
    }
    let (jobs, tasks) = (render::count(head.jobs, "job"), render::count(head.tasks, "task"));
    let (shown, size) = (file.display(), render::bytes(bytes));
    context
        .out
        .line(&format!("{shown}: cluster {} up to index {}: {jobs}, {tasks}; {size}", head.cluster_id, head.index));
    Ok(Exit::Done)
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a place where no file can be, before anything is asked for.
fn place(file: &Path, replace: bool) -> Result<(), Failure> {
    let usage = |what: &str| Failure::new(Exit::Usage, format!("{}: {what}", file.display()));
    if file == Path::new("-") {
        return Err(usage("a backup goes to a file, not to standard output; name one (./- is a file of that name)"));
    }
    if file.file_name().is_none() || file.is_dir() {
        return Err(usage("is a directory; name a file"));
    }
    if !folder(file).is_dir() {
        return Err(usage("its directory is not there; make it first"));
    }
    match fs::symlink_metadata(file) {
        Ok(meta) if !meta.is_file() => Err(usage("is no plain file")),
        Ok(_) if !replace => Err(usage("is there already; name another file, or give --replace")),
        _ => Ok(()),
    }
}

fn partial(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".partial-{}", std::process::id()));
    file.with_file_name(name)
}

fn writing(file: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("writing {}: {error}", file.display())).hint("nothing was kept")
}

/// One that follows, if there is, and the index that the leader, or whoever answers, has reached by now.
async fn source(context: &mut Context) -> Result<(Scheduler, u64), Failure> {
    let info = async |client: &mut Client, request| client.admin().get_server_info(request).await;
    let known = context.scheduler.call(v1::GetServerInfoRequest {}, Repeat::Harmless, info).await?;
    let mut least_index = known.index;
    let mut follower = None;
    for address in context.scheduler.addresses().to_vec() {
        let mut one = context.scheduler.only(&address);
        let Ok(info) = one.call(v1::GetServerInfoRequest {}, Repeat::Harmless, info).await else { continue };
        least_index = least_index.max(info.index);
        if !info.leader && info.cluster_id == known.cluster_id {
            follower = Some(one);
        }
    }
    Ok((follower.unwrap_or_else(|| context.scheduler.again()), least_index))
}

async fn fetch(scheduler: &mut Scheduler, least_index: u64, partial: &Path) -> Result<(), Failure> {
    let call = async |client: &mut Client, request| client.admin().backup(request).await;
    let mut chunks = scheduler.call(v1::BackupRequest { least_index }, Repeat::Harmless, call).await?;
    let open = File::options().write(true).create_new(true).mode(0o600).open(partial);
    let mut file = open.map_err(|error| writing(partial, &error))?;
    loop {
        let broke = |status: tonic::Status| {
            let words = render::safe_lines(status.message());
            Failure::new(Exit::Failed, format!("the backup broke off: {words}")).hint("nothing was kept; try again")
        };
        match chunks.message().await.map_err(broke)? {
            Some(chunk) if chunk.end => break,
            Some(chunk) => file.write_all(&chunk.data).map_err(|error| writing(partial, &error))?,
            None => return Err(broke(tonic::Status::unavailable("its end is missing"))),
        }
    }
    file.sync_all().map_err(|error| writing(partial, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_where_no_backup_can_be_are_refused_before_anything_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there");
        fs::write(&there, "x").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for (file, words) in [
            (dir.path().to_path_buf(), "is a directory"),
            (dir.path().join("none/file"), "its directory is not there"),
            (there.clone(), "is there already"),
            (link, "is no plain file"),
            (PathBuf::from("/dev/full"), "is no plain file"),
            (PathBuf::from("-"), "a backup goes to a file"),
        ] {
            let failure = place(&file, false).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.to_string().contains(words), "{failure}");
        }
        place(&there, true).unwrap();
        place(&dir.path().join("new"), false).unwrap();
        assert_eq!(folder(Path::new("new")), Path::new("."));
    }
}
