"""Means of the weights of runs of one model: python average.py runs/a=0.3 runs/b=0.7 --out runs/mean."""

import argparse
import pathlib

from recipe import average


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN=SHARE", help="the shares are made to add up to 1")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a new run, for export.py or start.checkpoint")
    args = parser.parse_args()
    try:
        runs = dict(average.share(text) for text in args.runs)
        if len(runs) < len(args.runs):
            raise ValueError("a run is named twice")
        average.write(runs, args.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
