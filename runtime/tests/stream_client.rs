//! Connecting to a broker: who may, what happens when one may not, and what is said about it.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod port;
    pub mod proxy;
    pub mod reader;
}

use std::time::{Duration, Instant};

use harness::{
    broker::{Broker, iggy_at},
    port::Port,
    proxy::Proxy,
};
use iggy_connectors::{
    config::spec,
    pipeline::{Failure, FailureKind},
    stream,
};
use secrecy::SecretString;
use tokio::net::TcpListener;

async fn refused(iggy: &spec::Iggy) -> Failure {
    stream::connect(iggy, "test").await.unwrap_err()
}

#[tokio::test]
async fn a_user_with_the_right_password_is_let_in() {
    let broker = Broker::start().await;
    let client = stream::connect(&broker.iggy(), "test").await.unwrap();
    assert_eq!(client.address(), broker.address());
}

#[tokio::test]
async fn a_connection_string_is_an_address_too() {
    let broker = Broker::start().await;
    let mut iggy = iggy_at(&format!("iggy://iggy:iggy@{}", broker.address()));
    iggy.password = SecretString::from("not used");
    stream::connect(&iggy, "test").await.unwrap();
}

#[tokio::test]
async fn a_refused_password_may_be_right_later_and_is_not_repeated() {
    let broker = Broker::start().await;
    let mut iggy = broker.iggy();
    iggy.username = "somebody".to_owned();
    iggy.password = SecretString::from("wrong-password");
    let failure = refused(&iggy).await;
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(
        failure.message.contains("refused user `somebody`"),
        "{failure}"
    );
    assert!(failure.message.contains(broker.address()), "{failure}");
    assert!(!failure.message.contains("wrong-password"), "{failure}");
}

#[tokio::test]
async fn a_token_lets_in_whatever_the_password_is() {
    let broker =
        Broker::embedded(|config| config.token = Some(SecretString::from("a-token-of-the-broker")))
            .await;
    let mut iggy = broker.iggy();
    iggy.password = SecretString::from("wrong-password");
    iggy.token = Some(SecretString::from("a-token-of-the-broker"));
    stream::connect(&iggy, "test").await.unwrap();

    iggy.token = Some(SecretString::from("another-token"));
    let failure = refused(&iggy).await;
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(
        failure
            .message
            .contains("refused the personal access token"),
        "{failure}"
    );
    assert!(!failure.message.contains("another-token"), "{failure}");
}

#[tokio::test]
async fn a_broker_that_is_down_is_noticed_soon() {
    let port = Port::reserve();
    let free = port.address();
    let started = Instant::now();
    let failure = refused(&iggy_at(&free.to_string())).await;
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(
        failure
            .message
            .contains(&format!("cannot reach Iggy at {free}")),
        "{failure}"
    );
    assert!(failure.message.contains("refused"), "{failure}");
    // Far below the client's own retries without end, far above the second it takes.
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_host_name_that_does_not_exist_is_named() {
    // Too long a name to ask any server for.
    let host = format!("{}.invalid", "x".repeat(64));
    let failure = refused(&iggy_at(&format!("{host}:8090"))).await;
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(
        failure
            .message
            .contains(&format!("cannot reach Iggy at {host}:8090")),
        "{failure}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mute = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok(connection) = listener.accept().await {
            connections.push(connection);
        }
    });
    let failure = refused(&iggy_at(&address)).await;
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(failure.message.contains("does not answer"), "{failure}");
    mute.abort();
}

#[tokio::test]
async fn tls_works_with_a_ca_file() {
    let broker = Broker::start().await;
    let (proxy, authority) = Proxy::start_tls(broker.address()).await;
    let tls = spec::IggyTls {
        ca_file: Some(authority.ca_file.clone()),
        domain: None,
    };
    let mut iggy = iggy_at(&format!("localhost:{}", proxy.port()));
    iggy.tls = Some(tls.clone());
    stream::connect(&iggy, "test").await.unwrap();

    // By address the certificate fits only with the domain.
    iggy.address = proxy.address();
    let failure = refused(&iggy).await;
    assert!(failure.message.contains("no TLS with Iggy"), "{failure}");
    iggy.tls = Some(spec::IggyTls {
        domain: Some("localhost".to_owned()),
        ..tls
    });
    stream::connect(&iggy, "test").await.unwrap();
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_fatal_and_named() {
    let broker = Broker::start().await;
    let (proxy, _authority) = Proxy::start_tls(broker.address()).await;
    let mut iggy = iggy_at(&format!("localhost:{}", proxy.port()));
    iggy.tls = Some(spec::IggyTls {
        ca_file: Some("/nowhere/ca.pem".into()),
        domain: None,
    });
    let failure = refused(&iggy).await;
    assert_eq!(failure.kind, FailureKind::Fatal);
    assert!(failure.message.contains("ca_file"), "{failure}");
}
