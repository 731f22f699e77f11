#!/usr/bin/env python3
"""Plots: encoder time by resolution, time to first token by stage, rooflines.

Of a run of compare.py, ours beside the peers (the default); or, with --bench, of what
`fastvlm bench --profile --json` wrote, ours alone. Rooflines need --bench: peers do not tell
their operations.
"""

import argparse
import functools
import json
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


KINDS = {
    "feed-forward": "#2f6f9f",
    "linear": "#6fb1d1",
    "gated linear": "#7d5ba6",
    "attention": "#b8453a",
    "depthwise": "#d98a3d",
    "stem": "#9a8f2f",
    "norm": "#3f9c8a",
    "other": "#9aa5b1",
}
PRECISIONS = {"float32": "#c0392b", "bfloat16": "#2f6f9f", "int8": "#d98a3d", "int4": "#3f9c8a"}


def read_bench(files: list[Path]) -> list[dict]:
    """The lines of several runs; each keeps its own run's machine, against whose ceilings it is drawn."""
    result = []
    for file in files:
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        machine = next(line for line in lines if line["type"] == "machine")
        result += [line | {"machine": machine} for line in lines]
    return result


def bench_latency(lines: list[dict], target: Path) -> bool:
    """Encoder: a line per precision over the sides of the image."""
    from matplotlib import pyplot

    series: dict[str, list[dict]] = {}
    for line in lines:
        if line["type"] == "measurement" and line["stage"] == "encode":
            series.setdefault(line["precision"], []).append(line)
    if not series:
        return False
    figure, axes = pyplot.subplots(figsize=(6, 4), constrained_layout=True)
    for precision, points in series.items():
        points.sort(key=lambda line: line["side"])
        below = [line["median"] - min(line["seconds"]) for line in points]
        above = [max(line["seconds"]) - line["median"] for line in points]
        sides, middles = [line["side"] for line in points], [line["median"] for line in points]
        axes.errorbar(
            sides,
            middles,
            yerr=[below, above],
            label=precision,
            color=PRECISIONS[precision],
            marker="o",
            capsize=3,
        )
        for side, middle in zip(sides, middles, strict=True):
            axes.annotate(f"{middle:.3g}", (side, middle), (6, -9), textcoords="offset points", fontsize=8)
    axes.set(
        xlabel="side of the image, pixels", ylabel="seconds, median and range", xscale="log", yscale="log"
    )
    axes.set_xticks(sides, [str(side) for side in sides])
    axes.minorticks_off()
    axes.margins(x=0.1)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title("FastViTHD, time per image")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(target)
    return True


def bench_split(lines: list[dict], target: Path) -> bool:
    """Time to first token: a bar per resolution and precision, its stages stacked."""
    from matplotlib import pyplot

    bars: dict[tuple, dict[str, float]] = {}
    for line in lines:
        if line["type"] == "measurement" and line["stage"] != "decode":
            bars.setdefault((line["side"], line["precision"]), {})[line["stage"]] = line["median"]
    if not bars:
        return False
    figure, axes = pyplot.subplots(figsize=(7, 0.4 * len(bars) + 1.2), constrained_layout=True)
    for row, (_, stages) in enumerate(sorted(bars.items())):
        left = 0.0
        for stage, colour in {
            "encode": STAGES["encode"],
            "project": "#6fb1d1",
            "prefill": STAGES["prefill"],
        }.items():
            if stage in stages:
                axes.barh(row, stages[stage], left=left, color=colour, label=stage if row == 0 else None)
                left += stages[stage]
        axes.text(left, row, f" {left:.2f} s", va="center", fontsize=8)
    axes.set_yticks(
        range(len(bars)), [f"{side}² {precision}" for side, precision in sorted(bars)], fontsize=8
    )
    axes.invert_yaxis()
    axes.set_xlabel("seconds, sum of the stages' medians")
    axes.set_title("Time to first token")
    axes.margins(x=0.12)
    axes.legend(fontsize=8)
    figure.savefig(target)
    return True


