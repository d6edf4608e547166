"""Sides of the comparison as processes: some stay and are asked, others run once. Standard library only, so that the
process that starts them is small."""

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass


class Side:
    """A model that stays loaded: `benches/model.rs` or measure.py."""

    def __init__(self, command: list):
        self.child = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.child.stdout.readline()
        assert line.startswith("ready"), f"{command} does not start: {line}"

    def measure(self, work: str, count: int) -> float:
        return self._ask(f"{work} {count}")

    def show(self, work: str, count: int) -> list[list[float]]:
        return self._ask(f"show {work} {count}")

    def stop(self):
        self.child.stdin.close()
        self.child.wait()

    def _ask(self, line: str):
        print(line, file=self.child.stdin, flush=True)
        return json.loads(self.child.stdout.readline())


@dataclass
class Finished:
    """A process that ran to its end."""

    seconds: float
    peak: int
    """Most memory resident at once, bytes."""
    own: int
    """The same without the pages of mapped files, looked at every 10 ms."""


def finish(command: list) -> Finished:
    started = time.perf_counter()
    child = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL)
    own = _Watch(child.pid)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{command} failed"
    return Finished(seconds, usage.ru_maxrss * 1024, own.most * 1024)


class _Watch:
    def __init__(self, pid: int):
        self.most = 0
        self.status = f"/proc/{pid}/status"
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self):
        try:
            while True:
                with open(self.status) as status:
                    lines = dict(line.split(":", 1) for line in status)
                # Absent from a process that has ended and not been waited for.
                self.most = max(self.most, int(lines["RssAnon"].split()[0]))
                time.sleep(0.01)
        except (FileNotFoundError, ProcessLookupError, KeyError):
            pass
