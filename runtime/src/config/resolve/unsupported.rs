//! Keys that are known and have no effect in this version. They are refused rather than accepted in silence; whoever makes one
//! work removes its line here.

use crate::config::{
    connector::{InputConfig, OutputConfig},
    problem::Report,
};

const LEAVE_OUT: &str = "leave it out";

pub(super) fn input(entry: &str, input: &InputConfig, report: &mut Report<'_>) {
    let avro = input.avro_schema_path.is_some() || input.avro_schema_json.is_some();
    let keys = [
        (input.codec.is_some(), "codec", LEAVE_OUT),
        (input.contract.is_some(), "contract", LEAVE_OUT),
        (avro, "avro_schema_path", LEAVE_OUT),
    ];
    for (is_used, key, remedy) in keys {
        refuse([(is_used, &*format!("{entry}.{key}"), remedy)], report);
    }
}

pub(super) fn output(entry: &str, output: &OutputConfig, report: &mut Report<'_>) {
    let avro = output.avro_schema_path.is_some() || output.avro_schema_json.is_some();
    let keys = [
        (output.codec.is_some(), "codec", LEAVE_OUT),
        (output.contract.is_some(), "contract", LEAVE_OUT),
        (avro, "avro_schema_path", LEAVE_OUT),
    ];
    for (is_used, key, remedy) in keys {
        refuse([(is_used, &*format!("{entry}.{key}"), remedy)], report);
    }
}

fn refuse<'a>(keys: impl IntoIterator<Item = (bool, &'a str, &'a str)>, report: &mut Report<'_>) {
    for (is_used, key, remedy) in keys {
        if is_used {
            report.unsupported(key, remedy);
        }
    }
}
