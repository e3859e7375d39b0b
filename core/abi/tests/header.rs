//! The C header says the same as the Rust types: a C program prints what the compiler makes of it, and each line is compared.

use std::{
    fmt::Write as _,
    fs,
    mem::offset_of,
    path::{Path, PathBuf},
    process::Command,
};

use iggy_connector_abi::{
    ABI_MINOR, ABI_VERSION, Completion, Failed, Grows, Nothing, Outcome, Slice, Status, descriptor,
    instance, log, schema, sink, source,
};

/// Expressions of C, each with the value that Rust has for it.
type Facts = Vec<(String, u64)>;

fn sized<T>(facts: &mut Facts, name: &str) {
    facts.push((format!("sizeof({name})"), size_of::<T>() as u64));
    facts.push((format!("_Alignof({name})"), align_of::<T>() as u64));
}

fn size_of_field<T, F>(_field: fn(&T) -> *const F) -> usize {
    size_of::<F>()
}

macro_rules! layout {
    ($facts:ident, $c:literal, $rust:ident { $($field:ident),* }) => {
        sized::<$rust>(&mut $facts, $c);
        // Naming every field makes this fail to compile when one is added, so that the header is thought of.
        let _ = |value: $rust| {
            let $rust { $($field: _),* } = value;
        };
        layout!(@offsets $facts, $c, $rust { $($field),* });
        let ends = [$(offset_of!($rust, $field) + size_of_field(|value: &$rust| &raw const value.$field)),*];
        assert_eq!(ends.into_iter().max(), Some(size_of::<$rust>()), "{} ends in padding", $c);
    };
    (@offsets $facts:ident, $c:literal, $rust:ty { $($field:ident),* }) => {
        $($facts.push((
            format!("offsetof({}, {})", $c, stringify!($field)),
            offset_of!($rust, $field) as u64,
        ));)*
    };
}

fn facts() -> Facts {
    let mut facts = constants();
    facts.extend(structs());
    facts
}

fn constants() -> Facts {
    let mut facts = vec![("IGGY_MAGIC".to_owned(), descriptor::MAGIC)];
    let numbers = [
        ("IGGY_ABI_VERSION", ABI_VERSION),
        ("IGGY_ABI_MINOR", ABI_MINOR),
        ("IGGY_SINK", descriptor::SINK),
        ("IGGY_SOURCE", descriptor::SOURCE),
        ("IGGY_EXCLUSIVE", descriptor::EXCLUSIVE),
        ("IGGY_PANIC_UNWIND", descriptor::PANIC_UNWIND),
        ("IGGY_PANIC_ABORT", descriptor::PANIC_ABORT),
        ("IGGY_OK", Status::OK.0),
        ("IGGY_TRANSIENT", Status::TRANSIENT.0),
        ("IGGY_INVALID_DATA", Status::INVALID_DATA.0),
        ("IGGY_FATAL", Status::FATAL.0),
        ("IGGY_PANICKED", Status::PANICKED.0),
        ("IGGY_CANCELLED", Status::CANCELLED.0),
        ("IGGY_CONTRACT", Status::CONTRACT.0),
        ("IGGY_LEVEL_OFF", log::level::OFF),
        ("IGGY_LEVEL_ERROR", log::level::ERROR),
        ("IGGY_LEVEL_WARN", log::level::WARN),
        ("IGGY_LEVEL_INFO", log::level::INFO),
        ("IGGY_LEVEL_DEBUG", log::level::DEBUG),
        ("IGGY_LEVEL_TRACE", log::level::TRACE),
        ("IGGY_SCHEMA_JSON", schema::JSON),
        ("IGGY_SCHEMA_RAW", schema::RAW),
        ("IGGY_SCHEMA_TEXT", schema::TEXT),
        ("IGGY_SCHEMA_PROTO", schema::PROTO),
        ("IGGY_SCHEMA_FLAT_BUFFER", schema::FLAT_BUFFER),
        ("IGGY_SCHEMA_AVRO", schema::AVRO),
        ("IGGY_FLUSH_NONE", sink::reason::NONE),
        ("IGGY_FLUSH_TIMEOUT", sink::reason::TIMEOUT),
        ("IGGY_FLUSH_PAUSE", sink::reason::PAUSE),
        ("IGGY_FLUSH_STOP", sink::reason::STOP),
        ("IGGY_FLUSH_PARTITION_LOST", sink::reason::PARTITION_LOST),
        ("IGGY_RANK_FIRST", sink::rank::FIRST),
        ("IGGY_RANK_BEHIND", sink::rank::BEHIND),
        ("IGGY_UNDELIVERED_FILTERED", source::undelivered::FILTERED),
        (
            "IGGY_UNDELIVERED_DEAD_LETTERED",
            source::undelivered::DEAD_LETTERED,
        ),
        ("IGGY_UNDELIVERED_SKIPPED", source::undelivered::SKIPPED),
        ("IGGY_NACK_STOP", source::nack::STOP),
        (
            "IGGY_NACK_RETRIES_EXHAUSTED",
            source::nack::RETRIES_EXHAUSTED,
        ),
        ("IGGY_HAS_ID", source::HAS_ID),
        ("IGGY_HAS_CHECKSUM", source::HAS_CHECKSUM),
        ("IGGY_HAS_TIMESTAMP", source::HAS_TIMESTAMP),
        ("IGGY_HAS_ORIGIN_TIMESTAMP", source::HAS_ORIGIN_TIMESTAMP),
        ("IGGY_HAS_KEY", source::HAS_KEY),
        ("IGGY_HAS_ROUTE", source::HAS_ROUTE),
        ("IGGY_HAS_OFFSET", source::HAS_OFFSET),
        ("IGGY_ENDED", source::ENDED),
    ];
    facts.extend(numbers.map(|(name, number)| (name.to_owned(), number.into())));
    facts
}

