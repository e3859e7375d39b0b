//! Whatever happens, a condensed journal leads to the same catalog as the long one.

use proptest::prelude::*;

use super::*;
use crate::state::Change;
use iggy_binary_protocol::{WireName, WireOptions};
use iggy_common::{MaxTopicSize, TopicCreateOptions, TopicUpdateOptions};

fn numbered(id: u32) -> WireIdentifier {
    WireIdentifier::Numeric(id)
}

fn no_options() -> WireOptions {
    WireOptions::empty()
}

struct Fixture {
    catalog: Catalog,
    journal: Vec<Change>,
}

impl Fixture {
    fn new() -> Self {
        Self {
            catalog: Catalog::new(Duration::ZERO),
            journal: Vec::new(),
        }
    }

    fn accept(&mut self, proposed: Result<Change, IggyError>) -> Result<(), IggyError> {
        let change = proposed?;
        self.journal.push(change.clone());
        self.catalog.apply(change, Instant::now());
        Ok(())
    }
}

fn replay(changes: &[Change]) -> Catalog {
    let mut catalog = Catalog::new(Duration::ZERO);
    for change in changes {
        let record = serde_json::to_vec(change).unwrap();
        catalog.apply(serde_json::from_slice(&record).unwrap(), Instant::now());
    }
    catalog
}

#[test]
fn names_and_numbers_find_the_same_thing() {
    let mut fixture = Fixture::new();
    let created = fixture.catalog.create_stream("a", &no_options(), 1);
    fixture.accept(created).unwrap();
    let created = fixture
        .catalog
        .create_topic(&numbered(0), "b", 2, &no_options(), 2);
    fixture.accept(created).unwrap();
    let named = |name: &str| WireIdentifier::String(WireName::new(name).unwrap());
    let by_name = fixture
        .catalog
        .partition(&named("a"), &named("b"), 1)
        .unwrap();
    let by_number = fixture
        .catalog
        .partition(&numbered(0), &numbered(0), 1)
        .unwrap();
    assert_eq!(by_name, by_number);
    assert_eq!(by_name.log, 1);
    let missing = fixture.catalog.partition(&named("a"), &named("b"), 2);
    assert_eq!(missing, Err(no_partition()));
}

#[test]
fn numbers_are_not_given_twice_even_after_condensing() {
    let mut fixture = Fixture::new();
    for name in ["a", "b"] {
        let created = fixture.catalog.create_stream(name, &no_options(), 1);
        fixture.accept(created).unwrap();
    }
    let created = fixture
        .catalog
        .create_topic(&numbered(0), "t", 3, &no_options(), 1);
    fixture.accept(created).unwrap();
    let created = fixture
        .catalog
        .create_group(&numbered(0), &numbered(0), "g");
    fixture.accept(created).unwrap();
    for deleted in [
        fixture
            .catalog
            .delete_group(&numbered(0), &numbered(0), &numbered(0)),
        fixture.catalog.delete_stream(&numbered(1)),
    ] {
        fixture.accept(deleted).unwrap();
    }
    let mut condensed = replay(&fixture.catalog.snapshot());
    let Ok(Change::StreamCreated { id, .. }) = condensed.create_stream("c", &no_options(), 1)
    else {
        panic!("refused");
    };
    assert_eq!(id, 2);
    let group = condensed
        .create_group(&numbered(0), &numbered(0), "g")
        .unwrap();
    assert!(
        matches!(group, Change::GroupCreated { id: 1, .. }),
        "{group:?}"
    );
    condensed.apply(Change::TopicDeleted { stream: 0, id: 0 }, Instant::now());
    let topic = condensed
        .create_topic(&numbered(0), "t", 1, &no_options(), 1)
        .unwrap();
    let Change::TopicCreated { id, partitions, .. } = topic else {
        panic!("refused");
    };
    assert_eq!((id, partitions[0].log), (1, 3));
}

