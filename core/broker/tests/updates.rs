//! Updating a topic changes what the update names and keeps the rest.

mod harness;

use harness::{create_topic, id, start};
use iggy::prelude::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_update_keeps_what_it_does_not_name() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    let hour = IggyExpiry::ExpireDuration(3_600_000_000.into());
    let size = MaxTopicSize::Custom((4_u64 << 30).into());
    let limits = TopicUpdateOptions {
        message_expiry: Some(hour),
        max_topic_size: Some(size),
        ..TopicUpdateOptions::default()
    };
    // The command line sends its users' silence in this way, other clients send nothing at all.
    let silence = TopicUpdateOptions {
        compression_algorithm: Some(CompressionAlgorithm::Gzip),
        message_expiry: Some(IggyExpiry::ServerDefault),
        max_topic_size: Some(MaxTopicSize::ServerDefault),
        ..TopicUpdateOptions::default()
    };
    for update in [limits, silence, TopicUpdateOptions::default()] {
        client
            .update_topic(&id("s"), &id("t"), "t", &update)
            .await
            .unwrap();
        let topic = client.get_topic(&id("s"), &id("t")).await.unwrap().unwrap();
        assert_eq!((topic.message_expiry, topic.max_topic_size), (hour, size));
    }
    let topic = client.get_topic(&id("s"), &id("t")).await.unwrap().unwrap();
    assert_eq!(topic.compression_algorithm, CompressionAlgorithm::Gzip);

    let never = TopicUpdateOptions {
        message_expiry: Some(IggyExpiry::NeverExpire),
        ..TopicUpdateOptions::default()
    };
    client
        .update_topic(&id("s"), &id("t"), "t", &never)
        .await
        .unwrap();
    let topic = client.get_topic(&id("s"), &id("t")).await.unwrap().unwrap();
    assert_eq!(
        (topic.message_expiry, topic.max_topic_size),
        (IggyExpiry::NeverExpire, size)
    );
}
