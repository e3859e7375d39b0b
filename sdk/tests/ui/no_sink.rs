use iggy_connector_sdk::sink_connector;

sink_connector!(Forgotten);

struct Forgotten;

impl Forgotten {
    fn new(_id: u32, _config: String) -> Self {
        Self
    }
}

fn main() {}
