#!/usr/bin/env python3
"""Plots of a run from compare.py's JSON lines: encoder time by resolution, time to first token by stage."""

import argparse
import statistics
from pathlib import Path

import contestants
import report

STAGES = {"preprocess": "#9aa5b1", "encode": "#2f6f9f", "prefill": "#d98a3d"}
MARKS = {"float32": "o", "16 bit": "s", "8 bit": "^", "4 bit": "v"}
COLOURS = {"fastvlm": "#c0392b", "torch": "#7f8c8d", "onnxruntime": "#27ae60", "openvino": "#2f6f9f"}


def latency(lines: list[dict], target: Path) -> bool:
    """Encoder: a line per contestant over the sides of the image."""
    from matplotlib import pyplot

    series: dict[tuple, dict[int, list[float]]] = {}
    for item in {line["item"] for line in lines if "item" in line}:
        kind, _, size = item.partition(":")
        if kind == "encoder":
            for entry in report.entries(lines, item):
                series.setdefault((entry.name, entry.precision), {})[int(size)] = entry.values("seconds")
    if not series:
        return False
    figure, axes = pyplot.subplots(figsize=(7, 4.5), constrained_layout=True)
    for (name, precision), points in sorted(series.items()):
        sides = sorted(points)
        middles = [statistics.median(points[side]) for side in sides]
        below = [middle - min(points[side]) for middle, side in zip(middles, sides, strict=True)]
        above = [max(points[side]) - middle for middle, side in zip(middles, sides, strict=True)]
        axes.errorbar(
            sides,
            middles,
            yerr=[below, above],
            label=f"{name} {precision}",
            marker=MARKS[report.CLASSES[precision]],
            color=COLOURS.get(name),
            linestyle={"float32": "-", "16 bit": "--", "8 bit": ":", "4 bit": "-."}[
                report.CLASSES[precision]
            ],
            linewidth=2 if name == "fastvlm" else 1.2,
            capsize=3,
        )
    axes.set(xlabel="side of the image, pixels", ylabel="seconds, median and range", yscale="log")
    axes.set_xticks(sorted({side for points in series.values() for side in points}))
    axes.set_title("FastViTHD, time per image")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    figure.savefig(target)
    return True


def split(lines: list[dict], target: Path) -> bool:
    """Time to first token: a bar per contestant, its stages stacked."""
    from matplotlib import pyplot

    found = []
    for item in dict.fromkeys(line["item"] for line in lines if "item" in line):
        if item.startswith("ttft:"):
            found += [(item, entry) for entry in report.entries(lines, item) if entry.values("stages")]
    if not found:
        return False
    figure, axes = pyplot.subplots(figsize=(7, 0.6 * len(found) + 1.4), constrained_layout=True)
    for row, (_, entry) in enumerate(found):
        left = 0.0
        for stage, colour in STAGES.items():
            width = statistics.median(stages[stage] for stages in entry.values("stages"))
            axes.barh(row, width, left=left, color=colour, label=stage if row == 0 else None)
            left += width
        axes.text(left, row, f" {entry.seconds:.2f} s", va="center", fontsize=8)
    axes.set_yticks(range(len(found)), [f"{entry.name} {entry.precision}" for _, entry in found], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("seconds, medians")
    axes.set_title(f"Time to first token, {found[0][0].partition(':')[2]} pixels")
    axes.margins(x=0.15)
    axes.legend(fontsize=8)
    figure.savefig(target)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = contestants.ROOT / "downloads" / "bench" / "rounds.jsonl"
    parser.add_argument("rounds", type=Path, nargs="?", default=default)
    parser.add_argument("--run", help="its time, as in the lines; default: the last")
    parser.add_argument("--output", type=Path, default=contestants.ROOT / "docs" / "plots", help="folder")
    parser.add_argument("--format", choices=["svg", "png"], default="svg")
    options = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fastvlm"  # the same picture, the same file
    options.output.mkdir(parents=True, exist_ok=True)
    lines = report.read(options.rounds, options.run)
    for name, draw in (("encoder-latency", latency), ("ttft-split", split)):
        target = options.output / f"{name}.{options.format}"
        print(target if draw(lines, target) else f"{name}: no such rounds in this run")


if __name__ == "__main__":
    main()
