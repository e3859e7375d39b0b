"""Judges the embedded broker by Iggy's published Python client: what is sent comes back byte for byte, once, in order.

usage: python_client.py BROKER      (with the interpreter that has `apache-iggy`)
"""

import asyncio
import datetime
import sys

import apache_iggy as iggy

from broker import Broker, Score

STREAM, TOPIC = "judged", "messages"
DEADLINE_SECONDS = 120
HOUR = datetime.timedelta(hours=1)


class Judge:
    def __init__(self, address):
        self.address = address
        self.score = Score()

    async def client(self):
        client = iggy.IggyClient(self.address)
        await client.connect()
        await client.login_user("iggy", "iggy")
        return client

    def shows(self, what, found, expected):
        detail = f"found    {shortened(found)}\nexpected {shortened(expected)}"
        self.score.judge(what, found == expected, detail)

    async def refuses(self, what, request, says):
        try:
            await request
            self.score.judge(what, False, "it was accepted")
        except RuntimeError as error:
            self.score.judge(what, says in str(error), str(error))


def shortened(value):
    text = repr(value)
    return text if len(text) < 2000 else f"{text[:1000]} ... {text[-1000:]}"


def payloads(messages):
    return [message.payload() for message in messages]


def numbered(prefix, count):
    return [f"{prefix}-{number}".encode() for number in range(count)]


def to_send(contents):
    return [iggy.SendMessage(content) for content in contents]


async def poll(client, strategy, count, partition=0, consumer=1, auto_commit=False):
    return await client.poll_messages(
        STREAM,
        TOPIC,
        consumer=iggy.Consumer.Single(consumer),
        polling_strategy=strategy,
        count=count,
        auto_commit=auto_commit,
        partition_id=partition,
    )


async def signing_in(judge):
    client = iggy.IggyClient(judge.address)
    await client.connect()
    await client.ping()
    await judge.refuses("a wrong password is refused", client.login_user("iggy", "wrong"), "Invalid credentials")
    await client.login_user("iggy", "iggy")
    judge.shows("the same connection signs in after that", [user.username for user in await client.get_users()], ["iggy"])
    return client


async def streams_and_topics(judge, client):
    judge.shows("a stream that does not exist is none", await client.get_stream(STREAM), None)
    await client.create_stream(STREAM)
    expiry = iggy.IggyExpiry.ExpireDuration(HOUR)
    await client.create_topic(STREAM, TOPIC, partitions_count=2, message_expiry=expiry)
    topic = await client.get_topic(STREAM, TOPIC)
    judge.shows("the topic is as created", (topic.name, topic.partitions_count, topic.messages_count), (TOPIC, 2, 0))
    judge.shows("so is its expiry", topic.message_expiry.duration, HOUR)
    judge.shows("a topic that does not exist is none", await client.get_topic(STREAM, "nothing"), None)
    judge.shows("topics are listed", [topic.name for topic in await client.get_topics(STREAM)], [TOPIC])
    await judge.refuses("a stream's name is taken once", client.create_stream(STREAM), "already exists")
    await judge.refuses("a topic's name is taken once", client.create_topic(STREAM, TOPIC, 1), "already exists")
    await judge.refuses("a topic needs a stream", client.create_topic("nowhere", "t", 1), "not found")
    await client.update_topic(STREAM, TOPIC, TOPIC, compression_algorithm="gzip")
    topic = await client.get_topic(STREAM, TOPIC)
    judge.shows("an update keeps what it leaves out", getattr(topic.message_expiry, "duration", None), HOUR)


