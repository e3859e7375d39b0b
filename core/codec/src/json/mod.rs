//! JSON, in both directions.

mod decoder;
mod encoder;

pub use decoder::JsonStreamDecoder;
pub use encoder::JsonStreamEncoder;
