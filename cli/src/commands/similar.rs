//! "did you mean …?" for jobs and nodes that are not there. Not here: that they are not (`client::status`).

use std::time::Duration;

use dawn_proto::v1;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::exit::{Failure, Missing};
use crate::render;

/// An answer that comes later is no help any more.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// So many pages of jobs are looked through.
const MAX_PAGES: usize = 20;
/// Letters that may differ.
const MAX_DISTANCE: usize = 2;

/// The same failure, naming what there is instead, if anything is similar.
pub async fn named(failure: Failure, context: &mut Context) -> Failure {
    let Some(missing) = failure.is_missing().cloned() else { return failure };
    let looked = tokio::time::timeout(ANSWER_WITHIN, look(&missing, context)).await;
    match looked.ok().flatten() {
        Some(name) => failure.hint(format!("did you mean {}?", render::safe(&name))),
        None => failure,
    }
}

async fn look(missing: &Missing, context: &mut Context) -> Option<String> {
    match missing {
        Missing::Job(key) => similar_key(key, &keys(context).await),
        Missing::Node(name) => {
            let nodes = super::node::all(context).await.ok()?;
            let names: Vec<String> = nodes.into_iter().flat_map(|node| [node.hostname, node.agent_id]).collect();
            nearest(name, names.iter().map(String::as_str))
        }
    }
}

async fn keys(context: &mut Context) -> Vec<String> {
    let (mut keys, mut request) = (Vec::new(), v1::ListJobsRequest { all: true, ..Default::default() });
    for _ in 0..MAX_PAGES {
        let call = async |client: &mut Client, request| client.jobs().list_jobs(request).await;
        let Ok(page) = context.scheduler.call(request.clone(), Repeat::Harmless, call).await else { break };
        keys.extend(page.jobs.iter().map(|job| render::key(job.key.as_ref())));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    keys
}

/// The one with the fewest other letters, or that has the same name in another environment or role.
fn similar_key(key: &str, keys: &[String]) -> Option<String> {
    let parts = |key: &str| key.split('/').map(str::to_string).collect::<Vec<_>>();
    let wanted = parts(key);
    let shared = |other: &&String| parts(other).iter().zip(&wanted).filter(|(part, wanted)| part == wanted).count();
    let same_name = keys.iter().filter(|other| parts(other).last() == wanted.last());
    nearest(key, keys.iter().map(String::as_str)).or_else(|| same_name.max_by_key(shared).cloned())
}

fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let distance = |name: &str| strsim::damerau_levenshtein(wanted, name);
    // Short names that share little are other names: `none` is no slip of `long`.
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().chars().count();
    let is_slip = |name: &&str| distance(name) * 2 < last(wanted).max(last(name));
    let best = names.filter(|name| !name.is_empty()).filter(is_slip).min_by_key(|name| distance(name))?;
    (distance(best) <= MAX_DISTANCE).then(|| best.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_a_slip_or_by_its_name() {
        let keys = ["demo/prod/web", "demo/prod/api", "demo/test/report"].map(String::from);
        let found = |key: &str| similar_key(key, &keys);
        assert_eq!(found("demo/prod/we").as_deref(), Some("demo/prod/web"));
        assert_eq!(found("demo/prdo/web").as_deref(), Some("demo/prod/web"));
        assert_eq!(found("demo/prod/report").as_deref(), Some("demo/test/report"));
        assert_eq!(found("other/prod/database"), None);
        assert_eq!(found("demo/prod/wax"), None, "another name, and no slip");
    }

    #[test]
    fn a_node_is_found_by_a_slip_only() {
        assert_eq!(nearest("nod-1", ["node-1", "node-20", ""].into_iter()).as_deref(), Some("node-1"));
        assert_eq!(nearest("nosuch", ["node-1", ""].into_iter()), None);
    }
}
