"""Result files of one model in several precisions and resolutions, for plot.py.

    .venv-evaluate/bin/python Evaluation/sweep.py embedded RESULTS --data DATA --tasks ocrbench,docvqa_val \\
        --sizes 192 256 384 512 --precisions bfloat16 int8 int4

A run that has its result file is not repeated.
"""

import argparse
import itertools
import pathlib
import sys

from fastvlm.harness import use_data


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("results", type=pathlib.Path, help="folder for the result files")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16", "int8", "int4"])
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    results = options.results.absolute()
    if options.data:
        use_data(options.data)
    from fastvlm.harness import _run, _table

    for precision, size in itertools.product(options.precisions, options.sizes):
        path = results / f"{precision}-{size}.json"
        if path.exists():
            continue
        adapter = _run.adapter_class("simple")(
            options.model, precision=precision, image_size=size, threads=options.threads)
        result = _run.evaluate(adapter, options.tasks.split(","))
        adapter.engine.close()
        _run.write_result(path, result)
        print(_table.table(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
