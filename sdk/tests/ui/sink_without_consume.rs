use iggy_connector_sdk::{Error, Sink, async_trait};

struct Printer;

#[async_trait]
impl Sink for Printer {
    async fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {}
