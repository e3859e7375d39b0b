"""Judges the embedded broker by Iggy's published command line: every command that a stream's user needs, by its output.

usage: cli.py BROKER CLI
"""

import os
import re
import subprocess
import sys
import tempfile
import time

from broker import Broker, Score

COMMAND_SECONDS = 60


class Cli:
    """Runs commands against one address, with nothing of the user's own settings."""

    def __init__(self, program, home):
        self.program = program
        self.home = home
        self.address = ""

    def run(self, *arguments, password="iggy", stdin=""):
        command = [self.program, "--tcp-server-address", self.address, "--username", "iggy", "--password", password]
        environment = {"HOME": self.home, "PATH": os.environ["PATH"], "RUST_BACKTRACE": "0", "NO_COLOR": "1"}
        done = subprocess.run(
            [*command, *arguments], input=stdin, capture_output=True, text=True, env=environment, timeout=COMMAND_SECONDS
        )
        return Answer(done.returncode, done.stdout + done.stderr)


class Answer:
    def __init__(self, code, text):
        self.code = code
        # Where no keyring runs the command line says so; that is about the machine and not about the broker.
        self.text = "\n".join(line for line in text.splitlines() if "keyring" not in line)

    def cells(self):
        rows = [line for line in self.text.splitlines() if line.startswith("|") and not line.startswith("|-")]
        return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]

    def rows(self):
        """A table with one line per thing."""
        cells = self.cells()
        # The poll's headings take two lines when messages have headers: name above kind.
        headings = cells[0] if cells else []
        body = cells[2:] if len(cells) > 1 and not any(cells[1][:4]) else cells[1:]
        return [dict(zip(headings, row)) for row in body]

    def properties(self):
        """A table with one line per property of one thing."""
        return {row[0]: row[1] for row in self.cells()[1:] if len(row) == 2}

    def column(self, name):
        return [row.get(name) for row in self.rows()]


class Judge:
    def __init__(self, cli):
        self.cli = cli
        self.score = Score()

    def does(self, *arguments, says=(), stdin=""):
        """The command succeeds and prints every one of `says`."""
        answer = self.cli.run(*arguments, stdin=stdin)
        missing = [text for text in says if text not in answer.text]
        self.score.judge(command(arguments), answer.code == 0 and not missing, f"missing {missing} in:\n{answer.text}")
        return answer

    def refuses(self, *arguments, says, password="iggy"):
        """The command fails, and names the reason."""
        answer = self.cli.run(*arguments, password=password)
        self.score.judge(
            f"{command(arguments)} is refused: {says}", answer.code != 0 and says in answer.text, f"{answer.code}\n{answer.text}"
        )

    def shows(self, what, found, expected):
        self.score.judge(f"  {what}", found == expected, f"found    {found!r}\nexpected {expected!r}")


def command(arguments):
    return " ".join(f"'{word}'" if " " in word else word for word in arguments)


def streams_and_topics(judge):
    """The first four are the quick start's, word for word."""
    judge.does("stream", "create", "example_stream", says=["example_stream", "created"])
    judge.does("topic", "create", "example_stream", "example_topic", "1", "none", "1d", says=["example_topic", "created"])
    judge.does("stream", "create", "qw", says=["qw", "created"])
    judge.does("topic", "create", "qw", "records", "1", "none", "1d", says=["records", "created"])

    streams = judge.does("stream", "list")
    judge.shows("names", streams.column("Name"), ["example_stream", "qw"])
    judge.shows("topics", streams.column("Topics"), ["1", "1"])
    topic = judge.does("topic", "get", "example_stream", "example_topic").properties()
    judge.shows("partitions", topic.get("Partitions count"), "1")
    judge.shows("expiry", topic.get("Message expiry"), "1day")
    judge.shows("compression", topic.get("Compression"), "none")
    topics = judge.does("topic", "list", "qw")
    judge.shows("names", topics.column("Name"), ["records"])
    stream = judge.does("stream", "get", "qw").properties()
    by_id = judge.does("stream", "get", stream.get("Stream ID", "?")).properties()
    judge.shows("the same by its number", by_id, stream)

    judge.refuses("stream", "create", "qw", says="already exists")
    judge.refuses("topic", "create", "qw", "records", "1", "none", says="already exists")
    judge.refuses("topic", "create", "nowhere", "t", "1", "none", says="was not found")
    judge.refuses("topic", "create", "qw", "wide", "2000", "none", says="Too many partitions")
    judge.refuses("topic", "create", "qw", "odd", "1", "none", "--set", "no_such_option=1", says="Unsupported option key")
    judge.does("stream", "get", "nowhere", says=["was not found"])
    judge.does("topic", "get", "qw", "nothing", says=["was not found"])


