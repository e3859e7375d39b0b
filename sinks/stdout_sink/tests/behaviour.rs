//! The sink as the runtime uses it, without the runtime. What it prints is read from a child process: this very test binary, with
//! `STDOUT_SINK_CHILD` naming what to do.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
};

use iggy_connector_sdk::{
    Schema,
    testing::{Batch, Native, OpenSink, SinkPlugin, Status},
};
use iggy_connector_stdout_sink::StdoutSink;

const CHILD: &str = "STDOUT_SINK_CHILD";

async fn opened(config: &str) -> Box<dyn OpenSink> {
    Native::sink(StdoutSink::new).open(config).await.unwrap()
}

/// Runs the child test in a process of its own.
fn child(task: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["the_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, task)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn printed(task: &str) -> (String, ExitStatus) {
    let output = child(task).wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status)
}

#[tokio::test]
async fn the_child() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let sink = opened(r#"{"print_payload": true}"#).await;
    match task.as_str() {
        "print" => {
            let batch = Batch::of(Schema::Json, [r#"{"a": 1}"#, "not json", "€"]);
            assert!(sink.consume(&batch).await.is_ok());
        }
        "print for ever" => {
            let batch = Batch::of(Schema::Raw, [vec![b'x'; 100_000]]);
            let mut ended = sink.consume(&batch).await;
            while ended.is_ok() {
                ended = sink.consume(&batch).await;
            }
            assert_eq!(ended.status, Status::FATAL);
            // The test harness would want to print its result, and fail at that.
            std::process::exit(7);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn each_payload_is_a_line_as_it_came() {
    let (printed, status) = printed("print");
    assert!(printed.contains("{\"a\": 1}\nnot json\n€\n"), "{printed}");
    assert!(status.success());
}

#[test]
fn nobody_reading_any_more_is_an_error_and_no_panic() {
    let mut child = child("print for ever");
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 200_000]).unwrap();
    drop(output);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[tokio::test]
async fn without_printing_nothing_is_even_decoded() {
    let sink = opened("{}").await;
    let ended = sink
        .consume(&Batch::of(Schema::Json, ["this is not JSON"]))
        .await;
    assert!(ended.is_ok(), "{ended:?}");
    assert!(sink.flush().await.is_ok());
    assert!(sink.health().await.is_ok());
    assert!(sink.close().await.is_ok());
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_name() {
    let Err(ended) = Native::sink(StdoutSink::new)
        .open(r#"{"print": true}"#)
        .await
    else {
        panic!("it was accepted")
    };
    assert_eq!(ended.status, Status::FATAL);
    assert!(
        ended
            .message
            .contains("unknown field `print`, expected `print_payload`")
    );
}
