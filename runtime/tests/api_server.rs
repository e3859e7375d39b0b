//! How the management API is served: TLS, pages of other origins, clients that are slow or idle.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use std::{path::Path, sync::Arc};

use harness::daemon::{Daemon, Home, PATIENCE};
use reqwest::{Certificate, Client, Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// A daemon without connectors.
const EMPTY: &str = "[iggy.embedded]\nenabled = true\n";

/// Writes a certificate of `localhost` and its key.
fn certify(dir: &Path) -> Certificate {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let pem = certified.cert.pem();
    std::fs::write(dir.join("cert.pem"), &pem).unwrap();
    std::fs::write(dir.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    Certificate::from_pem(pem.as_bytes()).unwrap()
}

fn secured() -> (Home, Certificate) {
    let mut home = Home::new(EMPTY);
    let certificate = certify(home.path());
    home.set("IGGY_CONNECTORS_HTTP_TLS_ENABLED", "true");
    home.set("IGGY_CONNECTORS_HTTP_TLS_CERT_FILE", "cert.pem");
    home.set("IGGY_CONNECTORS_HTTP_TLS_KEY_FILE", "key.pem");
    (home, certificate)
}

fn trusting(certificate: Certificate) -> Client {
    let builder = Client::builder().tls_certs_only([certificate]);
    builder.build().unwrap()
}

/// What a client without a library of HTTP talks TLS with.
fn connector(home: &Home) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(home.path().join("cert.pem")).unwrap();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn shake_hands(connector: &TlsConnector, address: &str) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    connector.connect(name, stream).await.unwrap()
}

fn address(daemon: &Daemon) -> String {
    let url = daemon.url("");
    url.split_once("://").unwrap().1.to_owned()
}

#[tokio::test]
async fn over_https_the_key_is_asked_for_and_a_stranger_to_the_certificate_gets_nothing() {
    let (mut home, certificate) = secured();
    home.set("IGGY_CONNECTORS_HTTP_API_KEY", "right");
    let daemon = home.start().await;
    assert!(
        daemon.url("/").starts_with("https://"),
        "{}",
        daemon.url("/")
    );
    let client = trusting(certificate);
    for (key, expected) in [
        ("right", StatusCode::OK),
        ("wrong", StatusCode::UNAUTHORIZED),
    ] {
        let request = client.get(daemon.url("/stats")).header("api-key", key);
        assert_eq!(request.send().await.unwrap().status(), expected, "{key}");
    }
    let stranger = Client::new().get(daemon.url("/health")).send().await;
    assert!(stranger.unwrap_err().is_connect());
    // Plain HTTP on the same port ends that connection and nothing else.
    let mut plain = TcpStream::connect(address(&daemon)).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    let again = client.get(daemon.url("/health")).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named_at_start() {
    let (mut home, _) = secured();
    for (key, file, content) in [
        ("CERT_FILE", "none.pem", None),
        ("CERT_FILE", "empty.pem", Some("")),
        ("KEY_FILE", "cert.pem", None),
    ] {
        if let Some(content) = content {
            std::fs::write(home.path().join(file), content).unwrap();
        }
        let (name, before) = match key {
            "CERT_FILE" => ("http.tls.cert_file", "cert.pem"),
            _ => ("http.tls.key_file", "key.pem"),
        };
        home.set(&format!("IGGY_CONNECTORS_HTTP_TLS_{key}"), file);
        let mut daemon = home.spawn();
        assert_eq!(daemon.ended().await.code(), Some(1));
        daemon.output_closed().await;
        let text = daemon.stderr().text();
        assert!(text.contains(name) && text.contains(file), "{text}");
        home.set(&format!("IGGY_CONNECTORS_HTTP_TLS_{key}"), before);
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_read_and_others_may_not() {
    let mut home = Home::new(
        "[iggy.embedded]\nenabled = true\n[http.cors]\nenabled = true\nallowed_origins = ['https://console.example.com']\nallowed_headers = ['api-key']",
    );
    home.set("IGGY_CONNECTORS_HTTP_API_KEY", "right");
    let daemon = home.start().await;
    let client = Client::new();
    let header = "access-control-allow-origin";
    for (origin, allowed) in [
        ("https://console.example.com", true),
        ("https://example.com", false),
    ] {
        // What a browser asks before it sends a request with the key.
        let before = client
            .request(Method::OPTIONS, daemon.url("/stats"))
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "api-key");
        let before = before.send().await.unwrap();
        assert_eq!(before.headers().contains_key(header), allowed, "{origin}");
        let reply = client
            .get(daemon.url("/stats"))
            .header("origin", origin)
            .header("api-key", "right");
        let reply = reply.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(reply.headers().contains_key(header), allowed, "{origin}");
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_thousand_idle_and_half_sent_requests_keep_nobody_waiting() {
    let home = Home::new(EMPTY);
    let daemon = home.start().await;
    let address = address(&daemon);
    let mut idle = Vec::new();
    for number in 0..1000 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"GET /stats HTTP/1.1\r\n").await.unwrap();
        }
        idle.push(stream);
    }
    assert_eq!(daemon.get("/health").await["status"], "healthy");
    // They do not hold up the end either.
    daemon.interrupt().await;
}

#[tokio::test]
async fn over_https_too_idle_and_slow_clients_keep_nobody_waiting() {
    let (home, certificate) = secured();
    let daemon = home.start().await;
    let (address, connector) = (address(&daemon), connector(&home));
    let mut idle = Vec::new();
    for sent in [
        "",
        "GET /stats HTTP/1.1\r\n",
        "POST /validate HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    ] {
        for _ in 0..50 {
            let mut stream = shake_hands(&connector, &address).await;
            stream.write_all(sent.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            idle.push(stream);
        }
    }
    let health = trusting(certificate).get(daemon.url("/health"));
    assert_eq!(health.send().await.unwrap().status(), StatusCode::OK);
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_is_ended_while_others_are_served() {
    let (home, certificate) = secured();
    let daemon = home.start().await;
    let address = address(&daemon);
    let client = trusting(certificate);
    let mut unfinished = Vec::new();
    // Nothing at all, and the beginning of a record that says that it is longer.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all(sent).await.unwrap();
            unfinished.push(stream);
        }
        let health = client.get(daemon.url("/health")).send().await.unwrap();
        assert_eq!(health.status(), StatusCode::OK);
    }
    for mut stream in unfinished {
        let mut answer = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        // Closed or reset, either is an end.
        assert!(ended.is_ok(), "the connection is kept");
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    let health = client.get(daemon.url("/health")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    daemon.interrupt().await;
}

#[tokio::test]
async fn over_https_too_a_body_that_is_too_large_is_refused() {
    let (home, certificate) = secured();
    let daemon = home.start().await;
    let client = trusting(certificate);
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    let request = client
        .post(daemon.url("/validate"))
        .header("content-type", "application/json");
    let reply = request.body(body).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let answer: serde_json::Value = reply.json().await.unwrap();
    assert_eq!(answer["code"], "too_large", "{answer}");
    let health = client.get(daemon.url("/health")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    daemon.interrupt().await;
}
