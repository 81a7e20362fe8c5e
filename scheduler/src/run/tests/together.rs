//! Jobs that are submitted together over the wire.

use tonic::Code;

use super::*;

fn named(name: &str) -> v1::JobSpec {
    let mut spec = service(1);
    spec.key.as_mut().unwrap().name = name.into();
    spec
}

fn together(specs: Vec<v1::JobSpec>) -> v1::SubmitJobsRequest {
    v1::SubmitJobsRequest { specs, author: "ann".into(), message: String::new() }
}

#[tokio::test]
async fn all_jobs_of_a_request_are_submitted_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let client = cluster.client.clone();
    let all = client.jobs().submit_jobs(together(vec![named("b"), named("a")])).await.unwrap().into_inner();
    let names: Vec<_> = all.jobs.iter().map(|job| job.key.clone().unwrap().name).collect();
    assert_eq!((names, all.index > 0), (vec!["b".to_string(), "a".to_string()], true));
    assert!(all.jobs.iter().all(|job| job.outcome() == v1::SubmitOutcome::Created && job.version == 1));

    let mut wrong = named("c");
    wrong.instances = 0;
    let mut other = named("d");
    other.priority = 5_000;
    let refused = client.jobs().submit_jobs(together(vec![named("e"), wrong, other])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let said = refused.message();
    assert!(said.contains("specs[1].instances: ") && said.contains("specs[2].priority: "), "all at once: {said}");
    let twice = client.jobs().submit_jobs(together(vec![named("e"), named("e")])).await.unwrap_err();
    assert!(twice.message().contains("specs[1]: ") && twice.message().contains("is there twice"), "{twice}");
    let none = client.jobs().submit_jobs(together(Vec::new())).await.unwrap_err();
    assert_eq!(none.message(), "specs: 0 jobs; at least one and at most 1000 are allowed at once");

    // A batch job that runs is not replaced: nothing of the request is taken.
    let mut batch = named("sum");
    batch.kind = JobKind::Batch.into();
    cluster.submit(batch.clone()).await;
    batch.task.as_mut().unwrap().env.insert("A".into(), "b".into());
    let refused = client.jobs().submit_jobs(together(vec![named("e"), batch])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("/sum: ") && refused.message().ends_with("None of the 2 jobs was submitted"),
        "{refused}"
    );
    let request = v1::ListJobsRequest { all: true, ..Default::default() };
    let jobs = cluster.client.jobs().list_jobs(request).await.unwrap().into_inner().jobs;
    assert_eq!(jobs.len(), 3, "a, b and sum");
    cluster.stop().await;
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_at_the_door_with_both_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await;
    let large = |number: usize| {
        let mut spec = named(&format!("large{number}"));
        let fill = (0..9).map(|at| (format!("FILL{at}"), "x".repeat(100_000)));
        spec.task.get_or_insert_default().env = fill.collect();
        spec
    };
    let request = together((0..6).map(large).collect());
    let bytes = prost::Message::encoded_len(&request);
    let refused = cluster.client.jobs().submit_jobs(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let said = refused.message();
    assert!(said.contains(&bytes.to_string()) && said.contains("4194304"), "{said}");
    cluster.stop().await;
}
