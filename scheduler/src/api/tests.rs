//! Callers that wait, and the codes refusals are given.

use std::sync::Arc;

use dawn_proto::JobKey;
use dawn_proto::validate::FieldError;
use tonic::Code;

use super::{Replies, status};
use crate::drive::InboxFull;
use crate::model::{Answer, Refusal, answers};

#[tokio::test]
async fn each_caller_gets_its_own_answer_with_the_index() {
    let replies = Arc::new(Replies::default());
    let (mut first, mut second) = (replies.wait(), replies.wait());
    assert_ne!(first.reply, second.reply);
    replies.answer(second.reply, Ok(Answer::Killed(answers::Killed { tasks: 2 })), 9);
    let answered = (&mut second.answered).await.unwrap();
    assert_eq!((answered.answer, answered.index), (Ok(Answer::Killed(answers::Killed { tasks: 2 })), 9));
    assert!(first.answered.try_recv().is_err(), "nobody answered the first");
}

#[tokio::test]
async fn a_caller_that_left_is_forgotten_and_a_stop_ends_all_waiting() {
    let replies = Arc::new(Replies::default());
    let gone = replies.wait();
    let reply = gone.reply;
    drop(gone);
    assert!(!format!("{replies:?}").contains(&format!("{reply:?}")), "{replies:?}");
    replies.answer(reply, Ok(Answer::CronDescheduled(answers::CronDescheduled)), 1);

    let mut waiting = replies.wait();
    replies.close();
    assert!((&mut waiting.answered).await.is_err());
}

#[test]
fn refusals_have_the_code_that_says_whether_to_try_again() {
    let key = JobKey::new("ann", "test", "web").unwrap();
    let code = |refusal: Refusal| status::of_refusal(&refusal).code();
    assert_eq!(code(Refusal::NoSuchJob { key: key.clone() }), Code::NotFound);
    assert_eq!(
        code(Refusal::NoSuchInstance { key: key.clone(), instance: 3, instances: (0..2).collect() }),
        Code::NotFound
    );
    assert_eq!(code(Refusal::Differs { key: key.clone(), version: 1 }), Code::FailedPrecondition);
    assert_eq!(code(Refusal::NotCron { key: key.clone() }), Code::FailedPrecondition);
    assert_eq!(code(Refusal::JobEnded { key: key.clone() }), Code::FailedPrecondition);
    assert_eq!(code(Refusal::StillEnding { key, tasks: 1 }), Code::FailedPrecondition);
    assert_eq!(code(Refusal::Full { what: "jobs", have: 5 }), Code::FailedPrecondition);
    assert_eq!(status::of_inbox(InboxFull::Full).code(), Code::ResourceExhausted);
    assert_eq!(status::of_inbox(InboxFull::Stopping).code(), Code::Unavailable);
}

#[test]
fn field_errors_are_lines_of_path_and_message() {
    let error = |path: &str| FieldError { path: path.into(), message: "is wrong".into() };
    let status = status::of_field_errors(vec![error("instances"), error("task.processes[1].name")]);
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "instances: is wrong\ntask.processes[1].name: is wrong");
}
