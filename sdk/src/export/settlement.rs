//! Copies what the host tells about a batch: [`read`].

use iggy_connector_abi::{
    self as abi,
    source::{Settlement, undelivered},
};

use crate::source::{Receipt, Settled, SourceBatchResult};

/// Reads a settlement that the host lent, or says what is wrong with it.
///
/// # Safety
///
/// `settlement` and all it points at are alive; or `settlement` is null.
pub(super) unsafe fn read(settlement: *const Settlement) -> Result<Settled, String> {
    // SAFETY: alive by the caller's promise, or null.
    let settlement = unsafe { abi::read(settlement) }
        .ok_or("the settlement is null, misaligned or shorter than the contract says")?;
    // SAFETY: alive by the caller's promise.
    let undelivered = unsafe { settlement.undelivered() }
        .ok_or("the messages that were not delivered are no array")?;
    Ok(Settled {
        poll: settlement.poll,
        result: match settlement.ack {
            0 => SourceBatchResult::Nack,
            _ => SourceBatchResult::Ack,
        },
        undelivered: undelivered
            .iter()
            .map(|message| (message.index, receipt(message.reason)))
            .collect(),
    })
}

fn receipt(reason: u32) -> Receipt {
    match reason {
        undelivered::FILTERED => Receipt::Filtered,
        undelivered::DEAD_LETTERED => Receipt::DeadLettered,
        undelivered::SKIPPED => Receipt::Skipped,
        _ => Receipt::Undelivered,
    }
}
