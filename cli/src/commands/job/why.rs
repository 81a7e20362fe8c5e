//! `dawn job why`: why instances are pending, with how many nodes each reason ruled out.

use clap::Args;
use dawn_proto::{TaskState, v1};

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

#[derive(Args)]
pub struct Why {
    /// ROLE/ENV/NAME
    job: Selection,
}

pub async fn run(args: Why, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::WhyRequest { key: Some((&args.job.key).into()) };
    let call = async |client: &mut Client, request| client.why(request).await;
    let mut why = context.scheduler.call(request, Repeat::Harmless, call).await?;
    for class in &mut why.classes {
        class.instances.retain(|instance| args.job.has(*instance));
    }
    why.classes.retain(|class| !class.instances.is_empty());
    if context.out.json {
        context.out.value(&json::object(json::why(&why)));
    } else if why.classes.is_empty() {
        context.out.line(&format!("{}: nothing is pending", args.job.key));
    } else {
        context.out.write(text(&why, time::now_ms()).as_bytes());
    }
    Ok(Exit::Done)
}

pub fn text(why: &v1::WhyResponse, now_ms: i64) -> String {
    let mut text = String::new();
    for class in &why.classes {
        let instances = render::instances(&class.instances);
        let what = if class.instances.len() == 1 { "instance" } else { "instances" };
        let since = time::span(now_ms - class.pending_since_ms);
        let state = render::state(class.state());
        text += &format!("{what} {instances}: {state} for {since}: {}\n", render::safe(&class.summary));
        if class.state() == TaskState::Throttled && class.ready_at_ms > 0 {
            text += &format!("  tries again {}\n", time::relative(class.ready_at_ms, now_ms));
        }
        let mut table = Table::new(&[">", "", ""]);
        let mut vetoes = class.vetoes.clone();
        vetoes.sort_by(|a, b| b.agents.cmp(&a.agents).then_with(|| a.text.cmp(&b.text)));
        for veto in vetoes {
            table.row(vec![format!("  {}", veto.agents), format!("of {}", class.agents_total), veto.text]);
        }
        text += table.text().trim_start_matches('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_with_their_counts_the_most_frequent_first() {
        let veto = |agents, text: &str| v1::VetoCount { agents, text: text.into(), ..Default::default() };
        let class = v1::PendingClass {
            instances: vec![0, 1, 2, 5],
            state: TaskState::Pending.into(),
            agents_total: 352,
            vetoes: vec![veto(40, "lack rack=b"), veto(312, "lack 512 MiB of memory (nearest: node-3, 384 MiB free)")],
            summary: "fits no node".into(),
            pending_since_ms: 1_000,
            ..Default::default()
        };
        let why = v1::WhyResponse { classes: vec![class], index: 1 };
        let expected = "\
instances 0-2, 5: pending for 1m: fits no node
  312  of 352  lack 512 MiB of memory (nearest: node-3, 384 MiB free)
   40  of 352  lack rack=b
";
        assert_eq!(text(&why, 61_000), expected);
    }
}
