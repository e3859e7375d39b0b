//! A sink that prints messages to standard output. For a first look at a stream, and as the smallest example of a sink.

mod config;
mod sink;

pub use config::StdoutSinkConfig;
pub use sink::StdoutSink;

iggy_connector_sdk::sink_connector!(StdoutSink);
