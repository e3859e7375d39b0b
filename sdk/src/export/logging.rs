//! Sends the plugin's `tracing` events to the host's log: [`connect`].
//!
//! A library has its own copy of `tracing`, so its default subscriber is free to be this one. A line is sent only when
//! the host's level, read without a call, lets it through, and `enabled` agrees.

mod fields;
mod spans;

use std::sync::atomic::{AtomicBool, Ordering};

use iggy_connector_abi::{
    Slice,
    log::{Host, Record, level},
};
use tracing::{
    Event, Level, Metadata, Span, Subscriber,
    span::{self, Attributes, Id},
    subscriber::Interest,
};
use tracing_core::span::Current;

use fields::Fields;
use spans::Spans;

/// Target of the spans that carry an instance.
const INSTANCE: &str = "iggy_connector_sdk::instance";

/// Whether events go to a host.
static CONNECTED: AtomicBool = AtomicBool::new(false);

/// Sends all further events to `host`. The first host wins, and so does a subscriber that is there already.
pub(super) fn connect(host: Host) {
    let forwarder = Forwarder {
        host,
        spans: Spans::default(),
    };
    // A native test may have its own; its events then go there.
    if tracing::subscriber::set_global_default(forwarder).is_ok() {
        CONNECTED.store(true, Ordering::Release);
    }
}

pub(super) fn is_connected() -> bool {
    CONNECTED.load(Ordering::Acquire)
}

/// The span that every task of an instance runs in.
pub(super) fn instance(number: u32, key: &str) -> Span {
    tracing::error_span!(target: INSTANCE, "connector", instance = number, key)
}

struct Forwarder {
    host: Host,
    spans: Spans,
}

impl Forwarder {
    fn max_level(&self) -> u32 {
        // SAFETY: the level is alive for ever, as the table is (`Host`), or null.
        let level = unsafe { self.host.max_level.as_ref() };
        level.map_or(level::TRACE, |level| level.load(Ordering::Relaxed))
    }
}

impl Subscriber for Forwarder {
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        // The host may change its level at any time.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.is_span() && metadata.target() == INSTANCE {
            return true;
        }
        let level = number(*metadata.level());
        if level > self.max_level() {
            return false;
        }
        let target = Slice::of(metadata.target().as_bytes());
        // SAFETY: the host's function, which may be called from any thread; the target lives until it returns.
        unsafe { (self.host.enabled)(level, target) != 0 }
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.spans.add(attributes)
    }

    fn record(&self, span: &Id, values: &span::Record<'_>) {
        self.spans.record(span, values);
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let current = spans::current();
        let mut fields = Fields::default();
        if let Some(current) = &current {
            current.write_fields(&mut fields);
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let (message, members) = fields.into_parts();
        let record = Record {
            size: size_of::<Record>() as u32,
            instance: current.map_or(0, |span| span.instance()),
            level: number(*metadata.level()),
            line: metadata.line().unwrap_or(0),
            target: Slice::of(metadata.target().as_bytes()),
            message: Slice::of(message.as_bytes()),
            fields: Slice::of(members.as_bytes()),
            file: Slice::of(metadata.file().unwrap_or("").as_bytes()),
        };
        // SAFETY: the host's function, which may be called from any thread; the record and its slices live until it returns.
        unsafe { (self.host.log)(&raw const record) }
    }

    fn enter(&self, span: &Id) {
        self.spans.enter(span);
    }

    fn exit(&self, span: &Id) {
        spans::exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.spans.share(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.spans.release(&span)
    }

    fn current_span(&self) -> Current {
        match spans::current() {
            Some(span) => span.as_current(),
            None => Current::none(),
        }
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
