//! What a sink implements: [`Sink`], the [`Batch`] that it may see without a copy, and the [`Input`]s that it may propose.

mod batch;
mod materialised;
mod scratch;

pub use batch::{Batch, Message, Messages};
pub use materialised::Materialised;

pub use crate::streams::Input;

use async_trait::async_trait;

use crate::{ConsumedMessage, Error, MessagesMetadata, TopicMetadata};

/// Takes messages out of Iggy.
///
/// The runtime opens a sink once, hands it batches, asks it to flush, and closes it. A batch counts as delivered when
/// [`Sink::consume`] returns `Ok`: return it only when every message is durable at the destination. An error says by its
/// [class](crate::Class) what the runtime does: try again, apply the connector's error policy, or stop.
///
/// Calls of `consume` may overlap when they carry different partitions, and within [`Sink::max_unsettled`] also when they carry the
/// same; those begin in the order of the batches. A call may be dropped at any `await` when it is
/// cancelled or misses its deadline; its batch is handed over again.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink",
    label = "`Sink` is not implemented",
    note = "implement `iggy_connector_sdk::Sink`, or use `source_connector!` if this is a source"
)]
pub trait Sink: Send + Sync {
    /// Sets the sink up, before its first batch: connects, checks credentials, creates what is missing.
    async fn open(&mut self) -> Result<(), Error>;

    /// Delivers one batch: messages of one partition, in order.
    async fn consume(
        &self,
        topic_metadata: &TopicMetadata,
        messages_metadata: MessagesMetadata,
        messages: Vec<ConsumedMessage>,
    ) -> Result<(), Error>;

    /// Delivers one batch as it lies in the runtime's memory, without a copy.
    ///
    /// Override it in a sink that forwards bytes; the default decodes every message and calls [`Sink::consume`]. A message
    /// that does not decode is reported as invalid, by its position, and the rest is still consumed.
    async fn consume_batch(&self, batch: Batch<'_>) -> Result<(), Error> {
        let Materialised {
            topic,
            metadata,
            messages,
            rejected,
        } = batch.materialise();
        if messages.is_empty() {
            return rejected.merge(Ok(()));
        }
        let result = self.consume(&topic, metadata, messages).await;
        rejected.merge(result)
    }

    /// Makes everything handed over so far durable, so that the calls of [`Sink::consume`] that wait for it return. Every one that was
    /// made before has begun. Only sinks that buffer have something to do.
    async fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Tells whether the destination can be reached. Called every now and then.
    async fn health_check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Gives back what [`Sink::open`] took. No call follows it.
    async fn close(&mut self) -> Result<(), Error>;

    /// How many batches of one partition the runtime may hand over before the first has returned. More than one only for a
    /// sink whose order within a partition does not matter, or that keeps it by itself: of two batches that it has at once it does not
    /// write the second when the first has failed, as [`crate::kit::Batcher`] does. What the runtime hands over after a call has returned with
    /// a failure, and before it knows of it, never reaches `consume`.
    fn max_unsettled(&self) -> u32 {
        1
    }

    /// Whether a second instance must not run beside this one, for example during a restart.
    fn exclusive(&self) -> bool {
        false
    }

    /// What the sink reads where its configuration does not say: asked once when [`Sink::open`] has succeeded, and used if the
    /// connector has no `[[streams]]` at all. A single entry there takes the place of everything that is proposed.
    ///
    /// ```
    /// # use iggy_connector_sdk::{Schema, sink::Input};
    /// # struct Audit;
    /// # impl Audit {
    /// fn streams(&self) -> Vec<Input> {
    ///     vec![Input::new("audit", "events").with_topic("logins").with_schema(Schema::Json).with_partitions(4)]
    /// }
    /// # }
    /// # assert_eq!(Audit.streams().len(), 1);
    /// ```
    ///
    /// The runtime checks proposals as it checks a file. One that it would refuse there stops the connector.
    fn streams(&self) -> Vec<Input> {
        Vec::new()
    }
}
