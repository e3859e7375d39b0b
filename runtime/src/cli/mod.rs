//! The command line: what can be asked for, and what runs instead of the daemon. `main` calls it.

mod check;
mod plugins;
mod schema;
mod scratch;

use std::{
    fs,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};

/// Everything went well, and nothing is wrong.
const GOOD: u8 = 0;
/// Something could not be done, or a file is no plugin.
const FAILED: u8 = 1;
/// Wrong arguments (clap's own choice) or a configuration that cannot be used.
pub const UNUSABLE: u8 = 2;

/// Moves messages between Apache Iggy streams and the outside, through plugins.
///
/// Without a command it runs until SIGINT or SIGTERM. Without arguments it reads config.toml (or config.yaml, config.json) in the
/// working directory.
#[derive(Debug, Parser)]
#[command(name = "iggy-connectors", version, after_help = AFTER_HELP)]
pub struct Arguments {
    /// The runtime's configuration file: TOML, YAML or JSON
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What a command has found out, and the code that it ends with.
struct Answer {
    text: String,
    code: u8,
}

/// What runs instead of the daemon.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tells everything that is wrong with the configuration, and starts nothing
    ///
    /// Reads all files and variables as the daemon does, finds each plugin, and checks its configuration against the schema that the
    /// plugin exports. Connectors that a configuration service would give are not asked for.
    Check {
        /// Tells it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Tells what plugins are: name, direction, versions, and the keys of their configuration
    Plugins {
        /// A library, or a folder of them; without one, where the daemon looks
        path: Option<PathBuf>,
        /// Tells it as JSON, with each whole configuration schema
        #[arg(long)]
        json: bool,
    },
    /// About configuration files
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints the JSON Schema of a file, for editors
    Schema {
        #[arg(value_enum, default_value_t = File::Runtime)]
        file: File,
    },
}

/// The kinds of configuration files.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum File {
    /// The daemon's own, with connectors in it
    Runtime,
    /// A sink's
    Sink,
    /// A source's
    Source,
}

const AFTER_HELP: &str = "\
Environment:
  IGGY_CONNECTORS_CONFIG_PATH      the configuration file, when --config is not given
  IGGY_CONNECTORS_ENV_PATH         a file of variables; otherwise the nearest .env from the working directory upwards
  IGGY_CONNECTORS_<SECTION>_<KEY>  sets one key, for example IGGY_CONNECTORS_IGGY_ADDRESS or
                                   IGGY_CONNECTORS_IGGY_EMBEDDED_ENABLED=false
  IGGY_CONNECTORS_SINK_<KEY>_<FIELD>, IGGY_CONNECTORS_SOURCE_<KEY>_<FIELD>
                                   sets one key of a connector, for example
                                   IGGY_CONNECTORS_SINK_STDOUT_STREAMS_0_STREAM
  RUST_LOG                         log levels by target, wins over logging.level

Exit codes:
  0  stopped and drained; nothing is wrong
  1  stopped, but something had to be abandoned, or it could not be done; a file is no plugin
  2  wrong arguments or an unusable configuration";

impl Command {
    /// Runs the command with the configuration at `config`.
    pub fn run(self, config: Option<PathBuf>) -> ExitCode {
        let code = self.answer(config.as_deref()).unwrap_or_else(|reason| {
            // Where nobody can be told, the code has to do.
            let _ = writeln!(io::stderr(), "{reason}");
            FAILED
        });
        ExitCode::from(code)
    }

    fn answer(self, config: Option<&Path>) -> Result<u8, String> {
        let unusable = |error: io::Error| format!("standard output: {error}");
        let output = set_output_apart().map_err(unusable)?;
        let Answer { text, code } = match self {
            Self::Check { json } => check::run(config, json)?,
            Self::Plugins { path, json } => plugins::run(config, path.as_deref(), json)?,
            Self::Config {
                command: ConfigCommand::Schema { file },
            } => schema::run(file),
        };
        say(output, &text).map_err(unusable)?;
        Ok(code)
    }
}

/// Standard output for the answer alone. What libraries print when they are loaded goes to standard error.
fn set_output_apart() -> io::Result<impl Write> {
    let output = rustix::io::dup(rustix::stdio::stdout())?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(fs::File::from(output))
}

/// Who has read enough, as `head` does, is no failure.
fn say(mut output: impl Write, text: &str) -> io::Result<()> {
    match output.write_all(format!("{text}\n").as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        said => said,
    }
}
