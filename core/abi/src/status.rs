//! What became of a call or of one record: [`Status`].

/// The result of a call, or of one record of a batch.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// Everything that the outcome does not list as failed is durable at the destination.
    pub const OK: Self = Self(0);
    /// Worth trying again: network, overload, rate limit.
    pub const TRANSIENT: Self = Self(1);
    /// These records can never succeed.
    pub const INVALID_DATA: Self = Self(2);
    /// The connector cannot go on: credentials, configuration, a missing table.
    pub const FATAL: Self = Self(3);
    /// The author's code panicked.
    pub const PANICKED: Self = Self(4);
    /// The call ended on request, with an effect that nobody knows: a consume's records count as undelivered and may be handed over
    /// again, a poll returned nothing, a settle or flush is repeated. Only of a call that was cancelled; of any other it breaks
    /// the contract.
    pub const CANCELLED: Self = Self(5);
    /// One side broke the contract.
    pub const CONTRACT: Self = Self(6);

    /// The status in words; an unknown number is `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OK => "ok",
            Self::TRANSIENT => "transient",
            Self::INVALID_DATA => "invalid data",
            Self::FATAL => "fatal",
            Self::PANICKED => "panicked",
            Self::CANCELLED => "cancelled",
            Self::CONTRACT => "contract",
            _ => "unknown",
        }
    }
}
