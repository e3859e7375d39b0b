"""Judges the management API by schemathesis: whatever is asked, the answer is one that the OpenAPI document describes.

usage: management_api.py DAEMON SCHEMATHESIS
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from broker import Score

START_SECONDS = 60
STOP_SECONDS = 60
DEADLINE_SECONDS = 300
# A connector of each direction; both are of the first run, whose libraries lie beside the daemon.
CONFIG = """
[http.metrics]
enabled = true

[iggy.embedded]
enabled = true

[sources.random]
path = "libiggy_connector_random_source"
[[sources.random.streams]]
stream = "s"
topic = "t"
schema = "json"

[sinks.stdout]
path = "libiggy_connector_stdout_sink"
[[sinks.stdout.streams]]
stream = "s"
topics = ["t"]
schema = "json"
"""
# Not ready is an answer of its own and no failure of the server; and a connector's document has to be more than a table.
SCHEMATHESIS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422"]

# Which texts are targets and times, no schema says.
[[operations]]
include-operation-id = "set_logger"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403"]

[[operations]]
include-operation-id = "ready"
checks.not_a_server_error.enabled = false
"""


class Daemon:
    """Runs while the `with` block does, on a free port, in a folder of its own."""

    def __init__(self, program):
        self.program = os.path.abspath(program)
        self.folder = tempfile.TemporaryDirectory(prefix="iggy-judge-")

    def __enter__(self):
        with open(self.path("config.toml"), "w") as config:
            config.write(CONFIG)
        with open(self.path("schemathesis.toml"), "w") as config:
            config.write(SCHEMATHESIS)
        variables = {
            "IGGY_CONNECTORS_HTTP_ADDRESS": "127.0.0.1:0",
            "IGGY_CONNECTORS_IGGY_ADDRESS": "127.0.0.1:0",
        }
        self.log = open(self.path("log"), "w+")
        self.process = subprocess.Popen(
            [self.program, "--config", "config.toml"],
            cwd=self.folder.name,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=self.log,
        )
        self.url = self.wait_for_url()
        return self

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def wait_for_url(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(r"management API on (\S+)", self.text()):
                return found[1]
            time.sleep(0.05)
        self.process.kill()
        raise SystemExit(f"the daemon did not start\n{self.text()}")

    def text(self):
        with open(self.path("log")) as log:
            return log.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def __exit__(self, *_):
        self.process.kill()
        self.log.close()
        self.folder.cleanup()


def run(daemon, schemathesis):
    """Its exit code, and what it printed."""
    command = [schemathesis, "--config-file", daemon.path("schemathesis.toml"), "run", f"{daemon.url}/openapi.json"]
    command += ["--request-timeout", "60", "--max-examples", "25", "--seed", "1", "--no-color"]
    done = subprocess.run(
        command,
        cwd=daemon.folder.name,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    return done.returncode, done.stdout


def main():
    score = Score()
    with Daemon(sys.argv[1]) as daemon:
        code, printed = run(daemon, sys.argv[2])
        score.judge("every answer is in the document and none is a server's error", code == 0, printed)
        tested = re.search(r"Tested: (\d+)", printed)
        selected = re.search(r"Selected: (\d+)/(\d+)", printed)
        all_tested = bool(tested and selected) and tested[1] == selected[1] == selected[2]
        score.judge("every operation was asked", all_tested, printed)
        panics = [line for line in daemon.text().splitlines() if "panicked" in line]
        score.judge("nothing panicked", not panics, "\n".join(panics))
        code = daemon.stop()
        score.judge("the daemon drains and ends after that", code == 0, daemon.text()[-4000:])
    return score.exit_code()


if __name__ == "__main__":
    sys.exit(main())
