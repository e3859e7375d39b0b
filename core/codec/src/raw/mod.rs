//! Bytes as they are, in both directions.

mod decoder;
mod encoder;

pub use decoder::RawStreamDecoder;
pub use encoder::RawStreamEncoder;