fn structs() -> Facts {
    use descriptor::Descriptor;
    use instance::{Open, Traits};
    use log::{Host, Record};
    use sink::{ConsumedBatch, ConsumedMessage, FlushRequest};
    use source::{PollRequest, ProducedBatch, ProducedMessage, Settlement, Undelivered};

    let mut facts = Facts::new();
    sized::<Completion<Nothing>>(&mut facts, "iggy_completion");
    layout!(@offsets facts, "iggy_completion", Completion<Nothing> { context, complete });
    layout!(facts, "iggy_slice", Slice { ptr, len });
    layout!(
        facts,
        "iggy_descriptor",
        Descriptor {
            magic,
            abi_version,
            size,
            minor,
            flags,
            direction,
            panic,
            name,
            version,
            sdk_version,
            target,
            config_schema
        }
    );
    layout!(
        facts,
        "iggy_failed",
        Failed {
            index,
            status,
            message
        }
    );
    layout!(
        facts,
        "iggy_outcome",
        Outcome {
            size,
            status,
            message,
            retry_after_ms,
            failed,
            failed_len,
            failed_stride,
            reserved
        }
    );
    layout!(
        facts,
        "iggy_log_record",
        Record {
            size,
            instance,
            level,
            line,
            target,
            message,
            fields,
            file
        }
    );
    layout!(
        facts,
        "iggy_host",
        Host {
            size,
            reserved,
            max_level,
            enabled,
            log
        }
    );
    layout!(
        facts,
        "iggy_open",
        Open {
            size,
            minor,
            instance,
            worker_threads,
            state_present,
            reserved,
            key,
            config,
            state,
            host
        }
    );
    layout!(
        facts,
        "iggy_traits",
        Traits {
            size,
            exclusive,
            max_unsettled,
            max_in_flight,
            streams,
            drains,
            reserved
        }
    );
    layout!(
        facts,
        "iggy_consumed_message",
        ConsumedMessage {
            id_low,
            id_high,
            offset,
            checksum,
            timestamp,
            origin_timestamp,
            headers,
            payload
        }
    );
    layout!(
        facts,
        "iggy_consumed_batch",
        ConsumedBatch {
            size,
            stride,
            messages,
            len,
            schema,
            partition_id,
            current_offset,
            stream,
            topic,
            rank,
            reserved
        }
    );
    layout!(
        facts,
        "iggy_produced_message",
        ProducedMessage {
            id_low,
            id_high,
            checksum,
            timestamp,
            origin_timestamp,
            present,
            reserved,
            payload,
            headers,
            key,
            route,
            offset
        }
    );
    layout!(
        facts,
        "iggy_produced_batch",
        ProducedBatch {
            size,
            stride,
            messages,
            len,
            schema,
            flags,
            state_present,
            reserved,
            state,
            owner,
            release
        }
    );
    layout!(
        facts,
        "iggy_settlement",
        Settlement {
            size,
            ack,
            poll,
            reason,
            stride,
            undelivered,
            undelivered_len
        }
    );
    layout!(facts, "iggy_undelivered", Undelivered { index, reason });
    layout!(
        facts,
        "iggy_poll_request",
        PollRequest {
            size,
            max_messages,
            max_wait_ms,
            linger_us,
            draining,
            reserved
        }
    );
    layout!(
        facts,
        "iggy_flush_request",
        FlushRequest {
            size,
            reason,
            partition_present,
            partition_id,
            stream,
            topic
        }
    );
    facts
}

