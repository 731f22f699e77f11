"""Reads the shards of synth/shards.py: pixels through memory maps, descriptions as dicts."""

import json
import math
import pathlib
import sys
import time

import numpy as np
import torch


class ShardError(Exception):
    """A shard is not there and nobody seems to be painting it, or it is not what it should be."""


class Scenes:
    """The first `shards` shards of a split; waits for one that is not painted yet."""

    patience = (60, 1800)  # seconds to wait for a sign of any shard, and from one shard to the next

    def __init__(self, path, split: str, shards: int, size: int, side: int = 256):
        self.path, self.split = pathlib.Path(path), split
        self.shards, self.size, self.side = shards, size, side
        self.open: dict[int, tuple[np.ndarray, list[str]]] = {}

    def __len__(self) -> int:
        return self.shards * self.size

    def shard(self, number: int):
        if number not in self.open:
            path = self.path / f"{self.split}-{number:03d}.jsonl"
            self.wait(path)
            lines = path.read_text().splitlines()
            if len(lines) != self.size:
                raise ShardError(f"{path} has {len(lines)} images, expected {self.size}")
            pixels, shape = path.with_suffix(".bin"), (self.size, self.side, self.side, 3)
            if pixels.stat().st_size != math.prod(shape):
                raise ShardError(f"{pixels} is not {self.size} images of {self.side} x {self.side} pixels")
            self.open[number] = np.memmap(pixels, np.uint8, "r", shape=shape), lines
        return self.open[number]

    def wait(self, path: pathlib.Path) -> None:
        last = time.time()
        if not path.exists():
            print(f"waiting for {path}", file=sys.stderr, flush=True)
        while not path.exists():
            changed = [file.stat().st_mtime for file in self.path.glob(f"{self.split}-*")]
            if time.time() - max([last, *changed]) > self.patience[bool(changed)]:
                raise ShardError(f"{path} is not there: paint it with `python -m synth.shards`, before or meanwhile")
            time.sleep(2)

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
