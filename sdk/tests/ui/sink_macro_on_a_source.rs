use iggy_connector_sdk::{Error, ProducedMessages, Source, async_trait, sink_connector};

sink_connector!(Clock);

struct Clock;

impl Clock {
    fn new(_id: u32, _config: String) -> Self {
        Self
    }
}

#[async_trait]
impl Source for Clock {
    async fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn poll(&self) -> Result<ProducedMessages, Error> {
        Ok(ProducedMessages::default())
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {}
