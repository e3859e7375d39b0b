"""The embedded broker in a process of its own, for the judges: a free port, a fresh folder, a clean end."""

import selectors
import shutil
import signal
import subprocess
import tempfile

START_SECONDS = 60
STOP_SECONDS = 60


class Broker:
    """Runs while the `with` block does. `restart` stops it and starts it again over the same data."""

    def __init__(self, program):
        self.program = program
        self.folder = tempfile.mkdtemp(prefix="iggy-judge-")
        self.log = open(f"{self.folder}/log", "w+b")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        try:
            self.stop()
            if kind:
                self.show_log()
        finally:
            self.process.kill()
            self.log.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        command = [self.program, "--listen", "127.0.0.1:0", "--dir", f"{self.folder}/data"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        ready = self.first_line()
        if not ready.startswith("listening on "):
            self.process.kill()
            self.show_log()
            raise SystemExit(f"the broker did not start, it printed {ready!r}")
        self.address = ready.removeprefix("listening on ").strip()

    def first_line(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            return self.process.stdout.readline() if selector.select(START_SECONDS) else ""

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        self.process.stdout.close()
        if code != 0:
            self.show_log()
            raise SystemExit(f"the broker ended with {code} after SIGTERM")

    def restart(self):
        self.stop()
        self.start()

    def show_log(self):
        self.log.seek(0)
        print(self.log.read().decode(errors="replace"))


class Score:
    """Says what was tried and how it went, and remembers whether everything held."""

    def __init__(self):
        self.held = 0
        self.failed = []

    def judge(self, what, holds, detail=""):
        if holds:
            self.held += 1
            print(f"ok    {what}", flush=True)
        else:
            self.failed.append(what)
            print(f"FAIL  {what}\n{detail}", flush=True)

    def exit_code(self):
        print(f"{self.held} held, {len(self.failed)} failed", flush=True)
        return 1 if self.failed else 0
