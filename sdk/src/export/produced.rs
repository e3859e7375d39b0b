//! A polled batch in the plugin's own memory, until the host gives it back: [`Produced`].

use std::{ffi::c_void, sync::Arc};

use iggy_connector_abi::{
    Slice,
    source::{
        ENDED, HAS_CHECKSUM, HAS_ID, HAS_KEY, HAS_OFFSET, HAS_ORIGIN_TIMESTAMP, HAS_ROUTE,
        HAS_TIMESTAMP, ProducedBatch, ProducedMessage,
    },
};

use super::completion::Value;
use crate::{headers, source::SourceBatch, source::SourceMessage};

/// Keeps alive what `records` point at. None of it changes, and it is dropped by [`release`] or, when the host never learns
/// of it, like any other value. A streaming source keeps the batch too, until its result.
pub(super) struct Produced {
    batch: Arc<SourceBatch>,
    /// The headers of each message in wire encoding; of `batch` only.
    _headers: Vec<Vec<u8>>,
    records: Vec<ProducedMessage>,
}

impl From<Arc<SourceBatch>> for Produced {
    fn from(batch: Arc<SourceBatch>) -> Self {
        let headers: Vec<_> = batch.messages.iter().map(wire_headers).collect();
        let records = batch
            .messages
            .iter()
            .zip(&headers)
            .map(|(message, headers)| record(message, headers))
            .collect();
        Self {
            batch,
            _headers: headers,
            records,
        }
    }
}

impl Value for Produced {
    type Wire = ProducedBatch;

    fn lend(self, give: impl FnOnce(*const ProducedBatch)) -> Result<(), String> {
        let produced = Box::new(self);
        let state = produced.batch.state.as_ref();
        let batch = ProducedBatch {
            size: size_of::<ProducedBatch>() as u32,
            stride: size_of::<ProducedMessage>() as u32,
            messages: produced.records.as_ptr(),
            len: produced.records.len(),
            schema: produced.batch.schema.as_code(),
            flags: if produced.batch.ends { ENDED } else { 0 },
            state_present: u32::from(state.is_some()),
            reserved: 0,
            state: state.map_or(Slice::EMPTY, |state| Slice::of(&state.0)),
            owner: std::ptr::null_mut(),
            release: Some(release),
        };
        let batch = ProducedBatch {
            owner: Box::into_raw(produced).cast(),
            ..batch
        };
        give(&raw const batch);
        Ok(())
    }
}

/// Gives a batch back. It touches plain memory only.
///
/// # Safety
///
/// `owner` is that of a batch that was not given back before.
unsafe extern "C" fn release(owner: *mut c_void) {
    if owner.is_null() {
        return;
    }
    // SAFETY: made by `Box::into_raw` in `lend`, and given back once by the caller's promise.
    drop(unsafe { Box::from_raw(owner.cast::<Produced>()) });
}

fn wire_headers(message: &SourceMessage) -> Vec<u8> {
    match &message.message.headers {
        Some(headers) => headers::encode(headers),
        None => Vec::new(),
    }
}

fn record(source: &SourceMessage, headers: &[u8]) -> ProducedMessage {
    let message = &source.message;
    let id = message.id.unwrap_or(0);
    let mut present = 0;
    let mut note = |is_set: bool, flag: u32| present |= if is_set { flag } else { 0 };
    note(message.id.is_some(), HAS_ID);
    note(message.checksum.is_some(), HAS_CHECKSUM);
    note(message.timestamp.is_some(), HAS_TIMESTAMP);
    note(message.origin_timestamp.is_some(), HAS_ORIGIN_TIMESTAMP);
    note(source.key.is_some(), HAS_KEY);
    note(source.route.is_some(), HAS_ROUTE);
    note(source.offset.is_some(), HAS_OFFSET);
    ProducedMessage {
        id_low: id as u64,
        id_high: (id >> 64) as u64,
        checksum: message.checksum.unwrap_or(0),
        timestamp: message.timestamp.unwrap_or(0),
        origin_timestamp: message.origin_timestamp.unwrap_or(0),
        present,
        reserved: 0,
        payload: Slice::of(&message.payload),
        headers: Slice::of(headers),
        key: slice(source.key()),
        route: slice(source.route().map(str::as_bytes)),
        offset: slice(source.offset().map(|offset| offset.as_bytes())),
    }
}

fn slice(bytes: Option<&[u8]>) -> Slice {
    bytes.map_or(Slice::EMPTY, Slice::of)
}
