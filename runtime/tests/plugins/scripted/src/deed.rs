//! One deed of a scripted plugin: [`perform`], and [`perform_in`] for one that stands in a file.

use std::{fs, future::pending, panic, path::Path, thread, time::Duration};

use iggy_connector_sdk::Error;
use tracing::info;

/// Does what `deed` says; nothing when it is empty.
///
/// # Errors
///
/// When it says so.
pub async fn perform(deed: &str) -> Result<(), Error> {
    match deed {
        "transient" => Err(Error::transient("busy").with_retry_after(Duration::from_millis(1500))),
        "invalid" => Err(Error::invalid("bad data")),
        "fatal" => Err(Error::fatal("no table")),
        "records" => Err(Error::failed([(0, Error::invalid("bad first"))])),
        "suffix" => Err(Error::failed_from(0, Error::transient("busy from here"))),
        "suffix_later" => {
            let busy = Error::transient("busy from here");
            let busy = busy.with_retry_after(Duration::from_millis(1500));
            Err(Error::failed_from(0, busy))
        }
        "outside" => Err(Error::failed([(1000, Error::invalid("nobody"))])),
        "panic" => panic!("boom"),
        "panic_twice" => panic::panic_any(PanicsOnDrop),
        "wait" => pending().await,
        "panic_when_dropped" => {
            let _guard = PanicsOnDrop;
            pending().await
        }
        "block" => loop {
            // The worker thread is lost: no cancel can reach it.
            thread::sleep(Duration::from_secs(3600));
        },
        "slow" => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(())
        }
        "log" => {
            info!(rows = 3, table = "events", "written");
            Ok(())
        }
        _ => match deed.split_once(' ') {
            Some(("say", text)) => {
                info!(text, "asked to say {text}");
                Err(Error::fatal(format!("it was to say {text}")))
            }
            Some(("echo", _)) => {
                info!(deed, "asked to {deed}");
                Err(Error::fatal(format!("it was to {deed}")))
            }
            Some(("refuse", text)) => {
                let refused = Error::invalid(format!("it refuses {text}"));
                Err(Error::failed([(0, refused)]))
            }
            Some(("panic", text)) => panic!("boom with {text}"),
            _ => Ok(()),
        },
    }
}

/// Does what the file says, if there is one. A number before the deed says how often; then the file is gone.
///
/// # Errors
///
/// When it says so.
pub async fn perform_in(file: &Path) -> Result<(), Error> {
    let Ok(text) = fs::read_to_string(file) else {
        return Ok(());
    };
    let text = text.trim();
    let (times, deed) = text.split_once(' ').unwrap_or_default();
    let Ok(times) = times.parse::<u32>() else {
        return perform(text).await;
    };
    match times {
        0 | 1 => fs::remove_file(file),
        more => fs::write(file, format!("{} {deed}", more - 1)),
    }
    .map_err(|error| Error::fatal(format!("{}: {error}", file.display())))?;
    perform(deed).await
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        // A second panic while one unwinds ends the process, which is not what is tested.
        if !thread::panicking() {
            panic!("boom in a drop");
        }
    }
}
