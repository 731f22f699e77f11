#!/usr/bin/env python3
"""Images per second of `fastvlm batch` beside a loop of single answers in one process, in turns.

Beside them stands the processor time of an image, which other work on the machine does not count in; with --threads 1
it has no waiting in it either.

Both are the same program with the same settings, one image a question: the loop works on one question at a time
(--parallel 1), the batch on several. Loading is not counted. The loop's own timings say where its time goes, and so
what answering several at once can save at most: the encoder and the prompts of new images take the same time in any
company, only the tokens behind the first share the reading of the weights.

  python3 Benchmarks/batch.py --checkpoint downloads/fastvlm-0.5b --precision int8 --resolutions 256,512,1024
"""

import argparse
import json
import platform
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RATE = re.compile(r": ([\d.]+) per (second|minute|hour), (\d+) tokens")
SECONDS = {"second": 1, "minute": 60, "hour": 3600}


def make_images(folder: Path, count: int, width: int, height: int) -> None:
    """Different pictures without any library: binary netpbm, soft gradients and rectangles."""
    for number in range(count):
        chosen = random.Random(number)
        colours = [[chosen.randrange(256) for _ in range(3)] for _ in range(8)]
        rows = []
        for y in range(height):
            left, right = colours[y * 4 // height], colours[4 + y * 4 // height]
            edge = chosen.randrange(width)
            rows.append(bytes(left) * edge + bytes(right) * (width - edge))
        header = b"P6\n%d %d\n255\n" % (width, height)
        (folder / f"{number:04}.ppm").write_bytes(header + b"".join(rows))


def run(options, images: Path, side: int, parallel: int) -> tuple[float, float, list[dict]]:
    """-> images per second, processor seconds in all, records."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.jsonl"
        command = [
            str(options.fastvlm), "batch", "--images", str(images), "What is this?", "-o", str(output),
            "--model", str(options.checkpoint), "--precision", options.precision, "--max-tokens", str(options.tokens),
            "--parallel", str(parallel), "--resolution", str(side),
        ]  # fmt: skip
        if options.threads:
            command += ["--threads", str(options.threads)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        records = [json.loads(line) for line in output.read_text().splitlines()]
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = RATE.search(done.stderr)
    if not found:
        sys.exit(f"no rate in: {done.stderr}")
    return float(found[1]) / SECONDS[found[2]], work, records


def split(records: list[dict]) -> dict[str, float]:
    """Mean seconds of each part of an answer."""
    parts = {
        "decode and resize": lambda t: t["decode_image"] + t["preprocess"],
        "encode": lambda t: t["encode"] + t["project"],
        "prefill": lambda t: t["prefill"],
        "further tokens": lambda t: t["total"] - t["time_to_first_token"],
    }
    return {name: statistics.mean(part(record["timings"]) for record in records) for name, part in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--fastvlm", type=Path, default=ROOT / ".build/release/fastvlm")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--resolutions", default="256,512,1024")
    parser.add_argument("--parallel", default="8")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    counts = [int(word) for word in options.parallel.split(",")]
    print(f"{platform.processor() or platform.machine()}, {options.precision}, {options.tokens} tokens an answer")
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "one"
        one.mkdir()
        make_images(one, 1, 1024, 768)
        images = Path(folder) / "all"
        images.mkdir()
        make_images(images, options.images, 1024, 768)
        for side in (int(word) for word in options.resolutions.split(",")):
            rates: dict[int, list[float]] = {1: []} | {count: [] for count in counts}
            work: dict[int, list[float]] = {count: [] for count in rates}
            loop = []
            for _ in range(options.rounds):
                # What loading and the first image take.
                base = run(options, one, side, 1)[1]
                for count, measured in rates.items():
                    rate, seconds, records = run(options, images, side, count)
                    measured.append(rate)
                    work[count].append((seconds - base) / (options.images - 1))
                    if count == 1:
                        loop = records
            tokens = statistics.mean(record["usage"]["completion_tokens"] for record in loop)
            parts = split(loop)
            total = sum(parts.values())
            print(f"\n{side}²: the loop's answers take {total:.3f} s each ({tokens:.1f} tokens): "
                  + ", ".join(f"{name} {seconds:.3f}" for name, seconds in parts.items()))  # fmt: skip
            print(f"  if further tokens took no time: {total / (total - parts['further tokens']):.2f} times the loop")
            single = statistics.median(rates[1])
            alone = statistics.median(work[1])
            for count, measured in rates.items():
                median = statistics.median(measured)
                print(f"  {count} at once: {median:.3f} images per second ({median / single:.2f}; "
                      f"{min(measured):.3f}–{max(measured):.3f}); processor time of one {statistics.median(work[count]):.3f} s "
                      f"({alone / statistics.median(work[count]):.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
