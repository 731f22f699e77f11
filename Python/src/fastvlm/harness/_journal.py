"""Answers that were given already, in a file: what runs for hours goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any


class Journal:
    """JSON lines of answers by what was asked: model, text, pixels and options. Greedy answers only, which are the same
    whenever they are given.

    A line is written whole when its answer is there. What is no line, as the last one after a loss of power, is left out.
    """

    def __init__(self, path: str | os.PathLike[str], model: Mapping[str, Any]) -> None:
        self._path = pathlib.Path(path)
        self._model = json.dumps(model, sort_keys=True).encode()
        self._known: dict[str, Any] = {}
        if self._path.exists():
            with open(self._path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    self._read(line)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "ab")
        if self._file.tell() and not self._ends_in_a_line():
            self._file.write(b"\n")

    def key(self, text: str, images: Iterable[Any], options: Mapping[str, Any]) -> str:
        """Names a request by all that its answer depends on."""
        digest = hashlib.sha256(self._model)
        digest.update(json.dumps([text, dict(options)], sort_keys=True).encode())
        for image in images:
            digest.update(f"{image.mode} {image.size}".encode())
            digest.update(image.tobytes())
        return digest.hexdigest()

    def get(self, key: str) -> Any:
        """What was kept, or None."""
        return self._known.get(key)

    def keep(self, key: str, answer: Any) -> None:
        self._known[key] = answer
        self._file.write(json.dumps({"key": key, "answer": answer}).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._known)

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._known[entry["key"]] = entry["answer"]
        except (ValueError, KeyError, TypeError):
            return

    def _ends_in_a_line(self) -> bool:
        with open(self._path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
