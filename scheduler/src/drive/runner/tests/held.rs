//! What goes on while the journal takes no appends: heartbeats, refusals, a stop. And that nothing else does.

use super::*;
use crate::model::LinkId;

const WORDS: &str = "waits for etcd: etcd says no";

fn heartbeat(sequence: u64) -> Event {
    Event::Heartbeat { link: LinkId(1), sequence, wall: dawn_proto::Timestamp(0), welcome: 0 }
}

impl Led {
    /// With an append that hangs, and words about it.
    async fn hung() -> (Led, Done) {
        let mut led = Led::settled().await;
        submit(&led.inbox, 1, "web").unwrap();
        let (_, done) = led.append().await;
        led.trouble.send_replace(WORDS.into());
        (led, done)
    }

    async fn proof(&mut self) -> oneshot::Sender<bool> {
        tokio::time::timeout(Duration::from_secs(10), self.proofs.recv()).await.unwrap().unwrap()
    }

    fn noted(&self) -> Vec<String> {
        self.notes.taken().split_off(3)
    }
}

#[tokio::test]
async fn heartbeats_are_answered_while_an_append_hangs_and_only_with_a_proof_asked_for_after_they_came() {
    let (mut led, _done) = Led::hung().await;
    led.inbox.heartbeat(heartbeat(1)).await.unwrap();
    let first = led.proof().await;
    // The proof on its way may be older than this one.
    led.inbox.heartbeat(heartbeat(2)).await.unwrap();
    while led.live.borrow().heard(crate::model::AgentNo(0)).is_none() {
        led.live.changed().await.unwrap();
    }
    assert_eq!(led.noted(), [""; 0], "nothing without a proof");
    first.send(true).unwrap();
    led.until(&["batch 1", "batch 2", "Welcome", "HeartbeatAck"]).await;
    led.proof().await.send(true).unwrap();
    led.until(&["batch 1", "batch 2", "Welcome", "HeartbeatAck", "HeartbeatAck"]).await;
}

#[tokio::test]
async fn a_flood_of_reports_that_nobody_takes_keeps_no_heartbeat_away() {
    let (mut led, _done) = Led::hung().await;
    let inbox = led.inbox.clone();
    let flood = tokio::spawn(async move {
        loop {
            inbox.link_event(Event::LinkClosed { link: LinkId(99) }).await.unwrap();
        }
    });
    while led.inbox.depths().1 < 8_000 {
        tokio::task::yield_now().await;
    }
    led.inbox.heartbeat(heartbeat(1)).await.unwrap();
    led.proof().await.send(true).unwrap();
    led.until(&["batch 1", "batch 2", "Welcome", "HeartbeatAck"]).await;
    flood.abort();
}

#[tokio::test]
async fn commands_are_refused_at_once_with_what_the_journal_says_and_nothing_is_decided() {
    let (mut led, done) = Led::hung().await;
    for reply in 2..40 {
        submit(&led.inbox, reply, "more").unwrap();
    }
    let replies = ["Reply"; 38];
    led.until(&[&["batch 1", "batch 2", "Welcome"][..], &replies].concat()).await;
    assert!(led.appends.try_recv().is_err(), "nothing new was decided");
    done.send(Ok(())).unwrap();
    led.trouble.send_replace(String::new());
    submit(&led.inbox, 50, "later").unwrap();
    let (batch, _done) = led.append().await;
    let made = batch.mutations.iter().filter(|m| matches!(m, crate::model::Mutation::JobMade(_))).count();
    assert_eq!(made, 1, "what was refused is not done later");
}

#[tokio::test]
async fn no_proof_ends_it() {
    let (mut led, _done) = Led::hung().await;
    led.inbox.heartbeat(heartbeat(1)).await.unwrap();
    led.proof().await.send(false).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), led.ended).await.unwrap().unwrap();
    assert!(ended.as_ref().is_err_and(DriveError::is_deposed), "{ended:?}");
}

#[tokio::test]
async fn a_stop_between_two_parts_of_a_step_ends_with_the_last_part() {
    let mut led = lead_in_steps_of(1);
    let mut appended = Vec::new();
    let spec = Box::new(spec("web", JobKind::Service, 60));
    let command = Command::Submit { spec, author: String::new(), message: String::new() };
    led.inbox.command(ReplyTo(1), command).unwrap();
    // Until one step has more parts than may be in flight, and so many of them are.
    let of = loop {
        let (batch, done) = led.append().await;
        match batch.part.filter(|part| part.of as usize > IN_FLIGHT) {
            Some(part) => {
                appended.push(done);
                if appended.len() == IN_FLIGHT {
                    break part.of as usize;
                }
            }
            None => done.send(Ok(())).unwrap(),
        }
    };
    led.stop.take().unwrap().send(()).unwrap();
    for _ in IN_FLIGHT..of {
        appended.push(led.append().await.1);
    }
    appended.into_iter().for_each(|done| done.send(Ok(())).unwrap());
    tokio::time::timeout(Duration::from_secs(10), led.ended).await.unwrap().unwrap().unwrap();
    assert!(led.notes.taken().iter().any(|note| note == "Reply"), "{:?}", led.notes.taken());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever_and_says_what_may_be_missing() {
    let (mut led, _done) = Led::hung().await;
    led.stop.take().unwrap().send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), led.ended).await.unwrap().unwrap().unwrap_err();
    let words = ended.to_string();
    assert!(words.contains("batches 3 to 3") && words.contains(WORDS), "{words}");
    assert_eq!(led.notes.taken(), ["batch 1", "batch 2", "Welcome"], "nobody was told anything");
}
