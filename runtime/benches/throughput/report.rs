//! The rows of a run, for people and as JSON.

use std::{fs, path::Path};

use serde::Serialize;

use crate::ours::Ours;

/// One comparison: the median round, and how far the rounds lay apart.
#[derive(Debug, Serialize)]
pub struct Row {
    pub path: &'static str,
    #[serde(skip)]
    beside: &'static str,
    /// Messages per second of the bare loop, in the median round.
    bare: f64,
    /// Messages per second of ours, in the median round.
    ours: f64,
    ratio: f64,
    /// Lowest and highest ratio of all rounds.
    range: [f64; 2],
    cpu_s_per_million: f64,
    /// The highest of all rounds.
    peak_kib: u64,
    #[serde(skip)]
    rounds: Vec<Round>,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    bare: f64,
    ours: f64,
    cpu_s_per_million: f64,
}

impl Round {
    fn ratio(self) -> f64 {
        self.ours / self.bare
    }
}

impl Row {
    pub fn new(path: &'static str, beside: &'static str) -> Self {
        Self {
            path,
            beside,
            bare: 0.0,
            ours: 0.0,
            ratio: 0.0,
            range: [0.0; 2],
            cpu_s_per_million: 0.0,
            peak_kib: 0,
            rounds: Vec::new(),
        }
    }

    pub fn add(&mut self, bare: f64, ours: &Ours) {
        self.rounds.push(Round {
            bare,
            ours: ours.per_second,
            cpu_s_per_million: ours.cpu_s_per_million,
        });
        self.rounds
            .sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
        let median = self.rounds[(self.rounds.len() - 1) / 2];
        (self.bare, self.ours, self.ratio) = (median.bare, median.ours, median.ratio());
        self.cpu_s_per_million = median.cpu_s_per_million;
        self.range = [
            self.rounds[0].ratio(),
            self.rounds[self.rounds.len() - 1].ratio(),
        ];
        self.peak_kib = self.peak_kib.max(ours.peak_kib);
    }
}

pub fn print(rows: &[Row]) {
    println!(
        "{:<40} {:<24} {:>10} {:>10} {:>6} {:>12} {:>8} {:>8}",
        "path", "beside", "bare/s", "ours/s", "ratio", "range", "cpu s/M", "peak MiB"
    );
    for row in rows {
        println!(
            "{:<40} {:<24} {:>10.0} {:>10.0} {:>6.2} {:>5.2}-{:<6.2} {:>8.2} {:>8.1}",
            row.path,
            row.beside,
            row.bare,
            row.ours,
            row.ratio,
            row.range[0],
            row.range[1],
            row.cpu_s_per_million,
            row.peak_kib as f64 / 1024.0
        );
    }
}

pub fn write(rows: &[Row], file: &Path) -> Result<(), String> {
    let text = serde_json::to_string_pretty(rows).map_err(|error| error.to_string())?;
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}
