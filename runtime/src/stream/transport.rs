//! One connection of Iggy's TCP client, with a deadline on every request. `client` makes one for each connection; the requests
//! themselves come from Iggy's traits, which work over any transport.
//!
//! Iggy's client waits half a minute for an answer, and for ever until a broker that has stopped reading takes a large request. Here a
//! request that is not answered in time is the last one: what may still be answered to it later is an answer to nobody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_broadcast::Receiver;
use async_trait::async_trait;
use bytes::Bytes;
use iggy::prelude::TcpClient;
use iggy_binary_protocol::requests::messages::PollMessagesRequest;
use iggy_common::{
    BinaryClient, BinaryTransport, Client, ClientState, ConsumerGroupClientState, DiagnosticEvent,
    IggyError, NonZeroIggyDuration, TcpClientConfig, VsrSessionControl, VsrSessionSealed,
};
use tokio::time::timeout;

use super::error::is_lost;

/// A connection that is made once, and not used any more when it is lost.
#[derive(Debug)]
pub(super) struct Transport {
    tcp: TcpClient,
    /// Of one request.
    timeout: Duration,
    is_lost: AtomicBool,
    /// A request was not answered in time.
    gave_up_on_one: AtomicBool,
}

impl Transport {
    pub(super) fn new(config: Arc<TcpClientConfig>, timeout: Duration) -> Result<Self, IggyError> {
        Ok(Self {
            tcp: TcpClient::create(config)?,
            timeout,
            is_lost: AtomicBool::new(false),
            gave_up_on_one: AtomicBool::new(false),
        })
    }

    /// Whether the connection has broken, or owes an answer.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Whether a request on it that was given up is still under way.
    pub(super) async fn owes_an_answer(&self) -> bool {
        // Closing waits for the request, and is tried without waiting.
        self.gave_up_on_one.load(Ordering::Acquire)
            && timeout(Duration::ZERO, self.tcp.shutdown()).await.is_err()
    }

    /// No request is made on it any more.
    pub(super) fn give_up(&self) {
        self.is_lost.store(true, Ordering::Release);
    }

    /// Waits for an answer. What the request has begun goes on in a task of the client: it ends when the broker answers or closes the
    /// connection, for the most part after half a minute, and nobody hears of it.
    async fn answered<T>(
        &self,
        request: impl Future<Output = Result<T, IggyError>> + Send,
    ) -> Result<T, IggyError> {
        if self.is_lost() {
            return Err(IggyError::Disconnected);
        }
        let answered = timeout(self.timeout, request).await;
        let answered = answered.unwrap_or_else(|_elapsed| {
            self.gave_up_on_one.store(true, Ordering::Release);
            Err(IggyError::TaskTimeout)
        });
        if answered.as_ref().is_err_and(is_lost) {
            self.give_up();
        }
        answered
    }
}

#[async_trait]
impl BinaryTransport for Transport {
    async fn send_raw_with_response(&self, code: u32, payload: Bytes) -> Result<Bytes, IggyError> {
        self.answered(self.tcp.send_raw_with_response(code, payload))
            .await
    }

    async fn send_offset_write_with_response(
        &self,
        code: u32,
        payload: Bytes,
    ) -> Result<Bytes, IggyError> {
        self.answered(self.tcp.send_offset_write_with_response(code, payload))
            .await
    }

    async fn send_poll_with_response(
        &self,
        request: &PollMessagesRequest,
    ) -> Result<Bytes, IggyError> {
        self.answered(self.tcp.send_poll_with_response(request))
            .await
    }

    async fn get_state(&self) -> ClientState {
        self.tcp.get_state().await
    }

    async fn set_state(&self, state: ClientState) {
        self.tcp.set_state(state).await;
    }

    async fn publish_event(&self, event: DiagnosticEvent) {
        self.tcp.publish_event(event).await;
    }

    fn get_heartbeat_interval(&self) -> NonZeroIggyDuration {
        self.tcp.get_heartbeat_interval()
    }

    fn consumer_group_state(&self) -> Arc<ConsumerGroupClientState> {
        self.tcp.consumer_group_state()
    }
}

impl VsrSessionSealed for Transport {}

#[async_trait]
impl VsrSessionControl for Transport {
    async fn bind_vsr_session(&self, session: u64) -> Result<(), IggyError> {
        self.tcp.bind_vsr_session(session).await
    }

    async fn reset_vsr_session(&self) -> Result<(), IggyError> {
        self.tcp.reset_vsr_session().await
    }

    fn sdk_version(&self) -> &'static str {
        self.tcp.sdk_version()
    }
}

/// What is beside requests has no deadline here: `client` bounds it.
#[async_trait]
impl Client for Transport {
    async fn connect(&self) -> Result<(), IggyError> {
        Client::connect(&self.tcp).await
    }

    async fn disconnect(&self) -> Result<(), IggyError> {
        Client::disconnect(&self.tcp).await
    }

    async fn shutdown(&self) -> Result<(), IggyError> {
        Client::shutdown(&self.tcp).await
    }

    async fn subscribe_events(&self) -> Receiver<DiagnosticEvent> {
        self.tcp.subscribe_events().await
    }
}

impl BinaryClient for Transport {}
