//! Completions as plugins may make them: in time, twice, at once, mixed up, invented.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use iggy_connector_abi::{Outcome, Slice, instance};

use super::{super::Traits, *};

/// Counts itself when it is dropped.
struct Lent(Arc<AtomicUsize>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Test {
    completion: Completion<abi::Nothing>,
    answers: mpsc::Receiver<Answer<()>>,
    freed: Arc<AtomicUsize>,
}

/// An open call of an instance that no other test uses.
fn open(instance: u32, call: u64) -> Test {
    let (sender, answers) = mpsc::channel();
    let freed = Arc::new(AtomicUsize::new(0));
    let pending = Call::<()> {
        records: 0,
        lent: Some(Box::new(Lent(freed.clone()))),
        deliver: Box::new(move |answer| sender.send(answer).expect("the test waits")),
    };
    let completion = register(instance, call, pending).expect("a free number");
    Test {
        completion,
        answers,
        freed,
    }
}

fn finish<T>(completion: Completion<T>, outcome: &Outcome) {
    // SAFETY: what the table promises to survive, and an outcome that lives long enough.
    unsafe { (completion.complete)(completion.context, outcome, std::ptr::null()) }
}

const OK: Outcome = Outcome::new(Status::OK, Slice::EMPTY);

#[test]
fn a_completion_ends_its_call_and_frees_what_was_lent() {
    let test = open(u32::MAX, 0);
    assert_eq!(test.freed.load(Ordering::SeqCst), 0);
    finish(test.completion, &OK);
    assert_eq!(test.freed.load(Ordering::SeqCst), 1);
    let (outcome, value) = test.answers.recv().unwrap().unwrap();
    assert_eq!((outcome.status, value), (Status::OK, Some(())));
}

#[test]
fn further_completions_find_nothing() {
    let test = open(u32::MAX - 1, 0);
    for _ in 0..3 {
        finish(test.completion, &OK);
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let completion = test.completion;
            std::thread::spawn(move || finish(completion, &OK))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(test.freed.load(Ordering::SeqCst), 1);
    assert_eq!(test.answers.iter().count(), 1);
}

#[test]
fn of_threads_that_complete_at_once_one_ends_the_call() {
    for call in 0..50 {
        let test = open(u32::MAX - 2, call);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| finish(test.completion, &OK));
            }
        });
        assert_eq!(test.freed.load(Ordering::SeqCst), 1);
        assert_eq!(test.answers.iter().count(), 1);
    }
}

#[test]
fn another_calls_function_ends_a_call_as_broken_and_keeps_what_was_lent() {
    let test = open(u32::MAX - 3, 0);
    let mixed = Completion::<instance::Traits> {
        context: test.completion.context,
        complete: complete::<Traits>,
    };
    finish(mixed, &OK);
    let error = test.answers.recv().unwrap().unwrap_err();
    assert!(error.how.contains("another call's function"), "{error:?}");
    assert!(!error.was_ok);
    assert_eq!(test.freed.load(Ordering::SeqCst), 0);
}

#[test]
fn invented_contexts_are_ignored() {
    for context in [0, 1, usize::MAX - 7] {
        let invented = Completion::<abi::Nothing> {
            context: ptr::without_provenance_mut(context),
            complete: complete::<()>,
        };
        finish(invented, &OK);
    }
}

#[test]
fn a_number_that_is_taken_is_not_given_again() {
    let test = open(u32::MAX - 4, 7);
    // The lower half of the number has come round.
    let again = Call::<()> {
        records: 0,
        lent: None,
        deliver: Box::new(|_| ()),
    };
    assert!(register(u32::MAX - 4, 7 + (1 << 32), again).is_none());
    finish(test.completion, &OK);
    assert!(test.answers.recv().unwrap().is_ok());
}

#[test]
fn a_panic_of_ours_does_not_leave_the_completion() {
    let pending = Call::<()> {
        records: 0,
        lent: None,
        deliver: Box::new(|_| panic!("boom")),
    };
    let completion = register(u32::MAX - 5, 0, pending).unwrap();
    finish(completion, &OK);
}
