//! A source that streams, natively: it keeps the contract of every source without a line of its own about batches.

use iggy_connector_sdk::{
    ConnectorState, Error, Source, async_trait,
    source::{Closed, SourceBatchResult, SourceMessage, SourceSender},
    testing::{Native, SourcePlugin, Status, contract},
};

/// Counts for ever, or to where its configuration says, and remembers how far.
struct Counter {
    end: Option<u64>,
    saved: Option<ConnectorState>,
    next: u64,
}

impl Counter {
    fn new(_id: u32, end: Option<u64>, saved: Option<ConnectorState>) -> Self {
        Self {
            end,
            saved,
            next: 0,
        }
    }
}

#[async_trait]
impl Source for Counter {
    async fn open(&mut self) -> Result<(), Error> {
        if let Some(saved) = &self.saved {
            self.next = saved.try_deserialize()?;
        }
        Ok(())
    }

    async fn start(&self, sender: SourceSender) -> Result<(), Error> {
        for number in self.next..self.end.unwrap_or(u64::MAX) {
            let state = ConnectorState::try_serialize(&(number + 1))?;
            let message = SourceMessage::from_number(number);
            if let Err(Closed) = sender.send_batch(vec![message], Some(state)).await {
                break;
            }
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

fn number(message: &SourceMessage) -> String {
    String::from_utf8_lossy(&message.message().payload).into_owned()
}

#[tokio::test]
async fn a_streaming_source_keeps_the_contract() {
    let plugin = Native::source(Counter::new);
    contract::a_nacked_batch_comes_again(&plugin, "null", number).await;
    contract::a_restart_goes_on_behind_the_last_ack(&plugin, "null", number).await;
    contract::a_cancelled_poll_loses_nothing(&plugin, "null", number).await;
    contract::a_foreign_state_is_refused(&plugin, "null").await;
}

#[tokio::test]
async fn a_streaming_source_ends_when_it_has_sent_everything() -> Result<(), Error> {
    let plugin = Native::source(Counter::new);
    let Ok(source) = plugin.open("3000", None).await else {
        panic!("it opens")
    };
    assert_eq!(source.traits().max_in_flight, 4);
    let (mut come, mut state) = (Vec::new(), None);
    loop {
        let polled = source.poll().await.map_err(|_| Error::InvalidState)?;
        let settled = source.settle(polled.poll, SourceBatchResult::Ack).await;
        assert!(settled.is_ok(), "{settled:?}");
        come.extend(polled.batch.messages.iter().map(number));
        state = polled.batch.state.clone().or(state);
        if polled.batch.ends() {
            break;
        }
    }
    let expected: Vec<_> = (0..3000).map(|number| number.to_string()).collect();
    assert_eq!(come, expected);
    assert_eq!(state, Some(ConnectorState::try_serialize(&3000_u64)?));
    assert!(source.close().await.is_ok());
    Ok(())
}

/// Implements nothing that brings messages.
struct Nothing;

impl Nothing {
    fn new(_id: u32, _config: ()) -> Self {
        Self
    }
}

#[async_trait]
impl Source for Nothing {
    async fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test]
async fn a_source_without_a_way_to_bring_messages_is_told_so() {
    let opened = Native::source(Nothing::new).open("null", None).await;
    let Ok(source) = opened else {
        panic!("it opens")
    };
    assert_eq!(source.traits().max_in_flight, 1);
    let Err(outcome) = source.poll().await else {
        panic!("there is nothing to poll")
    };
    assert_eq!(outcome.status, Status::FATAL);
    assert!(outcome.message.contains("`start`"), "{outcome:?}");
}
