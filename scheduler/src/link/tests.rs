//! Links that are full, replaced or closed.

mod outage;

use std::sync::Arc;

use dawn_proto::SpecId;
use dawn_proto::v1::{self, scheduler_message::Message};
use futures_util::StreamExt;

use super::Links;
use super::dispatch::{launch, spec_message};
use crate::model::{AgentNo, Event, JobSpec, LinkId, Spec, State};
use crate::wire::{self, sample};

fn ack(task_id: u64) -> Message {
    Message::Ack(v1::Ack { task_id, sequence: 1 })
}

#[tokio::test]
async fn a_full_queue_closes_the_link_and_what_was_queued_is_delivered() {
    let links = Links::default();
    let (link, mut outgoing, closed) = links.open();
    links.bind(link, AgentNo(7));
    let mut queued = 0;
    while links.send(link, ack(queued)) {
        queued += 1;
        assert!(queued < 1_000_000, "the queue has no end");
    }
    assert!(queued >= 5_000 * 4, "all tasks of an agent can be told something several times");
    assert_eq!(links.of(AgentNo(7)), None, "the agent has no link any more");
    closed.await.unwrap_err();
    for number in 0..queued {
        let message = outgoing.next().await.unwrap().unwrap();
        assert_eq!(message.message, Some(ack(number)));
    }
    assert!(outgoing.next().await.is_none());
}

#[tokio::test]
async fn closing_an_old_link_leaves_the_new_one() {
    let links = Links::default();
    let (old, _old_out, old_closed) = links.open();
    links.bind(old, AgentNo(1));
    let (new, _new_out, mut new_closed) = links.open();
    links.bind(new, AgentNo(1));
    old_closed.await.unwrap_err();
    links.close(old);
    assert_eq!(links.of(AgentNo(1)), Some(new));
    assert!(new_closed.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Empty));
    assert!(!links.send(old, ack(1)) && links.send(new, ack(1)));
}

#[tokio::test]
async fn a_spec_goes_out_once_on_each_link() {
    let links = Links::default();
    let spec = spec(5, sample::spec("web", v1::JobKind::Service, 1));
    for _ in 0..2 {
        let (link, outgoing, _closed) = links.open();
        links.send_with_spec(link, &spec, ack(1));
        links.send_with_spec(link, &spec, ack(2));
        links.close(link);
        let sent: Vec<_> = outgoing.map(|message| message.unwrap().message.unwrap()).collect().await;
        assert_eq!(sent, [Message::Spec(spec_message(&spec)), ack(1), ack(2)]);
    }
}

fn spec(id: u64, job: JobSpec) -> Arc<Spec> {
    Arc::new(Spec::new(SpecId(id), 1, job))
}

#[tokio::test]
async fn a_queue_is_bounded_in_bytes_and_many_large_specs_wait_in_it_as_they_are_in_the_state() {
    let links = Links::default();
    let (link, mut outgoing, closed) = links.open();
    let job = sample::largest_spec("large", v1::JobKind::Service, 1, |length| "x".repeat(length));
    let specs: Vec<_> = (0..100).map(|id| spec(id, job.clone())).collect();
    for spec in &specs {
        links.send_with_spec(link, spec, ack(spec.id.0));
    }
    assert!(
        specs.iter().all(|spec| Arc::strong_count(spec) == 2),
        "100 MiB of messages are not made before they go out"
    );
    let large = || Message::Reconcile(v1::Reconcile { epoch: 1, task_ids: vec![u64::MAX; 100_000] });
    let mut queued = 0;
    while links.send(link, large()) {
        queued += 1;
        assert!(queued < 100, "{queued} messages of 1 MB each are queued");
    }
    assert!(queued > 10);
    closed.await.unwrap_err();
    let mut sent = 0;
    while let Some(message) = outgoing.next().await {
        message.unwrap();
        sent += 1;
    }
    assert_eq!(sent, 200 + queued, "what was taken goes out");
}

/// The launches of a batch job whose tasks take so many thousandths of gpu, on one agent of four.
fn launches(instances: u32, gpu_milli: u64) -> Vec<v1::Launch> {
    let mut pulse = sample::pulse(State::default());
    let total = v1::Resources {
        cpu_milli: 8_000,
        memory_bytes: 8 << 30,
        disk_bytes: 64 << 30,
        gpu_milli: 4_000,
        ..Default::default()
    };
    let ports = vec![v1::PortRange { first: 31_000, last: 31_100 }];
    let offer = v1::Offer { epoch: 1, total: Some(total), ports, ..Default::default() };
    let register = v1::Register { agent_id: "n1".into(), offer: Some(offer), ..Default::default() };
    let registration = Box::new(wire::registration(register).unwrap());
    let mut spec = sample::wire_spec("train", v1::JobKind::Batch, instances);
    spec.task.as_mut().unwrap().resources.as_mut().unwrap().gpu_milli = gpu_milli;
    let submit = sample::submit(1, wire::parse_job_spec(spec).unwrap());
    for event in [sample::elected(1), Event::Registered { link: LinkId(1), registration }, submit, Event::Tick] {
        pulse.step([event], sample::now(0));
    }
    let state = pulse.state();
    let launch =
        |task: &dawn_proto::TaskId| launch(state, state.tasks[task].held_on()?, *task).map(|(launch, _)| launch);
    state.tasks.keys().filter_map(launch).collect()
}

#[test]
fn a_launch_names_the_ports_and_the_gpus_that_were_chosen() {
    let devices = |launches: Vec<v1::Launch>| launches.into_iter().map(|launch| launch.devices).collect::<Vec<_>>();
    assert_eq!(devices(launches(2, 2_000)), [[0, 1], [2, 3]]);
    assert_eq!(devices(launches(3, 500)), [[0], [0], [1]]);
    let none = launches(1, 0);
    assert_eq!((none[0].devices.len(), none[0].ports[0].name.as_str()), (0, "http"));
}
