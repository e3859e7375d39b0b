//! The handshake: a static [`Descriptor`] that says what a library is, before any other call.

use crate::Slice;

/// First eight bytes of every descriptor (`IGGYCONN`, little-endian).
pub const MAGIC: u64 = u64::from_le_bytes(*b"IGGYCONN");

/// The symbol of [`DescriptorFn`]. It carries no version, so that a host of any version can tell what it has before it.
pub const SYMBOL: &str = "iggy_connector_descriptor";

/// [`Descriptor::direction`] of a sink.
pub const SINK: u32 = 0;
/// [`Descriptor::direction`] of a source.
pub const SOURCE: u32 = 1;

/// [`Descriptor::panic`] of a library that unwinds.
pub const PANIC_UNWIND: u32 = 0;
/// [`Descriptor::panic`] of a library that aborts the process; refused.
pub const PANIC_ABORT: u32 = 1;

/// What a library is.
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
    /// [`SINK`] or [`SOURCE`].
    pub direction: u32,
    /// [`PANIC_UNWIND`] or [`PANIC_ABORT`], as the plugin's crate was compiled.
    pub panic: u32,
    /// The plugin's name (its Cargo package).
    pub name: Slice,
    /// The plugin's version.
    pub version: Slice,
    /// Version of the SDK it was built with; empty without one.
    pub sdk_version: Slice,
    /// Target triple it was built for.
    pub target: Slice,
    /// JSON Schema of `plugin_config`; empty when the plugin exports none.
    pub config_schema: Slice,
}

/// Returns the library's descriptor, which lives as long as the library.
///
/// # Safety
///
/// The guest returns a pointer to memory that is never freed or changed, or null. It may block shortly and does not unwind.
pub type DescriptorFn = unsafe extern "C" fn() -> *const Descriptor;
