//! Where a sink's groups stand, and how they are moved, for the management API: [`Offsets`], on a connection of its own that lasts as
//! long as one question.
//!
//! Iggy takes and forgets an offset of a group only for a member that owns the partition. Whoever moves a group therefore becomes its
//! only member meanwhile, and is refused where there is another: that one would go on where it is and store what it has read.

mod reset;

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    super::{client::Client, error::is_refused_offset, topics},
    extent::Extent,
    member::Member,
    starts::Starts,
};
use crate::{
    config::spec,
    pipeline::{Failure, StateStore},
};

pub use reset::{Move, NotMoved, Place, Reset, Selection};

/// How long the only member may have to wait until every partition is its own.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// The topics of one sink that are there, and a connection to ask about them.
#[derive(Debug)]
pub struct Offsets {
    client: Client,
    /// With the number of the topic's partitions.
    members: Vec<(Member, u32)>,
    /// Every topic that the sink reads, there or not.
    names: Vec<String>,
}

/// Where a group stands in one partition.
#[derive(Clone, Debug)]
pub struct Standing {
    pub place: Place,
    /// The offset that is stored: that of the last message that is settled.
    pub committed: Option<u64>,
    /// The offset of the last message, `None` when there never was one.
    pub head: Option<u64>,
    /// Messages that are there and not settled.
    pub lag: u64,
}

/// What is known of a partition.
struct Look {
    committed: Option<u64>,
    extent: Extent,
    /// The next message to be read: from the first one that is there to the next one to come.
    position: u64,
}

impl Offsets {
    /// Looks up the topics of a sink. Those that do not exist have no partitions.
    ///
    /// # Errors
    ///
    /// The broker could not be asked.
    pub async fn of(client: Client, inputs: &[spec::Input]) -> Result<Self, Failure> {
        let (mut members, mut names) = (Vec::new(), Vec::new());
        let mut known = HashSet::new();
        for (number, input) in inputs.iter().enumerate() {
            for topic in &input.topics {
                if !known.insert((&input.stream, topic, &input.consumer_group)) {
                    continue;
                }
                let member = Member::new(number, input, topic)?;
                names.push(member.name.to_string());
                if let Some(partitions) = topics::partitions(&client, &member.name).await? {
                    members.push((member, partitions));
                }
            }
        }
        Ok(Self {
            client,
            members,
            names,
        })
    }

    /// The same over the same connection, as it is now.
    ///
    /// # Errors
    ///
    /// As of [`Offsets::of`].
    pub async fn again(self, inputs: &[spec::Input]) -> Result<Self, Failure> {
        Self::of(self.client, inputs).await
    }

    /// Where the sink stands in every partition. Changes nothing.
    ///
    /// # Errors
    ///
    /// The broker could not be asked.
    pub async fn standings(
        &self,
        starts: &Starts<impl StateStore>,
    ) -> Result<Vec<Standing>, Failure> {
        let mut standings = Vec::new();
        for (member, partitions) in &self.members {
            for id in 0..*partitions {
                let look = self.look(starts, member, id).await?;
                standings.push(Standing {
                    place: Place::new(member, id),
                    committed: look.committed,
                    head: look.extent.head(),
                    lag: look.extent.next - look.position,
                });
            }
        }
        Ok(standings)
    }

    /// What a reset would do. Changes nothing.
    ///
    /// # Errors
    ///
    /// Somebody reads in one of the groups, what is selected is not there, or the broker could not be asked.
    pub async fn plan(
        &self,
        starts: &Starts<impl StateStore>,
        reset: &Reset,
    ) -> Result<Vec<Move>, NotMoved> {
        let mut moves = Vec::new();
        for (member, partitions) in &self.members {
            for id in (0..*partitions).filter(|id| reset.concerns(member, *id)) {
                let look = self.look(starts, member, id).await?;
                let goal = match reset {
                    Reset::To(goal, _) => *goal,
                    Reset::Forget => member.start_from,
                };
                let to = look.extent.find(&self.client, member, id, goal).await?;
                moves.push(Move {
                    place: Place::new(member, id),
                    from: look.position,
                    to: to.max(look.extent.first),
                });
            }
        }
        if let Reset::To(_, selection) = reset
            && moves.is_empty()
            && !selection.is_all()
        {
            return Err(self.unknown(selection));
        }
        for (member, _) in self.concerned(&moves) {
            self.refuse_others(member, 0).await?;
        }
        Ok(moves)
    }

    /// Has the groups go on where the plan says; those that never began have begun then.
    ///
    /// # Errors
    ///
    /// Somebody reads in one of the groups, or the broker could not be asked: nothing is moved, unless it is [`NotMoved::Partly`].
    pub async fn carry_out(
        &self,
        starts: &mut Starts<impl StateStore>,
        moves: &[Move],
    ) -> Result<(), NotMoved> {
        let counted: Vec<_> = self.concerned(moves).collect();
        starts.resolve(&self.client, &counted).await?;
        let concerned: Vec<_> = counted.into_iter().map(|(member, _)| member).collect();
        let moving = async {
            self.join(&concerned, moves).await?;
            starts.apply(&self.client, &concerned).await?;
            for (done, (member, one)) in paired(&concerned, moves).enumerate() {
                let moved = self.put(member, one).await;
                moved.map_err(|failure| NotMoved::Partly { failure, done })?;
            }
            Ok(())
        };
        let moved = moving.await;
        self.leave(&concerned).await;
        moved
    }

