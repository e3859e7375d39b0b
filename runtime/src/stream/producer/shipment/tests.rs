//! How messages are spread over requests, and what becomes of these.

use pipeline::Shipment as _;
use proptest::prelude::*;

use super::*;

fn message(id: u128, payload: usize, origin_timestamp: u64) -> Outgoing {
    Outgoing {
        id,
        origin_timestamp,
        headers: Bytes::new(),
        payload: vec![0; payload].into(),
        position: 0,
        key: None,
        added: 0,
    }
}

fn route(partitions: u32, batch_length: usize) -> Route {
    Route {
        partitions,
        unkeyed: partitions - 1,
        batch_length,
    }
}

/// Output, partition and ids of every request.
fn requests(shipment: &Shipment) -> Vec<(usize, u32, Vec<u128>)> {
    let chunks = shipment.unconfirmed.iter();
    chunks
        .map(|chunk| {
            let ids = chunk.messages.iter().map(|message| message.id).collect();
            (chunk.output, chunk.partition, ids)
        })
        .collect()
}

fn load(routes: Vec<Route>, messages: Vec<(usize, Outgoing, Option<u32>)>) -> Shipment {
    let mut loader = Loader::new(routes, messages.len());
    for (position, (output, message, key)) in messages.into_iter().enumerate() {
        let message = Outgoing {
            position: position as u32,
            key,
            ..message
        };
        loader.add(output, message);
    }
    loader.finish()
}

#[test]
fn messages_without_keys_fill_requests_of_one_partition() {
    let messages = (0..5).map(|id| (0, message(id, 1, 0), None)).collect();
    let shipment = load(vec![route(3, 2)], messages);
    let expected = [(0, 2, vec![0, 1]), (0, 2, vec![2, 3]), (0, 2, vec![4])];
    assert_eq!(requests(&shipment), expected);
}

#[test]
fn messages_are_grouped_by_output_and_partition_in_order() {
    let keys = [None, Some(0), Some(1), Some(3), None, Some(4)];
    let messages = keys
        .into_iter()
        .enumerate()
        .map(|(at, key)| (at % 2, message(at as u128, 1, 0), key))
        .collect();
    let shipment = load(vec![route(3, 10), route(2, 10)], messages);
    let expected = [
        (0, 2, vec![0, 4]),
        (1, 0, vec![1, 5]),
        (0, 1, vec![2]),
        (1, 1, vec![3]),
    ];
    let mut requests = requests(&shipment);
    requests.sort_by_key(|(_, _, ids)| ids[0]);
    // Key 3 of two partitions is 1, key 4 is 0.
    assert_eq!(requests, expected);
}

#[test]
fn a_request_is_bounded_in_bytes_and_one_message_may_be_larger() {
    let sizes = [MAX_CHUNK_BYTES - 100, 10, 100, 2 * MAX_CHUNK_BYTES, 1];
    let messages = sizes
        .into_iter()
        .enumerate()
        .map(|(at, size)| (0, message(at as u128, size, 0), None))
        .collect();
    let requests = requests(&load(vec![route(1, 100)], messages));
    let ids: Vec<_> = requests.into_iter().map(|(_, _, ids)| ids).collect();
    assert_eq!(ids, [vec![0], vec![1, 2], vec![3], vec![4]]);
}

#[test]
fn times_that_are_far_apart_go_out_in_requests_of_their_own() {
    let times = [
        5_000_000_000,
        5_000_000_000 + MAX_TIME_SPAN,
        1,
        2,
        u64::MAX,
        0,
    ];
    let messages = times
        .into_iter()
        .enumerate()
        .map(|(at, time)| (0, message(at as u128, 1, time), None))
        .collect();
    let requests = requests(&load(vec![route(1, 100)], messages));
    let ids: Vec<_> = requests.into_iter().map(|(_, _, ids)| ids).collect();
    assert_eq!(ids, [vec![0, 1], vec![2, 3], vec![4], vec![5]]);
}

#[test]
fn what_is_confirmed_is_not_sent_again() {
    let messages = (0..4).map(|id| (0, message(id, 1, 0), None)).collect();
    let mut shipment = load(vec![route(1, 2)], messages);
    assert_eq!(shipment.first().unwrap().messages.len(), 2);
    shipment.confirm_first();
    assert_eq!(requests(&shipment), [(0, 0, vec![2, 3])]);
    shipment.confirm_first();
    assert!(shipment.first().is_none());
}

#[test]
fn rerouting_moves_only_what_is_unconfirmed_of_its_output() {
    let messages = vec![
        (0, message(0, 1, 0), Some(5)),
        (1, message(1, 1, 0), Some(5)),
        (0, message(2, 1, 0), None),
        (0, message(3, 1, 0), Some(4)),
    ];
    let mut shipment = load(vec![route(6, 10), route(6, 10)], messages);
    assert!(shipment.needs(0));
    shipment.reroute(0, route(2, 10));
    assert_eq!(
        requests(&shipment),
        [(1, 5, vec![1]), (0, 1, vec![0, 2]), (0, 0, vec![3])]
    );
}

