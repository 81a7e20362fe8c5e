//! What etcd says against a transaction: too large, full, or nothing at all. And answers larger than gRPC takes by itself.

use super::super::trial::trial;
use super::*;
use crate::model::QuotaSet;

const LIMIT: &[&str] = &["--max-request-bytes", "65536"];

/// Hexadecimal digits without any pattern.
fn noise(seed: u64, digits: usize) -> String {
    let mut state = seed;
    let mut digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_digit((state >> 60) as u32, 16).unwrap()
    };
    (0..digits).map(|_| digit()).collect()
}

/// A batch of so many bytes, about half of which are left when it is packed.
pub(super) fn large(index: u64, epoch: Epoch, bytes: usize) -> Arc<Batch> {
    let quota = crate::model::Quota { weight: 2, ..Default::default() };
    let mutations =
        vec![Mutation::QuotaSet(Box::new(QuotaSet { role: "r".into(), quota, author: noise(index, bytes) }))];
    Arc::new(Batch { mutations, ..Batch::clone(&batch(index, epoch)) })
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

fn candidate(store: &Store, config: &EtcdConfig) -> Candidate {
    Candidate::new(store, config, "127.0.0.1:1", tokio::sync::watch::channel(false).1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_etcd_does_not_take_ends_its_leader_and_names_the_flag() {
    let Some(etcd) = etcd_with(LIMIT) else { return };
    let store = store(&etcd.config).await;
    // Just above etcd's own limit, and above what its gRPC takes.
    for bytes in [200_000, 2_000_000] {
        let leadership = in_time("election", candidate(&store, &etcd.config).untried().win()).await.unwrap();
        let mut journal = EtcdJournal::start(store.clone(), &leadership, head(&store).await.unwrap());
        let next = head(&store).await.unwrap().index + 1;
        journal.append(batch(next, leadership.epoch)).await.unwrap();
        let refused = in_time("a refusal", journal.append(large(next + 1, leadership.epoch, bytes))).await.unwrap_err();
        let AppendError::Failed { source, .. } = refused else { panic!("{refused:?}") };
        let words = source.to_string();
        assert!(words.contains("too large") || words.contains("larger than max"), "etcd's own words: {words}");
        assert!(words.contains("--max-request-bytes=1572864"), "{words}");
        leadership.resign().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_etcd_takes_too_little_does_not_stand_and_says_what_to_do() {
    let Some(etcd) = etcd_with(LIMIT) else { return };
    let store = store(&etcd.config).await;
    let mut candidate = candidate(&store, &etcd.config);
    let mut trouble = candidate.trouble();
    let standing = tokio::spawn(async move { candidate.win().await.map(|_| ()) });
    let words = in_time("its words", trouble.wait_for(|words| !words.is_empty())).await.unwrap().clone();
    assert!(
        words.starts_with("can't stand for election: ") && words.contains("--max-request-bytes=1572864"),
        "{words}"
    );
    assert_eq!(leader(&store).await.unwrap(), None);
    assert!(!standing.is_finished(), "it tries again");
    standing.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_leaves_nothing_behind() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let revision = async || store.client().kv_client().get("/", None).await.unwrap().header().unwrap().revision();
    let before = revision().await;
    for _ in 0..3 {
        trial(&store).await.unwrap();
    }
    assert!(store.read("looking", &store.keys.trial()).await.unwrap().is_none());
    assert_eq!(revision().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_journal_of_the_largest_segments_is_loaded_and_followed() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let mut tail = Tail::new(store.clone(), load(&store).await.unwrap());
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    for index in 1..=40 {
        journal.append(large(index, leadership.epoch, 1_200_000)).await.unwrap();
    }
    let loaded = load(&store).await.unwrap().state;
    assert_eq!(loaded.index, 40);
    while tail.state().index < 40 {
        in_time("the tail moves", tail.next(&mut |_| {})).await.unwrap();
    }
    assert_eq!(digest(tail.state()), digest(&loaded));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_proved_by_a_renewal_while_etcd_takes_no_writes_and_not_while_it_is_silent() {
    let Some(etcd) = etcd_with(&["--quota-backend-bytes", "2000000"]) else { return };
    let store = store(&etcd.config).await;
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    journal.append(batch(1, leadership.epoch)).await.unwrap();
    let mut kv = store.client().kv_client();
    for n in 0..100 {
        if kv.put(format!("/filler/{n}"), vec![7u8; 200_000], None).await.is_err() {
            break;
        }
    }
    let held = journal.append(batch(2, leadership.epoch));
    let mut trouble = journal.trouble();
    in_time("trouble", trouble.wait_for(|words| words.starts_with(WAITS))).await.unwrap();
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert!(in_time("a proof", journal.confirm()).await);
    }
    assert!(began.elapsed() >= Duration::from_millis(500), "renewals are apart, however many are asked for");
    etcd.pause();
    let asked = journal.confirm();
    let lost = in_time("the loss is told", async { leadership.lost.clone().wait_for(|lost| *lost).await.map(|_| ()) });
    let (proved, lost) = tokio::join!(asked, lost);
    lost.unwrap();
    assert!(!proved, "nobody proves what nobody can know");
    etcd.resume();
    drop(held);
}
