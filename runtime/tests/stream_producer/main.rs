//! The producer against a broker: where messages land, what they carry, and what happens when sending goes wrong.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod connections;
#[path = "../harness"]
mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod gate;
    pub mod port;
    pub mod proxy;
}
mod messages;
mod partitions;
mod topics;

use bytes::Bytes;
use iggy_connectors::{
    config::spec,
    pipeline::{Produced, Producer as _},
    stream::{self, Producer},
};

async fn producer(iggy: &spec::Iggy, outputs: &[spec::Output]) -> Producer {
    let client = stream::connect(iggy, "test").await.unwrap();
    Producer::new(client, outputs).await.unwrap()
}

fn message(text: impl Into<String>) -> Produced {
    Produced {
        payload: Bytes::from(text.into()),
        ..Produced::default()
    }
}

fn keyed(key: &str, text: impl Into<String>) -> Produced {
    Produced {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        ..message(text)
    }
}

fn numbered(range: std::ops::Range<usize>) -> Vec<(usize, Produced)> {
    range
        .map(|number| (0, message(format!("m{number}"))))
        .collect()
}

async fn send(producer: &Producer, mut messages: Vec<(usize, Produced)>) {
    let mut shipment = producer.prepare(&mut messages).await.unwrap();
    assert!(messages.is_empty());
    producer.send(&mut shipment).await.unwrap();
}

async fn all_texts(topic: &harness::broker::Topic, partitions: u32) -> Vec<String> {
    let mut texts = Vec::new();
    for partition in 0..partitions {
        texts.extend(topic.texts(partition).await);
    }
    texts
}
