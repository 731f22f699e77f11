"""Reads the shards of make_data.py: pixels through memory maps, descriptions as dicts."""

import json
import pathlib

import numpy as np
import torch

from scenes import SIDE

ROOT = pathlib.Path(__file__).parent / "data"


class Scenes:
    """All complete shards of a split; indices run over them in the order of their numbers."""

    def __init__(self, split: str, limit: int | None = None):
        self.described: list[dict] = []
        self.pixels: list[np.ndarray] = []
        self.where: list[tuple[int, int]] = []
        for path in sorted(ROOT.glob(f"{split}-*.jsonl")):
            lines = path.read_text().splitlines()
            shape = (len(lines), SIDE, SIDE, 3)
            self.where += [(len(self.pixels), i) for i in range(len(lines))]
            self.pixels.append(np.memmap(path.with_suffix(".bin"), np.uint8, "r", shape=shape))
            self.described += [json.loads(line) for line in lines]
        if limit is not None:
            self.where, self.described = self.where[:limit], self.described[:limit]

    def __len__(self) -> int:
        return len(self.where)

    def image(self, index: int) -> np.ndarray:
        shard, i = self.where[index]
        return self.pixels[shard][i]

    def batch(self, indices) -> torch.Tensor:
        """[N, 3, 256, 256] float32 in 0...1, channels last in memory."""
        stacked = torch.from_numpy(np.stack([self.image(i) for i in indices]))
        return stacked.permute(0, 3, 1, 2).float().div_(255)
