//! The log that plugins write to: a static table of functions ([`host`]) through which their lines become `tracing` events with the
//! plugin's own target, level and fields, under the span of the connector that they came from.
//!
//! The functions run on the plugins' threads. They catch their own panics and hold no lock while a subscriber is called.

mod line;
mod sites;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use iggy_connector_abi::{
    self as abi, Slice,
    log::{Host, Record, level},
};
use tracing::{Level, Span, dispatcher, info, level_filters::LevelFilter, warn};

use self::{line::Line, sites::Site};
use super::text;

/// Longest target that is logged as one.
const LONGEST_TARGET: usize = 256;

static MAX_LEVEL: AtomicU32 = AtomicU32::new(level::OFF);

static HOST: Host = Host {
    size: size_of::<Host>() as u32,
    reserved: 0,
    max_level: &raw const MAX_LEVEL,
    enabled,
    log,
};

/// Who the instances are, by their number. Global, as a line of log brings along nothing else.
static ORIGINS: RwLock<BTreeMap<u32, Arc<Known>>> = RwLock::new(BTreeMap::new());

/// The functions that plugins are given. Alive for ever.
pub(super) fn host() -> *const Host {
    follow_level();
    &raw const HOST
}

/// Lets plugins know the most verbose level that anything is logged at. Called before each call, so that it follows a change.
pub(super) fn follow_level() {
    let level = LevelFilter::current()
        .into_level()
        .map_or(level::OFF, number);
    MAX_LEVEL.store(level, Ordering::Relaxed);
}

/// What is known of an instance.
struct Known {
    key: Arc<str>,
    /// The connector's span; none after the instance's end.
    span: Span,
    /// Whether a completion without a call has been reported.
    stray_reported: AtomicBool,
}

/// An instance's entry in the log: lines that name it belong to the span that was current when it was made, until it is dropped.
pub(super) struct Origin {
    number: u32,
    key: Arc<str>,
    outlives: AtomicBool,
}

impl Origin {
    pub(super) fn register(number: u32, key: &str) -> Self {
        let key: Arc<str> = key.into();
        know(number, &key, Span::current());
        Self {
            number,
            key,
            outlives: AtomicBool::new(false),
        }
    }

    /// Keeps the key, without the span, after the instance's end: an abandoned one may go on writing.
    pub(super) fn outlive(&self) {
        self.outlives.store(true, Ordering::Relaxed);
    }

    /// Warns under the connector's span.
    pub(super) fn warn(&self, message: &str) {
        let known = known(self.number);
        let span = known.map_or_else(Span::none, |known| known.span.clone());
        span.in_scope(|| warn!(connector = &*self.key, "{message}"));
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if self.outlives.load(Ordering::Relaxed) {
            know(self.number, &self.key, Span::none());
        } else {
            // The old entry's span is dropped here, after the lock.
            let _ended = ORIGINS
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&self.number);
        }
    }
}

fn know(number: u32, key: &Arc<str>, span: Span) {
    let known = Arc::new(Known {
        key: key.clone(),
        span,
        stray_reported: AtomicBool::new(false),
    });
    let _before = ORIGINS
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(number, known);
}

fn known(number: u32) -> Option<Arc<Known>> {
    let origins = ORIGINS.read().unwrap_or_else(PoisonError::into_inner);
    origins.get(&number).cloned()
}

/// Reports a completion of a call that does not exist or has ended; once for each instance.
pub(super) fn stray_completion(instance: u32) {
    let message =
        "the plugin completed a call that had ended already, which is a bug of the plugin; ignored";
    let Some(known) = known(instance) else {
        return tracing::debug!(instance, "{message}");
    };
    if !known.stray_reported.swap(true, Ordering::Relaxed) {
        known
            .span
            .in_scope(|| warn!(connector = &*known.key, "{message}"));
    }
}

/// Tells of a call that ended after its deadline and its cancel, or after its future was dropped.
pub(super) fn late_completion(instance: u32, call: &str) {
    let known = known(instance);
    let (key, span) = match &known {
        Some(known) => (&*known.key, known.span.clone()),
        None => ("", Span::none()),
    };
    span.in_scope(|| {
        info!(
            connector = key,
            call, "the plugin ended a call that nobody waits for any more; its outcome is ignored"
        );
    });
}

/// [`Host::enabled`].
///
/// # Safety
///
/// `target` lives during the call.
unsafe extern "C" fn enabled(level: u32, target: Slice) -> u32 {
    let enabled = catch_unwind(|| {
        // SAFETY: the caller's obligation.
        let target = unsafe { text::read(target, LONGEST_TARGET) };
        let (Some(level), Some(target)) = (from_number(level), target) else {
            return false;
        };
        Site::of_target(level, &target).is_enabled()
    });
    u32::from(enabled.unwrap_or_else(ignore))
}

/// [`Host::log`].
///
/// # Safety
///
/// `record` is null or points at a record that lives, with all its slices, during the call.
unsafe extern "C" fn log(record: *const Record) {
    let logged = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's obligation.
        if let Some((instance, line)) = unsafe { read(record) } {
            write(instance, &line);
        }
    }));
    logged.unwrap_or_else(ignore);
}

/// A panic of ours must not unwind into the plugin. Its payload's drop could panic again, so it is leaked.
fn ignore<T: Default>(panic: Box<dyn std::any::Any + Send>) -> T {
    std::mem::forget(panic);
    T::default()
}

/// Copies a record, or `None` when it is not one.
///
/// # Safety
///
/// As for [`log`].
unsafe fn read(record: *const Record) -> Option<(u32, Line)> {
    // SAFETY: the record lives during the call, or is null.
    let record = unsafe { abi::read(record) }?;
    let read = |slice, longest| {
        // SAFETY: the record's slices live during the call.
        unsafe { text::message(slice, longest) }
    };
    let line = Line {
        level: from_number(record.level)?,
        line: record.line,
        target: read(record.target, LONGEST_TARGET),
        message: read(record.message, line::LONGEST),
        fields: read(record.fields, line::LONGEST),
        file: read(record.file, LONGEST_TARGET),
    };
    Some((record.instance, line))
}

/// Logs a line under the span of its instance, at the subscriber which that span belongs to.
fn write(instance: u32, line: &Line) {
    let Some(known) = known(instance) else {
        return line.write(None);
    };
    let logged = known.span.with_subscriber(|(_, subscriber)| {
        dispatcher::with_default(subscriber, || known.span.in_scope(|| line.write(None)));
    });
    if logged.is_none() {
        // Without the span the key would be lost.
        line.write(Some(&known.key));
    }
}

fn number(level: Level) -> u32 {
    match level {
        Level::ERROR => level::ERROR,
        Level::WARN => level::WARN,
        Level::INFO => level::INFO,
        Level::DEBUG => level::DEBUG,
        Level::TRACE => level::TRACE,
    }
}

fn from_number(number: u32) -> Option<Level> {
    Some(match number {
        level::ERROR => Level::ERROR,
        level::WARN => Level::WARN,
        level::INFO => Level::INFO,
        level::DEBUG => Level::DEBUG,
        level::TRACE => Level::TRACE,
        _ => return None,
    })
}
