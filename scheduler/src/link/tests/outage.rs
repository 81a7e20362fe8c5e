//! The pulse takes nothing: what agents say and do meanwhile is bounded.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use dawn_proto::v1::agent_message::Message as Up;
use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::validate::MAX_HELD_TASKS;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::*;
use crate::drive::{Follower, Inbox, Inboxes, Role};
use crate::link::room::Room;
use crate::link::upward::Upward;
use crate::link::{LinkService, Outgoing, by_chance};
use crate::model::Report;

const DEADLINE: Duration = Duration::from_secs(20);

/// A service whose pulse takes nothing, with its queue full.
async fn service(room: Room) -> (LinkService, Inboxes) {
    let (inbox, inboxes) = Inbox::new();
    loop {
        let mut sent = pin!(tokio::task::unconstrained(inbox.link_event(Event::LinkClosed { link: LinkId(0) })));
        if poll_fn(|context| Poll::Ready(sent.as_mut().poll(context).is_pending())).await {
            break;
        }
    }
    let service = LinkService {
        links: Arc::new(Links::with_room(room)),
        tunnels: Arc::default(),
        inspections: Arc::default(),
        words: Arc::default(),
        inbox,
        follower: Follower::new(State::default()),
        role: tokio::sync::watch::channel(Role::Leading).1,
        fresh_number: by_chance(),
    };
    (service, inboxes)
}

fn register() -> v1::AgentMessage {
    let register = v1::Register { agent_id: "n1".into(), offer: Some(v1::Offer::default()), ..Default::default() };
    v1::AgentMessage { message: Some(Up::Register(register)) }
}

/// Says this, and goes.
fn say(service: &LinkService, messages: Vec<v1::AgentMessage>) -> Outgoing {
    let (up, incoming) = tokio::sync::mpsc::unbounded_channel();
    messages.into_iter().for_each(|message| up.send(Ok(message)).unwrap());
    service.accept(UnboundedReceiverStream::new(incoming))
}

/// Why the link was closed; None: it ended without a word.
async fn refusal(mut outgoing: Outgoing) -> Option<String> {
    let next = tokio::time::timeout(DEADLINE, outgoing.next()).await.expect("the link lives on");
    match next?.unwrap().message {
        Some(Down::Refused(refused)) => Some(refused.reason),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn links_that_register_and_go_are_counted_until_the_pulse_has_heard_of_it() {
    let (service, inboxes) = service(Room::of(2, 1 << 20)).await;
    let gone: Vec<_> = (0..2).map(|_| say(&service, vec![register()])).collect();
    let told = async {
        while service.links.room().place().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, told).await.expect("both have registered");
    let reason = refusal(say(&service, vec![register()])).await.unwrap();
    assert!(reason.contains("links are registered, or about to be forgotten"), "{reason}");
    // The scheduler stops: nobody has to hear of anything.
    drop(inboxes);
    for gone in gone {
        assert!(refusal(gone).await.is_some_and(|reason| reason.contains("is stopping")));
    }
    assert!(service.links.room().place().is_some());
}

#[tokio::test]
async fn a_list_of_more_tasks_than_an_agent_holds_is_refused_before_anything_is_made_of_it() {
    let (service, _inboxes) = service(Room::of(9, 1 << 20)).await;
    let held = v1::HeldTasks { tasks: vec![v1::TaskReport::default(); MAX_HELD_TASKS + 1] };
    let held = v1::AgentMessage { message: Some(Up::HeldTasks(held)) };
    let reason = refusal(say(&service, vec![register(), held])).await.unwrap();
    assert!(reason.contains("tasks: 100001 tasks; at most 100000 are allowed"), "{reason}");
}

#[tokio::test]
async fn what_waits_at_all_links_is_bounded_and_reports_make_room() {
    let room = Room::of(9, 4_096);
    let (service, _inboxes) = service(room.clone()).await;
    let report = Report {
        task: dawn_proto::TaskId(1),
        sequence: 1,
        state: dawn_proto::TaskState::Running,
        at: dawn_proto::Timestamp(0),
        reason: v1::Reason::None,
        message: String::new(),
        exit: None,
    };
    let told = |tasks| Event::TasksTold { link: LinkId(1), tasks: vec![report.clone(); tasks] };
    let mut ups: Vec<_> = (0..2).map(|_| Upward::new(service.inbox.clone(), room.clone())).collect();
    ups[0].push(told(5), 100).unwrap();
    ups[1].push(told(100), 100).unwrap_err();
    for _ in 0..1_000 {
        ups[1].push(Event::Reported { link: LinkId(1), report: report.clone() }, 10).unwrap();
    }
    ups[1].push(told(1), 100).unwrap_err();
    drop(ups);
    assert!(room.bytes(4_096).is_ok(), "links that are gone hold nothing");
}
