#!/usr/bin/env python3
"""What Ray Data and Spark cost beside one plain process: one worker with one thread each, the same images, in turns.

A steady rate leaves out starting: rows behind the first file of the output, by the times at which files appear.
Processor time is that of all processes of the engine, per row of the same stretch; other work on the machine does not
count in it.

  .venv-machines/bin/python Benchmarks/engines.py --images 600 --rounds 3
"""

import argparse
import bisect
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "Python/examples"
sys.path.insert(0, str(EXAMPLES / "tests"))
from processes import descendants, seconds_of

QUESTION = "What is this?"
#: Rows of a task and of a file.
TASK = 50
PLAIN = """
import json, os, sys, time
import pyarrow.parquet, fastvlm
path, question, model, precision, tokens = sys.argv[1:]
model = fastvlm.Model(model, precision=precision or None, threads=1, prefers_throughput=True)
def images():
    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(32, columns=["image"]):
        yield from batch["image"].to_pylist()
for number, answer in enumerate(model.iter_answers(question, images(), max_tokens=int(tokens)), 1):
    if number % {task} == 0:
        print(json.dumps([number, time.time(), sum(os.times()[:2])]), flush=True)
"""


def make_table(path: Path, count: int, side: int) -> None:
    """A block of noise in each picture, so that no two are alike and none costs nothing to look at."""
    images = []
    for number in range(count):
        chosen = random.Random(number)
        pixels = numpy.full((side, side, 3), [chosen.randrange(256) for _ in range(3)], numpy.uint8)
        generator = numpy.random.default_rng(number)
        pixels[side // 4:side // 2, side // 4:side // 2] = generator.integers(0, 256, (side // 2 - side // 4,) * 2 + (3,))
        images.append(b"P6\n%d %d\n255\n" % (side, side) + pixels.tobytes())
    pyarrow.parquet.write_table(pyarrow.table({"id": [str(n) for n in range(count)], "image": images}), path)


def plain(options, table: Path, _: Path) -> list[tuple[int, float, float]]:
    command = [sys.executable, "-c", PLAIN.replace("{task}", str(TASK)), table, QUESTION, options.model,
               options.precision or "", str(options.tokens)]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def engine(name: str):
    def measure(options, table: Path, folder: Path) -> list[tuple[int, float, float]]:
        command = [sys.executable, EXAMPLES / f"{name}_captions.py", table, folder, QUESTION, "--workers", "1",
                   "--model", options.model, "--max-tokens", str(options.tokens)]  # fmt: skip
        command += ["--precision", options.precision] if options.precision else []
        command += ["--rows", str(TASK)] if name == "ray" else ["--tasks", str(options.images // TASK)]
        samples, work = [(0.0, 0.0)], {}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                for each in descendants(process.pid):
                    work[each] = max(work.get(each, 0.0), seconds_of(each))
                samples.append((time.time(), sum(work.values())))
                time.sleep(0.05)
        if process.returncode:
            sys.exit(f"{name}: status {process.returncode}")
        files = sorted((file.stat().st_mtime, file) for file in folder.rglob("*.parquet"))
        marks, rows = [], 0
        for at, file in files:
            rows += pyarrow.parquet.ParquetFile(file).metadata.num_rows
            marks.append((rows, at, samples[bisect.bisect(samples, (at, math.inf)) - 1][1]))
        return marks

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--precision")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--side", type=int, default=512, help="of the pictures, in pixels")
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default="ray,spark")
    options = parser.parse_args()
    ways = {"plain": plain} | {name: engine(name) for name in options.engines.split(",")}
    rates, works, starts = ({name: [] for name in ways} for _ in range(3))
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "photos.parquet"
        make_table(table, options.images, options.side)
        for turn in range(options.rounds):
            for name, way in ways.items():
                begin = time.time()
                marks = way(options, table, Path(folder) / f"{name}-{turn}")
                (first, from_, used), (last, to, total) = marks[0], marks[-1]
                rate = (last - first) / (to - from_)
                rates[name].append(rate)
                works[name].append((total - used) / (last - first) * 1000)
                starts[name].append(from_ - begin - first / rate)
    base = statistics.median(works["plain"])
    print(f"{options.images} images of {options.side}², model {options.model}, one thread, {options.rounds} rounds; load "
          f"{os.getloadavg()[0]:.1f}")  # fmt: skip
    for name in ways:
        pairs = [each / alone for each, alone in zip(rates[name], rates["plain"])]
        print(f"  {name}: {statistics.median(rates[name]):.1f} per second ({min(rates[name]):.1f}–{max(rates[name]):.1f}; "
              f"{statistics.median(pairs):.2f} of plain), processor time {statistics.median(works[name]):.1f} ms a row "
              f"({statistics.median(works[name]) / base:.2f}), start {statistics.median(starts[name]):.1f} s")  # fmt: skip


if __name__ == "__main__":
    main()
