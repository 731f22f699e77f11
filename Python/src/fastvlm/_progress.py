"""One line about work that takes time, on stderr, at a terminal as in a notebook."""

from __future__ import annotations

import sys
import time


class Progress:
    """Rewrites its line at most ten times a second."""

    def __init__(self, what: str, is_wanted: bool) -> None:
        self._what = what
        self._is_wanted = is_wanted
        self._start = time.monotonic()
        self._shown = 0.0
        self._length = 0

    def fraction(self, done: float) -> None:
        """Tells a share of the work, 0 to 1."""
        self._show(f"{self._what} {done:.0%}")

    def count(self, done: int, total: int | None, before: int = 0) -> None:
        """Tells how many are done, the rate of those that were not ``before``, and the time that is left where the total
        is known."""
        elapsed = time.monotonic() - self._start
        rate = (done - before) / elapsed if elapsed > 0 else 0.0
        line = f"{self._what} {done}" + (f" of {total}" if total is not None else "") + f", {rate:.1f} per second"
        if total is not None and rate > 0 and done < total:
            line += f", {(total - done) / rate:.0f} s left"
        self._show(line, is_last=done == total)

    def end(self) -> None:
        """Ends the line."""
        if self._length:
            print(file=sys.stderr)
            self._length = 0

    def _show(self, line: str, is_last: bool = False) -> None:
        now = time.monotonic()
        if not self._is_wanted or (now - self._shown < 0.1 and not is_last):
            return
        self._shown = now
        print("\r" + line.ljust(self._length), end="", file=sys.stderr, flush=True)
        self._length = len(line)
