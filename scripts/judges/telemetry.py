"""Judges the daemon's telemetry by programs that know nothing of it: a collector takes logs and traces over gRPC and over HTTP, and
Prometheus' own tool reads the metrics.

usage: telemetry.py DAEMON COLLECTOR PROMTOOL
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from broker import Score

DEADLINE_SECONDS = 60

# Names that clients rely on, although a gauge is not usually called so.
KEPT_NAMES = {"iggy_connectors_sources_total", "iggy_connectors_sinks_total"}

CONFIG = """
[iggy.embedded]
enabled = true

[sources.random]
path = "libiggy_connector_random_source"
streams = [{ stream = "judged", topic = "telemetry", schema = "json" }]
plugin_config = { interval = "10ms", max_count = 100 }

[sinks.stdout]
path = "libiggy_connector_stdout_sink"
streams = [{ stream = "judged", topics = ["telemetry"], schema = "json" }]
"""


def reserve_port():
    """Bound until it is closed, so that nobody else is given the port; who listens there allows an address to be used again."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def wait_until(look):
    """What is seen at last; None when nothing is."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    return None


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except ConnectionRefusedError:
        return False


class Process:
    """A process whose output can be waited for; interrupted at the end."""

    def __init__(self, folder, name, arguments, environment=None):
        self.log = folder / f"{name}.log"
        with open(self.log, "w") as output:
            self.process = subprocess.Popen(
                arguments, cwd=folder, env={**os.environ, **(environment or {})}, stdout=output, stderr=subprocess.STDOUT
            )

    def wait_for(self, pattern):
        return wait_until(lambda: re.search(pattern, self.log.read_text()))

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_SECONDS)


def judge_collector(score, daemon, collector, transport):
    with tempfile.TemporaryDirectory() as name, reserve_port() as for_grpc, reserve_port() as for_http:
        folder = pathlib.Path(name)
        grpc, http = for_grpc.getsockname()[1], for_http.getsockname()[1]
        collecting = Process(
            folder,
            "collector",
            [collector, "start", "--exporter", "blackhole"]
            + ["--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--otlp-http-endpoint", f"127.0.0.1:{http}"]
            + ["--debug-log", "traces", "--debug-log", "logs", "--debug-log-verbosity", "detailed"],
        )
        for port in (grpc, http):
            score.judge(f"{transport}: the collector listens at {port}", wait_until(lambda: listens(port)), collecting.log.read_text())
        endpoint = f"http://127.0.0.1:{grpc if transport == 'grpc' else http}"
        (folder / "config.toml").write_text(CONFIG)
        running = start_daemon(
            folder,
            daemon,
            {
                "IGGY_CONNECTORS_TELEMETRY_ENABLED": "true",
                "IGGY_CONNECTORS_TELEMETRY_SERVICE_NAME": "judged-daemon",
                "IGGY_CONNECTORS_TELEMETRY_LOGS_TRANSPORT": transport,
                "IGGY_CONNECTORS_TELEMETRY_LOGS_ENDPOINT": endpoint,
                "IGGY_CONNECTORS_TELEMETRY_TRACES_TRANSPORT": transport,
                "IGGY_CONNECTORS_TELEMETRY_TRACES_ENDPOINT": endpoint,
            },
        )
        everything_is_sent(running)
        code = running.interrupt()
        score.judge(f"{transport}: the daemon ends well", code == 0, running.log.read_text())
        for what, pattern in [
            ("its own logs", r"Body: Str\(management API on"),
            ("a plugin's logs", r"Body: Str\(opened the random source"),
            ("the name of the service", r"judged-daemon"),
            ("a trace of a batch", r"Name\s*: batch"),
            ("whose batch it was", r"connector\.key[^\n]*random"),
        ]:
            found = collecting.wait_for(pattern)
            score.judge(f"{transport}: the collector has {what}", found is not None, f"no {pattern} in\n{collecting.log.read_text()[-4000:]}")
        collecting.interrupt()


def judge_metrics(score, daemon, promtool):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "config.toml").write_text(CONFIG)
        running = start_daemon(folder, daemon, {})
        api = everything_is_sent(running)
        with urllib.request.urlopen(f"{api}/metrics") as reply:
            text = reply.read()
        checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=DEADLINE_SECONDS)
        said = (checked.stdout + checked.stderr).decode()
        complaints = [line for line in said.splitlines() if line and line.split()[0] not in KEPT_NAMES]
        # 3: it can be read, and there are complaints about style.
        score.judge("promtool reads the metrics", checked.returncode in (0, 3) and not complaints, said)
        running.interrupt()


def start_daemon(folder, daemon, environment):
    addresses = {"IGGY_CONNECTORS_HTTP_ADDRESS": "127.0.0.1:0", "IGGY_CONNECTORS_IGGY_ADDRESS": "127.0.0.1:0"}
    return Process(folder, "daemon", [daemon], {**addresses, **environment})


def everything_is_sent(running):
    """Waits until the source has sent all that it has. Returns the address of the API."""
    api = running.wait_for(r"management API on (http://\S+)").group(1)

    def is_sent():
        with urllib.request.urlopen(f"{api}/stats") as reply:
            connectors = json.load(reply)["connectors"]
        return any(connector["key"] == "random" and connector["messages_sent"] == 100 for connector in connectors)

    assert wait_until(is_sent), running.log.read_text()
    return api


def main():
    daemon, collector, promtool = sys.argv[1:]
    score = Score()
    for transport in ("grpc", "http"):
        judge_collector(score, daemon, collector, transport)
    judge_metrics(score, daemon, promtool)
    return score.exit_code()


sys.exit(main())
