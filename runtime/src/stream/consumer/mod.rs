//! Reads the topics of a sink: the pipeline's `Consumer`. One connection, and on it one member of a consumer group per input and
//! topic.
//!
//! The client's own consumer is not used: it repeats a batch until its offset is stored, sleeps between polls and filters what
//! comes again. Here the assignment is read from the broker, each partition is polled from its own cursor, and stores follow
//! what the pipeline has settled. Requests are made one after another by one loop, so that none is ever dropped half-way.

mod exclusive;
mod extent;
mod member;
mod offsets;
mod partition;
mod reply;
mod schedule;
mod session;
mod starts;

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::{member::Member, session::Session};
pub use self::{
    offsets::{Move, NotMoved, Offsets, Place, Reset, Selection, Standing},
    starts::Starts,
};
use super::{
    client::Client,
    topics::{self, Missing},
};
use crate::{
    config::spec::{self, Delivery},
    pipeline::{self, Failure, Gauge, Handout, Position, StateStore},
};

/// Reads the topics of one sink over a connection of its own.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    members: Vec<Member>,
    reading: Reading,
    gauge: Option<Arc<dyn Gauge>>,
}

/// How a sink reads, whatever the topic.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// How often settled offsets are stored.
    pub commit_interval: Duration,
    pub delivery: Delivery,
    /// Refuses to read beside another member of a group.
    pub exclusive: bool,
}

impl Consumer {
    /// Makes sure that every input's topics exist and joins their groups, which are made when missing.
    ///
    /// # Errors
    ///
    /// The broker could not be asked, or a topic is missing that may not be created.
    pub async fn join(
        client: Client,
        inputs: &[spec::Input],
        reading: Reading,
        starts: &mut Starts<impl StateStore>,
    ) -> Result<Self, Failure> {
        let mut members = Vec::new();
        let mut known = HashSet::new();
        for (number, input) in inputs.iter().enumerate() {
            for topic in &input.topics {
                if !known.insert((&input.stream, topic, &input.consumer_group)) {
                    return Err(Failure::fatal(format!(
                        "topic {}/{topic} is listed twice for consumer group `{}`",
                        input.stream, input.consumer_group
                    )));
                }
                let member = Member::new(number, input, topic)?;
                let missing = Missing::new(input.create, input.partitions);
                let partitions = topics::ensure(&client, &member.name, missing).await?;
                members.push((member, partitions));
            }
        }
        if reading.exclusive {
            for (member, _) in &members {
                exclusive::look(&client, member).await?;
            }
        }
        let has_begun: Vec<_> = members
            .iter()
            .map(|(member, _)| starts.has_begun(member))
            .collect();
        let counted: Vec<_> = members
            .iter()
            .map(|(member, partitions)| (member, *partitions))
            .collect();
        starts.resolve(&client, &counted).await?;
        let members: Vec<_> = members.into_iter().map(|(member, _)| member).collect();
        for (member, has_begun) in members.iter().zip(has_begun) {
            if member.join(&client).await? && has_begun {
                warn!(%member, "Iggy knows nothing of the group any more: the topic was made anew or the group deleted; reading from the first message");
            }
        }
        if reading.exclusive {
            exclusive::settle(&client, &members).await?;
        }
        let all: Vec<_> = members.iter().collect();
        starts.apply(&client, &all).await?;
        Ok(Self {
            client,
            members,
            reading,
            gauge: None,
        })
    }

    /// Tells `gauge` how far it is.
    pub fn telling(self, gauge: Arc<dyn Gauge>) -> Self {
        Self {
            gauge: Some(gauge),
            ..self
        }
    }
}

impl pipeline::Consumer for Consumer {
    async fn run(
        self,
        batches: mpsc::Sender<Handout>,
        settled: mpsc::Receiver<Position>,
        most: usize,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let mut session = Session::new(
            &self.client,
            self.members,
            settled,
            self.reading,
            most,
            self.gauge,
        );
        let consumed = session.consume(&batches, &stop).await;
        drop(batches);
        let finished = session.finish().await;
        self.client.close().await;
        consumed.and(finished)
    }
}