    /// Forgets what is stored. `first` is done when nothing stands in the way any more, and before anything else.
    ///
    /// # Errors
    ///
    /// As of [`Offsets::carry_out`], or `first` has failed. Some partitions may be forgotten and some not.
    pub async fn forget(
        &self,
        moves: &[Move],
        first: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), NotMoved> {
        let concerned: Vec<_> = self.concerned(moves).map(|(member, _)| member).collect();
        let forgetting = async {
            self.join(&concerned, moves).await?;
            first.await.map_err(NotMoved::State)?;
            for (done, (member, one)) in paired(&concerned, moves).enumerate() {
                let deleted = self.delete(member, one.place.partition).await;
                deleted.map_err(|failure| half_forgotten(failure, done, moves.len()))?;
            }
            Ok(())
        };
        let forgotten = forgetting.await;
        self.leave(&concerned).await;
        forgotten
    }

    /// Ends the connection.
    pub async fn close(self) {
        self.client.close().await;
    }

    async fn look(
        &self,
        starts: &Starts<impl StateStore>,
        member: &Member,
        id: u32,
    ) -> Result<Look, Failure> {
        let committed = self.stored(member, id).await?;
        let extent = Extent::of(&self.client, member, id).await?;
        let position = match committed {
            Some(offset) if offset < extent.next => offset + 1,
            // The log was cut: the consumer begins at its first message.
            Some(_) => extent.first,
            None => starts.place(&self.client, member, id, &extent).await?,
        };
        Ok(Look {
            committed,
            extent,
            position: position.clamp(extent.first, extent.next),
        })
    }

    async fn stored(&self, member: &Member, id: u32) -> Result<Option<u64>, Failure> {
        match member.stored(&self.client, id).await {
            Ok(stored) => Ok(stored.map(|info| info.stored_offset)),
            // There is no such group.
            Err(error) if is_refused_offset(&error) => Ok(None),
            Err(error) => Err(member.failure(&self.client, "look up an offset", &error)),
        }
    }

    /// Becomes the only member of each group, with all the partitions that are to be moved.
    async fn join(&self, concerned: &[&Member], moves: &[Move]) -> Result<(), NotMoved> {
        for member in concerned {
            self.refuse_others(member, 0).await?;
            member.join(&self.client).await?;
        }
        let deadline = Instant::now() + PATIENCE;
        for member in concerned {
            while !self.owns_all(member, moves).await? {
                self.refuse_others(member, 1).await?;
                if Instant::now() >= deadline {
                    return Err(NotMoved::Failed(Failure::transient(format!(
                        "{member} does not hand over its partitions: try again in a minute"
                    ))));
                }
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    async fn owns_all(&self, member: &Member, moves: &[Move]) -> Result<bool, Failure> {
        let asked = member.assignment(&self.client).await;
        let asked = asked.map_err(|error| member.failure(&self.client, "sync", &error))?;
        let owned = asked.map_or_else(Vec::new, |assignment| assignment.partitions);
        let mut wanted = moves.iter().filter(|one| one.place.is_of(member));
        Ok(wanted.all(|one| owned.contains(&one.place.partition)))
    }

    async fn refuse_others(&self, member: &Member, own: usize) -> Result<(), NotMoved> {
        let others = member
            .members(&self.client)
            .await?
            .len()
            .saturating_sub(own);
        if others == 0 {
            return Ok(());
        }
        let members = if others == 1 { "member" } else { "members" };
        Err(NotMoved::InUse(format!(
            "{member} has {others} other {members}, which would go on where they are: stop whatever else reads in it first"
        )))
    }

    async fn put(&self, member: &Member, one: &Move) -> Result<(), Failure> {
        let id = one.place.partition;
        let Some(before) = one.to.checked_sub(1) else {
            return self.delete(member, id).await;
        };
        let stored = member.store(&self.client, id, before).await;
        stored.map_err(|error| {
            let doing = format!("store the offset of partition {id}");
            member.failure(&self.client, &doing, &error)
        })
    }

    /// Where nothing is stored, reading begins with the first message.
    async fn delete(&self, member: &Member, id: u32) -> Result<(), Failure> {
        if self.stored(member, id).await?.is_none() {
            return Ok(());
        }
        let deleted = member.delete(&self.client, id).await;
        deleted.map_err(|error| {
            let doing = format!("delete the offset of partition {id}");
            member.failure(&self.client, &doing, &error)
        })
    }

    async fn leave(&self, concerned: &[&Member]) {
        for member in concerned {
            member.leave(&self.client).await;
        }
    }

    /// The members whose groups are moved, with the number of their partitions.
    fn concerned<'a>(&'a self, moves: &'a [Move]) -> impl Iterator<Item = (&'a Member, u32)> {
        let members = self.members.iter();
        let concerned =
            members.filter(|(member, _)| moves.iter().any(|one| one.place.is_of(member)));
        concerned.map(|(member, partitions)| (member, *partitions))
    }

    fn unknown(&self, selection: &Selection) -> NotMoved {
        let reads = self.names.join(", ");
        let Selection {
            stream,
            topic,
            partition,
        } = selection;
        let any = |name: &Option<String>| name.as_deref().unwrap_or("*").to_owned();
        let partition = partition.map_or_else(String::new, |id| format!(" with a partition {id}"));
        NotMoved::Unknown(format!(
            "it reads no topic {}/{}{partition} that is there; it reads {reads}",
            any(stream),
            any(topic)
        ))
    }
}

/// Each move with its member.
fn paired<'a>(
    members: &'a [&'a Member],
    moves: &'a [Move],
) -> impl Iterator<Item = (&'a Member, &'a Move)> {
    moves.iter().filter_map(|one| {
        let member = members.iter().find(|member| one.place.is_of(member))?;
        Some((*member, one))
    })
}

fn half_forgotten(failure: Failure, done: usize, all: usize) -> NotMoved {
    let message = format!("{failure}; {done} of {all} partitions are done: ask again");
    NotMoved::Failed(Failure { message, ..failure })
}
