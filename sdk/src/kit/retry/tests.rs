//! The HTTP helpers against a server that answers as it is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, StatusCode, Url};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
};

use super::{
    ConnectivityConfig, build_retry_client, check_connectivity, check_connectivity_with_retry,
    is_transient_status,
};
use crate::{Class, Error};

const QUICK: Duration = Duration::from_millis(1);

/// Answers each request with the next of `answers`, and then with the last one again. Counts the requests.
async fn server(answers: &'static [&'static str]) -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = Url::parse(&format!("http://secret:hunter2@127.0.0.1:{port}/")).unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = connection.read(&mut request).await;
            let answer = answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
            let text =
                format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = connection.write_all(text.as_bytes()).await;
            let _ = connection.shutdown().await;
        }
    });
    (url, requests)
}

/// An address that refuses connections for as long as the socket, which does not listen, is kept.
fn nobody() -> (Url, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let url = Url::parse(&format!("http://{address}/?token=hunter2")).unwrap();
    (url, socket)
}

#[tokio::test]
async fn overload_is_retried_until_it_passes() {
    let (url, requests) = server(&[
        "503 Busy",
        "429 Slow Down\r\nretry-after: 0",
        "429 Slow Down\r\nretry-after: 3600",
        "200 OK",
    ])
    .await;
    let client = build_retry_client(Client::new(), 5, QUICK, QUICK, "test");
    let answer = client.post(url).body("x").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(requests.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_refusal_and_a_last_failure_are_returned_as_they_are() {
    for (answers, expected, attempts) in [
        (&["404 No"][..], StatusCode::NOT_FOUND, 1),
        (&["500 Oops"][..], StatusCode::INTERNAL_SERVER_ERROR, 3),
    ] {
        let (url, requests) = server(answers).await;
        let client = build_retry_client(Client::new(), 2, QUICK, QUICK, "test");
        assert_eq!(client.get(url).send().await.unwrap().status(), expected);
        assert_eq!(requests.load(Ordering::SeqCst), attempts);
    }
    let client = build_retry_client(Client::new(), 2, QUICK, QUICK, "test");
    let (url, _socket) = nobody();
    assert!(client.get(url).send().await.is_err());
}

#[tokio::test]
async fn connectivity_is_told_by_class_and_without_secrets() {
    for (answer, class) in [
        (&["200 OK"][..], None),
        (&["503 Busy"][..], Some(Class::Transient)),
        (&["401 No"][..], Some(Class::Fatal)),
    ] {
        let (url, _) = server(answer).await;
        let result = check_connectivity(&Client::new(), url, "test").await;
        assert_eq!(result.as_ref().err().map(Error::class), class);
        assert!(!format!("{result:?}").contains("hunter2"), "{result:?}");
    }
    let (url, _socket) = nobody();
    let result = check_connectivity(&Client::new(), url, "test").await;
    let error = result.unwrap_err();
    assert_eq!(error.class(), Class::Transient);
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_service_that_comes_up_is_waited_for() {
    let config = ConnectivityConfig {
        max_open_retries: 3,
        open_retry_max_delay: QUICK,
        retry_delay: QUICK,
    };
    let client = Client::new();
    let (url, _) = server(&["503 Busy", "503 Busy", "200 OK"]).await;
    check_connectivity_with_retry(&client, url, "test", 1, &config)
        .await
        .unwrap();
    let (url, requests) = server(&["401 No"]).await;
    let refused = check_connectivity_with_retry(&client, url, "test", 1, &config).await;
    assert_eq!(refused.unwrap_err().class(), Class::Fatal);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    let (url, requests) = server(&["503 Busy"]).await;
    let busy = check_connectivity_with_retry(&client, url, "test", 1, &config).await;
    assert_eq!(busy.unwrap_err().class(), Class::Transient);
    assert_eq!(requests.load(Ordering::SeqCst), 4);
}

#[test]
fn statuses_worth_a_retry_are_overload_and_the_servers_own_failures() {
    for (status, expected) in [
        (200, false),
        (400, false),
        (404, false),
        (429, true),
        (500, true),
        (503, true),
    ] {
        assert_eq!(
            is_transient_status(StatusCode::from_u16(status).unwrap()),
            expected,
            "{status}"
        );
    }
}
