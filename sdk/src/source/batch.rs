//! What one poll returns: [`SourceBatch`].

use crate::{ConnectorState, ProducedMessages, Schema};

use super::SourceMessage;

/// Messages of one poll, in order, and the source's state after them.
///
/// ```
/// use iggy_connector_sdk::{Schema, source::{SourceBatch, SourceMessage}};
///
/// let message = SourceMessage::from_string("21.5 °C").with_key("sensor-7").with_route("readings");
/// let batch = SourceBatch::new(Schema::Text, vec![message]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceBatch {
    /// How the payloads are to be read.
    pub schema: Schema,
    /// The messages. None is a poll that found nothing.
    pub messages: Vec<SourceMessage>,
    /// The source's state after these messages; `None` leaves the saved one as it is.
    pub state: Option<ConnectorState>,
    pub(crate) ends: bool,
}

impl SourceBatch {
    /// Messages whose payloads are of `schema`, whatever their constructors have said.
    pub fn new(schema: Schema, mut messages: Vec<SourceMessage>) -> Self {
        for message in &mut messages {
            message.schema = schema;
        }
        Self {
            schema,
            messages,
            state: None,
            ends: false,
        }
    }

    /// Adds the source's state after these messages.
    #[must_use]
    pub fn with_state(mut self, state: ConnectorState) -> Self {
        self.state = Some(state);
        self
    }

    /// Says that the source has ended: no poll follows, and the connector stops cleanly once these messages are delivered.
    #[must_use]
    pub fn and_end(mut self) -> Self {
        self.ends = true;
        self
    }

    /// Whether the source has ended with these messages.
    pub fn ends(&self) -> bool {
        self.ends
    }
}

impl From<ProducedMessages> for SourceBatch {
    fn from(produced: ProducedMessages) -> Self {
        let messages = produced.messages.into_iter().map(Into::into).collect();
        Self {
            state: produced.state,
            ..Self::new(produced.schema, messages)
        }
    }
}