#[test]
#[cfg(target_pointer_width = "64")]
fn what_was_in_version_1_stays_what_a_struct_must_have() {
    use sink::{ConsumedBatch, ConsumedMessage, FlushRequest};
    use source::{PollRequest, ProducedBatch, ProducedMessage, Settlement, Undelivered};

    for (name, size, expected) in [
        ("Descriptor", descriptor::Descriptor::V1_SIZE, 112),
        ("Open", instance::Open::V1_SIZE, 80),
        ("Traits", instance::Traits::V1_SIZE, 32),
        ("Host", log::Host::V1_SIZE, 32),
        ("Record", log::Record::V1_SIZE, 80),
        ("Outcome", Outcome::V1_SIZE, 56),
        ("Failed", Failed::V1_SIZE, 24),
        ("ConsumedBatch", ConsumedBatch::V1_SIZE, 72),
        ("ConsumedMessage", ConsumedMessage::V1_SIZE, 80),
        ("FlushRequest", FlushRequest::V1_SIZE, 48),
        ("ProducedBatch", ProducedBatch::V1_SIZE, 72),
        ("ProducedMessage", ProducedMessage::V1_SIZE, 128),
        ("PollRequest", PollRequest::V1_SIZE, 16),
        ("Settlement", Settlement::V1_SIZE, 40),
        ("Undelivered", Undelivered::V1_SIZE, 8),
    ] {
        assert_eq!(size, expected, "{name}");
    }
}

/// Every function of the header, assigned to a pointer of the type that it should have, and its name in Rust.
const SYMBOLS: [&str; 14] = [
    descriptor::SYMBOL,
    instance::SHUTDOWN,
    sink::OPEN,
    sink::CONSUME,
    sink::FLUSH,
    sink::HEALTH,
    sink::CANCEL,
    sink::CLOSE,
    source::OPEN,
    source::POLL,
    source::SETTLE,
    source::HEALTH,
    source::CANCEL,
    source::CLOSE,
];

#[test]
fn the_header_has_the_layout_of_the_rust_types() {
    let facts = facts();
    let mut program =
        String::from("#include <stdio.h>\n#include \"iggy_connector.h\"\nint main(void) {\n");
    for (expression, _) in &facts {
        writeln!(
            program,
            "printf(\"%llu\\n\", (unsigned long long)({expression}));"
        )
        .unwrap();
    }
    program.push_str("return 0;\n}\n");
    let printed = run(&program);
    let printed: Vec<u64> = printed.lines().map(|line| line.parse().unwrap()).collect();
    let expected: Vec<u64> = facts.iter().map(|(_, value)| *value).collect();
    for ((fact, in_c), in_rust) in facts.iter().zip(&printed).zip(&expected) {
        assert_eq!(in_c, in_rust, "{}", fact.0);
    }
    assert_eq!(printed.len(), expected.len());
}

#[test]
fn the_header_declares_every_symbol() {
    let header = fs::read_to_string(include().join("iggy_connector.h")).unwrap();
    for symbol in SYMBOLS {
        assert!(header.contains(&format!("{symbol}(")), "{symbol}");
    }
    let declared = header.matches("_v1(").count();
    // The descriptor alone has no version.
    assert_eq!(declared, SYMBOLS.len() - 1);
}

fn include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// Compiles a program with every warning an error, runs it and returns what it printed.
fn run(program: &str) -> String {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("header-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the program");
    let (source, binary) = (folder.join("layout.c"), folder.join("layout"));
    fs::write(&source, program).expect("the program can be written");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let compiled = Command::new(&compiler)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(include())
        .arg("-o")
        .args([&binary, &source])
        .output()
        .unwrap_or_else(|error| panic!("this test needs a C compiler, `{compiler}`: {error}"));
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let ran = Command::new(&binary).output().expect("the program runs");
    fs::remove_dir_all(&folder).expect("the folder can be removed");
    assert!(ran.status.success());
    String::from_utf8(ran.stdout).expect("numbers are text")
}
