//! Gpus: which one a task has is told to it and to people, and it can open the files of no other.

use dawn_proto::JobKey;
use dawn_tests::cluster::{AgentPlan, Cluster, Patience, Plan, Spec, service};

/// Says what it is told, and which of the files it can open.
const SCRIPT: &str = "echo \"$DAWN_GPUS/$DAWN_GPU_MILLI/$CUDA_VISIBLE_DEVICES\"; \
    for file in zero full random; do (exec 3< /dev/$file) 2> /dev/null && echo $file; done; echo done; exec sleep 100000";

fn with_gpus(name: &str, gpu_milli: u64) -> Spec {
    let job = service(name).argv(&["/bin/sh", "-c", SCRIPT]);
    job.with(|job| job.task.get_or_insert_default().resources.get_or_insert_default().gpu_milli = gpu_milli)
}

/// What each task of the job wrote, with the gpus that the scheduler says it has; by instance.
fn said(cluster: &Cluster, job: &JobKey, count: usize) -> Vec<(Vec<u32>, String)> {
    let mut tasks = cluster.running(job, count);
    tasks.sort_by_key(|task| task.instance);
    let words = |task| {
        cluster.eventually("the task's words", Patience::STEP, || {
            let log = cluster.log(task, "main", false);
            if log.ends_with("done\n") {
                Ok(log.trim_end_matches("done\n").trim().replace('\n', " "))
            } else {
                Err(log)
            }
        })
    };
    tasks.iter().map(|task| (task.gpus.clone(), words(task))).collect()
}

#[test]
fn tasks_have_gpus_of_their_own_and_see_no_others() {
    // Files of other devices stand for those of two gpus, and for what all gpus need.
    let flags = ["--gpu-files", "/dev/zero", "--gpu-files", "/dev/full", "--gpu-common-files", "/dev/random"];
    let extra = flags.map(String::from).into();
    let agents = vec![AgentPlan { extra, ..AgentPlan::default() }];
    let Some(cluster) = Cluster::start(Plan { agents, ..Plan::default() }) else { return };
    let whole = cluster.submit(with_gpus("whole", 1_000));
    assert_eq!(said(&cluster, &whole, 1), [(vec![0], "0/1000/0 zero random".to_string())]);
    let shares = cluster.submit(with_gpus("shares", 500).instances(2));
    let half = (vec![1], "1/500/0 full random".to_string());
    assert_eq!(said(&cluster, &shares, 2), [half.clone(), half], "one device, the first that they can open");
    let none = cluster.submit(with_gpus("none", 0));
    assert_eq!(said(&cluster, &none, 1), [(vec![], "//".to_string())]);
    cluster.end();
}
