//! The plugin's spans: which instance a line comes from, and the fields it stands in. [`Spans`], [`current`].

use std::{
    cell::RefCell,
    collections::BTreeMap,
    num::NonZeroU64,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{
    Metadata,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_core::span::Current;

use super::{INSTANCE, fields::Fields};
use crate::export::calls::lock;

thread_local! {
    /// The spans that this thread is in, the innermost last.
    static ENTERED: RefCell<Vec<Arc<Span>>> = const { RefCell::new(Vec::new()) };
}

/// Every span that is alive.
#[derive(Default)]
pub(super) struct Spans {
    alive: Mutex<BTreeMap<u64, Arc<Span>>>,
    last: AtomicU64,
}

/// One span.
pub(super) struct Span {
    id: Id,
    metadata: &'static Metadata<'static>,
    /// 0 when no task of an instance made it.
    instance: u32,
    /// Members of a JSON object.
    fields: Mutex<String>,
    parent: Option<Arc<Span>>,
    /// Of the handles to it.
    handles: AtomicU64,
}

impl Spans {
    pub(super) fn add(&self, attributes: &Attributes<'_>) -> Id {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let id = Id::from_non_zero_u64(NonZeroU64::new(number).unwrap_or(NonZeroU64::MAX));
        let parent = match attributes.parent() {
            Some(parent) => self.get(parent),
            None if attributes.is_contextual() => current(),
            None => None,
        };
        let span = Span::new(id.clone(), attributes, parent);
        lock(&self.alive).insert(id.into_u64(), Arc::new(span));
        id
    }

    pub(super) fn record(&self, id: &Id, values: &Record<'_>) {
        let Some(span) = self.get(id) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        span.add_fields(fields);
    }

    pub(super) fn enter(&self, id: &Id) {
        let Some(span) = self.get(id) else { return };
        // During a thread's end its locals are gone; its lines then come from nowhere.
        let _ = ENTERED.try_with(|entered| entered.borrow_mut().push(span));
    }

    pub(super) fn share(&self, id: &Id) -> Id {
        if let Some(span) = self.get(id) {
            span.handles.fetch_add(1, Ordering::Relaxed);
        }
        id.clone()
    }

    /// Gives one handle back. Returns whether it was the last.
    pub(super) fn release(&self, id: &Id) -> bool {
        let mut alive = lock(&self.alive);
        let Some(span) = alive.get(&id.into_u64()) else {
            return false;
        };
        if span.handles.fetch_sub(1, Ordering::Relaxed) > 1 {
            return false;
        }
        let span = alive.remove(&id.into_u64());
        drop(alive);
        drop(span);
        true
    }

    fn get(&self, id: &Id) -> Option<Arc<Span>> {
        lock(&self.alive).get(&id.into_u64()).map(Arc::clone)
    }
}

impl Span {
    fn new(id: Id, attributes: &Attributes<'_>, parent: Option<Arc<Self>>) -> Self {
        let metadata = attributes.metadata();
        let mut span = Self {
            id,
            metadata,
            instance: parent.as_ref().map_or(0, |parent| parent.instance),
            fields: Mutex::default(),
            parent,
            handles: AtomicU64::new(1),
        };
        if metadata.target() == INSTANCE {
            attributes.record(&mut Instance(&mut span.instance));
        } else {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.add_fields(fields);
        }
        span
    }

    pub(super) fn instance(&self) -> u32 {
        self.instance
    }

    /// Adds the fields of this span and of those around it, the outermost first.
    pub(super) fn write_fields(&self, fields: &mut Fields) {
        if let Some(parent) = &self.parent {
            parent.write_fields(fields);
        }
        fields.extend(&lock(&self.fields));
    }

    pub(super) fn as_current(&self) -> Current {
        Current::new(self.id.clone(), self.metadata)
    }

    fn add_fields(&self, added: Fields) {
        let mut fields = lock(&self.fields);
        let mut all = Fields::default();
        all.extend(&fields);
        all.extend(&added.into_members());
        *fields = all.into_members();
    }
}

/// The span that this thread is in.
pub(super) fn current() -> Option<Arc<Span>> {
    ENTERED
        .try_with(|entered| entered.borrow().last().map(Arc::clone))
        .ok()
        .flatten()
}

/// Leaves a span. Spans of futures that run by turns need not be left in order.
pub(super) fn exit(id: &Id) {
    let left = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        let position = entered.iter().rposition(|span| span.id == *id)?;
        Some(entered.remove(position))
    });
    // Dropped here and not above: the last handle to a span must not be dropped while the list is borrowed.
    drop(left);
}

/// Takes the number out of an instance's span.
struct Instance<'a>(&'a mut u32);

impl Visit for Instance<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "instance" {
            *self.0 = u32::try_from(value).unwrap_or(0);
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}
