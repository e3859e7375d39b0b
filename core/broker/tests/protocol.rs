//! Frames no client would send: the broker answers or closes, and goes on serving everybody else.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod harness;

use std::time::Duration;

use bytes::BytesMut;
use harness::{PATIENCE, create_topic, id, poll, send, start, start_with};
use iggy::prelude::*;
use iggy_binary_protocol::{
    Command, EvictionHeader, EvictionReason, HEADER_SIZE, IGGY_PROTOCOL_VERSION,
    IGGY_PROTOCOL_VERSION_MIN, Operation, ReplyHeader, RequestHeader, WireEncode, WireName, codes,
    requests::users::LoginRegisterRequest, version::ClientVersionInfo,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A client that writes what it is told to.
struct Raw {
    stream: TcpStream,
    session: u64,
}

const CLIENT: u128 = 77;

fn header(operation: Operation, code: u32, session: u64, body: usize) -> RequestHeader {
    let mut reserved = [0; 60];
    reserved[..4].copy_from_slice(&code.to_le_bytes());
    RequestHeader {
        command: Command::Request,
        operation,
        size: (HEADER_SIZE + body) as u32,
        client: CLIENT,
        session,
        request: u64::from(operation != Operation::Register),
        reserved,
        ..RequestHeader::default()
    }
}

fn frame(header: &RequestHeader, body: &[u8]) -> Vec<u8> {
    let mut frame = bytemuck::bytes_of(header).to_vec();
    frame.extend_from_slice(body);
    frame
}

fn login(version: u32) -> Vec<u8> {
    let mut body = BytesMut::new();
    let request = LoginRegisterRequest {
        version_info: ClientVersionInfo {
            protocol_version: version,
            sdk_name: WireName::new("test").unwrap(),
            sdk_version: WireName::new("1").unwrap(),
        },
        username: WireName::new("iggy").unwrap(),
        password: "iggy".into(),
        client_context: None,
    };
    request.encode(&mut body);
    body.to_vec()
}

impl Raw {
    async fn connect(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, session: 0 }
    }

    /// Connected and signed in.
    async fn sign_in(address: std::net::SocketAddr) -> Self {
        let mut raw = Self::connect(address).await;
        let body = login(IGGY_PROTOCOL_VERSION);
        let reply = raw
            .ask(&frame(
                &header(Operation::Register, 0, 0, body.len()),
                &body,
            ))
            .await
            .unwrap();
        let (head, body) = reply.split_at(HEADER_SIZE);
        assert_eq!(status(head), 0);
        assert_eq!(body[..4], [0; 4], "an empty result section");
        raw.session = u64::from_le_bytes(body[8..16].try_into().unwrap());
        assert!(raw.session > 0);
        raw
    }

    /// Sends a frame and returns the reply, or `None` if the connection was closed.
    async fn ask(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        // A broker that has closed already may refuse the write.
        let _ = self.stream.write_all(frame).await;
        let answer = async {
            let mut reply = vec![0; HEADER_SIZE];
            self.stream.read_exact(&mut reply).await.ok()?;
            let size = u32::from_le_bytes(reply[48..52].try_into().unwrap()) as usize;
            reply.resize(size, 0);
            self.stream
                .read_exact(&mut reply[HEADER_SIZE..])
                .await
                .ok()?;
            Some(reply)
        };
        timeout(PATIENCE, answer)
            .await
            .expect("neither an answer nor the end of the connection")
    }

    async fn command(&mut self, code: u32, body: &[u8]) -> Option<Vec<u8>> {
        let header = header(Operation::NonReplicated, code, self.session, body.len());
        self.ask(&frame(&header, body)).await
    }
}

fn status(reply: &[u8]) -> u32 {
    let header: ReplyHeader = bytemuck::checked::pod_read_unaligned(&reply[..HEADER_SIZE]);
    assert_eq!(header.command, Command::Reply);
    assert_eq!(header.size as usize, reply.len().max(header.size as usize));
    header.status
}

