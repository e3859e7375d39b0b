//! A source that makes up messages. For a first run, for tests that count, and as the smallest example of a source.

mod config;
mod random;
mod source;

pub use config::RandomSourceConfig;
pub use source::RandomSource;

iggy_connector_sdk::source_connector!(RandomSource);
