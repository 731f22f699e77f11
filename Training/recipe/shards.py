"""Reads the shards of synth/shards.py: pixels through memory maps, descriptions as dicts."""

import json
import pathlib
import time

import numpy as np
import torch


class Scenes:
    """The first `shards` shards of a split; waits for one that is not rendered yet."""

    def __init__(self, path, split: str, shards: int, size: int, side: int = 256):
        self.path, self.split, self.shards, self.size, self.side = (
            pathlib.Path(path),
            split,
            shards,
            size,
            side,
        )
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


class Sides:
    """The resolution of each batch, drawn by its first sample, so that one set of weights serves several.

    settings: {"256": 0.7, "512": 0.3}, or nothing for the resolution that the samples have.
    """

    def __init__(self, settings: dict[str, float] | None, seed: int = 1):
        self.settings, self.seed = settings or {}, seed

    def draw(self, first: dict) -> int | None:
        """The resolution of the batch that begins with this sample."""
        if not self.settings:
            return None
        dice = np.random.default_rng((self.seed, 3, first.get("epoch", 0), first.get("index", 0)))
        return int(dice.choice(list(map(int, self.settings)), p=list(self.settings.values())))

    def __call__(self, pixels: torch.Tensor, first: dict) -> torch.Tensor:
        """pixels [N, S, S, 3] bytes, scaled to the resolution that the batch's first sample draws."""
        return scaled(pixels, self.draw(first) or pixels.shape[1])


def scaled(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """pixels [N, S, S, 3] bytes -> [N, side, side, 3] bytes."""
    if side == pixels.shape[1]:
        return pixels
    flat = pixels.permute(0, 3, 1, 2).float()
    flat = torch.nn.functional.interpolate(flat, (side, side), mode="bicubic", antialias=True)
    return flat.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
