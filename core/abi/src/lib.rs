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
//!    copies what it keeps. A [`source::ProducedBatch`] is the one exception: its memory stays the guest's until `release`, and
//!    neither side writes to it between the completion and that.
//! 4. Nothing unwinds across the fence in either direction.
//! 5. A struct may be longer or shorter than its reader knows, and is never shorter than in version 1 ([`Grows`]). The reader
//!    looks at `size` first and copies as many bytes as both sides know into a zeroed struct of its own ([`read`]); it never
//!    forms a reference to the original. Zero in a later field means absent. Arrays carry a `stride` for the same reason
//!    ([`Strided`]). No struct ends in padding.
//! 6. Numbers that name a thing (status, level, schema, direction, reason) may be unknown to the reader, which says so instead of
//!    guessing. Unknown bits of `flags` and `present` are ignored. `reserved` is written as zero and not read.
//! 7. Entry points are called from any thread. Calls of one instance overlap: consumes of different partitions, up to
//!    [`instance::Traits::max_unsettled`] consumes of one partition, a settle beside a poll; health, flush and cancel beside everything. At
//!    most one poll, one settle and one flush are under way. Open and close run alone, except for cancel.
//! 8. The entry points of consumes of one partition are called one after the other, the next only after the previous one has
//!    returned, and that order is the batches' order. What the guest does in answer begins in that order. What follows a failure before
//!    the host knows of it is told by its rank ([`sink::ConsumedBatch::rank`]).
//! 9. The guest holds no lock while it calls a completion or a function of the [`log::Host`]. The host may call a batch's `release`
//!    from inside a completion.
#![expect(
    unsafe_code,
    reason = "the contract is made of raw pointers; the only code here turns them into slices and copies"
)]

pub mod descriptor;
mod grows;
pub mod instance;
pub mod log;
mod outcome;
pub mod sink;
mod slice;
pub mod source;
mod status;

pub use grows::{Grows, Measured, read};
pub use outcome::{Completion, Failed, Nothing, Outcome};
pub use slice::{Slice, Strided};
pub use status::Status;

/// The major version of the contract. It is part of every symbol's name and of the [`descriptor::Descriptor`].
pub const ABI_VERSION: u32 = 1;

/// The minor version of the contract: rises when something is appended to it. Both sides say theirs, and neither refuses the
/// other's.
pub const ABI_MINOR: u32 = 1;

/// How a payload's bytes are to be read; the same numbers in both directions.
pub mod schema {
    /// UTF-8 JSON text.
    pub const JSON: u32 = 0;
    /// Bytes without a meaning to the runtime.
    pub const RAW: u32 = 1;
    /// UTF-8 text.
    pub const TEXT: u32 = 2;
    /// Protocol Buffers, as the stream holds it; the codec decides.
    pub const PROTO: u32 = 3;
    /// FlatBuffers.
    pub const FLAT_BUFFER: u32 = 4;
    /// An Avro datum.
    pub const AVRO: u32 = 5;
}
