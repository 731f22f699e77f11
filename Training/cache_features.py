"""Runs the frozen encoder once over the images: runs/features-SPLIT.bin, [N, 16, FEATURES] float16."""

import argparse

import numpy as np
import torch
import torch.distributed as dist

import workers
from data import Scenes
from fast_ops import accelerate
from model import FEATURES, fold, make_encoder
from vlm import TOKENS


def load_folded(path) -> torch.nn.Module:
    """The inference-form encoder out of a stage 0 checkpoint."""
    net = make_encoder()
    state = torch.load(path, map_location="cpu")["net"]
    net.load_state_dict({k[len("encoder."):]: v for k, v in state.items() if k.startswith("encoder.")})
    return fold(net)


def features(encoder, images: torch.Tensor) -> torch.Tensor:
    return encoder.forward_features(images).flatten(2).transpose(1, 2)


def open_features(split: str, name: str = "features", mode: str = "r", number: int = 0) -> np.ndarray:
    path = workers.RUNS / f"{name}-{split}.bin"
    number = number or path.stat().st_size // (TOKENS * FEATURES * 2)
    return np.memmap(path, np.float16, mode, shape=(number, TOKENS, FEATURES))


@torch.no_grad()
def work(rank: int, processes: int, args) -> None:
    encoder = accelerate(load_folded(workers.RUNS / f"{args.encoder}.pt"))
    for split, limit in (("held", args.held), ("train", args.train)):
        scenes = Scenes(split, limit)
        if rank == 0:
            open_features(split, args.name, "w+", len(scenes))
        dist.barrier()
        out = open_features(split, args.name, "r+", len(scenes))
        for start in range(rank * 32, len(scenes), 32 * processes):
            chosen = range(start, min(start + 32, len(scenes)))
            found = features(encoder, scenes.batch(chosen))
            if not torch.isfinite(found).all():
                raise FloatingPointError(f"features of images {chosen} are not finite")
            out[chosen.start : chosen.stop] = found.numpy()
            if start // 32 % 50 == 0:
                print(split, start, float(found.abs().max()), float(found.std()), flush=True)
        dist.barrier()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="stage0")
    parser.add_argument("--name", default="features")
    parser.add_argument("--train", type=int, default=24000)
    parser.add_argument("--held", type=int, default=1600)
    parser.add_argument("--port", type=int, default=29521)
    workers.launch(work, parser.parse_args())


if __name__ == "__main__":
    main()
