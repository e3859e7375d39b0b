//! The contract between the connectors runtime (host) and a plugin (guest), as code.
//!
//! Both sides import this crate, so that drift is a compile error within one build and a refused handshake between
//! builds. It holds `#[repr(C)]` types, symbol names and each side's obligations, and nothing that does work.
//! `include/iggy_connector.h` says the same for C.
//!
//! # The rules for every call
//!
//! 1. Every entry point but [`descriptor::DescriptorFn`] and [`instance::Shutdown`] returns at once. Its result arrives through
//!    a [`Completion`], which the guest calls exactly once, from any thread, possibly before the call has returned.
//! 2. What a call lends (structs and everything their slices point at) is read-only and valid until its completion
//!    returns. The guest copies what it keeps.
//! 3. What a completion lends (the [`Outcome`], the value) is read-only and valid until the completion returns. The host
//!    copies what it keeps. A [`source::ProducedBatch`] is the one exception: its memory stays the guest's until `release`.
//! 4. Nothing unwinds across the fence in either direction.
//! 5. A struct with a `size` field may be longer than the reader knows (a newer writer) and is never shorter.
//!    Arrays carry a `stride` for the same reason.
//! 6. Numbers that name a thing (status, level, schema, direction) may be unknown to the reader, which says so instead of
//!    guessing.
#![expect(
    unsafe_code,
    reason = "the contract is made of raw pointers; the only code here turns them into slices"
)]

pub mod descriptor;
pub mod instance;
pub mod log;
mod outcome;
pub mod sink;
mod slice;
pub mod source;
mod status;

pub use outcome::{Completion, Failed, Nothing, Outcome};
pub use slice::{Slice, Strided};
pub use status::Status;

/// The major version of the contract. It is part of every symbol's name and of the [`descriptor::Descriptor`].
pub const ABI_VERSION: u32 = 1;

/// How a payload's bytes are to be read; the same numbers in both directions.
pub mod schema {
    /// UTF-8 JSON text.
    pub const JSON: u32 = 0;
    /// Bytes without a meaning to the runtime.
    pub const RAW: u32 = 1;
    /// UTF-8 text.
    pub const TEXT: u32 = 2;
    /// Protocol Buffers.
    pub const PROTO: u32 = 3;
    /// FlatBuffers.
    pub const FLAT_BUFFER: u32 = 4;
    /// An Avro datum.
    pub const AVRO: u32 = 5;
}
