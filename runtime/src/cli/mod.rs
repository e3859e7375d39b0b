//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Moves messages between Apache Iggy streams and the outside, through plugins.
///
/// Without arguments it reads config.toml (or config.yaml, config.json) in the working directory.
#[derive(Debug, Parser)]
#[command(name = "iggy-connectors", version, after_help = AFTER_HELP)]
pub struct Arguments {
    /// The runtime's configuration file: TOML, YAML or JSON
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Environment:
  IGGY_CONNECTORS_CONFIG_PATH      the configuration file, when --config is not given
  IGGY_CONNECTORS_<SECTION>_<KEY>  sets one key, for example IGGY_CONNECTORS_IGGY_ADDRESS or
                                   IGGY_CONNECTORS_IGGY_EMBEDDED_ENABLED=false
  RUST_LOG                         log levels by target, wins over logging.level

Exit codes:
  0  stopped and drained
  1  stopped, but something had to be abandoned, or it could not start
  2  wrong arguments or an unusable configuration";
