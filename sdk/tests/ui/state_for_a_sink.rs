use iggy_connector_sdk::{
    ConsumedMessage, Error, MessagesMetadata, Sink, TopicMetadata, async_trait, sink_connector,
};

sink_connector!(Printer);

struct Printer;

impl Printer {
    fn new(_id: u32, _config: String, _state: Option<iggy_connector_sdk::ConnectorState>) -> Self {
        Self
    }
}

#[async_trait]
impl Sink for Printer {
    async fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn consume(
        &self,
        _topic: &TopicMetadata,
        _metadata: MessagesMetadata,
        _messages: Vec<ConsumedMessage>,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {}
