//! What a group's error says of one of its calls: [`share`]; and of calls that were not tried: [`whole`].

use crate::{Class, Error, Scope};

/// The records of one call in a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) len: usize,
    /// A position outside the group is then told as one outside the call, so that the runtime says what is wrong.
    pub(super) is_last: bool,
}

impl Range {
    /// The position in the call of a position in the group.
    fn own(self, index: usize) -> Option<usize> {
        let own = index.checked_sub(self.start)?;
        (own < self.len || self.is_last).then_some(own)
    }
}

/// What an error of the whole group says of the call with these records, with positions in the call.
pub(super) fn share(error: &Error, range: Range) -> Result<(), Error> {
    let own = match error.scope() {
        Scope::Batch => return Err(error.clone()),
        Scope::Records(records) => {
            let own: Vec<_> = records
                .iter()
                .filter_map(|record| Some((range.own(record.index)?, record)))
                .collect();
            if own.is_empty() {
                return Ok(());
            }
            let is_retried = own
                .iter()
                .any(|(_, record)| record.class == Class::Transient);
            let own = own.into_iter().map(|(index, record)| {
                let error = Error::of_class(record.class, record.message.clone());
                (index, error)
            });
            let own = Error::failed(own);
            if !is_retried {
                return Err(own);
            }
            own
        }
        Scope::From(first) => {
            let Some(first) = range.own((*first).max(range.start)) else {
                return Ok(());
            };
            return Err(Error::failed_from(first, whole(error)));
        }
    };
    Err(match error.retry_after() {
        Some(delay) => own.with_retry_after(delay),
        None => own,
    })
}

/// The same error of a batch as a whole: nothing of it was written.
pub(super) fn whole(error: &Error) -> Error {
    let whole = Error::of_class(error.class(), error.to_string());
    match error.retry_after() {
        Some(delay) => whole.with_retry_after(delay),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What calls of 2, 3 and 1 records get of an error.
    fn shares(error: &Error) -> [Result<(), Error>; 3] {
        [(0, 2, false), (2, 3, false), (5, 1, true)].map(|(start, len, is_last)| {
            let range = Range {
                start,
                len,
                is_last,
            };
            share(error, range)
        })
    }

    fn named(share: &Result<(), Error>) -> Vec<(usize, Class, &str)> {
        let Err(error) = share else { return Vec::new() };
        let Scope::Records(records) = error.scope() else {
            panic!("{error:?}")
        };
        let named = records.iter();
        named
            .map(|it| (it.index, it.class, it.message.as_str()))
            .collect()
    }

    #[test]
    fn each_call_gets_the_records_that_are_its_own() {
        let error = Error::failed([
            (1, Error::invalid("bad")),
            (4, Error::transient("busy")),
            (2, Error::invalid("worse")),
        ])
        .with_retry_after(Duration::from_secs(2));
        let [first, second, third] = shares(&error);
        assert_eq!(named(&first), [(1, Class::Invalid, "bad")]);
        assert_eq!(
            named(&second),
            [(2, Class::Transient, "busy"), (0, Class::Invalid, "worse")]
        );
        assert_eq!(third, Ok(()));
        assert_eq!(first.unwrap_err().retry_after(), None);
        let second = second.unwrap_err();
        assert_eq!(second.retry_after(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_failed_suffix_begins_in_one_call_and_takes_all_later_ones() {
        let busy = Error::transient("busy").with_retry_after(Duration::from_secs(1));
        let [first, second, third] = shares(&Error::failed_from(3, busy.clone()));
        assert_eq!(first, Ok(()));
        assert_eq!(second, Err(Error::failed_from(1, busy.clone())));
        assert_eq!(third, Err(Error::failed_from(0, busy)));
    }

    #[test]
    fn a_failure_of_the_whole_is_everyones() {
        let error = Error::transient("down");
        assert_eq!(shares(&error), [0; 3].map(|_| Err(error.clone())));
    }

    #[test]
    fn a_position_outside_the_group_is_outside_the_last_call() {
        let outside = Error::failed([(6, Error::invalid("nobody"))]);
        let [first, second, third] = shares(&outside);
        assert_eq!((first, second), (Ok(()), Ok(())));
        assert_eq!(named(&third), [(1, Class::Invalid, "nobody")]);
        let [_, _, third] = shares(&Error::failed_from(9, Error::invalid("nobody")));
        assert_eq!(third.unwrap_err().scope(), &Scope::From(4));
    }
}
