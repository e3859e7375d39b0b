//! What a library says about itself: [`describe`].

use std::sync::OnceLock;

use iggy_connector_abi::{
    ABI_MINOR, ABI_VERSION, Slice,
    descriptor::{Descriptor, MAGIC, PANIC_ABORT, PANIC_UNWIND},
};

use super::panics::catch;

/// What the macro knows of the plugin's crate.
pub struct Plugin {
    /// [`iggy_connector_abi::descriptor::SINK`] or [`iggy_connector_abi::descriptor::SOURCE`].
    pub direction: u32,
    /// `CARGO_PKG_NAME`.
    pub name: &'static str,
    /// `CARGO_PKG_VERSION`.
    pub version: &'static str,
    /// `cfg!(panic = "abort")`.
    pub panics_abort: bool,
}

/// Makes the descriptor at the first call, and returns it. Null when making it panics.
pub fn describe(
    made: &'static OnceLock<Descriptor>,
    plugin: &Plugin,
    config_schema: impl FnOnce() -> String,
) -> *const Descriptor {
    match catch(|| made.get_or_init(|| plugin.descriptor(config_schema()))) {
        Ok(descriptor) => descriptor,
        Err(_) => std::ptr::null(),
    }
}

impl Plugin {
    fn descriptor(&self, config_schema: String) -> Descriptor {
        Descriptor {
            magic: MAGIC,
            abi_version: ABI_VERSION,
            size: size_of::<Descriptor>() as u32,
            minor: ABI_MINOR,
            flags: 0,
            direction: self.direction,
            panic: if self.panics_abort {
                PANIC_ABORT
            } else {
                PANIC_UNWIND
            },
            name: Slice::of(self.name.as_bytes()),
            version: Slice::of(self.version.as_bytes()),
            sdk_version: Slice::of(env!("CARGO_PKG_VERSION").as_bytes()),
            target: Slice::of(env!("IGGY_CONNECTOR_TARGET").as_bytes()),
            // Made once per library, and alive as long as it.
            config_schema: Slice::of(config_schema.leak().as_bytes()),
        }
    }
}
