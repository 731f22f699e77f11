"""Runs the frozen encoder of a run over painted shards once: python store_features.py runs/see data train 20.

Writes data/features-SPLIT-RESOLUTION.bin ([N, T, C] float16), a shard at a time; started again it goes on.
"""

import argparse
import hashlib
import json
import pathlib

import numpy as np
import torch
from recipe import encoder as encoders
from recipe.fast_ops import accelerate
from recipe.model import initial
from recipe.shards import Scenes, scaled


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("split")
    parser.add_argument("shards", type=int)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--side", type=int, default=256, help="of the shards' images")
    parser.add_argument("--at", type=int, help="resolution to look at them, if another")
    args = parser.parse_args()
    config = json.loads((args.run / "config.json").read_text())
    net = encoders.make_encoder(**config["model"]["encoder"])
    state = initial(args.run)
    prefix = next(p for p in ("encoder.", "model.encoder.") if any(k.startswith(p) for k in state))
    net.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})
    net = accelerate(encoders.folded(net))
    scenes = Scenes(args.data, args.split, args.shards, args.size, args.side)
    at = args.at or args.side
    tokens, channels = (at // 64) ** 2, 2 * config["model"]["encoder"]["embed_dims"][4]
    target = args.data / f"features-{args.split}-{at}.bin"
    part, mark = target.with_suffix(".part"), target.with_suffix(".json")
    shape = (len(scenes), tokens, channels)
    with open(args.run / "checkpoint" / "weights.pt", "rb") as file:
        of = {"weights": hashlib.file_digest(file, "sha256").hexdigest(), "shape": list(shape)}
    before = json.loads(mark.read_text()) if mark.exists() and part.exists() else {"shards": 0}
    done = before.pop("shards")
    if done and before != of:
        parser.error(f"{part} was begun with another run or other data: remove it")
    out = np.memmap(part, np.float16, "r+" if done else "w+", shape=shape)
    for shard in range(done, args.shards):
        for start in range(shard * args.size, (shard + 1) * args.size, 20):
            chosen = range(start, min(start + 20, (shard + 1) * args.size))
            pixels = torch.stack([torch.tensor(scenes.pixels(i)) for i in chosen])
            pixels = scaled(pixels, at)
            found = encoders.tokens(net, pixels.permute(0, 3, 1, 2).float().div_(255))
            if not torch.isfinite(found).all():
                raise FloatingPointError(f"features of images {chosen} are not finite")
            out[chosen.start : chosen.stop] = found.numpy()
        out.flush()
        mark.write_text(json.dumps({"shards": shard + 1, **of}))
        print(f"{args.split} {shard + 1} of {args.shards}", flush=True)
    part.replace(target)
    mark.unlink()


if __name__ == "__main__":
    main()
