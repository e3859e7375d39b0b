//! `consumer.exclusive`: a group that nobody else reads. `Consumer::join` asks before it joins and again afterwards.
//!
//! Brokers know nothing of it, so that two connectors that begin at the same time can both find the group empty. Whoever sees
//! another member after joining does not read. The one with the highest number leaves at once; the lowest waits a moment for the
//! others to leave, so that one of them stays. A member that does not ask for exclusiveness is not kept out.

use std::time::Duration;

use iggy::prelude::SystemClient;
use tokio::time::{Instant, sleep};

use super::{super::client::Client, member::Member};
use crate::pipeline::Failure;

/// How long the first of several that joined together waits for the others to leave.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Refuses to join a group that has members.
pub(super) async fn look(client: &Client, member: &Member) -> Result<(), Failure> {
    let others = member.members(client).await?;
    if others.is_empty() {
        return Ok(());
    }
    Err(refused(client, member, &others).await)
}

/// Refuses to stay in a group that others have joined at the same time, and leaves every group.
pub(super) async fn settle(client: &Client, members: &[Member]) -> Result<(), Failure> {
    let me = client.number().await?;
    let deadline = Instant::now() + PATIENCE;
    for member in members {
        if let Err(failure) = alone(client, member, me, deadline).await {
            for member in members {
                member.leave(client).await;
            }
            return Err(failure);
        }
    }
    Ok(())
}

async fn alone(
    client: &Client,
    member: &Member,
    me: u32,
    deadline: Instant,
) -> Result<(), Failure> {
    loop {
        let all = member.members(client).await?;
        if all.len() <= 1 {
            return Ok(());
        }
        let is_first = all.iter().min() == Some(&me);
        if !is_first || Instant::now() >= deadline {
            let others: Vec<u32> = all.into_iter().filter(|other| *other != me).collect();
            return Err(refused(client, member, &others).await);
        }
        sleep(PAUSE).await;
    }
}

async fn refused(client: &Client, member: &Member, others: &[u32]) -> Failure {
    let (count, who) = match others {
        [only] => ("another member".to_owned(), who(client, *only).await),
        _ => {
            let numbers: Vec<String> = others.iter().map(u32::to_string).collect();
            let clients = format!("clients {}", numbers.join(", "));
            (format!("{} other members", others.len()), clients)
        }
    };
    Failure::transient(format!(
        "{member} has {count} ({who}), and `consumer.exclusive` is set: stop the other, or give this connector another \
         `consumer_group`"
    ))
}

async fn who(client: &Client, number: u32) -> String {
    match client.tcp().get_client(number).await {
        Ok(Some(found)) => format!("client {number} at {}", found.address),
        // Looking others up takes a permission that joining does not.
        _ => format!("client {number}"),
    }
}
