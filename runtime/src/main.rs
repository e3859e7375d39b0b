//! The daemon: arguments, configuration, logs, then `app::run` until a signal, and an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use iggy_connectors::{app, cli::Arguments, config, telemetry};
use tracing::{error, info, warn};

/// Wrong arguments (clap's own choice) or a configuration that cannot be used.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let loaded = match config::load(arguments.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(errors) => return unusable(&errors.to_string()),
    };
    if let Err(reason) = telemetry::logging::start(&loaded.runtime.logging) {
        return unusable(&reason);
    }
    info!(version = env!("CARGO_PKG_VERSION"), config = %loaded.path.display(), "starting");
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(reason) => return failed(&reason.to_string()),
    };
    let ran = runtime.block_on(app::run(loaded));
    // A plugin or a file that hangs must not keep a stopped daemon from ending.
    runtime.shutdown_background();
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => failed(&reason),
    }
}

fn failed(reason: &str) -> ExitCode {
    error!("{reason}");
    ExitCode::FAILURE
}

#[expect(
    clippy::print_stderr,
    reason = "there is no log yet, or it cannot be set up"
)]
fn unusable(reason: &str) -> ExitCode {
    eprintln!("{reason}");
    ExitCode::from(UNUSABLE)
}
