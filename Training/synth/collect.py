"""Links the training shards of several folders into one, in turns: a run reads one folder.

    python -m synth.collect data512 data-hard data-crowd --watch data512 --out data-mixed

A folder that is named twice is read twice as often. Shards come in the order of their folders, the first of each, then
the second of each, until the last folder has none left.
"""

import argparse
import itertools
import os
import pathlib
import shutil


def link(shard: pathlib.Path, out: pathlib.Path, name: str) -> None:
    for kind in (".bin", ".jsonl"):
        (out / f"{name}{kind}").symlink_to(os.path.relpath(shard.with_suffix(kind), out.resolve()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--watch", type=pathlib.Path, help="folder whose scenes are watched")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    found = [sorted(folder.resolve().glob("train-*.jsonl")) for folder in args.folders]
    watched = sorted(args.watch.resolve().glob("watch-*.jsonl")) if args.watch else []
    if empty := [str(folder) for folder, shards in zip(args.folders, found) if not shards]:
        parser.error(f"no training shards in {', '.join(empty)}")
    if args.watch and not watched:
        parser.error(f"no watched shards in {args.watch}")
    if args.out.exists():
        parser.error(f"{args.out} is there already")
    part = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shards = [shard for turn in itertools.zip_longest(*found) for shard in turn if shard]
    for number, shard in enumerate(shards):
        link(shard, part, f"train-{number:03d}")
    for number, shard in enumerate(watched):
        link(shard, part, f"watch-{number:03d}")
    part.replace(args.out)
    print(f"{len(shards)} training shards in {args.out}: data.path={args.out}, data.shards={len(shards)}")


if __name__ == "__main__":
    main()