async def sending_and_polling(judge, client):
    contents = [bytes(range(256)), "größer als ASCII".encode(), b"\0", b"x" * 1_000_000, *numbered("message", 996)]
    headers = {iggy.HeaderKey.String("number"): iggy.HeaderValue.UnsignedInt32(7)}
    messages = [iggy.SendMessage(content, headers, number + 1) for number, content in enumerate(contents)]
    sent = await client.send_messages(STREAM, TOPIC, 0, messages)
    confirmed = [(it.partition_id, it.base_offset) for it in sent.confirmations]
    judge.shows("a send is confirmed with its place", confirmed, [(0, 0)])

    polled = await poll(client, iggy.PollingStrategy.Offset(0), 2000)
    judge.shows("payloads come back byte for byte", payloads(polled), contents)
    judge.shows("offsets have no gap", [message.offset() for message in polled], list(range(1000)))
    judge.shows("ids are kept", [message.id() for message in polled], list(range(1, 1001)))
    judge.shows("headers are kept", dict(polled[-1].user_headers()), headers)
    judge.shows("messages say where they lie", {message.partition_id() for message in polled}, {0})

    first = await poll(client, iggy.PollingStrategy.First(), 2)
    judge.shows("first", payloads(first), contents[:2])
    last = await poll(client, iggy.PollingStrategy.Last(), 3)
    judge.shows("last", payloads(last), contents[-3:])
    middle = await poll(client, iggy.PollingStrategy.Offset(500), 7)
    judge.shows("a part of a batch", payloads(middle), contents[500:507])
    since = await poll(client, iggy.PollingStrategy.Timestamp(polled[0].timestamp()), 5)
    judge.shows("since a time", payloads(since), contents[:5])
    judge.shows("past the end", payloads(await poll(client, iggy.PollingStrategy.Offset(5000), 5)), [])
    judge.shows("another partition is empty", payloads(await poll(client, iggy.PollingStrategy.First(), 5, 1)), [])
    missing = poll(client, iggy.PollingStrategy.First(), 5, 9)
    await judge.refuses("a partition that does not exist is refused", missing, "not found")


async def stored_offsets(judge, client):
    taken = []
    while messages := await poll(client, iggy.PollingStrategy.Next(), 300, consumer=42, auto_commit=True):
        taken.append(len(messages))
    judge.shows("each poll goes on where the last one ended", taken, [300, 300, 300, 100])
    await client.send_messages(STREAM, TOPIC, 0, to_send([b"one more"]))
    more = await poll(client, iggy.PollingStrategy.Next(), 300, consumer=42, auto_commit=True)
    judge.shows("and sees what came since", payloads(more), [b"one more"])


async def partitioning(judge, client):
    used = set()
    for _ in range(5):
        sent = await client.send_messages(STREAM, TOPIC, iggy.Partitioning.messages_key("one key"), to_send([b"keyed"]))
        used.update(it.partition_id for it in sent.confirmations)
    judge.shows("one key is one partition", len(used), 1)
    used = set()
    for _ in range(4):
        sent = await client.send_messages(STREAM, TOPIC, iggy.Partitioning.balanced(), to_send([b"balanced"]))
        used.update(it.partition_id for it in sent.confirmations)
    judge.shows("balanced sends use every partition", used, {0, 1})


async def producers(judge, client):
    for name, mode in [("direct", iggy.DirectProducerConfig()), ("background", iggy.BackgroundProducerConfig())]:
        contents = numbered(name, 500)
        producer = await client.producer("produced", name, iggy.Partitioning.partition_id(0), mode)
        for at in range(0, len(contents), 100):
            await producer.send(to_send(contents[at : at + 100]))
        await producer.shutdown()
        polled = await client.poll_messages(
            "produced",
            name,
            consumer=iggy.Consumer.Single(1),
            polling_strategy=iggy.PollingStrategy.First(),
            count=1000,
            auto_commit=False,
            partition_id=0,
        )
        judge.shows(f"the {name} producer delivers all", sorted(payloads(polled)), sorted(contents))


