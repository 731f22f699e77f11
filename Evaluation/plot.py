"""Accuracy over resolution, a line for each precision, from result files: SVG.

    .venv-evaluate/bin/python Evaluation/plot.py Evaluation/results/embedded/*.json \\
        --metrics ocrbench:ocrbench_accuracy docvqa_val:anls -o docs/plots/evaluation-embedded.svg
"""

import argparse
import math
import pathlib
import sys

import matplotlib as mpl

from fastvlm.harness import _table

mpl.use("svg")
# The same files make the same bytes.
mpl.rcParams.update({"svg.hashsalt": "fastvlm", "svg.fonttype": "none", "font.size": 9})
from matplotlib import pyplot  # noqa: E402

COLOURS = {"float32": "#2f2f2f", "bfloat16": "#2f6f9f", "int8": "#27ae60", "int4": "#c0392b"}
MARKS = {"float32": "o", "bfloat16": "s", "int8": "^", "int4": "v"}


def share(result: dict, task: str, metric: str) -> tuple[float, float] | None:
    """Per cent of a metric, and its standard error as that of a share of independent questions."""
    entry = result["tasks"].get(task)
    if entry is None or metric not in entry["metrics"]:
        return None
    value, number = entry["metrics"][metric], entry["questions"]
    if metric == "ocrbench_accuracy":
        # Of a thousand, whatever was asked.
        value *= 1000 / number
    return 100 * value, 100 * math.sqrt(max(value * (1 - value), 0) / number)


def draw(results: list[dict], metrics: list[tuple[str, str]]) -> "pyplot.Figure":
    figure, row = pyplot.subplots(1, len(metrics), figsize=(4.6 * len(metrics), 3.6), constrained_layout=True, squeeze=False)
    names = {row["today"]["task"]: row["benchmark"] for row in _table.paper()}
    for axes, (task, metric) in zip(row[0], metrics):
        lines: dict[str, dict[int, tuple[float, float]]] = {}
        for result in results:
            if found := share(result, task, metric):
                lines.setdefault(result["model"]["precision"], {})[result["model"]["imageSize"]] = found
        order = [*COLOURS, *sorted(set(lines) - set(COLOURS))]
        for place, precision in enumerate(each for each in order if each in lines):
            points = sorted(lines[precision].items())
            # A little beside each other, so that equal ones are seen.
            axes.errorbar(
                [size + 3 * (place - 1.5) for size, _ in points], [value for _, (value, _) in points],
                yerr=[error for _, (_, error) in points], label=precision, color=COLOURS.get(precision),
                marker=MARKS.get(precision, "x"), markersize=4, linewidth=1.2, elinewidth=0.7, capsize=2)
        questions = {result["tasks"][task]["questions"] for result in results if task in result["tasks"]}
        axes.set(xlabel="resolution, pixels per side", ylabel=f"{metric}, %", ylim=(0, None))
        axes.set_title(f"{names.get(task, task)} ({', '.join(map(str, sorted(questions)))} questions)", fontsize=9)
        axes.set_xticks(sorted({size for points in lines.values() for size in points}))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=pathlib.Path)
    parser.add_argument("--metrics", nargs="+", required=True, metavar="TASK:METRIC")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    try:
        results = [_table.read_result(path) for path in options.results]
        metrics = [tuple(each.split(":", 1)) for each in options.metrics]
        if any(len(each) != 2 for each in metrics):
            raise ValueError("a metric is named TASK:METRIC")
        if missing := [":".join(each) for each in metrics if not any(share(result, *each) for result in results)]:
            raise ValueError(f"no result has {', '.join(missing)}")
        if len({result["model"]["sha256"] for result in results}) > 1:
            raise ValueError("the results are of different checkpoints")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 64
    draw(results, metrics).savefig(options.output, metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
