//! A batch copied and decoded for [`crate::Sink::consume`], and how its outcome is told in terms of the original batch.

use crate::{ConsumedMessage, Error, MessagesMetadata, Scope, TopicMetadata};

use super::Batch;

/// The messages of a [`Batch`] that decode, and those that do not.
#[derive(Clone, Debug)]
pub struct Materialised {
    /// Stream and topic.
    pub topic: TopicMetadata,
    /// Partition, offset and schema.
    pub metadata: MessagesMetadata,
    /// The messages that decode, in order.
    pub messages: Vec<ConsumedMessage>,
    /// The messages that do not.
    pub rejected: Rejected,
}

/// Messages of a batch that do not decode, by position.
#[derive(Clone, Debug, Default)]
pub struct Rejected {
    /// In rising order of position.
    records: Vec<(usize, Error)>,
    /// Length of the whole batch.
    batch_len: usize,
}

impl Materialised {
    pub(super) fn of(batch: &Batch<'_>) -> Self {
        let mut messages = Vec::with_capacity(batch.len());
        let mut records = Vec::new();
        for (index, message) in batch.messages().enumerate() {
            match message.materialise() {
                Ok(message) => messages.push(message),
                Err(error) => records.push((index, error)),
            }
        }
        Self {
            topic: batch.topic_metadata(),
            metadata: batch.messages_metadata(),
            messages,
            rejected: Rejected {
                records,
                batch_len: batch.len(),
            },
        }
    }
}

impl Rejected {
    /// Positions and reasons, in rising order.
    pub fn records(&self) -> &[(usize, Error)] {
        &self.records
    }

    /// Adds these messages to the outcome of the others, whose positions (those in [`Materialised::messages`]) become
    /// positions in the original batch.
    ///
    /// # Errors
    ///
    /// `result`'s, and one that names every rejected message. A failure of the batch as a whole stays one: the batch comes
    /// again, and so do its rejected messages.
    pub fn merge(self, result: Result<(), Error>) -> Result<(), Error> {
        if self.records.is_empty() {
            return result;
        }
        let Err(error) = result else {
            return Err(Error::failed(self.records));
        };
        let named = match error.scope() {
            Scope::Batch => return Err(error),
            Scope::Records(records) => records
                .iter()
                .map(|record| {
                    let error = Error::of_class(record.class, record.message.clone());
                    (self.original(record.index), error)
                })
                .collect(),
            Scope::From(first) => self.suffix(*first, &error),
        };
        let merged = Error::failed(named.into_iter().chain(self.records));
        Err(match error.retry_after() {
            Some(delay) => merged.with_retry_after(delay),
            None => merged,
        })
    }

    /// Every accepted message from position `first` on, with `error` as its reason.
    fn suffix(&self, first: usize, error: &Error) -> Vec<(usize, Error)> {
        let accepted = self.batch_len - self.records.len();
        // A suffix that begins outside the batch breaks the contract; naming the position lets the runtime say so.
        let end = accepted.max(first.saturating_add(1));
        (first..end)
            .map(|index| {
                let error = Error::of_class(error.class(), error.to_string());
                (self.original(index), error)
            })
            .collect()
    }

    /// The position in the original batch of the accepted message at `index`. One outside stays outside.
    fn original(&self, index: usize) -> usize {
        self.records.iter().fold(index, |position, (rejected, _)| {
            if *rejected <= position {
                position.saturating_add(1)
            } else {
                position
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    /// A batch of six of which 1 and 4 do not decode: accepted are 0, 2, 3, 5.
    fn rejected() -> Rejected {
        Rejected {
            records: vec![
                (1, Error::InvalidJsonPayload),
                (4, Error::InvalidJsonPayload),
            ],
            batch_len: 6,
        }
    }

    fn named(error: &Error) -> Vec<(usize, Class)> {
        let Scope::Records(records) = error.scope() else {
            panic!("{error:?}")
        };
        let mut named: Vec<_> = records.iter().map(|r| (r.index, r.class)).collect();
        named.sort_by_key(|(index, _)| *index);
        named
    }

    #[test]
    fn without_rejected_messages_the_result_is_untouched() {
        let none = Rejected::default();
        assert_eq!(none.clone().merge(Ok(())), Ok(()));
        let error = Error::failed_from(1, Error::InvalidRecord);
        assert_eq!(none.merge(Err(error.clone())), Err(error));
    }

    #[test]
    fn a_success_leaves_the_rejected_ones_failed() {
        let error = rejected().merge(Ok(())).unwrap_err();
        assert_eq!(named(&error), [(1, Class::Invalid), (4, Class::Invalid)]);
    }

    #[test]
    fn positions_of_failed_messages_are_those_of_the_original_batch() {
        let own = Error::failed([
            (0, Error::transient("busy")),
            (1, Error::transient("busy")),
            (2, Error::invalid("bad")),
            (3, Error::transient("busy")),
        ])
        .with_retry_after(std::time::Duration::from_secs(2));
        let error = rejected().merge(Err(own)).unwrap_err();
        assert_eq!(
            named(&error),
            [
                (0, Class::Transient),
                (1, Class::Invalid),
                (2, Class::Transient),
                (3, Class::Invalid),
                (4, Class::Invalid),
                (5, Class::Transient),
            ]
        );
        assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(2)));
    }

    #[test]
    fn a_failed_suffix_is_spelt_out_around_the_rejected_ones() {
        let own = Error::failed_from(2, Error::transient("busy"));
        let error = rejected().merge(Err(own)).unwrap_err();
        assert_eq!(
            named(&error),
            [
                (1, Class::Invalid),
                (3, Class::Transient),
                (4, Class::Invalid),
                (5, Class::Transient),
            ]
        );
    }

    #[test]
    fn a_failure_of_the_whole_batch_stays_one() {
        let own = Error::transient("down");
        assert_eq!(rejected().merge(Err(own.clone())), Err(own));
    }

    #[test]
    fn a_position_outside_the_batch_stays_outside() {
        let outside = Error::failed([(4, Error::InvalidRecord)]);
        let error = rejected().merge(Err(outside)).unwrap_err();
        assert_eq!(named(&error).last(), Some(&(6, Class::Invalid)));
        let outside = Error::failed_from(4, Error::InvalidRecord);
        let error = rejected().merge(Err(outside)).unwrap_err();
        assert_eq!(named(&error).last(), Some(&(6, Class::Invalid)));
    }
}