async def consumer_groups(judge, client):
    contents = numbered("grouped", 400)
    await client.create_stream("grouped")
    await client.create_topic("grouped", "shared", partitions_count=4)
    await client.create_consumer_group("grouped", "shared", "team")
    for at, content in enumerate(contents):
        await client.send_messages("grouped", "shared", at % 4, to_send([content]))

    one, two = await judge.client(), await judge.client()
    await one.join_consumer_group("grouped", "shared", "team")
    await two.join_consumer_group("grouped", "shared", "team")
    group = await client.get_consumer_group("grouped", "shared", "team")
    owned = sorted(partition for member in group.members for partition in member.partitions)
    judge.shows("both are members", group.members_count, 2)
    judge.shows("every partition has one owner", owned, [0, 1, 2, 3])

    seen = [[], []]
    while sum(map(len, seen)) < len(contents):
        for member, taken in zip([one, two], seen):
            taken += payloads(await poll_as_member(member))
    judge.shows("together they take every message once", sorted(seen[0] + seen[1]), sorted(contents))
    judge.shows("each takes half", [len(taken) for taken in seen], [200, 200])

    await one.leave_consumer_group("grouped", "shared", "team")
    late = numbered("late", 40)
    for at, content in enumerate(late):
        await client.send_messages("grouped", "shared", at % 4, to_send([content]))
    taken = []
    while len(taken) < len(late):
        taken += payloads(await poll_as_member(two))
    judge.shows("the one that stays takes over", sorted(taken), sorted(late))
    await two.leave_consumer_group("grouped", "shared", "team")
    group = await client.get_consumer_group("grouped", "shared", "team")
    judge.shows("nobody is left", group.members_count, 0)


async def poll_as_member(member):
    return await member.poll_messages(
        "grouped",
        "shared",
        consumer=iggy.Consumer.Group("team"),
        polling_strategy=iggy.PollingStrategy.Next(),
        count=50,
        auto_commit=True,
    )


async def consumers(judge, client):
    """The high-level consumer commits as it goes; the next one of its group goes on from there."""
    contents = numbered("consumed", 300)
    await client.create_stream("consumed")
    await client.create_topic("consumed", "all", partitions_count=1)
    await client.send_messages("consumed", "all", 0, to_send(contents[:200]))
    judge.shows("the consumer reads all", await consume(judge, 200), contents[:200])
    await client.send_messages("consumed", "all", 0, to_send(contents[200:]))
    judge.shows("the next one goes on from there", await consume(judge, 100), contents[200:])


async def consume(judge, count):
    client = await judge.client()
    consumer = await client.consumer_group(
        "readers",
        "consumed",
        "all",
        polling_strategy=iggy.PollingStrategy.Next(),
        batch_length=50,
        auto_commit=iggy.AutoCommit.After(iggy.AutoCommitAfter.ConsumingEachMessage()),
        poll_interval=datetime.timedelta(milliseconds=5),
    )
    seen, enough = [], asyncio.Event()

    async def take(message):
        seen.append(message.payload())
        if len(seen) >= count:
            enough.set()

    await consumer.consume_messages(take, enough)
    return seen


async def after_a_restart(judge):
    client = await judge.client()
    polled = await poll(client, iggy.PollingStrategy.First(), 4)
    judge.shows("messages outlive a restart", [len(content) for content in payloads(polled)], [256, 18, 1, 1_000_000])
    more = await poll(client, iggy.PollingStrategy.Next(), 300, consumer=42)
    judge.shows("stored offsets do too", [message.offset() for message in more][:1], [1001])
    await client.purge_topic(STREAM, TOPIC)
    judge.shows("a purge empties the topic", payloads(await poll(client, iggy.PollingStrategy.First(), 4)), [])
    for stream in (STREAM, "produced", "grouped", "consumed"):
        await client.delete_stream(stream)
    judge.shows("nothing is left", await client.get_streams(), [])


async def run(judge, broker):
    client = await signing_in(judge)
    await streams_and_topics(judge, client)
    await sending_and_polling(judge, client)
    await stored_offsets(judge, client)
    await partitioning(judge, client)
    await producers(judge, client)
    await consumer_groups(judge, client)
    await consumers(judge, client)
    broker.restart()
    judge.address = broker.address
    await after_a_restart(judge)


async def main():
    with Broker(sys.argv[1]) as broker:
        judge = Judge(broker.address)
        await asyncio.wait_for(run(judge, broker), DEADLINE_SECONDS)
        return judge.score.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
