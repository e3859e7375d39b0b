//! `iggy-connectors config schema`: the JSON Schema of configuration files.

use super::{Answer, File, GOOD};
use crate::config::{self, spec::Direction};

pub(super) fn run(file: File) -> Answer {
    let schema = match file {
        File::Runtime => config::runtime_schema(),
        File::Sink => config::connector_schema(Direction::Sink),
        File::Source => config::connector_schema(Direction::Source),
    };
    Answer {
        text: format!("{schema:#}"),
        code: GOOD,
    }
}