fn eviction(reply: &[u8]) -> EvictionReason {
    let header: EvictionHeader = bytemuck::checked::pod_read_unaligned(reply);
    assert_eq!((header.command, header.client), (Command::Eviction, CLIENT));
    header.reason
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_no_known_kind_end_the_connection() {
    let broker = start().await;
    let sound = header(Operation::NonReplicated, codes::PING_CODE, 0, 0);
    let spoiled = |spoil: fn(&mut Vec<u8>)| {
        let mut frame = frame(&sound, &[]);
        spoil(&mut frame);
        frame
    };
    let table: [(&str, Vec<u8>); 10] = [
        ("an older protocol", vec![1, 0, 0, 0, 1, 0, 0, 0]),
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        (
            "size below the header's",
            spoiled(|frame| frame[48..50].copy_from_slice(&[255, 0])),
        ),
        ("size zero", spoiled(|frame| frame[48..52].fill(0))),
        ("unknown command", spoiled(|frame| frame[60] = 200)),
        ("a reply", spoiled(|frame| frame[60] = Command::Reply as u8)),
        ("no client", spoiled(|frame| frame[128..144].fill(0))),
        ("unknown operation", spoiled(|frame| frame[176] = 250)),
        (
            "internal operation",
            spoiled(|frame| frame[176] = Operation::TruncatePartition as u8),
        ),
        ("reserved operation", spoiled(|frame| frame[176] = 0)),
    ];
    for (what, bytes) in table {
        let mut raw = Raw::connect(broker.handle.address()).await;
        assert_eq!(raw.ask(&bytes).await, None, "{what}");
    }
    let mut raw = Raw::connect(broker.handle.address()).await;
    assert_eq!(status(&raw.ask(&frame(&sound, &[])).await.unwrap()), 0);
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_required_and_checked() {
    let broker = start().await;
    let mut raw = Raw::connect(broker.handle.address()).await;
    assert_eq!(
        status(&raw.command(codes::PING_CODE, &[]).await.unwrap()),
        0
    );
    assert_eq!(
        status(&raw.command(codes::GET_STREAMS_CODE, &[]).await.unwrap()),
        40
    );
    assert_eq!(
        eviction(&raw.command(codes::LOGIN_USER_CODE, &[]).await.unwrap()),
        EvictionReason::MalformedLogin
    );
    let write = |session| frame(&header(Operation::CreateStream, 0, session, 2), &[1, b'x']);
    assert_eq!(
        eviction(&raw.ask(&write(0)).await.unwrap()),
        EvictionReason::NoSession
    );
    assert_eq!(
        eviction(&raw.ask(&write(1)).await.unwrap()),
        EvictionReason::NoSession
    );

    let register = |body: &[u8]| frame(&header(Operation::Register, 0, 0, body.len()), body);
    assert_eq!(
        eviction(&raw.ask(&register(&[])).await.unwrap()),
        EvictionReason::MalformedLogin
    );
    assert_eq!(
        eviction(&raw.ask(&register(&[255; 30])).await.unwrap()),
        EvictionReason::MalformedLogin
    );
    let mut longer = login(IGGY_PROTOCOL_VERSION);
    longer.push(0);
    assert_eq!(
        eviction(&raw.ask(&register(&longer)).await.unwrap()),
        EvictionReason::MalformedLogin
    );
    for version in [
        0,
        IGGY_PROTOCOL_VERSION_MIN - 1,
        IGGY_PROTOCOL_VERSION + (1 << 10),
    ] {
        let refused = raw.ask(&register(&login(version))).await.unwrap();
        assert_eq!(eviction(&refused), EvictionReason::IncompatibleProtocol);
    }

    let mut raw = Raw::sign_in(broker.handle.address()).await;
    assert_eq!(
        eviction(&raw.ask(&write(raw.session + 1)).await.unwrap()),
        EvictionReason::NoSession
    );
    assert_eq!(status(&raw.ask(&write(raw.session)).await.unwrap()), 0);
    let logout = frame(&header(Operation::Logout, 0, raw.session, 0), &[]);
    assert_eq!(raw.ask(&logout).await.unwrap().len(), HEADER_SIZE);
    assert_eq!(
        status(&raw.command(codes::GET_STREAMS_CODE, &[]).await.unwrap()),
        40
    );
    assert_eq!(
        raw.ask(&logout).await.unwrap().len(),
        HEADER_SIZE,
        "also when signed out"
    );
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_decode_gets_an_error_and_nothing_else() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    let mut raw = Raw::sign_in(broker.handle.address()).await;
    let with_a_body = [
        codes::GET_STREAM_CODE,
        codes::GET_TOPIC_CODE,
        codes::GET_TOPICS_CODE,
        codes::POLL_MESSAGES_CODE,
        codes::GET_CONSUMER_OFFSET_CODE,
        codes::GET_CONSUMER_GROUP_CODE,
        codes::SYNC_CONSUMER_GROUP_CODE,
        codes::FLUSH_UNSAVED_BUFFER_CODE,
        codes::DESCRIBE_OPTIONS_CODE,
        codes::GET_CLIENT_CODE,
        codes::GET_USER_CODE,
    ];
    for code in with_a_body {
        for body in [&[][..], &[0xff; 3]] {
            let reply = raw.command(code, body).await.unwrap();
            assert_eq!(
                (status(&reply), reply.len()),
                (3, HEADER_SIZE),
                "{code} {body:?}"
            );
        }
    }
    for code in [0, 2, 14, 99, 103, 104, 123, 4_000_000_000] {
        let reply = raw.command(code, &[]).await.unwrap();
        assert_eq!(status(&reply), 5, "{code}");
    }
    for body in [
        &[][..],
        &[255, 255, 255, 255],
        &[4, 0, 0, 0, 1, 4, 0, 0],
        &[0; 300],
    ] {
        let send = header(Operation::SendMessages, 0, raw.session, body.len());
        let reply = raw.ask(&frame(&send, body)).await.unwrap();
        assert_eq!((status(&reply), reply.len()), (3, HEADER_SIZE), "{body:?}");
    }
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_random_frames_never_stop_the_broker() {
    let broker = start_with(|config| config.poll_hold = Duration::ZERO).await;
    let client = broker.client().await;
    create_topic(&client, 2).await;
    send(&client, 0, 0..100).await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let operations: Vec<_> = (0..=255u8)
        .filter_map(|code| bytemuck::checked::try_cast::<u8, Operation>(code).ok())
        .collect();
    let mut raw = Raw::sign_in(broker.handle.address()).await;
    for _ in 0..4000 {
        let length = random(120) as usize;
        let mut body: Vec<u8> = (0..length).map(|_| random(6) as u8).collect();
        if random(2) == 0 && length > 20 {
            // Identifiers of what exists, so that some get past the first check.
            body[..12].copy_from_slice(&[1, 4, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0]);
        }
        let operation = match random(2) {
            0 => Operation::NonReplicated,
            _ => operations[random(operations.len() as u64) as usize],
        };
        let (_, code) = (
            random(700),
            iggy_binary_protocol::COMMAND_TABLE[random(55) as usize].code,
        );
        // Whatever it deletes or logs out of, the next connection begins anew.
        let request = header(operation, code, raw.session, body.len());
        if raw.ask(&frame(&request, &body)).await.is_none()
            || operation == Operation::Logout
            || operation == Operation::Register
        {
            raw = Raw::sign_in(broker.handle.address()).await;
        }
    }
    let other = broker.client().await;
    assert!(other.get_streams().await.is_ok());
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_in_pieces_and_two_frames_at_once_are_answered() {
    let broker = start().await;
    let mut raw = Raw::connect(broker.handle.address()).await;
    let ping = frame(
        &header(Operation::NonReplicated, codes::PING_CODE, 0, 3),
        b"abc",
    );
    for piece in ping.chunks(7) {
        raw.stream.write_all(piece).await.unwrap();
        raw.stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&raw.ask(&[]).await.unwrap()), 0);
    let mut two = ping.clone();
    two.extend_from_slice(&ping);
    assert_eq!(status(&raw.ask(&two).await.unwrap()), 0);
    assert_eq!(status(&raw.ask(&[]).await.unwrap()), 0);
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_beyond_the_limit_end_the_connection_before_they_cost_memory() {
    let broker = start_with(|config| config.max_frame = 100_000).await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    let mut fits = [IggyMessage::builder()
        .payload(vec![1; 99_000].into())
        .build()
        .unwrap()];
    let partition = Partitioning::partition_id(0);
    client
        .send_messages(&id("s"), &id("t"), &partition, &mut fits)
        .await
        .unwrap();
    let mut raw = Raw::sign_in(broker.handle.address()).await;
    let mut request = header(Operation::SendMessages, 0, raw.session, 0);
    request.size = 100_001;
    assert_eq!(raw.ask(&frame(&request, &[])).await, None);
    // Who has not signed in may send no more than a login takes.
    let mut raw = Raw::connect(broker.handle.address()).await;
    let mut request = header(Operation::Register, 0, 0, 0);
    request.size = 70_000;
    assert_eq!(raw.ask(&frame(&request, &[])).await, None);
    assert_eq!(
        poll(&client, 0, PollingStrategy::first(), 10)
            .await
            .messages
            .len(),
        1
    );
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed_and_the_place_of_a_closed_one_is_free() {
    let broker = start_with(|config| config.max_connections = 2).await;
    let first = Raw::sign_in(broker.handle.address()).await;
    let _second = Raw::sign_in(broker.handle.address()).await;
    let ping = frame(
        &header(Operation::NonReplicated, codes::PING_CODE, 0, 0),
        &[],
    );
    let mut third = Raw::connect(broker.handle.address()).await;
    assert_eq!(third.ask(&ping).await, None);
    drop(first);
    let free = async {
        loop {
            let mut next = Raw::connect(broker.handle.address()).await;
            if next.ask(&ping).await.is_some() {
                return;
            }
        }
    };
    timeout(PATIENCE, free).await.unwrap();
    broker.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_every_connection_quickly() {
    let broker = start_with(|config| config.poll_hold = 4 * PATIENCE).await;
    let address = broker.handle.address();
    let client = broker.client().await;
    create_topic(&client, 1).await;
    let mut idle = Raw::sign_in(address).await;
    let mut unfinished = Raw::sign_in(address).await;
    unfinished.stream.write_all(&[0; 40]).await.unwrap();
    let held = harness::impatient_client(&address.to_string()).await;
    let consumer = Consumer::new(id("reader"));
    let polling = tokio::spawn(async move {
        held.poll_messages(
            &id("s"),
            &id("t"),
            Some(0),
            &consumer,
            &PollingStrategy::next(),
            1,
            false,
        )
        .await
    });
    let waiting = async {
        while client.get_clients().await.unwrap().len() < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
    timeout(PATIENCE, broker.handle.shutdown()).await.unwrap();
    assert_eq!(idle.ask(&[]).await, None);
    assert_eq!(unfinished.ask(&[]).await, None);
    // Answered empty if the poll was held already, refused if it came too late.
    let _ = timeout(PATIENCE, polling).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
