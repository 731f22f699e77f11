"""Renders scenes ahead into shards: NAME-000.bin (N x side x side x 3 uint8) and NAME-000.jsonl.

A shard's .jsonl appears only when the shard is complete, so training may start on the first ones; a shard
that is there already is left alone, so the command can be killed and started again.
"""

import argparse
import json
import os
import pathlib

import numpy as np

from synth import documents, world
from synth.scenes import SHARES, Painter


def render(path: pathlib.Path, painter: Painter, size: int, sheets: float) -> None:
    """`sheets`: share of images that are small documents and charts."""
    shape = (size, painter.side, painter.side, 3)
    pixels = np.memmap(path.with_suffix(".bin"), np.uint8, "w+", shape=shape)
    lines = []
    for i in range(size):
        image, scene = documents.paint(painter) if sheets and painter.chance(sheets) else painter.paint()
        pixels[i] = np.asarray(image)
        lines.append(json.dumps(scene, separators=(",", ":")))
    pixels.flush()
    part = path.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n")
    os.replace(part, path.with_suffix(".jsonl"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=["train", "watch"], required=True)
    parser.add_argument("--shards", type=int, required=True, help="how many")
    parser.add_argument("--size", type=int, default=2000, help="images per shard")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument(
        "--most", type=int, default=world.MOST, help="pictures of a kind in the largest group"
    )
    parser.add_argument("--fewest", type=int, default=1, help="pictures of its main kind in the smallest group")
    parser.add_argument("--documents", type=float, default=0.0, help="share of documents and charts")
    parser.add_argument("--invented", type=float, default=0.15, help="share of words that are random letters")
    parser.add_argument(
        "--families", nargs="+", metavar="NAME=SHARE", default=[], help="only these: group=0.5 word=0.5"
    )
    parser.add_argument("--least", type=float, default=0.35, help='size of the smallest picture of "single"')
    parser.add_argument("--seed", type=int, default=1000, help="of the first training shard, below 700000")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    trained, held = world.words()
    sizes = {"side": args.side, "most": args.most}
    families = {name: float(share or 1) for name, _, share in (text.partition("=") for text in args.families)}
    if unknown := set(families) - set(SHARES):
        parser.error(f"--families {', '.join(sorted(unknown))}: expected some of {', '.join(SHARES)}")
    if not 0 < args.least < 0.95:
        parser.error(f"--least {args.least}: expected a share of the image's side below 0.95")
    if not 1 <= args.fewest <= args.most:
        parser.error(f"--fewest {args.fewest}: expected 1 to --most, {args.most}")
    if not 0 < args.seed < 700_000:
        parser.error(f"--seed {args.seed}: watched scenes and the held-out suite have those from 800000 on")
    for shard in range(args.shards):
        path = args.out / f"{args.split}-{shard:03d}"
        if path.with_suffix(".jsonl").exists():
            print(path, "is there already", flush=True)
            continue
        if args.split == "train":
            painter = Painter(args.seed + shard, trained, args.invented, **sizes)
        else:  # watched during training; the held-out suite has seeds of its own
            painter = Painter(800_000 + shard, held, invented=0, held=True, **sizes)
        painter.least, painter.fewest = args.least, args.fewest
        if families:
            total = sum(families.values())
            painter.families, painter.shares = list(families), [share / total for share in families.values()]
        render(path, painter, args.size, args.documents)
        print(path, args.size, flush=True)


if __name__ == "__main__":
    main()
