//! Transforms of payloads, applied in file order: a [`Chain`] of them, made from what a connector's file says.
//!
//! One file per transform; a new one is its file and a line in `registry`. The runtime applies the chain between decoding and
//! handing over; plugins may use a transform by name. Bytes are the codecs' business.

mod add_fields;
mod chain;
mod delete_fields;
mod field_path;
mod field_value;
mod registry;
mod strict;

pub use add_fields::{AddFields, AddFieldsConfig, Field};
pub use chain::Chain;
pub use delete_fields::{DeleteFields, DeleteFieldsConfig};
pub use field_path::FieldPath;
pub use field_value::{ComputedValue, FieldValue};
pub use registry::{from_config, types};
