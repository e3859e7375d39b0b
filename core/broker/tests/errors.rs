//! Which error a client gets for what, and that the connection survives it.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod harness;

use harness::{client_as, create_topic, id, send, start, start_with, try_send};
use iggy::prelude::*;

const STREAM_NOT_FOUND: u32 = 1009;
const TOPIC_NOT_FOUND: u32 = 2010;
const PARTITION_NOT_FOUND: u32 = 3007;
const GROUP_NOT_FOUND: u32 = 5000;

fn code<T: std::fmt::Debug>(result: Result<T, IggyError>) -> u32 {
    result.expect_err("it should have failed").as_code()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_topics_name_what_is_wrong() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 2).await;
    let (s, t, none) = (id("s"), id("t"), id("none"));
    let options = TopicCreateOptions::default();

    assert_eq!(code(client.create_stream("s").await), 1012);
    assert_eq!(code(client.delete_stream(&none).await), STREAM_NOT_FOUND);
    assert_eq!(
        code(
            client
                .update_stream(&none, "x", &StreamUpdateOptions::default())
                .await
        ),
        STREAM_NOT_FOUND
    );
    assert_eq!(code(client.purge_stream(&none).await), STREAM_NOT_FOUND);
    assert!(client.get_stream(&none).await.unwrap().is_none());
    let keyed = StreamUpdateOptions {
        raw: [("colour".to_owned(), "red".to_owned())].into(),
    };
    assert_eq!(code(client.update_stream(&s, "s", &keyed).await), 4041);

    assert_eq!(
        code(client.create_topic(&none, "x", &options).await),
        STREAM_NOT_FOUND
    );
    assert_eq!(code(client.create_topic(&s, "t", &options).await), 2013);
    let keyed = TopicCreateOptions {
        raw: [("colour".to_owned(), "red".to_owned())].into(),
        ..TopicCreateOptions::default()
    };
    assert_eq!(code(client.create_topic(&s, "x", &keyed).await), 4041);
    assert!(client.get_topic(&none, &t).await.unwrap().is_none());
    assert!(client.get_topic(&s, &none).await.unwrap().is_none());
    assert_eq!(code(client.get_topics(&none).await), STREAM_NOT_FOUND);
    assert_eq!(code(client.delete_topic(&none, &t).await), STREAM_NOT_FOUND);
    assert_eq!(code(client.delete_topic(&s, &none).await), TOPIC_NOT_FOUND);
    assert_eq!(code(client.purge_topic(&s, &none).await), TOPIC_NOT_FOUND);
    let update = TopicUpdateOptions::default();
    assert_eq!(
        code(client.update_topic(&s, &none, "x", &update).await),
        TOPIC_NOT_FOUND
    );

    assert_eq!(code(client.create_partitions(&s, &t, 0).await), 2015);
    assert_eq!(code(client.create_partitions(&s, &t, 999).await), 2019);
    assert_eq!(code(client.delete_partitions(&s, &t, 3).await), 2019);
    assert_eq!(
        code(client.create_partitions(&s, &none, 1).await),
        TOPIC_NOT_FOUND
    );
    assert!(
        client.get_topic(&s, &t).await.unwrap().is_some(),
        "the connection goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_offsets_name_what_is_wrong() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    let (s, t, none) = (id("s"), id("t"), id("none"));
    let consumer = Consumer::new(id("reader"));
    let first = PollingStrategy::first();
    let partition = Partitioning::partition_id(0);
    let mut batch = [harness::message(0)];

    assert_eq!(
        code(
            client
                .send_messages(&none, &t, &partition, &mut batch)
                .await
        ),
        STREAM_NOT_FOUND
    );
    assert_eq!(
        code(
            client
                .send_messages(&s, &none, &partition, &mut batch)
                .await
        ),
        TOPIC_NOT_FOUND
    );
    assert_eq!(code(try_send(&client, 7, 0..1).await), PARTITION_NOT_FOUND);
    let poll = async |stream, topic, partition| {
        client
            .poll_messages(stream, topic, Some(partition), &consumer, &first, 1, false)
            .await
    };
    assert_eq!(code(poll(&none, &t, 0).await), STREAM_NOT_FOUND);
    assert_eq!(code(poll(&s, &none, 0).await), TOPIC_NOT_FOUND);
    assert_eq!(code(poll(&s, &t, 1).await), PARTITION_NOT_FOUND);

    let store = async |partition, offset| {
        client
            .store_consumer_offset(&consumer, &s, &t, Some(partition), offset)
            .await
    };
    assert_eq!(code(store(0, 0).await), 4100, "nothing there yet");
    send(&client, 0, 0..5).await;
    assert_eq!(code(store(0, 5).await), 4100);
    assert_eq!(code(store(1, 0).await), PARTITION_NOT_FOUND);
    store(0, 4).await.unwrap();
    store(0, 2).await.unwrap();
    let stored = client
        .get_consumer_offset(&consumer, &s, &t, Some(0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.stored_offset, 2, "it may go back");
    assert_eq!(
        code(client.get_consumer_offset(&consumer, &s, &t, Some(1)).await),
        PARTITION_NOT_FOUND
    );
    let other = Consumer::new(id("other"));
    assert!(
        client
            .get_consumer_offset(&other, &s, &t, Some(0))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        code(client.delete_consumer_offset(&other, &s, &t, Some(0)).await),
        3021
    );
    client
        .delete_consumer_offset(&consumer, &s, &t, Some(0))
        .await
        .unwrap();
    assert!(
        client
            .get_consumer_offset(&consumer, &s, &t, Some(0))
            .await
            .unwrap()
            .is_none()
    );
    client.flush_unsaved_buffer(&s, &t, 0, true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_name_what_is_wrong() {
    let broker = start().await;
    let client = broker.client().await;
    create_topic(&client, 1).await;
    let (s, t, g, none) = (id("s"), id("t"), id("g"), id("none"));
    client.create_consumer_group(&s, &t, "g").await.unwrap();

    assert_eq!(code(client.create_consumer_group(&s, &t, "g").await), 5004);
    assert_eq!(
        code(client.create_consumer_group(&none, &t, "x").await),
        STREAM_NOT_FOUND
    );
    assert!(
        client
            .get_consumer_group(&s, &t, &none)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        code(client.get_consumer_group(&s, &none, &g).await),
        TOPIC_NOT_FOUND
    );
    assert_eq!(
        code(client.get_consumer_groups(&none, &t).await),
        STREAM_NOT_FOUND
    );
    assert_eq!(
        code(client.join_consumer_group(&s, &t, &none).await),
        GROUP_NOT_FOUND
    );
    assert_eq!(code(client.leave_consumer_group(&s, &t, &g).await), 5006);
    assert_eq!(
        code(client.delete_consumer_group(&s, &t, &none).await),
        GROUP_NOT_FOUND
    );
    client.join_consumer_group(&s, &t, &g).await.unwrap();
    client.join_consumer_group(&s, &t, &g).await.unwrap();

    send(&client, 0, 0..3).await;
    let other = broker.client().await;
    let group = Consumer::group(g.clone());
    assert_eq!(
        code(
            other
                .store_consumer_offset(&group, &s, &t, Some(0), 1)
                .await
        ),
        5009,
        "not the owner"
    );
    let fenced = other
        .poll_messages(&s, &t, Some(0), &group, &PollingStrategy::next(), 1, false)
        .await
        .unwrap();
    assert_eq!(fenced.partition_id, RESYNC_REQUIRED_PARTITION_SENTINEL);
    assert!(fenced.messages.is_empty());
    let lost = other
        .poll_messages(&s, &t, None, &group, &PollingStrategy::next(), 1, false)
        .await;
    assert_eq!(code(lost), 5006, "not a member");
    client.delete_consumer_group(&s, &t, &g).await.unwrap();
    let lost = client
        .poll_messages(&s, &t, None, &group, &PollingStrategy::next(), 1, false)
        .await;
    assert_eq!(code(lost), 5006);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_to_be_unavailable() {
    let broker = start().await;
    let client = broker.client().await;
    let unavailable = IggyError::FeatureUnavailable.as_code();
    let user = client
        .create_user("someone", "secret", UserStatus::Active, None)
        .await;
    assert_eq!(code(user), unavailable);
    let token = client
        .create_personal_access_token("token", PersonalAccessTokenExpiry::NeverExpire)
        .await;
    assert_eq!(code(token), unavailable);
    assert!(
        client
            .get_personal_access_tokens()
            .await
            .unwrap()
            .is_empty()
    );
    let users = client.get_users().await.unwrap();
    assert_eq!(users.len(), 1);
    assert_eq!(users[0].username, "iggy");
    let user = client.get_user(&id("iggy")).await.unwrap().unwrap();
    assert!(user.permissions.unwrap().global.manage_streams);
    assert!(client.get_user(&id("nobody")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_refused_and_the_connection_may_try_again() {
    let broker = start_with(|config| config.token = Some("a-token-of-its-own".into())).await;
    let address = broker.handle.address().to_string();
    let table = [
        ("iggy:wrong", 42),
        ("nobody:iggy", 42),
        ("iggy:iggy2", 42),
        ("iggypat-wrong", 53),
    ];
    for (credentials, expected) in table {
        let client = client_as(&address, credentials);
        assert_eq!(code(client.connect().await), expected, "{credentials}");
    }
    let client = client_as(&address, "iggypat-a-token-of-its-own");
    assert_eq!(
        code(client.connect().await),
        53,
        "the prefix is a part of the token"
    );

    let client = IggyClient::builder()
        .with_tcp()
        .with_server_address(address)
        .build()
        .unwrap();
    client.connect().await.unwrap();
    client.ping().await.unwrap();
    assert_eq!(code(client.login_user("iggy", "wrong").await), 42);
    client.login_user("iggy", "iggy").await.unwrap();
    client.get_streams().await.unwrap();
    client.logout_user().await.unwrap();
    assert_eq!(code(client.get_streams().await), 40);
    client
        .login_with_personal_access_token("a-token-of-its-own")
        .await
        .unwrap();
    client.get_streams().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_configured_token_every_token_is_refused() {
    let broker = start().await;
    let address = broker.handle.address().to_string();
    let client = IggyClient::builder()
        .with_tcp()
        .with_server_address(address)
        .build()
        .unwrap();
    client.connect().await.unwrap();
    for token in ["", "iggy", "a-token"] {
        assert!(
            client
                .login_with_personal_access_token(token)
                .await
                .is_err(),
            "{token:?}"
        );
    }
}
