//! A library's entry points, found by name: [`Entries`].

use std::path::Path;

use dlopen2::raw;
use iggy_connector_abi::{descriptor, instance, sink, source};

use super::LoadError;
use crate::config::spec::Direction;

/// What plugins of another runtime export; ours end in a version.
const OTHER_RUNTIMES: [&str; 4] = [
    "iggy_sink_open",
    "iggy_source_open",
    "iggy_sink_consume",
    "iggy_source_handle",
];

/// The entry points of one direction.
#[derive(Clone, Copy)]
pub(super) enum Entries {
    Sink(Sink),
    Source(Source),
}

#[derive(Clone, Copy)]
pub(super) struct Sink {
    pub(super) open: instance::OpenFn,
    pub(super) consume: sink::Consume,
    pub(super) flush: sink::Flush,
    pub(super) health: instance::Plain,
    pub(super) cancel: instance::Cancel,
    pub(super) close: instance::Plain,
}

#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) open: instance::OpenFn,
    pub(super) poll: source::Poll,
    pub(super) settle: source::Settle,
    pub(super) health: instance::Plain,
    pub(super) cancel: instance::Cancel,
    pub(super) close: instance::Plain,
}

impl Entries {
    pub(super) fn of(
        image: &raw::Library,
        direction: Direction,
        path: &Path,
    ) -> Result<Self, LoadError> {
        match direction {
            Direction::Sink => Sink::of(image, path).map(Self::Sink),
            Direction::Source => Source::of(image, path).map(Self::Source),
        }
    }
}

impl Sink {
    fn of(image: &raw::Library, path: &Path) -> Result<Self, LoadError> {
        Ok(Self {
            open: open(image, path, sink::OPEN)?,
            // SAFETY: the name belongs to a function of this type (`abi::sink`).
            consume: unsafe { required::<sink::Consume>(image, path, sink::CONSUME) }?,
            // SAFETY: the name belongs to a function of this type (`abi::sink`).
            flush: unsafe { required::<sink::Flush>(image, path, sink::FLUSH) }?,
            health: plain(image, path, sink::HEALTH)?,
            cancel: cancel(image, path, sink::CANCEL)?,
            close: plain(image, path, sink::CLOSE)?,
        })
    }
}

impl Source {
    fn of(image: &raw::Library, path: &Path) -> Result<Self, LoadError> {
        Ok(Self {
            open: open(image, path, source::OPEN)?,
            // SAFETY: the name belongs to a function of this type (`abi::source`).
            poll: unsafe { required::<source::Poll>(image, path, source::POLL) }?,
            // SAFETY: the name belongs to a function of this type (`abi::source`).
            settle: unsafe { required::<source::Settle>(image, path, source::SETTLE) }?,
            health: plain(image, path, source::HEALTH)?,
            cancel: cancel(image, path, source::CANCEL)?,
            close: plain(image, path, source::CLOSE)?,
        })
    }
}

fn open(
    image: &raw::Library,
    path: &Path,
    symbol: &'static str,
) -> Result<instance::OpenFn, LoadError> {
    // SAFETY: this module asks only for the names that the contract gives to functions of this type.
    unsafe { required(image, path, symbol) }
}

fn plain(
    image: &raw::Library,
    path: &Path,
    symbol: &'static str,
) -> Result<instance::Plain, LoadError> {
    // SAFETY: as in `open`.
    unsafe { required(image, path, symbol) }
}

fn cancel(
    image: &raw::Library,
    path: &Path,
    symbol: &'static str,
) -> Result<instance::Cancel, LoadError> {
    // SAFETY: as in `open`.
    unsafe { required(image, path, symbol) }
}

/// The function that describes the library.
pub(super) fn descriptor(
    image: &raw::Library,
    path: &Path,
) -> Result<descriptor::DescriptorFn, LoadError> {
    // SAFETY: the name belongs to a function of this type (`abi::descriptor`).
    if let Some(found) = unsafe { optional(image, descriptor::SYMBOL) } {
        return Ok(found);
    }
    let path = path.to_owned();
    // SAFETY: only whether there is one matters; it is never called or read.
    let exported = |symbol: &&str| unsafe { optional::<*const ()>(image, symbol) }.is_some();
    match OTHER_RUNTIMES.into_iter().find(exported) {
        Some(symbol) => Err(LoadError::OtherRuntime { path, symbol }),
        None => Err(LoadError::NoDescriptor { path }),
    }
}

/// The function that stops the library's threads.
pub(super) fn shutdown(image: &raw::Library, path: &Path) -> Result<instance::Shutdown, LoadError> {
    // SAFETY: the name belongs to a function of this type (`abi::instance`).
    unsafe { required(image, path, instance::SHUTDOWN) }
}

/// # Safety
///
/// The symbol is something of type `T`, which is a pointer or a function, and `image` is never unloaded.
unsafe fn required<T>(
    image: &raw::Library,
    path: &Path,
    symbol: &'static str,
) -> Result<T, LoadError> {
    // SAFETY: the caller's obligations are the same.
    let found = unsafe { optional(image, symbol) };
    found.ok_or_else(|| LoadError::MissingSymbol {
        path: path.to_owned(),
        symbol,
    })
}

/// # Safety
///
/// As for [`required`].
unsafe fn optional<T>(image: &raw::Library, symbol: &str) -> Option<T> {
    // SAFETY: the caller says that the symbol is of this type.
    unsafe { image.symbol(symbol) }.ok()
}
