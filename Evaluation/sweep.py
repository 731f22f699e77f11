"""Result files of one model in several precisions and resolutions, for plot.py.

    .venv-evaluate/bin/python Evaluation/sweep.py embedded RESULTS --data DATA --tasks ocrbench,docvqa_val \\
        --sizes 192 256 384 512 --precisions bfloat16 int8 int4

A run that has its result file is not repeated.
"""

import argparse
import itertools
import pathlib
import subprocess
import sys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("results", type=pathlib.Path, help="folder for the result files")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16", "int8", "int4"])
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    for precision, size in itertools.product(options.precisions, options.sizes):
        result = options.results / f"{precision}-{size}.json"
        if result.exists():
            continue
        # A process for each, because OCRBench's task adds up over all evaluations of a process.
        command = [
            sys.executable, "-m", "fastvlm.harness", "run", options.model, "--tasks", options.tasks, "--precision", precision,
            "--image-size", str(size), "--output", str(result)]
        if options.data:
            command += ["--data", str(options.data)]
        if status := subprocess.call(command):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
