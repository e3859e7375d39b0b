//! The sink's configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[plugin_config]` of a stdout sink.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StdoutSinkConfig {
    /// Prints each message's payload as a line. Without it the sink only counts. Default: false.
    pub print_payload: bool,
}
