//! Reads what a library says of itself and decides whether the daemon can work with it: the handshake.

use iggy_connector_abi::{self as abi, ABI_VERSION, Grows as _};

use super::text;
use crate::config::spec::Direction;

/// Longest name or version that is kept.
const LONGEST_NAME: usize = 256;
/// Longest JSON Schema that is kept.
const LONGEST_SCHEMA: usize = 4 << 20;
/// What this daemon was built for.
const HOST_TARGET: &str = env!("TARGET_TRIPLE");

/// What a library says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub direction: Direction,
    /// The version of the plugin interface that it speaks, `major.minor`.
    pub abi: String,
    /// The plugin's Cargo package.
    pub name: String,
    pub version: String,
    /// Empty for a plugin that was made without the SDK.
    pub sdk_version: String,
    /// Empty when the plugin does not say.
    pub target: String,
    /// JSON Schema of `plugin_config`, when the plugin has one.
    pub config_schema: Option<String>,
}

/// Why a library is not one that the daemon can work with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("its descriptor is null or not aligned; rebuild it with this SDK")]
    Absent,
    #[error(
        "its descriptor does not start with the magic number of a connector; rebuild it with this SDK"
    )]
    Magic,
    #[error(
        "it speaks version {found} of the plugin interface and this daemon speaks version {ABI_VERSION}; rebuild it with the SDK of \
         this daemon's version"
    )]
    AbiVersion { found: u32 },
    #[error(
        "its descriptor has {found} bytes where {expected} are expected; rebuild it with the SDK of this daemon's version"
    )]
    Short { found: u32, expected: usize },
    #[error("it is neither a sink nor a source (direction {found}); rebuild it with this SDK")]
    Direction { found: u32 },
    #[error(
        "it was built with panic = \"abort\", so that one panic in it would end the daemon; build it with panic = \"unwind\""
    )]
    PanicAbort,
    #[error(
        "it was built for {found} and this daemon for {HOST_TARGET}; build it for {HOST_TARGET}"
    )]
    Target { found: String },
    #[error("its descriptor's {field} cannot be read; rebuild it with this SDK")]
    Unreadable { field: &'static str },
}

/// The part of a descriptor that keeps its place in every version.
#[repr(C)]
#[derive(Clone, Copy)]
struct Head {
    magic: u64,
    abi_version: u32,
    size: u32,
}

/// Reads a descriptor as far as it can be believed.
///
/// # Safety
///
/// - `descriptor` is null, misaligned, or points at as many readable bytes as its `size` says, at least those of [`Head`].
/// - Slices in it are null, too long to be one, or point at bytes that live and do not change during the call.
pub(super) unsafe fn read(
    descriptor: *const abi::descriptor::Descriptor,
) -> Result<Descriptor, Refusal> {
    if descriptor.is_null() || !descriptor.is_aligned() {
        return Err(Refusal::Absent);
    }
    // SAFETY: not null, aligned; the head is there in every version (obligation 1).
    let head = unsafe { descriptor.cast::<Head>().read() };
    check_head(head)?;
    // SAFETY: as many bytes as `size` says are readable (obligation 1).
    let descriptor = unsafe { abi::read(descriptor) }.ok_or(Refusal::Absent)?;
    let direction = check_fields(&descriptor)?;
    // The guest's strings live as long as the library, hence for ever.
    let read = |slice, longest, field| {
        // SAFETY: obligation 2.
        let text = unsafe { text::read(slice, longest) };
        text.ok_or(Refusal::Unreadable { field })
    };
    let target = read(descriptor.target, LONGEST_NAME, "target")?;
    if !same_target(&target, HOST_TARGET) {
        return Err(Refusal::Target { found: target });
    }
    let schema = if descriptor.config_schema.len > LONGEST_SCHEMA {
        String::new()
    } else {
        read(descriptor.config_schema, LONGEST_SCHEMA, "config_schema")?
    };
    Ok(Descriptor {
        direction,
        abi: format!("{}.{}", descriptor.abi_version, descriptor.minor),
        name: read(descriptor.name, LONGEST_NAME, "name")?,
        version: read(descriptor.version, LONGEST_NAME, "version")?,
        sdk_version: read(descriptor.sdk_version, LONGEST_NAME, "sdk_version")?,
        target,
        config_schema: (!schema.is_empty()).then_some(schema),
    })
}

fn check_head(head: Head) -> Result<(), Refusal> {
    if head.magic != abi::descriptor::MAGIC {
        return Err(Refusal::Magic);
    }
    if head.abi_version != ABI_VERSION {
        return Err(Refusal::AbiVersion {
            found: head.abi_version,
        });
    }
    let expected = abi::descriptor::Descriptor::V1_SIZE;
    if (head.size as usize) < expected {
        return Err(Refusal::Short {
            found: head.size,
            expected,
        });
    }
    Ok(())
}

fn check_fields(descriptor: &abi::descriptor::Descriptor) -> Result<Direction, Refusal> {
    // A number that this version does not know is treated as the one that is refused: nothing else is known to unwind.
    if descriptor.panic != abi::descriptor::PANIC_UNWIND {
        return Err(Refusal::PanicAbort);
    }
    match descriptor.direction {
        abi::descriptor::SINK => Ok(Direction::Sink),
        abi::descriptor::SOURCE => Ok(Direction::Source),
        found => Err(Refusal::Direction { found }),
    }
}

/// Whether libraries of the two targets can share a process. The vendor (`x86_64-alpine-linux-musl`) does not matter.
fn same_target(guest: &str, host: &str) -> bool {
    guest.is_empty() || without_vendor(guest) == without_vendor(host)
}

fn without_vendor(target: &str) -> Vec<&str> {
    let mut parts: Vec<_> = target.split('-').collect();
    if parts.len() > 2 {
        parts.remove(1);
    }
    parts
}

#[cfg(test)]
mod tests;
