"""Judges a plugin that was built outside the workspace: it runs in the daemon and gets every message.

usage: outside_plugin.py DAEMON LIBRARY CONFIG      (CONFIG is the shipped one; its sink is replaced by the library)
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

DEADLINE_SECONDS = 60
WANTED = 200


def configuration(shipped, library, file):
    """The shipped configuration with a quicker source, and the plugin from outside in place of the sink."""
    config = shipped.replace('interval = "1s"', 'interval = "1ms"')
    config = config.replace('"libiggy_connector_stdout_sink"', json.dumps(library))
    return config.replace("print_payload = true", f"file = {json.dumps(file)}")


def ids(file):
    """The numbers that the source gave its messages, as far as they have been written."""
    if not os.path.exists(file):
        return []
    with open(file) as lines:
        whole = [line for line in lines if line.endswith("\n")]
    return [json.loads(line)["id"] for line in whole]


def run(daemon, library, shipped, folder):
    file, config = f"{folder}/delivered", f"{folder}/config.toml"
    with open(shipped) as source, open(config, "w") as target:
        target.write(configuration(source.read(), library, file))
    addresses = {f"IGGY_CONNECTORS_{name}_ADDRESS": "127.0.0.1:0" for name in ("HTTP", "IGGY")}
    with open(f"{folder}/log", "w+") as log:
        process = subprocess.Popen([daemon, "--config", config], cwd=folder, stderr=log, env={**os.environ, **addresses})
        try:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while len(ids(file)) < WANTED and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            code = process.wait(DEADLINE_SECONDS)
        finally:
            process.kill()
        log.seek(0)
        return code, ids(file), log.read()


def main():
    daemon, library, shipped = map(os.path.abspath, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        code, delivered, log = run(daemon, library, shipped, folder)
    whole = delivered == list(range(1, len(delivered) + 1))
    print(f"the plugin from outside was handed {len(delivered)} messages; the daemon ended with {code}")
    if code == 0 and len(delivered) >= WANTED and whole:
        return 0
    print(re.sub(r"\x1b\[[0-9;]*m", "", log))
    print("messages are missing, come twice or out of order" if not whole else "")
    return 1


if __name__ == "__main__":
    sys.exit(main())