#[derive(Debug, Clone)]
enum Step {
    CreateStream(u8),
    RenameStream(u32, u8),
    DeleteStream(u32),
    CreateTopic(u32, u8, u32),
    UpdateTopic(u32, u32, u8, u64),
    DeleteTopic(u32, u32),
    PurgeTopic(u32, u32),
    AddPartitions(u32, u32, u32),
    RemovePartitions(u32, u32, u32),
    CreateGroup(u32, u32, u8),
    DeleteGroup(u32, u32, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (id, name, count) = (0..4u32, 0..6u8, 0..5u32);
    let topic = (id.clone(), id.clone());
    let step = prop_oneof![
        4 => name.clone().prop_map(Step::CreateStream),
        1 => (id.clone(), name.clone()).prop_map(|(id, name)| Step::RenameStream(id, name)),
        1 => id.clone().prop_map(Step::DeleteStream),
        6 => (id.clone(), name.clone(), count.clone()).prop_map(|(id, name, count)| Step::CreateTopic(id, name, count)),
        1 => (topic.clone(), name.clone(), 1..100u64).prop_map(|((s, t), name, size)| Step::UpdateTopic(s, t, name, size << 20)),
        1 => topic.clone().prop_map(|(s, t)| Step::DeleteTopic(s, t)),
        1 => topic.clone().prop_map(|(s, t)| Step::PurgeTopic(s, t)),
        2 => (topic.clone(), count.clone()).prop_map(|((s, t), count)| Step::AddPartitions(s, t, count)),
        2 => (topic.clone(), count).prop_map(|((s, t), count)| Step::RemovePartitions(s, t, count)),
        3 => (topic.clone(), name).prop_map(|((s, t), name)| Step::CreateGroup(s, t, name)),
        1 => (topic, id).prop_map(|((s, t), group)| Step::DeleteGroup(s, t, group)),
    ];
    prop::collection::vec(step, 0..80)
}

fn propose(catalog: &Catalog, step: &Step) -> Result<Change, IggyError> {
    let name = |name: u8| format!("name-{name}");
    match *step {
        Step::CreateStream(n) => catalog.create_stream(&name(n), &no_options(), 5),
        Step::RenameStream(s, n) => catalog.update_stream(&numbered(s), &name(n), &no_options()),
        Step::DeleteStream(s) => catalog.delete_stream(&numbered(s)),
        Step::CreateTopic(s, n, count) => {
            let options = TopicCreateOptions::default().to_wire().unwrap();
            catalog.create_topic(&numbered(s), &name(n), count, &options, 6)
        }
        Step::UpdateTopic(s, t, n, size) => {
            let options = TopicUpdateOptions {
                max_topic_size: Some(MaxTopicSize::from(size)),
                ..TopicUpdateOptions::default()
            };
            catalog.update_topic(
                &numbered(s),
                &numbered(t),
                &name(n),
                &options.to_wire().unwrap(),
            )
        }
        Step::DeleteTopic(s, t) => catalog.delete_topic(&numbered(s), &numbered(t)),
        Step::PurgeTopic(s, t) => catalog.purge_topic(&numbered(s), &numbered(t)),
        Step::AddPartitions(s, t, count) => {
            catalog.create_partitions(&numbered(s), &numbered(t), count, 7)
        }
        Step::RemovePartitions(s, t, count) => {
            catalog.delete_partitions(&numbered(s), &numbered(t), count)
        }
        Step::CreateGroup(s, t, n) => catalog.create_group(&numbered(s), &numbered(t), &name(n)),
        Step::DeleteGroup(s, t, group) => {
            catalog.delete_group(&numbered(s), &numbered(t), &numbered(group))
        }
    }
}

proptest! {
    #[test]
    fn journal_and_condensed_journal_lead_to_the_same_catalog(steps in steps()) {
        let mut fixture = Fixture::new();
        for step in &steps {
            let proposed = propose(&fixture.catalog, step);
            let _ = fixture.accept(proposed);
        }
        let expected = fixture.catalog.snapshot();
        prop_assert_eq!(&replay(&fixture.journal).snapshot(), &expected);
        prop_assert_eq!(&replay(&expected).snapshot(), &expected);
        let mut logs: Vec<_> = fixture.catalog.partitions().map(|partition| partition.log).collect();
        let count = logs.len();
        logs.sort_unstable();
        logs.dedup();
        prop_assert_eq!(logs.len(), count, "two partitions share a log");
        prop_assert!(logs.iter().all(|log| *log < fixture.catalog.next_log()));
    }
}
