//! The JSON Schema of a configuration, where its type has one.
//!
//! The macros call `config_schema` on a [`Config`]. Method lookup prefers the type's own method, which needs
//! `schemars::JsonSchema`, and falls back on that of [`WithoutSchema`] for every other type.

use std::marker::PhantomData;

use crate::{SinkConstructor, SourceConstructor};

/// Stands for a configuration's type.
pub struct Config<C>(PhantomData<C>);

/// The configuration that a sink's constructor takes.
pub fn of_sink<A, F: SinkConstructor<A>>(_constructor: F) -> Config<F::Config> {
    Config(PhantomData)
}

/// The configuration that a source's constructor takes.
pub fn of_source<A, F: SourceConstructor<A>>(_constructor: F) -> Config<F::Config> {
    Config(PhantomData)
}

#[cfg(feature = "schemars")]
impl<C: schemars::JsonSchema> Config<C> {
    /// The schema as JSON.
    pub fn config_schema(&self) -> String {
        let schema = schemars::schema_for!(C);
        simd_json::to_string(&schema).unwrap_or_default()
    }
}

/// A configuration without a schema.
pub trait WithoutSchema {
    /// Nothing.
    fn config_schema(&self) -> String {
        String::new()
    }
}

impl<C> WithoutSchema for Config<C> {}
