//! Copies what the host tells about a batch: [`read`].

use iggy_connector_abi::{self as abi, source::Settlement};

pub(super) use crate::source::Settled;
use crate::source::SourceBatchResult;

/// Reads a settlement that the host lent, or says what is wrong with it.
///
/// Which messages of the batch did not reach their stream, and why, is not read: they are settled like the others.
///
/// # Safety
///
/// `settlement` is alive; or null.
pub(super) unsafe fn read(settlement: *const Settlement) -> Result<Settled, String> {
    // SAFETY: alive by the caller's promise, or null.
    let settlement = unsafe { abi::read(settlement) }
        .ok_or("the settlement is null, misaligned or shorter than the contract says")?;
    Ok(Settled {
        poll: settlement.poll,
        result: match settlement.ack {
            0 => SourceBatchResult::Nack,
            _ => SourceBatchResult::Ack,
        },
    })
}
