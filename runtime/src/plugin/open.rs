//! What opening an instance takes and tells: [`Open`], [`Traits`].

use bytes::Bytes;
use iggy_connector_abi::{self as abi, Slice};

use super::{library::Library, log, pending::Value};
use crate::config::spec::Deadlines;

/// Most batches in flight that a plugin may ask for.
const MOST_IN_FLIGHT: u32 = 1024;

/// What an instance is opened with.
#[derive(Clone)]
pub struct Open<'a> {
    pub key: &'a str,
    /// `plugin_config`; null counts as an empty object. May hold secrets.
    pub config: &'a serde_json::Value,
    /// The state that was saved last (sources).
    pub state: Option<Bytes>,
    pub deadlines: Deadlines,
}

/// Longest text of proposed streams.
const LONGEST_PROPOSAL: usize = 1 << 20;

/// What an instance tells about itself when it has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// No second instance may run beside this one on the same target.
    pub exclusive: bool,
    /// Sinks: batches of one partition that may be handed over before the first is settled, at least 1.
    pub max_unsettled: u32,
    /// Sources: batches that may be polled before the first is settled, at least 1.
    pub max_in_flight: u32,
    /// Sources: it holds messages that it hands out when it is drained.
    pub drains: bool,
    /// The streams that it proposes, as the text of a JSON list; empty when it proposes none. Or why they cannot be read.
    pub streams: Result<String, &'static str>,
}

impl Value for Traits {
    type Wire = abi::instance::Traits;

    unsafe fn read(wire: *const abi::instance::Traits) -> Result<Self, String> {
        // SAFETY: lent for the completion.
        let wire = unsafe { abi::read(wire) }
            .ok_or("the traits are null, not aligned or shorter than the contract says")?;
        Ok(Self {
            exclusive: wire.exclusive != 0,
            max_unsettled: wire.max_unsettled.clamp(1, MOST_IN_FLIGHT),
            max_in_flight: wire.max_in_flight.clamp(1, MOST_IN_FLIGHT),
            drains: wire.drains != 0,
            // SAFETY: lent for the completion.
            streams: unsafe { proposal(wire.streams) },
        })
    }
}

/// Copies what is proposed.
///
/// # Safety
///
/// As [`Slice::bytes`].
unsafe fn proposal(text: Slice) -> Result<String, &'static str> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { text.bytes() }.ok_or("they are no bytes")?;
    if bytes.len() > LONGEST_PROPOSAL {
        return Err("they are longer than 1 MiB");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "they are not UTF-8")?;
    Ok(text.to_owned())
}

/// What an open lends to the plugin, and what it points at.
pub(super) struct Lent {
    wire: abi::instance::Open,
    _key: String,
    _config: String,
    _state: Option<Bytes>,
}

impl Lent {
    pub(super) fn new(open: &Open<'_>, instance: u32, library: &Library) -> Self {
        let key = open.key.to_owned();
        let config = match open.config {
            serde_json::Value::Null => "{}".to_owned(),
            config => config.to_string(),
        };
        let state = open.state.clone();
        Self {
            wire: abi::instance::Open {
                size: size_of::<abi::instance::Open>() as u32,
                minor: abi::ABI_MINOR,
                instance,
                worker_threads: library.worker_threads(),
                state_present: u32::from(state.is_some()),
                reserved: 0,
                key: Slice::of(key.as_bytes()),
                config: Slice::of(config.as_bytes()),
                state: Slice::of(state.as_deref().unwrap_or_default()),
                host: log::host(),
            },
            _key: key,
            _config: config,
            _state: state,
        }
    }

    pub(super) fn wire(&self) -> *const abi::instance::Open {
        &raw const self.wire
    }
}

#[cfg(test)]
mod tests {
    use iggy_connector_abi::Grows as _;

    use super::*;

    fn read_of(traits: &abi::instance::Traits) -> Result<Traits, String> {
        // SAFETY: every one of these tests is as long as it says, or longer.
        unsafe { Traits::read(traits) }
    }

    fn good() -> abi::instance::Traits {
        abi::instance::Traits {
            size: size_of::<abi::instance::Traits>() as u32,
            exclusive: 1,
            max_unsettled: 0,
            max_in_flight: u32::MAX,
            streams: Slice::of(b"[]"),
            drains: 1,
            reserved: 0,
        }
    }

    #[test]
    fn traits_are_bounded_and_a_newer_plugins_are_read_as_far_as_they_are_known() {
        #[repr(C)]
        struct Newer {
            known: abi::instance::Traits,
            appended: u64,
        }
        let newer = Newer {
            known: abi::instance::Traits {
                size: size_of::<Newer>() as u32,
                ..good()
            },
            appended: u64::MAX,
        };
        let expected = Traits {
            exclusive: true,
            max_unsettled: 1,
            max_in_flight: MOST_IN_FLIGHT,
            drains: true,
            streams: Ok("[]".to_owned()),
        };
        assert_eq!(read_of(&good()), Ok(expected.clone()));
        assert_eq!(read_of(&newer.known), Ok(expected));
        assert_eq!(newer.appended, u64::MAX);
    }

    #[test]
    fn an_older_plugin_is_not_drained() {
        let older = abi::instance::Traits {
            size: abi::instance::Traits::V1_SIZE as u32,
            ..good()
        };
        assert!(!read_of(&older).unwrap().drains);
    }

    #[test]
    fn a_proposal_that_is_no_text_is_told_and_spoils_nothing_else() {
        let long = vec![b' '; LONGEST_PROPOSAL + 1];
        let null = Slice {
            ptr: std::ptr::null(),
            len: 1,
        };
        for (streams, why) in [
            (null, "no bytes"),
            (Slice::of(&[0xff]), "UTF-8"),
            (Slice::of(&long), "longer than 1 MiB"),
        ] {
            let traits = abi::instance::Traits { streams, ..good() };
            let read = read_of(&traits).unwrap();
            assert!(read.exclusive);
            assert!(read.streams.unwrap_err().contains(why));
        }
    }

    #[test]
    fn traits_that_are_shorter_than_in_the_first_version_are_refused() {
        let short = abi::instance::Traits {
            size: abi::instance::Traits::V1_SIZE as u32 - 8,
            ..good()
        };
        assert!(read_of(&short).unwrap_err().contains("shorter"));
        // SAFETY: null is refused.
        assert!(unsafe { Traits::read(std::ptr::null()) }.is_err());
    }
}
