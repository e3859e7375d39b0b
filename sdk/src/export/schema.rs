//! The JSON Schema of a configuration, where its type has one.
//!
//! The macros call `config_schema` on a [`Config`]. Method lookup prefers the type's own method, which needs
//! `schemars::JsonSchema`, and falls back on that of [`WithoutSchema`] for every other type.

use std::marker::PhantomData;

use crate::ConnectorState;

/// Stands for a configuration's type.
pub struct Config<C>(PhantomData<C>);

/// A constructor of any connector. It asks for less than the constructors' own traits, so that a mistake is told once.
pub trait Configured<Arguments> {
    /// The configuration that it takes.
    type Config;
}

impl<F: FnOnce(u32, C) -> T, C, T> Configured<(u32, C)> for F {
    type Config = C;
}

impl<F, C, T> Configured<(u32, C, Option<ConnectorState>)> for F
where
    F: FnOnce(u32, C, Option<ConnectorState>) -> T,
{
    type Config = C;
}

/// The configuration that a constructor takes.
pub fn of<A, F: Configured<A>>(_constructor: F) -> Config<F::Config> {
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
