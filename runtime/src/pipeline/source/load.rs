//! One polled batch from its poll to its result: what is left to send, and what becomes of the rest.

use std::time::Duration;

use iggy_connector_message::{Schema, TopicMetadata};

use super::{Output, routes::Routes};
use crate::pipeline::{
    Produced, Rejected, Unsent,
    dead_letter::{Place, Reason},
    policy::{INVALID, Undeliverable},
};

/// A polled batch. What is neither sent nor failed of it was filtered out.
#[derive(Default)]
pub(super) struct Load {
    /// What is to be sent, each with its output's number: in poll order for each output.
    pub(super) messages: Vec<(usize, Produced)>,
    /// The same messages by where they came from; it stays when they are sent.
    sent: Vec<Origin>,
    pub(super) failed: Vec<Failed>,
    /// By position in the batch, as they were polled; empty where no stage changes anything.
    originals: Vec<Produced>,
    pub(super) received: usize,
    /// How much of the time was spent on decoding.
    pub(super) decoding: Duration,
}

#[derive(Clone, Copy)]
struct Origin {
    /// Position in the batch.
    index: usize,
    output: usize,
}

/// A message that will not be sent.
pub(super) struct Failed {
    index: usize,
    /// `None`: no output goes by its route.
    output: Option<usize>,
    stage: &'static str,
    code: &'static str,
    error: String,
    attempts: u32,
    original: Produced,
}

/// How much of a batch was sent, and what became of the rest.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) sent: usize,
    pub(super) filtered: usize,
    pub(super) failed: usize,
    /// By rising position.
    pub(super) undelivered: Vec<(u32, Unsent)>,
}

impl Load {
    /// Routes, decodes, transforms and encodes.
    pub(super) fn new(
        outputs: &[Output],
        routes: &Routes,
        schema: Schema,
        messages: Vec<Produced>,
    ) -> Self {
        let mut load = Self {
            received: messages.len(),
            ..Self::default()
        };
        let is_untouched = |output: &Output| output.stages.leaves_untouched(schema);
        match outputs.iter().all(is_untouched) {
            true => load.take(routes, messages),
            false => load.change(outputs, routes, schema, messages),
        }
        load
    }

    /// Where no stage changes anything.
    fn take(&mut self, routes: &Routes, messages: Vec<Produced>) {
        self.messages.reserve_exact(messages.len());
        self.sent.reserve_exact(messages.len());
        for (index, message) in messages.into_iter().enumerate() {
            if let Some((output, message)) = self.route(routes, index, message) {
                self.sent.push(Origin { index, output });
                self.messages.push((output, message));
            }
        }
    }

    fn change(
        &mut self,
        outputs: &[Output],
        routes: &Routes,
        schema: Schema,
        messages: Vec<Produced>,
    ) {
        // The bytes are shared.
        self.originals = messages.clone();
        let mut routed: Vec<Vec<_>> = outputs.iter().map(|_| Vec::new()).collect();
        for (index, message) in messages.into_iter().enumerate() {
            if let Some((output, message)) = self.route(routes, index, message) {
                routed[output].push((index, message));
            }
        }
        for (number, (output, messages)) in outputs.iter().zip(routed).enumerate() {
            self.stage(number, output, schema, messages);
        }
    }

    /// The message's output. One that can go nowhere has failed.
    fn route(
        &mut self,
        routes: &Routes,
        index: usize,
        message: Produced,
    ) -> Option<(usize, Produced)> {
        match routes.find(message.route.as_deref()) {
            Ok(output) => Some((output, message)),
            Err(error) => {
                self.failed.push(Failed {
                    index,
                    output: None,
                    stage: "deliver",
                    code: INVALID,
                    error,
                    attempts: 1,
                    original: message,
                });
                None
            }
        }
    }

    fn stage(
        &mut self,
        number: usize,
        output: &Output,
        schema: Schema,
        messages: Vec<(usize, Produced)>,
    ) {
        let prepared = output.stages.produced(&output.topic, schema, messages);
        self.decoding += prepared.decoding;
        for Rejected {
            index,
            stage,
            message,
        } in prepared.rejected
        {
            self.failed.push(Failed {
                index,
                output: Some(number),
                stage,
                code: INVALID,
                error: message,
                attempts: 1,
                original: self.originals[index].clone(),
            });
        }
        self.sent
            .extend(prepared.messages.iter().map(|(index, _)| Origin {
                index: *index,
                output: number,
            }));
        let messages = prepared.messages.into_iter();
        self.messages
            .extend(messages.map(|(_, message)| (number, message)));
    }

    /// Notes what Iggy will never take. Positions are those in what was to be sent.
    pub(super) fn reject(&mut self, rejected: Vec<(Rejected, Produced)>, attempts: u32) {
        for (rejected, message) in rejected {
            let failed = self.failed(rejected.index, message);
            self.failed.push(Failed {
                stage: rejected.stage,
                error: rejected.message,
                attempts,
                ..failed
            });
        }
    }

    /// Notes what Iggy has not taken, and what will not be tried again.
    pub(super) fn give_up(
        &mut self,
        given_up: Vec<(usize, Produced)>,
        code: &'static str,
        error: &str,
        attempts: u32,
    ) {
        for (position, message) in given_up {
            let failed = self.failed(position, message);
            self.failed.push(Failed {
                code,
                error: error.to_owned(),
                attempts,
                ..failed
            });
        }
    }

    fn failed(&self, position: usize, message: Produced) -> Failed {
        let Origin { index, output } = self.sent[position];
        Failed {
            index,
            output: Some(output),
            stage: "deliver",
            code: INVALID,
            error: String::new(),
            attempts: 1,
            original: self.originals.get(index).cloned().unwrap_or(message),
        }
    }

    /// What the policy is asked about. `nowhere` is the topic of messages whose route is unknown.
    pub(super) fn undeliverable<'a>(
        &'a self,
        outputs: &'a [Output],
        nowhere: &'a TopicMetadata,
    ) -> Vec<Undeliverable<'a>> {
        let undeliverable = |failed: &'a Failed| Undeliverable {
            original: failed.original.clone(),
            place: Place {
                topic: failed
                    .output
                    .map_or(nowhere, |output| &outputs[output].topic),
                partition_and_offset: None,
            },
            reason: Reason {
                stage: failed.stage,
                code: failed.code,
                error: &failed.error,
                attempts: failed.attempts,
            },
        };
        self.failed.iter().map(undeliverable).collect()
    }

    /// Adds up. `unsent` says what becomes of a message that failed with this code.
    pub(super) fn sum(&self, unsent: impl Fn(&'static str) -> Unsent) -> Sum {
        if self.sent.len() == self.received && self.failed.is_empty() {
            return Sum {
                sent: self.received,
                ..Sum::default()
            };
        }
        let mut fates = vec![Some(Unsent::Filtered); self.received];
        for origin in &self.sent {
            fates[origin.index] = None;
        }
        for failed in &self.failed {
            fates[failed.index] = Some(unsent(failed.code));
        }
        let undelivered: Vec<_> = (0..)
            .zip(fates)
            .filter_map(|(index, fate)| Some((index, fate?)))
            .collect();
        let failed = self.failed.len();
        Sum {
            sent: self.received - undelivered.len(),
            filtered: undelivered.len() - failed,
            failed,
            undelivered,
        }
    }
}
