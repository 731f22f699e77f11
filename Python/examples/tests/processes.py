"""Looks after the processes that a program starts, and kills one of those that have a model."""

import os
import pathlib
import signal
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> list[int]:
    """A process and all that come from it."""
    children: dict[int, list[int]] = {}
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # The name, in parentheses, may have anything in it.
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            children.setdefault(parent, []).append(int(folder.name))
    found = [root]
    for process in found:
        found.extend(children.get(process, []))
    return found


def seconds_of(process: int) -> float:
    """Processor time of a process so far."""
    try:
        fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def has(process: int, library: str) -> bool:
    try:
        return library in pathlib.Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return False


class Watch(threading.Thread):
    """Notes the workers of a program, those that have mapped a file, and kills one of them once."""

    def __init__(self, root: int, library: str, ready) -> None:
        """:param ready: called with the seconds that a worker has worked since it was seen; then it is killed"""
        super().__init__(daemon=True)
        self._root = root
        self._library = library
        self._ready = ready
        self._first: dict[int, float] = {}
        self._over = threading.Event()
        #: Worker that was killed, and when: a monotonic time.
        self.killed: int | None = None
        self.killed_at = 0.0

    @property
    def workers(self) -> list[int]:
        return list(self._first)

    def run(self) -> None:
        while not self._over.wait(0.02):
            for process in descendants(self._root):
                if process not in self._first and has(process, self._library):
                    self._first[process] = seconds_of(process)
            if self.killed is None:
                for process, began in self._first.items():
                    if self._ready(seconds_of(process) - began):
                        os.kill(process, signal.SIGKILL)
                        self.killed, self.killed_at = process, time.monotonic()
                        break

    def end(self) -> None:
        self._over.set()
        self.join()


def run(command: list[str], library: str, ready, **options) -> tuple[float, float, Watch]:
    """Runs a program to its end while one of its workers is killed. -> seconds in all, seconds behind the kill."""
    start = time.monotonic()
    with subprocess.Popen(command, **options) as process:
        watch = Watch(process.pid, library, ready)
        watch.start()
        try:
            process.wait(timeout=600)
        finally:
            watch.end()
            if process.poll() is None:
                for each in reversed(descendants(process.pid)):
                    os.kill(each, signal.SIGKILL)
    assert process.returncode == 0, process.returncode
    end = time.monotonic()
    return end - start, end - watch.killed_at, watch