def roofline(lines: list[dict], precision: str, target: Path) -> bool:
    """Operations per byte against achieved rate, under the ceilings of the same run; area: share of time."""
    from matplotlib import pyplot

    points = [line for line in lines if line["type"] == "operation" and line["precision"] == precision]
    points = [line for line in points if line["operations"] > 0 and line["bytes"] > 0 and line["seconds"] > 0]
    if not points:
        return False
    machine = points[0]["machine"]
    figure, axes = pyplot.subplots(figsize=(8, 5), constrained_layout=True)
    for line in sorted(points, key=lambda line: -line["share_of_time"]):
        colour, stage = KINDS[line["kind"]], line["stage"]
        axes.scatter(
            line["operations"] / line["bytes"],
            line["operations"] / line["seconds"] / 1e9,
            s=max(1600 * line["share_of_time"], 8),
            marker="D" if stage == "decode" else "o",
            facecolors="none" if stage == "prefill" else colour,
            edgecolors=colour if stage == "prefill" else "white",
            linewidths=1.6 if stage == "prefill" else 0.6,
            alpha=0.85,
            zorder=3,
        )
    limits, bandwidth = axes.get_xlim(), machine["read_bytes"] / 1e9
    peaks = {name: machine["peak_operations"][name] / 1e9 for name in {line["arithmetic"] for line in points}}
    least = min(line["operations"] / line["bytes"] for line in points) / 2
    most, top = limits[1] * 1.5, max(peaks.values())
    axes.plot([least, top / bandwidth], [least * bandwidth, top], color="black", linewidth=1.4)
    axes.annotate(f"memory {bandwidth:.1f} GB/s ", (top / bandwidth / 4, top / 4), ha="right", fontsize=9)
    for name, peak in peaks.items():
        axes.plot(
            [peak / bandwidth, most],
            [peak, peak],
            color="black",
            linewidth=1.4,
            linestyle="-" if peak == top else "--",
        )
        axes.annotate(
            f"{name} {peak:.0f} G/s ", (peak / bandwidth, peak), ha="right", va="center", fontsize=9
        )
    axes.set(xscale="log", yscale="log", xlim=(least, most))
    axes.set(xlabel="operations per byte of operands and results", ylabel="G operations per second")
    items = ", ".join(dict.fromkeys(line["item"] for line in points))
    axes.set_title(f"Roofline, {precision}: {items}", fontsize=11)
    for name, colour in KINDS.items():
        if any(line["kind"] == name for line in points):
            axes.scatter([], [], color=colour, label=name)
    for name, marker, face in (("encode", "o", "grey"), ("prefill", "o", "none"), ("decode", "D", "grey")):
        axes.scatter([], [], marker=marker, facecolors=face, edgecolors="grey", label=name)
    axes.legend(fontsize=8, loc="lower right")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3, zorder=0)
    figure.savefig(target)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = contestants.ROOT / "downloads" / "bench" / "rounds.jsonl"
    parser.add_argument("rounds", type=Path, nargs="?", default=default)
    parser.add_argument("--run", help="its time, as in the lines; default: the last")
    parser.add_argument(
        "--bench", type=Path, nargs="+", metavar="FILE", help="JSON lines of fastvlm bench instead"
    )
    parser.add_argument("--output", type=Path, default=contestants.ROOT / "docs" / "plots", help="folder")
    parser.add_argument("--format", choices=["svg", "png"], default="svg")
    options = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fastvlm"  # the same picture, the same file
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text, files stay small
    options.output.mkdir(parents=True, exist_ok=True)
    plots: list[tuple] = []
    if options.bench:
        lines = read_bench(options.bench)
        plots = [("bench-latency", bench_latency), ("bench-ttft", bench_split)]
        for precision in PRECISIONS:
            plots.append((f"bench-roofline-{precision}", functools.partial(roofline, precision=precision)))
    else:
        lines = report.read(options.rounds, options.run)
        plots = [("encoder-latency", latency), ("ttft-split", split)]
    for name, draw in plots:
        target = options.output / f"{name}.{options.format}"
        print(target if draw(lines, target=target) else f"{name}: no such lines in this run")


if __name__ == "__main__":
    main()
