//! Throughput of the pipeline beside the bare `iggy` client, in one run and on one broker: `scripts/bench` builds what it needs
//! and starts it.
//!
//! Every round measures the bare loop and ours one after the other; a row is the median of the rounds' ratios.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command that reports to a person"
)]

mod bare;
mod ours;
mod process;
mod report;

use std::path::PathBuf;

use clap::Parser;

use crate::{
    bare::Bare,
    ours::{Ours, Path},
    process::Broker,
    report::Row,
};

/// Compares the connectors runtime with the bare Iggy client.
#[derive(Debug, Parser)]
struct Arguments {
    /// An Iggy server to use (host:port, user and password iggy); without it a broker is started in a process of its own
    #[arg(long)]
    address: Option<String>,
    /// Payload of each message, in bytes
    #[arg(long, default_value_t = 255)]
    message_size: usize,
    /// Messages in each batch
    #[arg(long, default_value_t = 1000)]
    batch: u32,
    /// Messages in each measurement
    #[arg(long, default_value_t = 2_000_000)]
    count: u64,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only the rows whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Writes the rows as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Cargo passes it to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What every measurement is made with.
#[derive(Clone, Debug)]
struct Load {
    address: String,
    message_size: usize,
    batch: u32,
    count: u64,
}

fn main() -> Result<(), String> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let rows = runtime.block_on(run(&arguments))?;
    report::print(&rows);
    match &arguments.json {
        Some(file) => report::write(&rows, file),
        None => Ok(()),
    }
}

async fn run(arguments: &Arguments) -> Result<Vec<Row>, String> {
    let broker = match &arguments.address {
        Some(_) => None,
        None => Some(Broker::start().await?),
    };
    let address = arguments
        .address
        .clone()
        .or(broker.as_ref().map(|broker| broker.address.clone()));
    let load = Load {
        address: address.ok_or("no broker")?,
        message_size: arguments.message_size,
        batch: arguments.batch,
        count: arguments.count,
    };
    let mut rows = Vec::new();
    for (path, bare) in PAIRS {
        if path.name().contains(&arguments.only) {
            rows.push(measure(&load, *path, *bare, arguments.rounds).await?);
        }
    }
    Ok(rows)
}

/// What is compared with what. The tuned rows have the settings that could be expected to help.
const PAIRS: &[(Path, Bare)] = &[
    (Path::Sink, Bare::PollAndStore),
    (Path::SinkBesidePoll, Bare::Poll),
    (Path::SinkTuned, Bare::PollAndStore),
    (Path::Source, Bare::Send),
    (Path::SourceWithState, Bare::Send),
    (Path::SourceTuned, Bare::Send),
    (Path::SourceOneByOne, Bare::Send),
    (Path::SourceOneByOneWithState, Bare::Send),
];

async fn measure(load: &Load, path: Path, bare: Bare, rounds: usize) -> Result<Row, String> {
    let mut row = Row::new(path.name(), bare.name());
    for round in 0..rounds {
        let topic = bare::Topic::create(load, path.reads()).await?;
        let theirs = bare.measure(load, &topic).await?;
        let ours = Ours::measure(load, &topic, path).await?;
        topic.delete().await?;
        eprintln!(
            "{}, round {}: bare {:.0}/s, ours {:.0}/s, ratio {:.2}",
            path.name(),
            round + 1,
            theirs,
            ours.per_second,
            ours.per_second / theirs
        );
        row.add(theirs, &ours);
    }
    Ok(row)
}
