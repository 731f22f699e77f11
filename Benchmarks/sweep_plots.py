#!/usr/bin/env python3
"""Plots of `fastvlm sweep`: encoder time by resolution, the first token's stages, time over published accuracy.

    sweep_plots.py sweep.jsonl [more.jsonl ...] --output docs/plots

Times are those of the files, measured on one machine; accuracies are published ones, from accuracy.csv, which names the
source of each. A system is on the frontier where no other has its accuracy or more in less time.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
STAGES = {"encode": "#2f6f9f", "project": "#6fb1d1", "prefill": "#d98a3d"}
COLOURS = {
    "fastvithd": "#c0392b",
    "fastvithd-2x2": "#e59866",
    "clip-l-336": "#2f6f9f",
    "clip-l-336-tiles": "#6fb1d1",
    "siglip-so400m-384": "#27ae60",
    "siglip-so400m-384-tiles": "#7d5ba6",
}
PRECISIONS = {"float32": ("-", "o"), "bfloat16": ("--", "s"), "int8": ("-", "^"), "int4": (":", "v")}
PANELS = ["mean of five", "DocVQA", "TextVQA", "SeedBench-image"]


def read(files: list[Path]) -> list[dict]:
    """The cells of several files, each once; all measured on one machine in one way, or an error."""
    cells: dict[tuple, dict] = {}
    conditions: dict | None = None
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            record = json.loads(line)
            if record["type"] != "cell":
                continue
            if conditions is not None and record["conditions"] != conditions:
                raise ValueError(f"{file}, line {number}: measured otherwise than the lines before it")
            conditions = record["conditions"]
            key = tuple(record[name] for name in ("decoder", "precision", "tower", "image_side"))
            cells[key] = record
    return list(cells.values())


def accuracies(file: Path) -> list[dict]:
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    for row in rows:
        if not row["source"]:
            raise ValueError(f"{file}: a row of {row['tower']} names no source")
        row["image_side"], row["value"] = int(row["image_side"]), float(row["value"])
    return rows


def frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those (seconds, accuracy) that no other beats in both, by time."""
    best: list[tuple[float, float]] = []
    for seconds, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((seconds, accuracy))
    return best


def joined(cells: list[dict], rows: list[dict], benchmark: str, precision: str) -> list[tuple]:
    """Cells with a published accuracy in the benchmark: (seconds, accuracy, cell)."""
    found = []
    for cell in cells:
        values = [
            row["value"]
            for row in rows
            if row["benchmark"] == benchmark
            and all(row[name] == cell[name] for name in ("tower", "decoder", "image_side"))
        ]
        if values and cell["precision"] == precision:
            found.append((cell["first_token_seconds"], max(values), cell))
    return found


def latency(cells: list[dict], target: Path) -> bool:
    """Encoder: a line per tower and precision over the image's side; towers of one size are points."""
    from matplotlib import pyplot

    series: dict[tuple, dict[int, float]] = {}
    for cell in cells:
        points = series.setdefault((cell["tower"], cell["precision"]), {})
        side, seconds = cell["image_side"], cell["seconds"]["encode"]
        # The same tower before another decoder: other work only ever makes it slower.
        points[side] = min(seconds, points.get(side, seconds))
    if not series:
        return False
    figure, axes = pyplot.subplots(figsize=(7, 4.5), constrained_layout=True)
    for (tower, precision), points in sorted(series.items()):
        style, marker = PRECISIONS.get(precision, ("-", "o"))
        sides = sorted(points)
        axes.plot(
            sides,
            [points[side] for side in sides],
            linestyle=style,
            marker=marker,
            color=COLOURS.get(tower, "#555555"),
            label=f"{tower} {precision}",
        )
    axes.set(xlabel="side of the image, pixels", ylabel="seconds", xscale="log", yscale="log")
    sides = sorted({side for points in series.values() for side in points})
    axes.set_xticks(sides, [str(side) for side in sides], rotation=45)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title("Vision towers, time per image")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(target)
    return True


def split(cells: list[dict], precision: str, target: Path) -> bool:
    """Time to first token: a bar per system, its stages stacked."""
    from matplotlib import pyplot

    chosen = [cell for cell in cells if cell["precision"] == precision]
    if not chosen:
        return False
    figure, axes = pyplot.subplots(figsize=(8, 0.27 * len(chosen) + 1.2), constrained_layout=True)
    for row, cell in enumerate(chosen):
        left = 0.0
        for stage, colour in STAGES.items():
            width = cell["seconds"][stage]
            axes.barh(row, width, left=left, color=colour, label=stage if row == 0 else None)
            left += width
        axes.text(left, row, f" {left:.2f} s, {cell['visual_tokens']} tokens", va="center", fontsize=7)
    names = [f"{cell['decoder']} {cell['tower']} {cell['image_side']}²" for cell in chosen]
    axes.set_yticks(range(len(chosen)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_title(f"Time to first token, {precision}")
    axes.margins(x=0.25)
    axes.legend(fontsize=8)
    figure.savefig(target)
    return True


def pareto(cells: list[dict], rows: list[dict], precision: str, target: Path) -> bool:
    """Published accuracy over measured time to first token, a panel per benchmark, with the frontier."""
    from matplotlib import pyplot, ticker

    panels = [(name, joined(cells, rows, name, precision)) for name in PANELS]
    panels = [(name, points) for name, points in panels if len(points) > 1]
    if not panels:
        return False
    figure, grid = pyplot.subplots(
        -(-len(panels) // 2), 2, figsize=(10, 4 * -(-len(panels) // 2)), constrained_layout=True, squeeze=False
    )
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    for axes, (name, points) in zip(grid.flat, panels, strict=False):
        best = frontier([(seconds, accuracy) for seconds, accuracy, _ in points])
        axes.plot(*zip(*best, strict=True), color="#999999", linewidth=1, zorder=1)
        for seconds, accuracy, cell in points:
            axes.scatter(seconds, accuracy, color=COLOURS.get(cell["tower"], "#555555"), zorder=2)
            axes.annotate(
                f"{cell['tower']} {cell['image_side']}², {cell['decoder']}",
                (seconds, accuracy),
                (4, -9),
                textcoords="offset points",
                fontsize=6,
            )
        axes.set(title=name, xlabel="seconds to the first token, measured here", ylabel="published, %")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.tick_params(labelsize=7)
        axes.margins(x=0.35, y=0.15)
        axes.grid(alpha=0.3)
    figure.suptitle(f"Time over accuracy, {precision}")
    figure.savefig(target)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="outputs of fastvlm sweep")
    parser.add_argument("--accuracy", type=Path, default=HERE / "accuracy.csv")
    parser.add_argument("--precision", default="int8", help="of the split and the frontier")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "plots", help="folder")
    parser.add_argument("--format", choices=["svg", "png"], default="svg")
    options = parser.parse_args()
    try:
        cells, rows = read(options.files), accuracies(options.accuracy)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"error: {error}")
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fastvlm"  # the same picture, the same file
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text, files stay small
    options.output.mkdir(parents=True, exist_ok=True)
    plots = {
        "sweep-latency": lambda target: latency(cells, target),
        "sweep-split": lambda target: split(cells, options.precision, target),
        "sweep-frontier": lambda target: pareto(cells, rows, options.precision, target),
    }
    for name, draw in plots.items():
        target = options.output / f"{name}.{options.format}"
        print(target if draw(target) else f"{name}: no such lines in these files")


if __name__ == "__main__":
    main()
