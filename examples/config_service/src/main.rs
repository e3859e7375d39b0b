//! Runs the configuration service until SIGINT. Prints its address when it is ready.

#![expect(clippy::print_stdout, reason = "the address is this program's output")]

use std::{error::Error, net::SocketAddr, path::PathBuf};

use clap::Parser;
use config_service::{Service, Store, router};
use tokio::net::TcpListener;

/// A configuration service for iggy-connectors.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:8082")]
    listen: SocketAddr,
    /// File that keeps everything; without one it is gone when the service ends.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Environment variable with the key that requests must carry in the header `api-key`; none is asked for when it is not set.
    #[arg(long, default_value = "CONFIG_SERVICE_API_KEY")]
    api_key_env: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let store = match &arguments.file {
        Some(file) => Store::open(file)?,
        None => Store::default(),
    };
    let key = std::env::var(&arguments.api_key_env).ok();
    let key = key.as_deref().filter(|key| !key.is_empty());
    if key.is_none() && !arguments.listen.ip().is_loopback() {
        let variable = &arguments.api_key_env;
        return Err(format!(
            "{} can be reached from other machines: set {variable}, or listen on 127.0.0.1",
            arguments.listen
        )
        .into());
    }
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("configuration service on http://{}", listener.local_addr()?);
    axum::serve(listener, router(Service::new(store, key)))
        .with_graceful_shutdown(async {
            // Without signals only a kill ends it.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
