//! `dawn task ls` and `dawn task cat`: looking at a sandbox. Paths are inside it; it is "/".

use clap::Args;
use dawn_proto::TaskId;
use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_open::What;
use dawn_proto::v1::{self, FileKind};

use super::target::{about, place};
use crate::args::Context;
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

#[derive(Args)]
pub struct Ls {
    /// t12, or ROLE/ENV/NAME/INSTANCE; TASK:PATH too
    task: String,
    /// A folder or file in the sandbox [default: /]
    path: Option<String>,
}

#[derive(Args)]
pub struct Cat {
    /// t12, or ROLE/ENV/NAME/INSTANCE; TASK:PATH too
    task: String,
    /// A file in the sandbox
    path: Option<String>,
    /// Begin this far into the file
    #[arg(long, default_value = "0", value_name = "BYTES", value_parser = crate::spec::size)]
    offset: u64,
    /// Most bytes that are printed, as in 64KiB [default: to its end]
    #[arg(long, value_name = "BYTES", value_parser = crate::spec::size)]
    length: Option<u64>,
}

/// A folder's files.
pub async fn list(context: &mut Context, task: TaskId, path: &str) -> Result<Vec<v1::FileEntry>, Failure> {
    let what = What::List(v1::ListFiles { path: path.to_string() });
    let mut session = context.scheduler.reach(about(task, what)).await?;
    let mut files = Vec::new();
    while let Some(message) = session.next().await? {
        match message {
            Down::Files(more) => {
                files.extend(more.files);
                if more.cut {
                    eprintln!("dawn: there are more files than the {} listed", files.len());
                }
            }
            Down::Done(_) => return Ok(files),
            _ => {}
        }
    }
    Err(Failure::new(Exit::Failed, "the listing broke off"))
}

pub async fn ls(args: Ls, context: &mut Context) -> Result<Exit, Failure> {
    let (target, path) = place(&args.task, args.path.as_deref())?;
    let path = path.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_string());
    let task = target.find(context).await?;
    let files = list(context, task, &path).await?;
    if context.out.json {
        let files: Vec<_> = files.iter().map(file_json).collect();
        let fields = serde_json::json!({ "task": task.to_string(), "path": path, "files": files });
        context.out.value(&json::object(fields));
        return Ok(Exit::Done);
    }
    let mut table = Table::bare(6);
    for file in &files {
        let target = if file.target.is_empty() { String::new() } else { format!(" -> {}", file.target) };
        table.row(vec![
            format!("{}{}", letter(file.kind()), bits(file.mode)),
            file.uid.to_string(),
            file.gid.to_string(),
            render::bytes(file.size_bytes),
            time::local(file.modified_ms),
            format!("{}{target}", file.name),
        ]);
    }
    context.out.table(&table);
    Ok(Exit::Done)
}

fn letter(kind: FileKind) -> char {
    match kind {
        FileKind::Regular => '-',
        FileKind::Folder => 'd',
        FileKind::Link => 'l',
        FileKind::Unspecified | FileKind::Other => '?',
    }
}

/// "rwxr-x---"
fn bits(mode: u32) -> String {
    let bit = |n: u32| if mode >> n & 1 == 1 { ['x', 'w', 'r'][n as usize % 3] } else { '-' };
    (0..9).rev().map(bit).collect()
}

fn file_json(file: &v1::FileEntry) -> serde_json::Value {
    let kind = match file.kind() {
        FileKind::Regular => "file",
        FileKind::Folder => "folder",
        FileKind::Link => "link",
        FileKind::Unspecified | FileKind::Other => "other",
    };
    serde_json::json!({
        "name": file.name, "kind": kind, "size_bytes": file.size_bytes, "mode": format!("{:04o}", file.mode),
        "uid": file.uid, "gid": file.gid, "modified_at": time::rfc3339(file.modified_ms), "target": file.target,
    })
}

pub async fn cat(args: Cat, context: &mut Context) -> Result<Exit, Failure> {
    let (target, path) = place(&args.task, args.path.as_deref())?;
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        let message = "no file is named";
        return Err(Failure::new(Exit::Usage, message).hint("write TASK PATH or TASK:PATH, as in t12:/log.txt"));
    };
    let task = target.find(context).await?;
    if args.length == Some(0) {
        return Ok(Exit::Done);
    }
    let read = v1::ReadFile { path, offset: args.offset, length: args.length.unwrap_or(0) };
    let mut session = context.scheduler.reach(about(task, What::Read(read))).await?;
    while let Some(message) = session.next().await? {
        match message {
            Down::Data(data) => context.out.write(&data),
            Down::Done(_) => return Ok(Exit::Done),
            _ => {}
        }
    }
    Err(Failure::new(Exit::Failed, "the file broke off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_read_as_ls_writes_them() {
        assert_eq!(bits(0o750), "rwxr-x---");
        assert_eq!(bits(0o604), "rw----r--");
    }
}
