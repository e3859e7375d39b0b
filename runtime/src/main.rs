//! The daemon: arguments, configuration, logs, then `app::run` until a signal, and an exit code.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use iggy_connectors::{
    app,
    cli::{Arguments, UNUSABLE},
    config, plugin,
    telemetry::{self, export::Exporters, levels::Levels},
};
use tracing::{error, info, warn};

fn main() -> ExitCode {
    plugin::keep_freed();
    let arguments = Arguments::parse();
    if let Some(command) = arguments.command {
        return command.run(arguments.config);
    }
    let loaded = match config::load(arguments.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(errors) => return unusable(&errors.to_string()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(reason) => return unusable(&reason.to_string()),
    };
    let (exporters, levels) = match telemetry(&runtime, &loaded) {
        Ok(started) => started,
        Err(reason) => return unusable(&reason),
    };
    info!(version = env!("CARGO_PKG_VERSION"), config = %loaded.path.display(), "starting");
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    let code = match runtime.block_on(app::run(loaded, levels)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => failed(&reason),
    };
    if let Some(Err(reason)) = exporters.map(Exporters::shutdown) {
        warn!("{reason}");
    }
    // A plugin or a file that hangs must not keep a stopped daemon from ending.
    runtime.shutdown_background();
    code
}

/// Starts logs, and traces where they are asked for.
fn telemetry(
    runtime: &tokio::runtime::Runtime,
    loaded: &config::Loaded,
) -> Result<(Option<Exporters>, Levels), String> {
    let config = &loaded.runtime;
    let _carries_exports = runtime.enter();
    let exporters = config.telemetry.as_ref().map(Exporters::new).transpose()?;
    let levels = telemetry::logging::start(&config.logging, &loaded.secrets, exporters.as_ref())?;
    Ok((exporters, levels))
}

fn failed(reason: &str) -> ExitCode {
    error!("{reason}");
    ExitCode::FAILURE
}

/// Tells why nothing can be done, where there is no log yet. The code says so too when nobody reads it.
fn unusable(reason: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{reason}");
    ExitCode::from(UNUSABLE)
}