def changes(judge):
    judge.does("stream", "update", "qw", "quickwit", says=["updated"])
    judge.shows("names", judge.does("stream", "list").column("Name"), ["example_stream", "quickwit"])
    judge.does("topic", "update", "quickwit", "records", "events", "gzip", "2days", says=["updated"])
    topic = judge.does("topic", "get", "quickwit", "events").properties()
    judge.shows("expiry", topic.get("Message expiry"), "2days")
    judge.shows("compression", topic.get("Compression"), "gzip")
    judge.does("topic", "update", "quickwit", "events", "records", "none", says=["updated"])
    topic = judge.does("topic", "get", "quickwit", "records").properties()
    judge.shows("what an update leaves out is kept", topic.get("Message expiry"), "2days")
    judge.does("stream", "update", "quickwit", "qw", says=["updated"])

    judge.does("topic", "create", "qw", "sized", "2", "gzip", "1hour", "-m", "2GB", "--durability", "persisted", says=["created"])
    topic = judge.does("topic", "get", "qw", "sized").properties()
    judge.shows("size", topic.get("Max topic size"), "2.00 GB")
    judge.does("topic", "delete", "qw", "sized", says=["deleted"])
    judge.shows("names", judge.does("topic", "list", "qw").column("Name"), ["records"])


def partitions(judge):
    judge.does("partition", "create", "example_stream", "example_topic", "3", says=["Created 3 partitions"])
    count = lambda: judge.does("topic", "get", "example_stream", "example_topic").properties().get("Partitions count")
    judge.shows("partitions", count(), "4")
    judge.does("partition", "delete", "example_stream", "example_topic", "2", says=["Deleted 2 partitions"])
    judge.shows("partitions", count(), "2")
    judge.refuses("message", "send", "-p", "3", "example_stream", "example_topic", "late", says="was not found")


def messages(judge, folder):
    place = ("example_stream", "example_topic")
    judge.does("message", "send", "-p", "0", "-H", "kind:string:greeting,number:uint32:7", *place, "one", "two", "three four", says=["Sent"])
    polled = judge.does("message", "poll", "--offset", "0", "-m", "10", "-s", *place, "0", says=["Polled 3 messages"])
    judge.shows("payloads", polled.column("Payload"), ["one", "two", "three four"])
    judge.shows("offsets", polled.column("Offset"), ["0", "1", "2"])
    judge.shows("headers", polled.column("Header: kind"), ["greeting"] * 3)
    judge.shows("headers", polled.column("Header: number"), ["7"] * 3)
    judge.shows("ids differ", len(set(polled.column("ID"))), 3)

    poll = lambda *how: judge.does("message", "poll", *how, *place, "0").column("Payload")
    judge.shows("payloads", poll("--first"), ["one"])
    judge.shows("payloads", poll("--last", "-m", "2"), ["two", "three four"])
    judge.shows("payloads", poll("--offset", "1", "-m", "1"), ["two"])
    judge.shows("payloads", poll("--offset", "100"), [])
    judge.refuses("message", "poll", "--first", *place, "9", says="was not found")

    judge.does("message", "send", "-p", "1", *place, stdin="a\nb\nc\n", says=["Sent"])
    lines = judge.does("message", "poll", "--first", "-m", "9", *place, "1").column("Payload")
    judge.shows("one message per line of standard input", lines, ["a", "b", "c"])

    file = f"{folder}/polled"
    judge.does("message", "poll", "--first", "-m", "2", "--output-file", file, *place, "0", says=["Stored 2 messages"])
    judge.does("message", "send", "-p", "0", "--input-file", file, *place, says=["Created 2 messages"])
    judge.shows("messages written to a file and sent again", poll("--last", "-m", "2"), ["one", "two"])

    before = messages_of(judge, place)
    for _ in range(3):
        judge.does("message", "send", "-m", "key-1", *place, "keyed", says=["Sent"])
    ends = [judge.does("message", "poll", "--last", "-m", "3", *place, partition).column("Payload") for partition in ("0", "1")]
    judge.shows("messages of one key share a partition", ends.count(["keyed"] * 3), 1)
    judge.shows("messages", messages_of(judge, place), before + 3)


def messages_of(judge, place):
    return int(judge.does("topic", "get", *place).properties().get("Topic message count", "-1"))


def consumer_offsets(judge):
    place = ("example_stream", "example_topic", "0")
    offset = lambda who, *kind: judge.does("consumer-offset", "get", *kind, who, *place).properties().get("Stored offset")
    judge.does("consumer-offset", "get", "7", *place, says=["was not found"])
    take = lambda: judge.does("message", "poll", "--next", "-a", "-m", "2", "-c", "7", *place).column("Payload")
    judge.shows("payloads", take(), ["one", "two"])
    judge.shows("stored", offset("7"), "1")
    judge.shows("payloads", take()[:1], ["three four"])
    judge.does("consumer-offset", "set", "7", *place, "0", says=["set to 0"])
    judge.shows("stored", offset("7"), "0")
    judge.shows("payloads", take(), ["two", "three four"])
    judge.does("consumer-offset", "set", "by-name", *place, "2", says=["set to 2"])
    judge.shows("stored", offset("by-name"), "2")
    judge.refuses("consumer-offset", "set", "7", *place, "1000", says="Invalid offset")


