//! The handshake: a static [`Descriptor`] that says what a library is, before any other call.

use crate::{Grows, Measured, Slice};

/// First eight bytes of every descriptor (`IGGYCONN`, little-endian).
pub const MAGIC: u64 = u64::from_le_bytes(*b"IGGYCONN");

/// The symbol of [`DescriptorFn`]. It carries no version, so that a host of any version can tell what it has before it.
pub const SYMBOL: &str = "iggy_connector_descriptor";

/// [`Descriptor::direction`] of a sink.
pub const SINK: u32 = 0;
/// [`Descriptor::direction`] of a source.
pub const SOURCE: u32 = 1;

/// [`Descriptor::panic`] of a library that unwinds, or of one that has no panics (C).
pub const PANIC_UNWIND: u32 = 0;
/// [`Descriptor::panic`] of a library that aborts the process; refused.
pub const PANIC_ABORT: u32 = 1;

/// [`Descriptor::flags`]: no second instance of this library may run beside another on the same target, whatever its
/// configuration. Reserved: a host may not look at it yet and goes by [`crate::instance::Traits::exclusive`].
pub const EXCLUSIVE: u32 = 1;

/// What a library is. A library has one direction.
///
/// `magic`, `abi_version` and `size` keep their place in every version. The host reads the rest only when these three fit.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`crate::ABI_VERSION`].
    pub abi_version: u32,
    /// `size_of::<Descriptor>()` of the guest.
    pub size: u32,
    /// [`crate::ABI_MINOR`] of the guest.
    pub minor: u32,
    /// [`EXCLUSIVE`], or 0.
    pub flags: u32,
    /// [`SINK`] or [`SOURCE`].
    pub direction: u32,
    /// [`PANIC_UNWIND`] or [`PANIC_ABORT`], as the plugin's crate was compiled.
    pub panic: u32,
    /// The plugin's name (its Cargo package), in UTF-8, at most 256 bytes.
    pub name: Slice,
    /// The plugin's version, in UTF-8, at most 256 bytes.
    pub version: Slice,
    /// Version of the SDK it was built with; empty without one.
    pub sdk_version: Slice,
    /// Target triple it was built for; empty when it does not say.
    pub target: Slice,
    /// JSON Schema of `plugin_config`; empty when the plugin exports none.
    pub config_schema: Slice,
}

// SAFETY: `repr(C)`, a multiple of eight bytes without padding.
unsafe impl Grows for Descriptor {
    const V1_SIZE: usize = size_of::<Self>();
}
// SAFETY: `SIZE_AT` is where `size` stands.
unsafe impl Measured for Descriptor {
    const SIZE_AT: usize = std::mem::offset_of!(Self, size);
}

/// Returns the library's descriptor, which lives as long as the library.
///
/// # Safety
///
/// The guest returns a pointer to memory that is never freed or changed, or null. It may block shortly and does not unwind.
pub type DescriptorFn = unsafe extern "C" fn() -> *const Descriptor;
