//! Copies what the host tells about a batch: [`read`].

use iggy_connector_abi::{Slice, source::Settlement};

pub(super) use crate::source::Settled;
use crate::source::SourceBatchResult;

/// Reads a settlement that the host lent, or says what is wrong with it.
///
/// # Safety
///
/// `settlement` and all it points at are alive; or `settlement` is null.
pub(super) unsafe fn read(settlement: *const Settlement) -> Result<Settled, String> {
    // SAFETY: alive by the caller's promise, or null.
    let settlement = unsafe { settlement.as_ref() }.ok_or("the settlement is null")?;
    if (settlement.size as usize) < size_of::<Settlement>() {
        return Err("the settlement is shorter than this version of the contract says".into());
    }
    let bytes = Slice {
        ptr: settlement.undelivered.cast(),
        len: settlement.undelivered_len.saturating_mul(size_of::<u32>()),
    };
    // SAFETY: as many positions as the host says are alive by the caller's promise.
    let bytes = unsafe { bytes.bytes() }.ok_or("the undelivered positions are no array")?;
    let undelivered = bytes
        .chunks_exact(size_of::<u32>())
        .map(|position| u32::from_ne_bytes(position.try_into().expect("chunks of four bytes")))
        .collect();
    Ok(Settled {
        poll: settlement.poll,
        result: if settlement.ack == 0 {
            SourceBatchResult::Nack
        } else {
            SourceBatchResult::Ack
        },
        undelivered,
    })
}
