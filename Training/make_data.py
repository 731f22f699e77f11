"""Renders scenes into shards: data/SPLIT-000.bin (N x 256 x 256 x 3 uint8) and data/SPLIT-000.jsonl.

A shard's .jsonl appears only when the shard is complete, so training may start on the first ones.
"""

import argparse
import json
import pathlib

import numpy as np

import scenes
import vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=["train", "held"], required=True)
    parser.add_argument("--shards", type=int, nargs="+", required=True, help="numbers of the shards to make")
    parser.add_argument("--size", type=int, default=4000, help="images per shard")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("data"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    trained, held = vocabulary.words()
    for shard in args.shards:
        words, seed = (trained, 1000 + shard) if args.split == "train" else (held, 900_000 + shard)
        painter = scenes.Painter(seed, words, pseudo=0.3 if args.split == "train" else 0.0)
        name = args.out / f"{args.split}-{shard:03d}"
        shape = (args.size, scenes.SIDE, scenes.SIDE, 3)
        pixels = np.memmap(name.with_suffix(".bin"), np.uint8, "w+", shape=shape)
        lines = []
        for i in range(args.size):
            image, scene = painter.paint()
            pixels[i] = np.asarray(image)
            lines.append(json.dumps(scene))
        pixels.flush()
        name.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
        print(name, args.size, flush=True)


if __name__ == "__main__":
    main()
