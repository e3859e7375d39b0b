//! Turns panics into messages: [`catch`], [`guarded`], [`discard`]. Those that nobody catches are told too, by the host's log.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    cell::RefCell,
    future::poll_fn,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook},
    sync::Once,
    task::Poll,
};

use super::logging;

thread_local! {
    /// Where this thread's last panic began; a payload does not say it.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes every later panic's place part of its message, and tells of it in the host's log, which leaves secrets out: a panic may quote a
/// configuration. Without a host the hook does what it did before.
pub(super) fn note_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
            let place = panic.location().map(ToString::to_string);
            // During a thread's end its locals are gone; the message then lacks the place.
            let _ = PLACE.try_with(|noted| noted.replace(place));
            match logging::is_connected() {
                true => tell(panic),
                false => before(panic),
            }
        }));
    });
}

fn tell(panic: &PanicHookInfo<'_>) {
    let text = text(panic.payload());
    let place = panic.location().map(ToString::to_string);
    // Only where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(place, %backtrace, "panicked: {text}"),
        _ => tracing::error!(place, "panicked: {text}"),
    }
}

/// Runs `work`. A panic becomes its message.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(message)
}

/// Runs a future to its end, and drops it. A panic becomes its message.
pub(crate) async fn guarded<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = Box::pin(future);
    let ended = poll_fn(|context| match catch(|| future.as_mut().poll(context)) {
        Ok(step) => step.map(Ok),
        Err(message) => Poll::Ready(Err(message)),
    })
    .await;
    discard(future)?;
    ended
}

/// Drops `value`. A panic becomes its message.
pub(super) fn discard<T>(value: T) -> Result<(), String> {
    catch(|| drop(value))
}

fn message(payload: Box<dyn Any + Send>) -> String {
    let text = text(payload.as_ref());
    let place = PLACE.try_with(RefCell::take).ok().flatten();
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // A payload whose drop panics may throw another of its kind, and so on: the second one is leaked.
        std::mem::forget(second);
    }
    match place {
        Some(place) => format!("panicked at {place}: {text}"),
        None => format!("panicked: {text}"),
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    match payload.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => "a panic without a message".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    struct Grenade;

    impl Drop for Grenade {
        fn drop(&mut self) {
            panic_any(Grenade)
        }
    }

    #[test]
    fn a_panic_becomes_its_message_and_place() {
        note_places();
        let message = catch(|| panic!("out of {}", "cheese")).unwrap_err();
        assert!(message.contains("panics.rs:"), "{message}");
        assert!(message.ends_with(": out of cheese"), "{message}");
        assert!(
            catch(|| panic!("static"))
                .unwrap_err()
                .ends_with(": static")
        );
        assert_eq!(catch(|| 5), Ok(5));
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_survived() {
        let message = catch(|| panic_any(Grenade)).unwrap_err();
        assert!(message.ends_with("a panic without a message"), "{message}");
        assert!(discard(Grenade).is_err());
        assert_eq!(discard(5), Ok(()));
    }
}
