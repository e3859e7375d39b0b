//! A lent batch behind a safe face: [`Records`].

use iggy_connector_abi::{
    self as abi, Slice, Strided,
    sink::{ConsumedBatch, ConsumedMessage, FlushRequest},
};

use super::{order::Partition, standing::Rank};
use crate::{Schema, sink::Batch};

/// The messages of a lent batch. Every slice in it has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records<'a>(Strided<'a, ConsumedMessage>);

/// One message of a lent batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    fields: ConsumedMessage,
    payload: &'a [u8],
    headers: &'a [u8],
}

/// A batch of a test, lent as the host lends one.
#[cfg(feature = "testing")]
pub(crate) struct Lending<'a> {
    records: Vec<ConsumedMessage>,
    messages: std::marker::PhantomData<&'a [crate::testing::Message]>,
}

impl<'a> Records<'a> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<Record<'a>> {
        Record::of(self.0.get(index)?)
    }
}

impl<'a> Record<'a> {
    /// `None` when one of its slices cannot be one.
    fn of(fields: ConsumedMessage) -> Option<Self> {
        // SAFETY: the record was reached through `Records`, whose maker promised the same of all it points at (`batch`).
        let payload = unsafe { fields.payload.bytes() }?;
        // SAFETY: as above.
        let headers = unsafe { fields.headers.bytes() }?;
        Some(Self {
            fields,
            payload,
            headers,
        })
    }

    pub(crate) fn fields(&self) -> &ConsumedMessage {
        &self.fields
    }

    pub(crate) fn id(&self) -> u128 {
        u128::from(self.fields.id_high) << 64 | u128::from(self.fields.id_low)
    }

    pub(crate) fn payload(&self) -> &'a [u8] {
        self.payload
    }

    pub(crate) fn headers(&self) -> &'a [u8] {
        self.headers
    }
}

#[cfg(feature = "testing")]
impl<'a> Lending<'a> {
    pub(crate) fn of(messages: &'a [crate::testing::Message]) -> Self {
        let records = messages.iter().map(|message| ConsumedMessage {
            id_low: message.id as u64,
            id_high: (message.id >> 64) as u64,
            offset: message.offset,
            checksum: message.checksum,
            timestamp: message.timestamp,
            origin_timestamp: message.origin_timestamp,
            headers: Slice::of(&message.headers),
            payload: Slice::of(&message.payload),
        });
        Self {
            records: records.collect(),
            messages: std::marker::PhantomData,
        }
    }

    pub(crate) fn records(&self) -> Records<'_> {
        let stride = size_of::<ConsumedMessage>() as u32;
        // SAFETY: as many records as the list has, each made of borrows of `messages` in `of`, which outlive `self`.
        let records = unsafe { Strided::new(self.records.as_ptr(), self.records.len(), stride) };
        Records(records.expect("a list of records is an array"))
    }
}

/// Reads a batch that the host lent, and its rank, or says what is wrong with it.
///
/// # Safety
///
/// `batch` and all it points at live, unchanged, for `'a`; or `batch` is null.
pub(super) unsafe fn batch<'a>(batch: *const ConsumedBatch) -> Result<(Batch<'a>, Rank), String> {
    // SAFETY: alive by the caller's promise, or null.
    let batch = unsafe { abi::read(batch) }
        .ok_or("the batch is null, misaligned or shorter than the contract says")?;
    // SAFETY: lent for `'a` by the caller's promise.
    let messages = unsafe { batch.messages() }.ok_or("the messages are no array")?;
    if !messages.iter().all(|message| Record::of(message).is_some()) {
        return Err("a message's payload or headers are no bytes".into());
    }
    // SAFETY: lent for `'a` by the caller's promise.
    let stream = unsafe { text(batch.stream) }.ok_or("the stream's name is no text")?;
    // SAFETY: lent for `'a` by the caller's promise.
    let topic = unsafe { text(batch.topic) }.ok_or("the topic's name is no text")?;
    let rank = Rank::of(batch.rank);
    let batch = Batch {
        records: Records(messages),
        stream,
        topic,
        partition_id: batch.partition_id,
        current_offset: batch.current_offset,
        schema: Schema::from_code(batch.schema)
            .ok_or_else(|| format!("schema {} is unknown", batch.schema))?,
    };
    Ok((batch, rank))
}

/// Reads which partition a flush is about, `None` for all, or says what is wrong with the request.
///
/// # Safety
///
/// `request` and all it points at are alive; or `request` is null.
pub(super) unsafe fn flush(request: *const FlushRequest) -> Result<Option<Partition>, String> {
    // SAFETY: alive by the caller's promise, or null.
    let request = unsafe { abi::read(request) }
        .ok_or("the request is null, misaligned or shorter than the contract says")?;
    if request.partition_present == 0 {
        return Ok(None);
    }
    // SAFETY: alive by the caller's promise.
    let stream = unsafe { text(request.stream) }.ok_or("the stream's name is no text")?;
    // SAFETY: alive by the caller's promise.
    let topic = unsafe { text(request.topic) }.ok_or("the topic's name is no text")?;
    Ok(Some(Partition::new(stream, topic, request.partition_id)))
}

/// # Safety
///
/// As [`Slice::bytes`].
unsafe fn text<'a>(slice: Slice) -> Option<&'a str> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice.bytes() }?;
    std::str::from_utf8(bytes).ok()
}