#[test]
fn messages_of_partitions_that_become_one_stand_in_their_order() {
    let messages = (0..6)
        .map(|id| (0, message(id, 1, 0), Some(id as u32 % 2)))
        .collect();
    let mut shipment = load(vec![route(2, 10)], messages);
    assert_eq!(requests(&shipment).len(), 2);
    shipment.reroute(0, route(1, 10));
    assert_eq!(requests(&shipment), [(0, 0, vec![0, 1, 2, 3, 4, 5])]);
}

#[test]
fn only_what_was_never_tried_follows_a_topic_that_has_other_partitions() {
    let messages = || vec![(0, message(0, 1, 0), Some(4))];
    let mut shipment = load(vec![route(3, 10)], messages());
    assert!(!shipment.is_outdated(0, 3) && shipment.is_outdated(0, 6));
    shipment.reroute(0, route(6, 10));
    assert_eq!(requests(&shipment), [(0, 4, vec![0])]);
    let mut shipment = load(vec![route(3, 10)], messages());
    shipment.begin();
    assert!(!shipment.is_outdated(0, 6));
}

#[test]
fn halves_of_a_request_are_encoded_anew() {
    let messages = (0..4).map(|id| (0, message(id, 1, 0), None)).collect();
    let mut shipment = load(vec![route(1, 10)], messages);
    shipment.first().unwrap().request = Some(Bytes::from_static(b"all four"));
    shipment.refuse_first("no");
    let mut halves = shipment.unconfirmed.iter();
    assert!(halves.all(|half| half.request.is_none() && half.messages.len() == 2));
}

#[test]
fn a_refused_request_is_halved_until_the_bad_message_is_alone() {
    let messages = (0..6).map(|id| (0, message(id, 1, 0), None)).collect();
    let mut shipment = load(vec![route(1, 10)], messages);
    let mut confirmed = Vec::new();
    while let Some(chunk) = shipment.first() {
        let ids: Vec<_> = chunk.messages.iter().map(|message| message.id).collect();
        if ids.contains(&4) {
            shipment.refuse_first("no");
        } else {
            confirmed.extend(ids);
            shipment.confirm_first();
        }
    }
    assert_eq!(confirmed, [0, 1, 2, 3, 5]);
    let rejected = shipment.take_rejected();
    let rejected: Vec<_> = rejected.iter().map(|(rejected, _)| rejected).collect();
    let expected = Rejected {
        index: 4,
        stage: "deliver",
        message: "no".to_owned(),
    };
    assert_eq!(rejected, [&expected]);
    assert!(shipment.take_rejected().is_empty());
}

#[test]
fn what_is_given_up_comes_back_in_its_order_with_its_own_headers() {
    let mut loader = Loader::new(vec![route(2, 10)], 3);
    for (position, key) in [(0, Some(1)), (1, Some(0)), (2, Some(1))] {
        let message = Outgoing {
            headers: Bytes::from_static(b"own, key"),
            position: position as u32,
            key,
            added: 5,
            ..message(1, position + 1, 0)
        };
        loader.add(0, message);
    }
    let mut shipment = loader.finish();
    let given_up = shipment.give_up();
    let seen: Vec<_> = given_up
        .iter()
        .map(|(position, message)| (*position, message.payload.len(), &*message.headers))
        .collect();
    let own: &[u8] = b"own";
    assert_eq!(seen, [(0, 1, own), (1, 2, own), (2, 3, own)]);
    assert!(shipment.first().is_none());
}

#[test]
fn a_shipment_of_nothing_is_confirmed() {
    assert!(load(vec![route(1, 1)], Vec::new()).first().is_none());
}

proptest! {
    #[test]
    fn every_message_is_in_one_request_and_order_is_kept_per_partition(
        keys in proptest::collection::vec((0usize..3, proptest::option::of(0u32..50), 0usize..40), 0..200),
        partitions in 1u32..7,
        batch_length in 1usize..20,
    ) {
        let messages: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(id, (output, key, size))| (*output, message(id as u128, *size, id as u64), *key))
            .collect();
        let shipment = load(vec![route(partitions, batch_length); 3], messages);
        let mut seen = vec![0; keys.len()];
        let mut last: HashMap<(usize, u32), u128> = HashMap::new();
        for (output, partition, ids) in requests(&shipment) {
            prop_assert!(!ids.is_empty() && ids.len() <= batch_length);
            for id in ids {
                let (its_output, key, _) = keys[id as usize];
                prop_assert_eq!(output, its_output);
                prop_assert_eq!(partition, key.map_or(partitions - 1, |key| key % partitions));
                prop_assert!(last.insert((output, partition), id).is_none_or(|before| before < id));
                seen[id as usize] += 1;
            }
        }
        prop_assert!(seen.into_iter().all(|times| times == 1));
    }
}
