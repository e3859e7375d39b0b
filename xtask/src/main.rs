//! The repository's own checks and chores: `cargo run -p xtask -- tidy` prints where the code leaves the written rules.

mod tidy;

use std::{io::Write, process::ExitCode};

const USAGE: &str = "usage: cargo run -p xtask -- tidy\n\n  tidy  print every place that breaks a rule of ARCHITECTURE.md or STYLE.md\n";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("tidy"), None) => tidy(),
        _ => say(USAGE, ExitCode::from(2)),
    }
}

fn tidy() -> ExitCode {
    let tree = match tidy::Tree::read(&tidy::root()) {
        Ok(tree) => tree,
        Err(error) => {
            return say(
                &format!("read the repository: {error}\n"),
                ExitCode::FAILURE,
            );
        }
    };
    let findings = tidy::run(&tree);
    let lines: String = findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    match findings.len() {
        0 => say("tidy: nothing found\n", ExitCode::SUCCESS),
        count => say(&format!("{lines}tidy: {count} found\n"), ExitCode::FAILURE),
    }
}

/// Writes to standard output; a closed pipe, as with `| head`, is no error.
fn say(text: &str, code: ExitCode) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}
