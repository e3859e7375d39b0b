//! A lent batch behind a safe face: [`Records`].

#[cfg(feature = "testing")]
use iggy_connector_abi::Slice;
use iggy_connector_abi::{
    Strided,
    sink::{ConsumedBatch, ConsumedMessage},
};

use crate::{Schema, sink::Batch};

/// The messages of a lent batch. Every slice in it has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records<'a>(Strided<'a, ConsumedMessage>);

/// One message of a lent batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    fields: &'a ConsumedMessage,
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
    fn of(fields: &'a ConsumedMessage) -> Option<Self> {
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

    pub(crate) fn fields(&self) -> &'a ConsumedMessage {
        self.fields
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

/// Reads a batch that the host lent, or says what is wrong with it.
///
/// # Safety
///
/// `batch` and all it points at live, unchanged, for `'a`; or `batch` is null.
pub(crate) unsafe fn batch<'a>(batch: *const ConsumedBatch) -> Result<Batch<'a>, String> {
    // SAFETY: alive by the caller's promise, or null.
    let batch = unsafe { batch.as_ref() }.ok_or("the batch is null")?;
    if (batch.size as usize) < size_of::<ConsumedBatch>() {
        return Err("the batch is shorter than this version of the contract says".into());
    }
    // SAFETY: lent for `'a` by the caller's promise.
    let messages = unsafe { batch.messages() }.ok_or("the messages are no array")?;
    if !messages.iter().all(|message| Record::of(message).is_some()) {
        return Err("a message's payload or headers are no bytes".into());
    }
    // SAFETY: lent for `'a` by the caller's promise.
    let stream = unsafe { batch.stream.bytes() }.ok_or("the stream's name is no bytes")?;
    // SAFETY: lent for `'a` by the caller's promise.
    let topic = unsafe { batch.topic.bytes() }.ok_or("the topic's name is no bytes")?;
    Ok(Batch {
        records: Records(messages),
        stream: std::str::from_utf8(stream).map_err(|_| "the stream's name is no text")?,
        topic: std::str::from_utf8(topic).map_err(|_| "the topic's name is no text")?,
        partition_id: batch.partition_id,
        current_offset: batch.current_offset,
        schema: Schema::from_code(batch.schema)
            .ok_or_else(|| format!("schema {} is unknown", batch.schema))?,
    })
}
