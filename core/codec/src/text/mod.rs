//! UTF-8 text, in both directions.

mod decoder;
mod encoder;

pub use decoder::TextStreamDecoder;
pub use encoder::TextStreamEncoder;