def consumer_groups(judge):
    place = ("example_stream", "example_topic")
    judge.does("consumer-group", "create", *place, "readers", says=["created"])
    judge.does("consumer-group", "create", *place, "others", says=["created"])
    judge.refuses("consumer-group", "create", *place, "readers", says="already exists")
    groups = judge.does("consumer-group", "list", *place)
    judge.shows("names", groups.column("Name"), ["readers", "others"])
    judge.shows("partitions", groups.column("Partitions Count"), ["2", "2"])
    group = judge.does("consumer-group", "get", *place, "readers").properties()
    judge.shows("members", group.get("Members count"), "0")
    judge.does("consumer-offset", "set", "-k", "consumer-group", "readers", *place, "0", "1", says=["set to 1"])
    stored = judge.does("consumer-offset", "get", "-k", "consumer-group", "readers", *place, "0").properties()
    judge.shows("stored", stored.get("Stored offset"), "1")
    judge.does("consumer-offset", "get", "-k", "consumer-group", "others", *place, "0", says=["was not found"])
    judge.does("consumer-group", "delete", *place, "others", says=["deleted"])
    judge.shows("names", judge.does("consumer-group", "list", *place).column("Name"), ["readers"])


def system(judge):
    judge.does("ping", "-c", "2", says=["sequence id: 2", "2 ping commands"])
    me = judge.does("me").properties()
    judge.shows("transport", me.get("Transport"), "TCP")
    judge.score.judge("  an address of its own", re.fullmatch(r"127\.0\.0\.1:\d+", me.get("Address", "")), me)
    judge.shows("the asking client alone", clients_once_others_are_gone(judge), ["TCP"])
    judge.does("client", "get", "4000000000", says=["was not found"])
    stats = judge.does("stats").properties()
    judge.shows("streams", stats.get("Streams Count"), "2")
    judge.shows("topics", stats.get("Topics Count"), "2")
    judge.shows("partitions", stats.get("Partitions Count"), "3")
    judge.shows("groups", stats.get("Consumer Groups Count"), "1")
    judge.shows("messages", stats.get("Message Count"), str(messages_of(judge, ("example_stream", "example_topic"))))
    judge.shows("users", judge.does("user", "list").column("Username"), ["iggy"])
    judge.refuses("stream", "list", says="Invalid credentials", password="wrong")


def clients_once_others_are_gone(judge):
    """The client of the command before may have closed its end a moment ago."""
    deadline = time.monotonic() + COMMAND_SECONDS
    while True:
        transports = judge.cli.run("client", "list").column("Transport")
        if len(transports) == 1 or time.monotonic() > deadline:
            return transports


def after_a_restart(judge):
    place = ("example_stream", "example_topic")
    judge.shows("names", judge.does("stream", "list").column("Name"), ["example_stream", "qw"])
    polled = judge.does("message", "poll", "--first", "-m", "3", *place, "0")
    judge.shows("payloads", polled.column("Payload"), ["one", "two", "three four"])
    stored = judge.does("consumer-offset", "get", "by-name", *place, "0").properties()
    judge.shows("stored", stored.get("Stored offset"), "2")
    stored = judge.does("consumer-offset", "get", "-k", "consumer-group", "readers", *place, "0").properties()
    judge.shows("stored", stored.get("Stored offset"), "1")


def the_end(judge):
    place = ("example_stream", "example_topic")
    judge.does("topic", "purge", *place, says=["purged"])
    judge.shows("payloads", judge.does("message", "poll", "--first", *place, "0").column("Payload"), [])
    judge.does("consumer-offset", "get", "7", *place, "0", says=["was not found"])
    judge.does("message", "send", "-p", "0", *place, "fresh", says=["Sent"])
    judge.shows("offsets start again", judge.does("message", "poll", "--first", *place, "0").column("Offset"), ["0"])
    judge.does("stream", "purge", "example_stream", says=["purged"])
    judge.shows("messages", messages_of(judge, place), 0)
    judge.does("topic", "delete", *place, says=["deleted"])
    judge.shows("names", judge.does("topic", "list", "example_stream").column("Name"), [])
    judge.does("stream", "delete", "example_stream", says=["deleted"])
    judge.shows("names", judge.does("stream", "list").column("Name"), ["qw"])


def main():
    broker_program, cli_program = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, Broker(broker_program) as broker:
        judge = Judge(Cli(cli_program, folder))
        judge.cli.address = broker.address
        streams_and_topics(judge)
        changes(judge)
        partitions(judge)
        messages(judge, folder)
        consumer_offsets(judge)
        consumer_groups(judge)
        system(judge)
        broker.restart()
        judge.cli.address = broker.address
        after_a_restart(judge)
        the_end(judge)
        if judge.score.failed:
            broker.show_log()
        return judge.score.exit_code()


if __name__ == "__main__":
    sys.exit(main())
