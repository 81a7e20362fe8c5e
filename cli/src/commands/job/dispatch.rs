//! `dawn job dispatch`: makes a job of a template, and waits for it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use dawn_proto::v1;
use dawn_proto::validate::MAX_PAYLOAD_BYTES;

use super::watch::{self, Waiting};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, json};

#[derive(Args)]
pub struct Dispatch {
    /// ROLE/ENV/NAME of a template: a batch job with `parameters`
    job: Selection,
    /// Arguments: each is an environment variable of the job that is made
    #[arg(value_name = "NAME=VALUE", value_parser = argument)]
    arguments: Vec<(String, String)>,
    /// A file whose text the job gets in the variable PAYLOAD; - is standard input
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// Names this dispatch: repeated, it makes no second job
    #[arg(long, default_value = "", hide_default_value = true)]
    id: String,
    /// Don't wait for the job
    #[arg(long)]
    detach: bool,
    /// Why, for the job's history
    #[arg(long, short, default_value = "")]
    message: String,
}

fn argument(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("write NAME=VALUE".to_string()),
    }
}

pub async fn run(args: Dispatch, context: &mut Context) -> Result<Exit, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    if !args.job.instances.is_empty() {
        return Err(usage("a template has no instances; write ROLE/ENV/NAME".to_string()));
    }
    let mut arguments = BTreeMap::new();
    for (name, value) in &args.arguments {
        if arguments.insert(name.clone(), value.clone()).is_some() {
            return Err(usage(format!("{} is given twice", render::safe(name))));
        }
    }
    let request = v1::DispatchJobRequest {
        key: Some((&args.job.key).into()),
        arguments,
        payload: args.payload.as_ref().map(payload).transpose()?,
        id: args.id.clone(),
        author: author(),
        message: args.message.clone(),
    };
    // Only an id makes a repetition harmless.
    let repeat = if args.id.is_empty() { Repeat::Never } else { Repeat::Harmless };
    let call = async |client: &mut Client, request| client.jobs().dispatch_job(request).await;
    let made = context.scheduler.call(request, repeat, call).await?;
    let key = render::key(made.key.as_ref());
    if !context.out.json {
        let what = if made.existing { "was dispatched before as" } else { "dispatched as" };
        context.out.line(&format!("{}: {what} {key}", args.job.key));
    }
    let exit = if args.detach { Exit::Done } else { wait(context, &made).await? };
    if context.out.json {
        let fields = serde_json::json!({
            "job": key, "existing": made.existing, "index": made.index, "exit": exit as i32,
        });
        context.out.value(&json::object(fields));
    }
    Ok(exit)
}

async fn wait(context: &mut Context, made: &v1::DispatchJobResponse) -> Result<Exit, Failure> {
    let spec = v1::JobSpec { key: made.key.clone(), ..Default::default() };
    let submitted = v1::SubmitJobResponse { key: made.key.clone(), index: made.index, ..Default::default() };
    let mut waiting = Waiting::new(&[(spec, submitted)]);
    let interrupted = async { _ = tokio::signal::ctrl_c().await };
    watch::until_there(context, &mut waiting, interrupted).await
}

fn payload(path: &PathBuf) -> Result<String, Failure> {
    let name = render::safe(&path.display().to_string());
    let mut bytes = Vec::new();
    let most = MAX_PAYLOAD_BYTES as u64 + 1;
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().lock().take(most).read_to_end(&mut bytes),
        false => std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Failure::new(Exit::Usage, format!("{name}: {error}")))?;
    if bytes.len() > MAX_PAYLOAD_BYTES {
        return Err(Failure::new(Exit::Usage, format!("{name}: a payload is at most {MAX_PAYLOAD_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| {
        Failure::new(Exit::Usage, format!("{name}: is no UTF-8 text")).hint("encode it first, as with `base64`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_has_a_name_and_keeps_every_other_equals_sign() {
        assert_eq!(argument("DAY=a=b"), Ok(("DAY".to_string(), "a=b".to_string())));
        assert!(argument("=x").is_err() && argument("x").is_err());
    }

    #[test]
    fn a_payload_is_text_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let file = |bytes: &[u8]| {
            let path = folder.path().join("p");
            std::fs::write(&path, bytes).unwrap();
            payload(&path).map_err(|failure| failure.to_string())
        };
        assert_eq!(file(b"one\ntwo"), Ok("one\ntwo".to_string()));
        assert!(file(b"\xff").unwrap_err().contains("base64"));
        assert!(file(&vec![b'x'; MAX_PAYLOAD_BYTES + 1]).unwrap_err().contains("at most 65536 bytes"));
        assert!(payload(&folder.path().join("none")).is_err());
    }
}
