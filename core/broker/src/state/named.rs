//! Things that have a number and a unique name: streams, topics of a stream, groups of a topic. Numbers are
//! never used twice, so that nothing stored under one can turn up under its successor.

use std::collections::{BTreeMap, HashMap};

use iggy_binary_protocol::WireIdentifier;

#[derive(Debug, Clone)]
pub(crate) struct Named<T> {
    entries: BTreeMap<u32, (String, T)>,
    ids: HashMap<String, u32>,
    next: u32,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            ids: HashMap::new(),
            next: 0,
        }
    }
}

impl<T> Named<T> {
    /// The number the next new entry gets.
    pub(crate) fn next_id(&self) -> u32 {
        self.next
    }

    /// Makes sure that numbers below `next` are not given again.
    pub(crate) fn reserve(&mut self, next: u32) {
        self.next = self.next.max(next);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn contains_name(&self, name: &str) -> bool {
        self.ids.contains_key(name)
    }

    pub(crate) fn insert(&mut self, id: u32, name: String, entry: T) {
        self.reserve(id.saturating_add(1));
        self.ids.insert(name.clone(), id);
        self.entries.insert(id, (name, entry));
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<T> {
        let (name, entry) = self.entries.remove(&id)?;
        self.ids.remove(&name);
        Some(entry)
    }

    pub(crate) fn rename(&mut self, id: u32, name: String) {
        let Some((old, _)) = self.entries.get_mut(&id) else {
            return;
        };
        self.ids.remove(old);
        old.clone_from(&name);
        self.ids.insert(name, id);
    }

    /// The number behind a number or a name.
    pub(crate) fn resolve(&self, identifier: &WireIdentifier) -> Option<u32> {
        match identifier {
            WireIdentifier::Numeric(id) => self.entries.contains_key(id).then_some(*id),
            WireIdentifier::String(name) => self.ids.get(name.as_str()).copied(),
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.entries.get(&id).map(|(_, entry)| entry)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.entries.get_mut(&id).map(|(_, entry)| entry)
    }

    pub(crate) fn name(&self, id: u32) -> Option<&str> {
        self.entries.get(&id).map(|(name, _)| name.as_str())
    }

    /// Number, name and entry of each, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &str, &T)> {
        self.entries
            .iter()
            .map(|(id, (name, entry))| (*id, name.as_str(), entry))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.values_mut().map(|(_, entry)| entry)
    }
}
