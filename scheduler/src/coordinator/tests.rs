//! A coordinator that says yes, no, nonsense, too much, nothing, or is not there.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers one connection with these bytes, then closes; gives the url and what it was sent.
async fn coordinator(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ask?x=1", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        // The body ends with its only closing brace.
        while !request.ends_with(b"}") {
            let mut part = [0; 1024];
            let count = stream.read(&mut part).await.unwrap();
            request.extend_from_slice(&part[..count]);
        }
        _ = stream.write_all(answer).await;
        String::from_utf8(request).unwrap()
    });
    (url, served)
}

fn about() -> About {
    About { job: "www/prod/web".into(), instance: 3, agent: "node-1".into(), hostname: "host-1".into() }
}

async fn asked(answer: &'static [u8]) -> Result<bool, String> {
    let (url, _served) = coordinator(answer).await;
    post(&url, "drain", TaskId(7), &about()).await
}

#[tokio::test]
async fn it_is_told_about_the_task_and_its_word_is_taken() {
    let (url, served) = coordinator(b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"drain\":true}").await;
    assert_eq!(post(&url, "drain", TaskId(7), &about()).await, Ok(true));
    let request = served.await.unwrap();
    assert!(request.starts_with("POST /ask?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\"job\":\"www/prod/web\"") && request.contains("\"instance\":3"), "{request}");
    assert_eq!(asked(b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"drain\":false}").await, Ok(false));
}

#[tokio::test]
async fn what_is_no_answer_is_said_in_words() {
    let said = async |answer| asked(answer).await.unwrap_err();
    assert_eq!(said(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await, "it answers with status 503");
    assert_eq!(said(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno").await, "its answer is no JSON");
    let other = said(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    assert_eq!(other, "its answer has no \"drain\" that is true or false");
    assert!(said(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{").await.starts_with("its answer broke off"));
    assert!(!said(b"").await.is_empty() && !said(b"hello\r\n\r\n").await.is_empty());
}

#[tokio::test]
async fn one_that_is_not_there_or_hangs_is_no_yes() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(post(&format!("http://{free}/"), "drain", TaskId(7), &about()).await.is_err());
    assert!(post("no url", "drain", TaskId(7), &about()).await.is_err());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let about = about();
    let hanging = post(&url, "drain", TaskId(7), &about);
    assert!(tokio::time::timeout(Duration::from_millis(200), hanging).await.is_err());
}
