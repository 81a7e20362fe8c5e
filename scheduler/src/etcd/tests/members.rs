//! One of three members of etcd is dead or says nothing: the others are the majority, and nobody notices.

use super::super::fixture::{Etcd, answers, three};
use super::*;

/// What a cluster does all the time, begun at each member in turn. Where the lost member led the others, etcd elects
/// another one first, which takes it a second or two and is not Dawn's to shorten.
async fn nobody_notices(members: &[Etcd]) {
    let config = &members[0].config;
    answers(&Store::connect(config).await.unwrap()).await;
    for first in 0..members.len() {
        let store = Store::connect(config).await.unwrap();
        let prefer = || store.members.prefer(first);
        for _ in 0..10 {
            prefer();
            // A call that hears nothing from the member that it asks first fails, or is answered by another one in its time.
            leader(&store).await.unwrap();
            prefer();
            load(&store).await.unwrap();
        }
        prefer();
        let mut tail = Tail::new(store.clone(), load(&store).await.unwrap());
        prefer();
        let elected = tokio::time::timeout(Duration::from_secs(20), lead(config, &store)).await;
        let (leadership, mut journal) = elected.expect("one is elected");
        let index = tail.state().index + 1;
        prefer();
        journal.append(batch(index, leadership.epoch)).await.unwrap();
        prefer();
        while tail.state().index < index {
            tokio::time::timeout(Duration::from_secs(20), tail.next(&mut |_| {}))
                .await
                .expect("the tail moves")
                .unwrap();
        }
        prefer();
        assert!(write_snapshot(&store, tail.state(), first as u64).await.unwrap());
        prefer();
        leadership.resign().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_meets_a_dead_member_is_answered_by_another() {
    let Some(members) = three() else { return };
    store(&members[0].config).await;
    members[1].kill();
    nobody_notices(&members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_meets_a_silent_member_is_answered_by_another() {
    let Some(members) = three() else { return };
    store(&members[0].config).await;
    members[1].pause();
    nobody_notices(&members).await;
    members[1].resume();
}

/// One that does not lead the others, asked first from now on: without it etcd goes on at once.
async fn a_follower(store: &Store, members: usize) -> usize {
    for number in 0..members {
        store.members.prefer(number);
        let status = store.members.client().await.unwrap().status().await.unwrap();
        if status.leader() != status.header().unwrap().member_id() {
            return number;
        }
    }
    unreachable!("one leads")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_goes_on_while_the_member_that_it_uses_dies() {
    let Some(members) = three() else { return };
    let store = store(&members[0].config).await;
    let (leadership, mut journal) = lead(&members[0].config, &store).await;
    let mut trouble = journal.trouble();
    trouble.mark_unchanged();
    for index in 1..=20 {
        if index == 10 {
            members[a_follower(&store, members.len()).await].kill();
        }
        journal.append(batch(index, leadership.epoch)).await.unwrap();
    }
    assert!(!trouble.has_changed().unwrap(), "writes are not held up: {}", *trouble.borrow());
    assert!(!*leadership.lost.borrow());
}
