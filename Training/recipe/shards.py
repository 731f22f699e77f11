"""Reads the shards of synth/shards.py: pixels through memory maps, descriptions as dicts."""

import json
import pathlib
import time

import numpy as np


class Scenes:
    """The first `shards` shards of a split; waits for one that is not rendered yet."""

    def __init__(self, path, split: str, shards: int, size: int, side: int = 256):
        self.path, self.split, self.shards, self.size, self.side = pathlib.Path(path), split, shards, size, side
        self.window = 2 * size
        self.open: dict[int, tuple[np.ndarray, list[str]]] = {}

    def __len__(self) -> int:
        return self.shards * self.size

    def shard(self, number: int):
        if number not in self.open:
            path = self.path / f"{self.split}-{number:03d}.jsonl"
            while not path.exists():
                time.sleep(2)
            lines = path.read_text().splitlines()
            if len(lines) != self.size:
                raise ValueError(f"{path} has {len(lines)} images, expected {self.size}")
            shape = (self.size, self.side, self.side, 3)
            self.open[number] = np.memmap(path.with_suffix(".bin"), np.uint8, "r", shape=shape), lines
        return self.open[number]

    def scene(self, index: int) -> dict:
        return json.loads(self.shard(index // self.size)[1][index % self.size])

    def pixels(self, index: int) -> np.ndarray:
        return self.shard(index // self.size)[0][index % self.size]

    def sample(self, index: int, epoch: int = 0) -> dict:
        return {"pixels": self.pixels(index), "scene": self.scene(index), "index": index, "epoch": epoch}
